"""A command of the operator's that is told when the verdict changes: mail, a chat, a pager."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess

from hardway.errors import HardwayError, UsageError
from hardway.watch.watch import Watched
from hardway.workspace import WATCHED, Workspace

LIMIT = 30.0
"""Seconds that the command has."""


def words_of(command: str) -> list[str]:
    """The command and its arguments; no shell reads it. Raises UsageError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--hook {command!r}: {error}", hint="quote it as for a shell") from error
    if not words:
        raise UsageError("--hook is empty", hint="--hook 'notify --to me'")
    return words


def tell(workspace: Workspace, command: str, found: Watched, limit: float = LIMIT) -> bool:
    """Runs the command with the look as JSON on its standard input, if its verdict is another than it was told last.

    The first look counts as a change where something was found. Raises HardwayError where the command fails; then the
    next look tries again.
    """
    told = _told(workspace)
    if found.verdict == told.get(command, []):
        return False
    _run(words_of(command), json.dumps(found.to_json()), limit)
    told[command] = found.verdict
    workspace.write(WATCHED, json.dumps(told, indent=1).encode(), 0o600)
    return True


def _told(workspace: Workspace) -> dict[str, list[str]]:
    """By command the verdict that it was told last; one that cannot be read is told again."""
    try:
        read = json.loads((workspace.root / WATCHED).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _run(words: list[str], text: str, limit: float) -> None:
    """In a session of its own, which ends with it: what it has started does not outlive its time."""
    try:
        started = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise HardwayError(f"--hook {words[0]}: {error.strerror}", hint="it is told again by the next look") from error
    try:
        said, _ = started.communicate(text, timeout=limit)
    except subprocess.TimeoutExpired as error:
        what = f"--hook {words[0]} did not end within {limit:.0f} s, and was killed"
        raise HardwayError(what, hint="it is told again by the next look") from error
    finally:
        # Also what it has left behind, which is in the same session.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    if started.returncode:
        last = said.strip().splitlines()[-5:]
        raise HardwayError(
            f"--hook {words[0]} ended with {started.returncode}",
            said="\n".join(last) or None,
            hint="it is told again by the next look",
        )

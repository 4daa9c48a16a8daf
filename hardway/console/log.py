"""The log of a run, beside the workspace's keys and as private: JSON lines, the newest fifty runs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from hardway.console.jsonl import JsonLines
from hardway.console.writer import Writer
from hardway.errors import HardwayError, WorkspaceError
from hardway.events import Note, Sink

KEPT = 50
_NAMES = "[0-9]*Z-*.jsonl"


@contextlib.contextmanager
def run_log(folder: Path, command: str) -> Iterator[Sink]:
    """A sink into `folder/<UTC time>-<command>.jsonl`, mode 0600; older logs than the newest 50 go.

    Commands are logged by what they are for and their seconds, never as scripts. An error that ends
    the run is its last line. Raises WorkspaceError where the file cannot be made; a disk that fills up
    later ends the log, not the run.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = _create(folder, command)
        _thin_out(folder)
    except OSError as error:
        raise WorkspaceError(f"no log can be written to {folder}: {error.strerror}") from error
    sink = JsonLines(Writer(stream).line, verbose=1)
    try:
        yield sink
    except HardwayError as error:
        sink(Note(str(error), "warning"))
        raise
    except BaseException as error:
        # Only its kind: who knows what is in the text of an error that is not ours.
        sink(Note(f"ended by {type(error).__name__}", "warning"))
        raise
    finally:
        with contextlib.suppress(OSError):
            stream.close()


def _create(folder: Path, command: str) -> TextIO:
    words = re.sub(r"[^a-z0-9]+", "-", command.lower()).strip("-")[:40] or "run"
    start = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{words}"
    # O_EXCL: two runs at the same microsecond would be two writers of one file.
    handle = os.open(folder / f"{start}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(handle, "w", encoding="utf-8")


def _thin_out(folder: Path) -> None:
    # Names begin with the time, so their order is the order of the runs.
    for path in sorted(folder.glob(_NAMES), reverse=True)[KEPT:]:
        path.unlink(missing_ok=True)

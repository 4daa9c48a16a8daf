"""What the ways to a machine have in common."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hardway.cli.computer import passwd_entry
from hardway.cli.power import require
from hardway.cli.site import Site
from hardway.declare.phases import access
from hardway.declare.phases.access import ssh_name
from hardway.declare.phases.base import Model
from hardway.errors import HardwayError
from hardway.values import ROLES, fill


def one_machine(here: Site, word: str) -> str:
    """The machine that is meant: by its name, or the first of a role. Raises Unreachable where a lab's is off."""
    machine = here.cluster.select(word)[0] if word in ROLES else here.cluster.machine(word)
    require(here.cluster, machine.name)
    return machine.name


def to_machine(here: Site, name: str) -> list[str]:
    """The words behind `ssh` that lead to a machine. Raises HardwayError without an ssh client that works."""
    if shutil.which("ssh") is None:
        raise missing("ssh")
    if passwd_entry(os.getuid()) is None:
        raise HardwayError(
            f"the ssh client refuses uid {os.getuid()}, which has no passwd entry on this computer",
            hint="run it as a user that has one; in a container: -v /etc/passwd:/etc/passwd:ro",
        )
    return ["-F", str(ssh_config(here)), ssh_name(here.cluster.machine(name))]


def ssh_config(here: Site) -> Path:
    """The workspace's ssh_config as the inventory has it now: there is one before the first chapter, too."""
    path = here.workspace.root / access.SSH_CONFIG
    text = access.ssh_config(Model(here.cluster, here.state, {}))
    # Only the folder's place: a damaged key keeps nobody from looking at a machine.
    wanted = fill(text, {"workspace/path": str(here.workspace.root).encode()})
    if wanted is not None and not (path.exists() and path.read_bytes() == wanted):
        here.workspace.create()
        here.workspace.write(access.SSH_CONFIG, wanted, 0o600)
    return path


def become(argv: Sequence[str]) -> NoReturn:
    """The program takes this one's place, with its terminal. Raises HardwayError where it is not installed."""
    if shutil.which(argv[0]) is None:
        raise missing(argv[0])
    # What waits to be written would be lost.
    sys.stdout.flush()
    os.execvp(argv[0], list(argv))


def missing(program: str) -> HardwayError:
    what, package = {"ssh": ("ssh client", "openssh-client")}.get(program, (program, program))
    return HardwayError(
        f"there is no {what} on this computer", hint=f"install it (Debian: {package}), or put it on PATH"
    )


def split_flags(words: list[str], inventory: Path | None) -> tuple[Path | None, list[str]]:
    """Takes `-i FILE` from the front of a remote command: nobody means it for the machine.

    After `--` all words are the command's.
    """
    if len(words) > 1 and words[0] in ("-i", "--inventory"):
        return split_flags(words[2:], Path(words[1]))
    return inventory, words[1:] if words[:1] == ["--"] else words

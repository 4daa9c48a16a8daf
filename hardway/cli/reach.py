"""What the ways to a machine have in common."""

from __future__ import annotations

from pathlib import Path

from hardway.cli.power import require
from hardway.cli.site import Site
from hardway.declare.phases.access import ssh_name
from hardway.errors import HardwayError
from hardway.values import ROLES


def one_machine(here: Site, word: str) -> str:
    """The machine that is meant: by its name, or the first of a role. Raises Unreachable where a lab's is off."""
    machine = here.cluster.select(word)[0] if word in ROLES else here.cluster.machine(word)
    require(here.cluster, machine.name)
    return machine.name


def to_machine(here: Site, name: str) -> list[str]:
    """The words behind `ssh` that lead to a machine. Raises HardwayError where the workspace has no ssh_config yet."""
    return ["-F", str(ssh_config(here)), ssh_name(here.cluster.machine(name))]


def ssh_config(here: Site) -> Path:
    path = here.workspace.root / "ssh_config"
    if not path.exists():
        raise HardwayError("there is no ssh_config yet", hint="hardway access")
    return path


def split_flags(words: list[str], inventory: Path | None) -> tuple[Path | None, list[str]]:
    """Takes `-i FILE` from the front of a remote command: nobody means it for the machine.

    After `--` all words are the command's.
    """
    if len(words) > 1 and words[0] in ("-i", "--inventory"):
        return split_flags(words[2:], Path(words[1]))
    return inventory, words[1:] if words[:1] == ["--"] else words

"""Commands that hardway proposes to people: whether there is such a command, and what it needs and does not have."""

import shlex
from collections.abc import Iterator
from itertools import pairwise

from hardway.cli.app import load
from hardway.cli.commands import COMMANDS
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.resources import Binary, Package, Service
from hardway.explain import Book, answer

EVERYWHERE = {
    "cat", "curl", "date", "df", "dmesg", "getent", "ip", "journalctl", "ls", "ping", "ss", "stat", "sudo", "true",
    "uname",
}  # fmt: skip
"""Programs of every distribution that hardway supports."""


def missing(book: Book, behind: tuple[str, ...], command: str) -> Iterator[str]:
    """What a command needs and does not have once these chapters are done; raises UsageError for what is not there."""
    hardway, name, *words = shlex.split(command.partition(" | ")[0])
    if (hardway, name in COMMANDS) != ("hardway", True):
        yield command
    elif name == "explain":
        answer(book, " ".join(words))
    elif name == "kubectl":
        if "kubeconfig" not in {local.path for phase in behind for _, local in book.declaration.of(phase).local}:
            yield "kubeconfig"
    elif name == "logs":
        yield from _logs(book, behind, words)
    elif name == "ssh":
        yield from _ssh(book, behind, words)
    elif words and words[0] in getattr(load(name), "commands", {}):
        return
    elif name in ("verify", *PHASE_NAMES):
        yield from {*words, *([name] if name in PHASE_NAMES else [])} - {*behind, *PHASE_NAMES[: len(behind)]}
    else:
        flags = {flag for one in load(name).params for flag in one.opts}
        yield from (word for word in words if word not in flags)


def _units(book: Book, behind: tuple[str, ...], machine: str) -> set[str]:
    found = set()
    for phase in behind:
        for one in book.declaration.of(phase).on(machine):
            if isinstance(one.resource, Service):
                found.add(one.resource.unit.removesuffix(".service"))
    return found


def _logs(book: Book, behind: tuple[str, ...], words: list[str]) -> Iterator[str]:
    machine, unit = words[:2]
    if unit not in _units(book, behind, book.model.cluster.machine(machine).name):
        yield f"{unit} on {machine}"


def _ssh(book: Book, behind: tuple[str, ...], words: list[str]) -> Iterator[str]:
    machine, dashes, *remote = words if words[0] != "-v" else words[1:]
    name = book.model.cluster.machine(machine).name
    if dashes != "--":
        yield dashes
    resources = [one.resource for phase in behind for one in book.declaration.of(phase).on(name)]
    programs = {one.command for one in resources if isinstance(one, Package)}
    programs |= {one.name.rpartition("/")[2] for one in resources if isinstance(one, Binary)}
    if remote[0] not in programs | EVERYWHERE:
        yield remote[0]
    for flag, unit in pairwise(remote):
        if flag == "-u" and unit not in _units(book, behind, name):
            yield unit
    for word in remote[1:]:
        path = word.partition("=")[2] or word
        if path.startswith("/etc/kubernetes/") and path not in {one.name for one in resources}:
            yield path

"""The things of a chapter: what is declared, gathered under the entries that explain it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain

from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Model, Placed
from hardway.declare.resources import Local, OperatorFile
from hardway.explain.prose import Entry, chapter_prose


@dataclass(frozen=True)
class Thing:
    """One entry with all that it covers on machines and in the workspace; never empty."""

    phase: str
    entry: Entry
    placed: tuple[Placed, ...]
    local: tuple[Local, ...]

    @property
    def name(self) -> str:
        return f"{self.phase}/{self.entry.name}"

    @property
    def machines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.machine for one in self.placed))

    @property
    def paths(self) -> tuple[str, ...]:
        """Where it is on machines, each once."""
        return tuple(dict.fromkeys(one.resource.name for one in self.placed if one.resource.name.startswith("/")))

    @property
    def keys(self) -> set[str]:
        return {one.resource.key for one in self.placed}

    @property
    def local_names(self) -> set[str]:
        """Its workspace files by every name that `names_of` gives them."""
        return set(chain.from_iterable(map(names_of, self.local)))


def things(model: Model, declaration: Declaration, phase: str) -> tuple[Thing, ...]:
    """The chapter's things in the order in which they are explained; what this cluster has nothing of is left out."""
    mine = declaration.of(phase)
    found: list[Thing] = []
    for entry in chapter_prose(model, phase).things:
        placed = tuple(one for one in mine.placed if covers(entry, one.resource.key))
        local = tuple(one for _, one in mine.local if covers(entry, one.key))
        if placed or local:
            found.append(Thing(phase, entry, placed, local))
    return (*found, *_operators(phase, mine.placed))


def _operators(phase: str, declared: Iterable[Placed]) -> Iterator[Thing]:
    """The operator's own files: of them nothing is written beforehand."""
    ours: dict[str, list[Placed]] = {}
    for one in declared:
        if isinstance(one.resource, OperatorFile):
            ours.setdefault(one.resource.path, []).append(one)
    for path, placed in ours.items():
        yield Thing(phase, _own_entry(path), tuple(placed), ())


def _own_entry(path: str) -> Entry:
    return Entry(
        name=path.rpartition("/")[2],
        covers=(f"{OperatorFile.kind}:{path}",),
        what="A file of your own: `files` in the inventory names it, and says who gets it.",
        reader="a file of your own",
        without="What was set to read it finds nothing there, and may not start.",
    )


def names_of(local: Local) -> tuple[str, ...]:
    """A workspace file by its path, and with its ending and first folder left out."""
    bare = local.path.rpartition(".")[0] or local.path
    return local.path, bare, bare.removeprefix("pki/"), bare.removeprefix("pki/").replace("/", "-")


def covers(entry: Entry, key: str) -> bool:
    """Whether one of the entry's patterns matches the key, or the name in it."""
    return any(fnmatchcase(key, one) or fnmatchcase(key.partition(":")[2], one) for one in entry.covers)

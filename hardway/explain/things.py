"""The things of a chapter: what is declared, gathered under the entries that explain it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Model, Placed
from hardway.declare.resources import Local
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


def things(model: Model, declaration: Declaration, phase: str) -> tuple[Thing, ...]:
    """The chapter's things in the order in which they are explained; what this cluster has nothing of is left out."""
    placed = [one for one in declaration.placed if one.phase == phase]
    local = [one for name, one in declaration.local if name == phase]
    found = (
        Thing(
            phase,
            entry,
            tuple(one for one in placed if covers(entry, one.resource.key)),
            tuple(one for one in local if covers(entry, one.key)),
        )
        for entry in chapter_prose(model, phase).things
    )
    return tuple(one for one in found if one.placed or one.local)


def covers(entry: Entry, key: str) -> bool:
    """Whether one of the entry's patterns matches the key, or the name in it."""
    return any(fnmatchcase(key, one) or fnmatchcase(key.partition(":")[2], one) for one in entry.covers)

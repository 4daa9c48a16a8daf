"""What is wrong with an inventory, as values that know where they stand in the file."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardway.errors import InventoryError
from hardway.inventory.model import Place

Loc = tuple[str | int, ...]
"""A path inside the document: keys, and positions in lists."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, and what would be right."""

    loc: Loc
    text: str
    at_key: bool = False
    """Whether the place to look at is the key, not its value."""
    place: Place | None = None
    """The place itself, where the path alone does not tell it."""


@dataclass
class Document:
    """What the file holds, and where."""

    data: Any = None
    places: dict[Loc, Place] = field(default_factory=dict)
    keys: dict[Loc, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, problem: Problem) -> Place:
        """The nearest place in the file: of the value or key itself, or of what it is missing from."""
        loc = problem.loc
        if problem.place is not None:
            return problem.place
        if problem.at_key and loc in self.keys:
            return self.keys[loc]
        while loc and loc not in self.places:
            loc = loc[:-1]
        return self.places.get(loc, Place(1, 1))


class Refused(Exception):
    """The text as a whole cannot be read, so there is nothing to look for further problems in."""

    def __init__(self, place: Place | None, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


def dotted(loc: Loc) -> str:
    """A path as people write it: `machines.k1.role.0`; keys that are no plain words are quoted."""
    return ".".join(
        str(part) if isinstance(part, int) or re.fullmatch(r"[A-Za-z0-9_/-]{1,80}", part) else quoted(part)
        for part in loc
    )


def quoted(value: object) -> str:
    """A value from the file for a message: on one line, no control characters, not too long."""
    shown = json.dumps(value, ensure_ascii=True, default=str)
    return shown if len(shown) <= 60 else shown[:56] + '..."'


def report(path: Path, document: Document, problems: Iterable[Problem]) -> InventoryError:
    """All problems in the file's order, each as `file:line:column: path: what`, none said twice."""
    lines: dict[str, None] = {}
    for problem in sorted(problems, key=document.place):
        where = f"{path}:{document.place(problem)}"
        lines[": ".join(filter(None, (where, dotted(problem.loc), problem.text)))] = None
    return InventoryError(list(lines))

"""The journal of a machine: what hardway put there, written before it is done.

Lines of JSON in /var/lib/hardway/journal.jsonl, the first of which says their format. They are only appended to while
a run is under way: `intent` before the first rename of a phase, `done` after its last step, `gone` after a removal.
At the end of a run it is written again in one piece, with an index from (size, mtime, ctime, inode) to digest,
so that a file that nobody touched is not hashed again, and with a digest of what was declared, so that
what another version of hardway declares can be told from what somebody changed. Its last line then is a digest of all
before it; what the next run appends comes after. It is no resource.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import hardway
from hardway.errors import JournalError

FORMAT = 3
FOLDER = "/var/lib/hardway"
PATH = f"{FOLDER}/journal.jsonl"
FORMER_PATH = f"{FOLDER}/ledger.jsonl"
"""Where format 1 was kept. It is read while there is no other, and goes when the journal is next written."""
CAT = f"if [ -r {PATH} ]; then cat {PATH}; elif [ -r {FORMER_PATH} ]; then cat {FORMER_PATH}; fi"
"""Prints the journal from either place; nothing where there is none."""
STATE_PATH = f"{FOLDER}/state.json"

DIGITS = 16
"""Of each digest of what was declared: enough to tell two from each other."""

ROUTES = "routes:pods"
_ONE_ROUTE = "route:"

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Declared:
    """What was declared for a machine when all of it was last found to be so: digests by key.

    `by` is hardway's version and `inventory` the digest of what the inventory said.
    """

    by: str
    inventory: str
    digests: Mapping[str, str]


@dataclass(frozen=True)
class Journal:
    """Entries by key in the order in which they were made; `open` are the keys begun and not known to be done."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    open: frozenset[str] = frozenset()
    index: Mapping[str, tuple[list[Any], str]] = field(default_factory=dict)
    declared: Declared | None = None
    format: int = field(default=1, compare=False)
    """Of the file that was read; a journal that is not there yet has none of today's."""
    damage: str = field(default="", compare=False)
    """What is wrong with the file, in words: it may not say everything that is there."""

    def digest(self, path: str, identity: list[Any]) -> str | None:
        """The digest of a file that has not moved since it was noted."""
        noted = self.index.get(path)
        return noted[1] if noted and noted[0] == identity else None


@dataclass
class _Fold:
    """A journal while its lines are read, one after another."""

    format: int = 1
    by: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    index: dict[str, tuple[list[Any], str]] = field(default_factory=dict)
    declared: Declared | None = None
    sum: str = ""

    def add(self, record: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for a record that is none."""
        if record.get("key", "").startswith(_ONE_ROUTE):
            record = {"key": ROUTES, **_in_table(record, self.entries.get(ROUTES))}
        match record["op"]:
            case "format":
                self.format, self.by = int(record["format"]), record["by"]
            case "sum":
                self.sum = record["sha256"]
            case "intent":
                self.entries[record["key"]] = _checked(record["entry"])
                self.open.add(record["key"])
            case "done":
                self.open.discard(record["key"])
            case "gone":
                self.entries.pop(record["key"], None)
                self.open.discard(record["key"])
            case "index":
                self.index[record["path"]] = (list(record["identity"]), str(record["digest"]))
            case "declared":
                self.declared = Declared(str(record["by"]), str(record["inventory"]), dict(record["digests"]))
            case unknown:
                raise ValueError(f"record {unknown}")


def read(text: str, machine: str = "") -> Journal:
    """Folds the lines. A line that was cut off (no power, no disk) is passed over.

    So is one that is no record, and a file that is not whole any more is read as far as it goes: both are `damage`.
    Raises JournalError, with the machine, for a file that a newer hardway writes.
    """
    fold = _Fold()
    damage = ""
    records, headless = 0, False
    so_far = hashlib.sha256()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        finally:
            before = so_far.copy()
            so_far.update(f"{line}\n".encode())
        try:
            # Every format but the first says what it is in its first line, and only the first has chapters in it.
            headless = headless or (fold.format == 1 and "phase" in record.get("entry", {}))
            for earlier in range(fold.format, FORMAT):
                record = MIGRATIONS[earlier](record)
            fold.add(record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            damage = damage or f"line {number} is no record: {line[:_SHOWN]}"
            continue
        records += 1
        if fold.format > FORMAT:
            raise JournalError(
                f"{_file(fold)} was written by a newer hardway ({fold.by}): format {fold.format}, and this one "
                f"reads up to format {FORMAT}",
                machine=machine or None,
                hint=f"use hardway {fold.by}, or a newer one; nothing was changed",
            )
        if record.get("op") == "sum" and fold.sum != before.hexdigest():
            damage = damage or f"line {number}: what stands before it is not what hardway wrote"
    if fold.format >= _SUMMED and not fold.sum:
        damage = damage or "its end is missing"
    if headless:
        damage = damage or "its beginning is missing"
    if text.strip() and not records:
        damage = damage or "nothing in it is a record"
    return Journal(fold.entries, frozenset(fold.open), fold.index, fold.declared, fold.format, damage)


def _checked(entry: Mapping[str, Any]) -> Entry:
    """What was noted of a thing. Raises TypeError for a value that hardway does not note: readers rely on the shape."""
    for name, value in entry.items():
        match name:
            case "before":  # mode, owner and group
                right = value is None or (_is_words(value) and len(value) == 3)
            case "routes" | "units" | "taints":
                right = _is_words(value)
            case "previous":
                right = value is None or isinstance(value, str)
            case _:
                right = isinstance(value, str | bool)
        if not right:
            raise TypeError(name)
    return dict(entry)


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


_SUMMED = 3
"""The format since which a journal that was written in one piece ends with its digest."""
_SHOWN = 80
"""Characters of a damaged line that are quoted."""


def _file(fold: _Fold) -> str:
    return PATH if fold.format > 1 else FORMER_PATH


def _to_2(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry of format 1 said `chapter` where it says `phase` now."""
    if record["op"] != "intent":
        return record
    entry = {("phase" if name == "chapter" else name): value for name, value in record["entry"].items()}
    return {**record, "entry": entry}


def _to_3(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A journal of format 2 had no digest at its end."""
    return record


MIGRATIONS: Mapping[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {1: _to_2, 2: _to_3}
"""By format, what makes of one of its records that of the next format (docs/decisions/0004-journal-and-state.md)."""


def _in_table(record: Mapping[str, Any], table: Entry | None) -> dict[str, Any]:
    """A record of an earlier hardway, with a key for each route, as one of the key that all of them have now."""
    route = record["key"].removeprefix(_ONE_ROUTE)
    others = [one for one in (table or {}).get("routes", ()) if one != route]
    match record.get("op"):
        case "intent":
            return {"op": "intent", "entry": {**record["entry"], "routes": [*others, route]}}
        case "gone" if others and table is not None:
            return {"op": "intent", "entry": {**table, "routes": others}}
    return {"op": record.get("op")}


def intent(key: str, phase: str, entry: Entry) -> str:
    return _line({"op": "intent", "key": key, "entry": {"phase": phase, "by": hardway.__version__, **entry}})


def done(key: str) -> str:
    return _line({"op": "done", "key": key})


def gone(key: str) -> str:
    return _line({"op": "gone", "key": key})


def written(journal: Journal, stats: Iterable[tuple[str, list[Any], str]]) -> str:
    """The whole journal in one piece; `stats` are (path, identity, digest) as seen after the run."""
    lines = [_line({"op": "format", "format": FORMAT, "by": hardway.__version__})]
    for key, entry in journal.entries.items():
        lines.append(_line({"op": "intent", "key": key, "entry": entry}))
        if key not in journal.open:
            lines.append(done(key))
    lines += [_line({"op": "index", "path": path, "identity": who, "digest": what}) for path, who, what in stats]
    if journal.declared is not None:
        lines.append(_line({"op": "declared", **asdict(journal.declared)}))
    text = "\n".join(lines) + "\n"
    return text + _line({"op": "sum", "sha256": hashlib.sha256(text.encode()).hexdigest()}) + "\n"


def rewritten(journal: Journal) -> str:
    """The whole journal as it was read, in today's format."""
    return written(journal, [(path, identity, digest) for path, (identity, digest) in journal.index.items()])


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True)

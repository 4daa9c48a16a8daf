"""The journal of a machine: what hardway put there, written before it is done.

Lines of JSON in /var/lib/hardway/ledger.jsonl, only appended to while a run is under way: `intent`
before the first rename of a chapter, `done` after its last step, `gone` after a removal. At the end
of a run it is rewritten in one piece, with an index from (size, mtime, ctime, inode) to digest,
so that a file that nobody touched is not hashed again, and with a digest of what was declared, so that
what another version of hardway declares can be told from what somebody changed. It is no resource.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import hardway

FOLDER = "/var/lib/hardway"
PATH = f"{FOLDER}/ledger.jsonl"
STATE_PATH = f"{FOLDER}/state.json"

DIGITS = 16
"""Of each digest of what was declared: enough to tell two from each other."""

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

    def digest(self, path: str, identity: list[Any]) -> str | None:
        """The digest of a file that has not moved since it was noted."""
        noted = self.index.get(path)
        return noted[1] if noted and noted[0] == identity else None


def read(text: str) -> Journal:
    """Folds the lines; a last line that was cut off (no power, no disk) is passed over."""
    entries: dict[str, Entry] = {}
    begun: set[str] = set()
    index: dict[str, tuple[list[Any], str]] = {}
    declared: Declared | None = None
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict):
            continue
        key = record.get("key", "")
        match record.get("op"):
            case "intent":
                entries[key] = record["entry"]
                begun.add(key)
            case "done":
                begun.discard(key)
            case "gone":
                entries.pop(key, None)
                begun.discard(key)
            case "index":
                index[record["path"]] = (record["identity"], record["digest"])
            case "declared":
                declared = Declared(record["by"], record["inventory"], record["digests"])
    return Journal(entries, frozenset(begun), index, declared)


def intent(key: str, phase: str, entry: Entry) -> str:
    return _line({"op": "intent", "key": key, "entry": {"phase": phase, "by": hardway.__version__, **entry}})


def done(key: str) -> str:
    return _line({"op": "done", "key": key})


def gone(key: str) -> str:
    return _line({"op": "gone", "key": key})


def written(journal: Journal, stats: Iterable[tuple[str, list[Any], str]]) -> str:
    """The whole journal, rewritten; `stats` are (path, identity, digest) as seen after the run."""
    lines = []
    for key, entry in journal.entries.items():
        lines.append(_line({"op": "intent", "key": key, "entry": entry}))
        if key not in journal.open:
            lines.append(done(key))
    lines += [_line({"op": "index", "path": path, "identity": who, "digest": what}) for path, who, what in stats]
    if journal.declared is not None:
        lines.append(_line({"op": "declared", **asdict(journal.declared)}))
    return "\n".join(lines) + "\n"


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True)

"""From what is declared and what was seen to what is to be done. Pure: it is handed observations.

A machine is asked once: one script with a section for each kind of resource (`probe_script`), one
answer (`read_answer`). The difference is a list of `Change` in the order in which it would be made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hardway import facts as facts_room
from hardway import ledger as ledger_room
from hardway.facts import Facts
from hardway.ledger import Ledger
from hardway.phases import CHAPTERS
from hardway.phases.base import Chapter, Model, Placed, Proof, placed
from hardway.resources import KINDS, Context, Difference, Local, Observed, Present, Resource, Service
from hardway.resources.files import Binary, File, Stat, parse_stat, stat_probe
from hardway.values import sha256


@dataclass(frozen=True)
class Declaration:
    """All that all chapters want, whatever was chosen: no chapter can overlook what another one holds."""

    placed: tuple[Placed, ...]
    local: tuple[tuple[str, Local], ...]
    proofs: tuple[tuple[str, Proof], ...]

    def on(self, machine: str) -> list[Placed]:
        return [one for one in self.placed if one.machine == machine]


def declare(model: Model, chapters: Sequence[Chapter] = CHAPTERS) -> Declaration:
    """Asks every chapter; raises ValueError where two declare the same thing on one machine."""
    everything = tuple(one for chapter in chapters for one in placed(chapter, model))
    seen: dict[tuple[str, str], str] = {}
    for one in everything:
        where = (one.machine, one.resource.key)
        if where in seen:
            raise ValueError(f"{one.resource.key} on {one.machine}: declared by {seen[where]} and by {one.chapter}")
        seen[where] = one.chapter
    return Declaration(
        placed=everything,
        local=tuple((chapter.name, one) for chapter in chapters for one in chapter.local(model)),
        proofs=tuple((chapter.name, one) for chapter in chapters for one in chapter.proofs(model)),
    )


@dataclass(frozen=True)
class View:
    """One machine as it was seen: every declared resource by key, and what hardway knows of itself there."""

    facts: Facts
    ledger: Ledger
    state_text: str
    observed: Mapping[str, Observed]
    drop_ins: Mapping[str, Stat] = field(default_factory=dict)
    hashed: bool = False
    """Whether digests had to be computed: the ledger's index is worth writing anew."""

    def stat(self, path: str) -> Stat | None:
        for kind in ("file", "binary", "directory"):
            seen = self.observed.get(f"{kind}:{path}")
            if isinstance(seen, Present):
                return seen.value if isinstance(seen.value, Stat) else None
        return self.drop_ins.get(path)


@dataclass(frozen=True)
class Change:
    """One difference that is to be made good on one machine. `resource` is None for what is no longer declared."""

    machine: str
    chapter: str
    key: str
    difference: Difference
    resource: Resource | None = None

    @property
    def restarts(self) -> bool:
        return self.difference.verb in ("start", "restart", "reload")


def digest(thing: Any) -> str:
    """SHA-256 of a declared value; the same in every process (sets have no order of their own)."""
    return sha256(json.dumps(asdict(thing), sort_keys=True, default=sorted).encode())


def probe_script(resources: Sequence[Resource], nonce: str) -> str:
    """The one script that looks at a machine. It writes nothing."""
    sections = [
        ("facts", facts_room.SCRIPT),
        ("ledger", _cat(ledger_room.PATH)),
        ("state", _cat(ledger_room.STATE_PATH)),
    ]
    for kind, wanted in _by_kind(resources).items():
        sections.append((kind, KINDS[kind].probe(wanted)))
    extra = _other_inputs(resources)
    if extra:
        sections.append(("inputs", stat_probe(extra, inside=[path for path in extra if path.endswith(".d")])))
    # A fragment is a shell of its own, so that none can end or change the next.
    return "\n".join(f"printf '\\n{nonce} {name}\\n'\n(\n{script}\n)" for name, script in sections) + "\ntrue\n"


def read_answer(resources: Sequence[Resource], nonce: str, output: str, *, deep: bool = False) -> View:
    """Turns the answer into values. Digests of files are known where the ledger's index has them, unless `deep`."""
    sections: dict[str, str] = {}
    for part in output.split(f"\n{nonce} ")[1:]:
        name, _, text = part.partition("\n")
        sections[name] = text
    ledger = ledger_room.read(sections.get("ledger", ""))
    observed: dict[str, Observed] = {}
    for kind, wanted in _by_kind(resources).items():
        observed.update(KINDS[kind].parse(wanted, sections.get(kind, "")))
    for key, seen in observed.items():
        if isinstance(seen, Present) and isinstance(seen.value, Stat):
            digest = None if deep else ledger.digest(key.partition(":")[2], seen.value.identity)
            observed[key] = Present(replace(seen.value, digest=digest))
    return View(
        facts=facts_room.parse(sections.get("facts", "")),
        ledger=ledger,
        state_text=sections.get("state", "").strip(),
        observed=observed,
        drop_ins=parse_stat(sections.get("inputs", "")),
    )


def to_hash(view: View) -> list[str]:
    """Paths of files that are there and whose digest is not known yet."""
    return [
        key.partition(":")[2]
        for key, seen in view.observed.items()
        if key.startswith(("file:", "binary:"))
        and isinstance(seen, Present)
        and seen.value.digest is None
        and seen.value.type.startswith("regular")
    ]


def with_digests(view: View, digests: Mapping[str, str]) -> View:
    """The view with the digests of files that were read."""
    observed = dict(view.observed)
    for path, digest in digests.items():
        for kind in ("file", "binary"):
            seen = observed.get(f"{kind}:{path}")
            if isinstance(seen, Present):
                observed[f"{kind}:{path}"] = Present(replace(seen.value, digest=digest))
    return replace(view, observed=observed)


def differences(
    wanted: Sequence[Placed],
    view: View,
    context: Context,
    chosen: Callable[[Change], bool] = lambda change: True,
) -> list[Change]:
    """Everything that differs on one machine, in the order in which it is declared; removals first.

    What is not `chosen` is left as it is, so no service need restart for it.
    """
    changes = [change for change in _orphans(wanted, view, context.machine) if chosen(change)]
    touched: dict[str, float] = {}
    for one in wanted:
        resource = one.resource
        seen = view.observed[resource.key]
        difference = resource.diff(seen, context)
        if isinstance(resource, Service) and isinstance(seen, Present) and seen.value.is_active:
            ctimes = {path: _ctime(view, path) for path in (*resource.inputs, *resource.reload_inputs)}
            stale = resource.stale(seen.value, {**ctimes, **touched})
            if stale and (difference is None or difference.verb == "enable"):
                difference = stale
        if difference is None:
            continue
        change = Change(one.machine, one.chapter, resource.key, difference, resource)
        if not chosen(change):
            continue
        if isinstance(resource, File | Binary):
            touched[resource.path] = math.inf
        changes.append(change)
    return changes


def foreign(changes: Iterable[Change], view: View, context: Context) -> list[str]:
    """Files that would be overwritten though hardway did not put them there."""
    return [
        change.key.partition(":")[2]
        for change in changes
        if isinstance(change.resource, File | Binary)
        and isinstance(seen := view.observed.get(change.key), Present)
        and change.key not in view.ledger.entries
        and not change.resource.has_content(seen.value, context)
    ]


def _orphans(wanted: Sequence[Placed], view: View, machine: str) -> list[Change]:
    declared = {one.resource.key for one in wanted}
    keys = [key for key in view.ledger.entries if key not in declared and key.partition(":")[0] in KINDS]
    # What runs stops before its file goes; then the newest first.
    newest = list(reversed(keys))
    ordered = sorted(newest, key=lambda key: not key.startswith("service:"))
    return [
        Change(machine, view.ledger.entries[key].get("chapter", ""), key, Difference("remove", "is no longer declared"))
        for key in ordered
    ]


def _ctime(view: View, path: str) -> float:
    """When it last changed; of a folder, when anything in it did."""
    stat = view.stat(path)
    inside = (float(one.ctime) for name, one in view.drop_ins.items() if name.startswith(f"{path}/"))
    return max(float(stat.ctime) if stat else 0.0, *inside, 0.0)


def _other_inputs(resources: Sequence[Resource]) -> list[str]:
    declared = {resource.name for resource in resources if resource.kind in ("file", "binary", "directory")}
    inputs = {path for one in resources if isinstance(one, Service) for path in (*one.inputs, *one.reload_inputs)}
    return sorted(inputs - declared)


def _by_kind(resources: Sequence[Resource]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for resource in resources:
        groups.setdefault(resource.kind, []).append(resource)
    return groups


def _cat(path: str) -> str:
    return f"[ ! -r {path} ] || cat {path}"


def by_machine(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """The changes of each machine, in their order."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.machine, []).append(change)
    return groups

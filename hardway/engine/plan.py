"""From what is declared and what was seen to what is to be done. Pure: it is handed observations.

A machine is asked once: one question for each kind of resource (`questions`), and one
reading of the answers (`read_answer`). The difference is a list of `Change` in the order in which it would be made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hardway import facts as facts_room
from hardway import journal as journal_room
from hardway.declare.phases.base import Placed
from hardway.declare.resources import KINDS, Context, Difference, Observed, Present, Resource, Service
from hardway.declare.resources.files import Binary, File, Stat, parse_stat, stat_probe
from hardway.facts import Facts
from hardway.journal import Journal
from hardway.probe.script import Answers, Question, cat


@dataclass(frozen=True)
class View:
    """One machine as it was seen: every declared resource by key, and what hardway knows of itself there."""

    facts: Facts
    journal: Journal
    state_text: str
    observed: Mapping[str, Observed]
    drop_ins: Mapping[str, Stat] = field(default_factory=dict)
    hashed: bool = False
    """Whether digests had to be computed: the journal's index is worth rewriting."""

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
    phase: str
    key: str
    difference: Difference
    resource: Resource | None = None

    @property
    def name(self) -> str:
        """What the key names among its kind: a path, a unit."""
        return self.key.partition(":")[2]

    @property
    def stops(self) -> bool:
        """Whether it stops a unit that is no longer declared."""
        return self.resource is None and self.key.startswith("service:")

    @property
    def deletes_file(self) -> bool:
        """Whether it deletes what is no longer declared, and what a process may still read or run."""
        return self.resource is None and self.key.startswith(("file:", "binary:", "directory:"))

    @property
    def restarts(self) -> bool:
        return self.difference.verb in ("start", "restart", "reload")


def questions(resources: Sequence[Resource]) -> Iterator[Question]:
    """All that is asked of a machine when it is observed. It writes nothing."""
    yield Question("facts", facts_room.SCRIPT, strict=True)
    yield Question("journal", journal_room.CAT, strict=True)
    yield Question("state", cat(journal_room.STATE_PATH), strict=True)
    for kind, wanted in _by_kind(resources).items():
        yield Question(kind, KINDS[kind].probe(wanted), strict=True)
    extra = _other_inputs(resources)
    if extra:
        folders = [path for path in extra if path.endswith(".d")]
        yield Question("inputs", stat_probe(extra, inside=folders), strict=True)


def read_answer(resources: Sequence[Resource], answers: Answers, *, deep: bool = False, machine: str = "") -> View:
    """Turns the answers into values. Digests of files are known where the journal's index has them, unless `deep`.

    Raises JournalError, naming the `machine`, where its journal cannot be read.
    """
    journal = journal_room.read(answers["journal"].output, machine)
    observed: dict[str, Observed] = {}
    for kind, wanted in _by_kind(resources).items():
        observed.update(KINDS[kind].parse(wanted, answers[kind].output))
    for key, seen in observed.items():
        if isinstance(seen, Present) and isinstance(seen.value, Stat):
            digest = None if deep else journal.digest(key.partition(":")[2], seen.value.identity)
            observed[key] = Present(replace(seen.value, digest=digest))
    return View(
        facts=facts_room.parse(answers["facts"].output),
        journal=journal,
        state_text=answers["state"].output.strip(),
        observed=observed,
        drop_ins=parse_stat(answers["inputs"].output),
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
    """Everything that differs on one machine, in the order in which it is declared; what is no longer declared first.

    What is not `chosen` is left as it is, so no service need restart for it, and it reads what it has read.
    """
    changes = [change for change in _orphans(wanted, view, context.machine) if chosen(change)]
    left: list[Change] = []
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
        change = Change(one.machine, one.phase, resource.key, difference, resource)
        if not chosen(change):
            left.append(change)
            continue
        if isinstance(resource, File | Binary):
            touched[resource.path] = math.inf
        changes.append(change)
    return [one for one in changes if not one.deletes_file] if _runs_on(left, wanted, view) else changes


def _runs_on(left: Iterable[Change], wanted: Sequence[Placed], view: View) -> bool:
    """Whether a unit that runs stays as it is, since what would change it was not chosen.

    Then it may still read what is no longer declared.
    """
    waiting = {change.name for change in left}
    for service in (one.resource for one in wanted if isinstance(one.resource, Service)):
        seen = view.observed[service.key]
        runs = isinstance(seen, Present) and seen.value.is_active
        if runs and waiting & {service.unit, *service.inputs, *service.reload_inputs}:
            return True
    return False


def conflicts(changes: Iterable[Change], view: View, context: Context) -> list[str]:
    """Files that would be overwritten though hardway did not put them there."""
    return [
        change.key.partition(":")[2]
        for change in changes
        if isinstance(change.resource, File | Binary)
        and isinstance(seen := view.observed.get(change.key), Present)
        and change.key not in view.journal.entries
        and not change.resource.has_content(seen.value, context)
    ]


def _orphans(wanted: Sequence[Placed], view: View, machine: str) -> list[Change]:
    declared = {one.resource.key for one in wanted}
    keys = [key for key in view.journal.entries if key not in declared and key.partition(":")[0] in KINDS]
    # What runs stops before its file goes; then the newest first.
    newest = list(reversed(keys))
    ordered = sorted(newest, key=lambda key: not key.startswith("service:"))
    return [
        Change(machine, view.journal.entries[key].get("phase", ""), key, Difference("delete", "is no longer declared"))
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


def by_machine(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """The changes of each machine, in their order."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.machine, []).append(change)
    return groups

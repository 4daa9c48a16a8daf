"""What differs between what is declared and what was seen. Pure: it is handed observations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hardway.declare.phases.base import Placed
from hardway.declare.resources import KINDS, Context, Difference, Present, Resource, Service
from hardway.declare.resources.files import FILE_KINDS, Binary, File
from hardway.declare.undo import is_ours
from hardway.engine.observe import View


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
        return self.resource is None and self.key.partition(":")[0] in (*FILE_KINDS, "directory")

    @property
    def restarts(self) -> bool:
        return self.difference.verb in ("start", "restart", "reload")


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
    keys = [
        key for key in view.journal.entries if key not in declared and key.partition(":")[0] in KINDS and is_ours(key)
    ]
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


def by_machine(changes: Iterable[Change]) -> dict[str, list[Change]]:
    """The changes of each machine, in their order."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.machine, []).append(change)
    return groups

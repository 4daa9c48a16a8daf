"""The map with what verify found: each machine, component and connection as good as what was seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hardway.events import Proved
from hardway.values import OPERATOR
from hardway.views.items import Item
from hardway.views.map.values import Component, Connection, MachineOnMap, Map, Mark
from hardway.views.verification import Verification

_ORDER: tuple[Mark, ...] = ("", "holds", "unseen", "differs", "fails")


def coloured(drawn: Map, found: Verification) -> Map:
    """A component is marked by the differences in what it reads and the proofs that name it; what is nobody's
    in particular marks the machine alone. A connection is as good as its worse end."""
    machines = tuple(_machine(one, found) for one in drawn.machines)
    ends = {(machine.name, one.name): one.mark for machine in machines for one in machine.components}

    def connection(one: Connection) -> Connection:
        marks = [ends[end.machine, end.component] for end in (one.caller, one.server)]
        return replace(one, mark=worst(marks))

    return replace(drawn, machines=machines, connections=tuple(map(connection, drawn.connections)))


def worst(marks: Iterable[Mark]) -> Mark:
    """Of several marks the one to look at first."""
    return max(marks, key=_ORDER.index, default="")


def _machine(machine: MachineOnMap, found: Verification) -> MachineOnMap:
    if machine.name not in (*found.plan.machines, OPERATOR):
        return machine
    if any(one.machine == machine.name for one in found.plan.unobserved):
        components = tuple(replace(one, mark="unseen") for one in machine.components)
        return replace(machine, components=components, mark="unseen")
    items = [one for one in found.plan.items if one.machine == machine.name]
    failed = [one for one in found.failed if one.machine == machine.name]
    components = tuple(replace(one, mark=_component(one, items, failed)) for one in machine.components)
    return replace(machine, components=components, mark=worst([*_marks(items, failed), "holds"]))


def _component(component: Component, items: Sequence[Item], failed: Sequence[Proved]) -> Mark:
    mine = [one for one in items if one.name in component.reads or one.name == f"{component.name}.service"]
    about = [one for one in failed if component.name in one.what]
    return worst([*_marks(mine, about), "holds"])


def _marks(items: Sequence[Item], failed: Sequence[Proved]) -> tuple[Mark, ...]:
    return (*(("differs",) if items else ()), *(("fails",) if failed else ()))

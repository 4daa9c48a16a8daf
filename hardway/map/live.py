"""The map with what verify found: each machine, component and connection as good as what was seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from hardway.declare.phases.base import Proof
from hardway.map.questions import asks_of
from hardway.map.values import Component, Connection, End, MachineOnMap, Map, Mark
from hardway.preview.items import Item
from hardway.values import OPERATOR
from hardway.verify.verification import Verification

_ORDER: tuple[Mark, ...] = ("", "holds", "unknown", "differs", "fails")


def coloured(drawn: Map, found: Verification, proofs: Iterable[tuple[str, Proof]]) -> Map:
    """A component is marked by the differences in what it reads and the proofs whose question is about it; what is
    nobody's in particular marks the machine alone. A connection is as good as its worse end.

    `proofs` are those declared, with their chapters.
    """
    failed = {(one.phase, one.machine, one.what) for one in found.failed}
    failing: set[End] = set()
    for phase, proof in proofs:
        if (phase, proof.machine, proof.name) in failed:
            failing.update(asks_of(phase, proof, drawn.machines))
    machines = tuple(_machine(one, found, failing) for one in drawn.machines)
    marks: dict[End, Mark] = {}
    for machine in machines:
        for component in machine.components:
            marks[End(machine.name, component.name)] = component.mark
    connections: list[Connection] = []
    for one in drawn.connections:
        connections.append(replace(one, mark=worst((marks[one.caller], marks[one.server]))))
    return replace(drawn, machines=machines, connections=tuple(connections))


def worst(marks: Iterable[Mark]) -> Mark:
    """Of several marks the one to look at first."""
    return max(marks, key=_ORDER.index, default="")


def _machine(machine: MachineOnMap, found: Verification, failing: Set[End]) -> MachineOnMap:
    if machine.name not in (*found.plan.machines, OPERATOR):
        return machine
    if any(one.machine == machine.name for one in found.plan.unobserved):
        unknown = tuple(replace(one, mark="unknown") for one in machine.components)
        return replace(machine, components=unknown, mark="unknown")
    items = [one for one in found.plan.items if one.machine == machine.name]
    components: list[Component] = []
    for one in machine.components:
        components.append(replace(one, mark=_component(one, items, End(machine.name, one.name) in failing)))
    own = _mark(bool(items), any(one.machine == machine.name for one in found.failed))
    mark = worst([own, *(one.mark for one in components)])
    return replace(machine, components=tuple(components), mark=mark)


def _component(component: Component, items: Sequence[Item], fails: bool) -> Mark:
    return _mark(any(one.name in (*component.reads, component.unit) for one in items), fails)


def _mark(differs: bool, fails: bool) -> Mark:
    return "fails" if fails else "differs" if differs else "holds"

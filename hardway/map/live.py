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

_ORDER: tuple[Mark, ...] = ("", "holds", "unseen", "differs", "fails")


def coloured(drawn: Map, found: Verification, proofs: Iterable[tuple[str, Proof]]) -> Map:
    """A component is marked by the differences in what it reads and the proofs whose question is about it; what is
    nobody's in particular marks the machine alone. A connection is as good as its worse end.

    `proofs` are those declared, with their chapters.
    """
    failed = {(one.phase, one.machine, one.what) for one in found.failed}
    asked = [(phase, proof) for phase, proof in proofs if (phase, proof.machine, proof.name) in failed]
    failing = {end for phase, proof in asked for end in asks_of(phase, proof, drawn.machines)}
    machines = tuple(_machine(one, found, failing) for one in drawn.machines)
    ends = {(machine.name, one.name): one.mark for machine in machines for one in machine.components}

    def connection(one: Connection) -> Connection:
        marks = [ends[end.machine, end.component] for end in (one.caller, one.server)]
        return replace(one, mark=worst(marks))

    return replace(drawn, machines=machines, connections=tuple(map(connection, drawn.connections)))


def worst(marks: Iterable[Mark]) -> Mark:
    """Of several marks the one to look at first."""
    return max(marks, key=_ORDER.index, default="")


def _machine(machine: MachineOnMap, found: Verification, failing: Set[End]) -> MachineOnMap:
    if machine.name not in (*found.plan.machines, OPERATOR):
        return machine
    if any(one.machine == machine.name for one in found.plan.unobserved):
        components = tuple(replace(one, mark="unseen") for one in machine.components)
        return replace(machine, components=components, mark="unseen")
    items = [one for one in found.plan.items if one.machine == machine.name]
    components = tuple(
        replace(one, mark=_component(one, items, End(machine.name, one.name) in failing)) for one in machine.components
    )
    own = _mark(bool(items), any(one.machine == machine.name for one in found.failed))
    return replace(machine, components=components, mark=worst([own, *(one.mark for one in components)]))


def _component(component: Component, items: Sequence[Item], fails: bool) -> Mark:
    return _mark(any(one.name in (*component.reads, component.unit) for one in items), fails)


def _mark(differs: bool, fails: bool) -> Mark:
    return "fails" if fails else "differs" if differs else "holds"

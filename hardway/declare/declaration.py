"""All that all phases declare, as one value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any

from hardway.declare.operator_files import with_operator_files
from hardway.declare.phases import PHASES
from hardway.declare.phases.base import Model, Phase, Placed, Proof, placed
from hardway.declare.resources import Local, Resource
from hardway.values import sha256


@dataclass(frozen=True)
class Declaration:
    """All that all chapters want, whatever was chosen: no chapter can overlook what another one holds."""

    placed: tuple[Placed, ...]
    local: tuple[tuple[str, Local], ...]
    prove: Callable[[], Iterable[tuple[str, Proof]]] = tuple

    @cached_property
    def proofs(self) -> tuple[tuple[str, Proof], ...]:
        """By phase. Made when they are asked for: many runs only look at what is there."""
        return tuple(self.prove())

    def on(self, machine: str) -> list[Placed]:
        return list(self._by_machine.get(machine, ()))

    @cached_property
    def _by_machine(self) -> dict[str, list[Placed]]:
        groups: dict[str, list[Placed]] = {}
        for one in self.placed:
            groups.setdefault(one.machine, []).append(one)
        return groups

    def of(self, phase: str) -> Declaration:
        """What one chapter declares of it."""
        placed = tuple(one for one in self.placed if one.phase == phase)
        local = tuple(pair for pair in self.local if pair[0] == phase)
        return Declaration(placed, local, lambda: (pair for pair in self.proofs if pair[0] == phase))

    @property
    def resources(self) -> list[Resource]:
        return [one.resource for one in self.placed]

    @property
    def keys(self) -> set[tuple[str, str]]:
        """Machine and key of every resource."""
        return {(one.machine, one.resource.key) for one in self.placed}


@dataclass(frozen=True, eq=False)
class _Asked:
    """A model that is known again by its very cluster, and by what State and versions say."""

    model: Model
    phases: tuple[Phase, ...]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Asked) or self.model.cluster is not other.model.cluster:
            return False
        ours, theirs = self.model, other.model
        return (ours.state, ours.versions, self.phases) == (theirs.state, theirs.versions, other.phases)

    def __hash__(self) -> int:
        return id(self.model.cluster)


def declare(model: Model, phases: Sequence[Phase] = PHASES) -> Declaration:
    """Asks every chapter; raises ValueError where two declare the same thing on one machine.

    A run asks before it looks and after it: where nothing became known in between, that is one value.
    """
    return _declared(_Asked(model, tuple(phases)))


@lru_cache(maxsize=1)
def _declared(asked: _Asked) -> Declaration:
    everything: list[Placed] = []
    local: list[tuple[str, Local]] = []
    for phase in asked.phases:
        everything += placed(phase, asked.model)
        for file in phase.local(asked.model):
            local.append((phase.name, file))
    seen: dict[tuple[str, str], str] = {}
    for one in everything:
        where = (one.machine, one.resource.key)
        if where in seen:
            raise ValueError(f"{one.resource.key} on {one.machine}: declared by {seen[where]} and by {one.phase}")
        seen[where] = one.phase
    everything = with_operator_files(asked.model.cluster, everything)
    return Declaration(tuple(everything), tuple(local), lambda: _proofs(asked))


def _proofs(asked: _Asked) -> Iterator[tuple[str, Proof]]:
    for phase in asked.phases:
        for proof in phase.proofs(asked.model):
            yield phase.name, proof


def digest(thing: Any) -> str:
    """SHA-256 of a declared value; the same in every process (sets have no order of their own)."""
    shallow = {field.name: getattr(thing, field.name) for field in fields(thing)}
    return sha256(json.dumps(shallow, sort_keys=True, default=_plain).encode())


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else sorted(value)

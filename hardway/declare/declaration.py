"""All that all phases declare, as one value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hardway.declare.phases import PHASES
from hardway.declare.phases.base import Model, Phase, Placed, Proof, placed
from hardway.declare.resources import Local
from hardway.values import sha256


@dataclass(frozen=True)
class Declaration:
    """All that all chapters want, whatever was chosen: no chapter can overlook what another one holds."""

    placed: tuple[Placed, ...]
    local: tuple[tuple[str, Local], ...]
    proofs: tuple[tuple[str, Proof], ...]

    def on(self, machine: str) -> list[Placed]:
        return [one for one in self.placed if one.machine == machine]


def declare(model: Model, phases: Sequence[Phase] = PHASES) -> Declaration:
    """Asks every chapter; raises ValueError where two declare the same thing on one machine."""
    everything = tuple(one for phase in phases for one in placed(phase, model))
    seen: dict[tuple[str, str], str] = {}
    for one in everything:
        where = (one.machine, one.resource.key)
        if where in seen:
            raise ValueError(f"{one.resource.key} on {one.machine}: declared by {seen[where]} and by {one.phase}")
        seen[where] = one.phase
    return Declaration(
        placed=everything,
        local=tuple((phase.name, one) for phase in phases for one in phase.local(model)),
        proofs=tuple((phase.name, one) for phase in phases for one in phase.proofs(model)),
    )


def digest(thing: Any) -> str:
    """SHA-256 of a declared value; the same in every process (sets have no order of their own)."""
    return sha256(json.dumps(asdict(thing), sort_keys=True, default=sorted).encode())

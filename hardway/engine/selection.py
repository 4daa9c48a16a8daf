"""What of a run was asked for, and what moves State on while it acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hardway.declare.declaration import Declaration
from hardway.engine.blockers import Blocker
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.inventory.model import Cluster
from hardway.state import State


@dataclass(frozen=True)
class Bootstrap:
    """How a cluster's data comes into being, once. The engine calls it and knows nothing of it.

    `blockers` (cluster, State, phases, machines) says what speaks against a first start by such a run. `begin` (State,
    cluster, phases) gives the State in which it acts, with what is drawn once. `advance` gives the State after changes
    were made, with what was seen of the machines before; the same State where that changes nothing.
    """

    blockers: Callable[[Cluster, State, Collection[str], Collection[str]], Iterable[Blocker]]
    begin: Callable[[State, Cluster, Collection[str]], State]
    advance: Callable[[State, Declaration, Mapping[str, View], Sequence[Change]], State]


@dataclass(frozen=True)
class Selection:
    """What of a run was asked for: changes are filtered by it, declarations never.

    `operation` is the command of the one whose stage this is; a run of `init` or `apply` has none.
    """

    phases: tuple[str, ...]
    machines: frozenset[str]
    bootstrap: Bootstrap
    adopt: bool = False
    operation: str = ""

    def has(self, change: Change) -> bool:
        return change.phase in self.phases and change.machine in self.machines

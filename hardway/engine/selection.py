"""What of a run was asked for, and what moves State on while it acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hardway.declare.declaration import Declaration
from hardway.declare.resources import File, Service
from hardway.engine.blockers import Blocker
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.inventory.model import Cluster
from hardway.state import State
from hardway.values import placeholders


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
class Renewal:
    """A run that takes certificates to where they are used, and nothing else that may differ there.

    `paths` are files of the workspace that it makes again though they are as declared.
    """

    paths: frozenset[str] = frozenset()


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
    renewal: Renewal | None = None

    @property
    def again(self) -> frozenset[str]:
        """Files of the workspace that are made though they are as declared."""
        return self.renewal.paths if self.renewal else frozenset()

    @property
    def settled(self) -> Selection:
        """What is left of it once all files of the workspace are made."""
        return replace(self, renewal=Renewal()) if self.renewal else self

    def has(self, change: Change) -> bool:
        chosen = change.phase in self.phases and change.machine in self.machines
        return chosen and (self.renewal is None or _carries_certificates(change))


def _carries_certificates(change: Change) -> bool:
    """Whether it brings a file with a certificate or its key, or has a process take up what it reads."""
    if isinstance(change.resource, Service):
        return change.restarts
    file = change.resource
    return isinstance(file, File) and any(one.name.startswith("pki/") for one in placeholders(file.text))

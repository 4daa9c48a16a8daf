"""What a chapter is: a pure function from the model to resources placed on machines, and to proofs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hardway.declare.resources import Local, Resource
from hardway.inventory.model import Cluster, Machine
from hardway.state import ControlState, State
from hardway.values import Placeholder, minor

Expectation = Literal["succeeds", "equals", "contains", "starts-with"]


@dataclass(frozen=True)
class Model:
    """All that a phase may know: what is wanted, what was decided, and which versions go together.

    `versions` maps a component of the catalogue (`kubernetes`, `etcd`, `containerd` …) to its version.
    """

    cluster: Cluster
    state: State
    versions: Mapping[str, str]

    def kubernetes(self, part: str) -> str:
        """The version of a part of the cluster, as `hardway.state.Upgrade` names them."""
        return self.state.kubernetes_of(part, self.versions["kubernetes"])

    def emulated(self, part: str) -> str:
        """The minor release as which a newer one behaves; empty for a part that behaves as what it is."""
        upgrade = self.state.upgrade
        if upgrade is None or part in upgrade.behind:
            return ""
        before = minor(upgrade.before)
        return before if before != minor(self.kubernetes(part)) else ""

    def overrides(self, component: str, machine: Machine) -> Mapping[str, object]:
        """The operator's `settings:` for a component on a machine."""
        return self.cluster.settings_for(component, machine)

    def control(self, machine: Machine) -> ControlState:
        """How far a controller takes part; all of it where nothing else is noted."""
        node = self.state.nodes.get(machine.name)
        return node.control if node else ""

    @property
    def members(self) -> tuple[Machine, ...]:
        """The controllers that are members of etcd."""
        return tuple(one for one in self.cluster.controllers if self.control(one) != "prepared")

    @property
    def api_servers(self) -> tuple[Machine, ...]:
        """The controllers on which the API is served."""
        return tuple(one for one in self.members if self.control(one) != "member")

    def asked_by(self, machine: Machine) -> list[Machine]:
        """The members of etcd that a controller's API server asks: the one beside it first."""
        others = [one for one in self.members if one.name != machine.name and self.control(one) in ("", "replacing")]
        return [machine, *others]


@dataclass(frozen=True)
class Placed:
    """A resource, where it goes, and the chapter that declared it."""

    machine: str
    phase: str
    resource: Resource


@dataclass(frozen=True)
class Proof:
    """A read-only question to a machine, and the answer that proves the chapter.

    `query` is sh, run as root there; `expected` is compared with its standard output, stripped,
    as `expectation` says (`succeeds`: status 0 is enough). `within` is how many seconds it may take to
    come true after a change. `one_of` are machines that are asked the same: where all of them are, exactly one must
    print something.
    """

    machine: str
    name: str
    query: str
    why: str
    expectation: Expectation = "succeeds"
    expected: str = ""
    within: float = 0
    one_of: tuple[str, ...] = ()

    def holds(self, code: int, output: str) -> bool:
        said = output.strip()
        match self.expectation:
            case "succeeds":
                return code == 0
            case "equals":
                return code == 0 and said == self.expected
            case "contains":
                return code == 0 and self.expected in said
            case "starts-with":
                return code == 0 and said.startswith(self.expected)


Declared = tuple[str, Resource]
"""A machine's name and what should be there."""


@dataclass(frozen=True)
class Phase:
    """One chapter of the tutorial.

    `resources` yields what goes on machines, in the order in which it is to be put there; `local`
    what is in the operator's workspace, dependencies first; `proofs` what must then hold.
    """

    name: str
    title: str
    why: str
    resources: Callable[[Model], Iterable[Declared]]
    proofs: Callable[[Model], Iterable[Proof]]
    local: Callable[[Model], Iterable[Local]] = lambda model: ()


def placed(phase: Phase, model: Model) -> Iterator[Placed]:
    for machine, resource in phase.resources(model):
        yield Placed(machine, phase.name, resource)


def pki_placeholder(name: str, *, form: Literal["plain", "base64"] = "plain") -> str:
    """The placeholder for a file below `pki/`; private keys are secret."""
    return str(Placeholder(f"pki/{name}", form, secret=name.endswith(".key")))


def fact_placeholder(name: str) -> str:
    """The placeholder for what is known only when a machine has been seen, such as `cgroup-driver`."""
    return str(Placeholder(f"fact/{name}"))

"""What a rule is, what it may look at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from hardway.facts import Facts
from hardway.inventory.model import Cluster, Machine
from hardway.probe.host import Host
from hardway.probe.network import Reached
from hardway.probe.setup.model import Setup
from hardway.probe.symptoms import Snapshot

Level = Literal["error", "warning"]
Need = Literal["facts", "hosts", "setup", "symptoms"]
Layer = Literal["inventory", "machine", "network", "trust", "etcd", "control plane", "workers", "add-ons"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
"""What stands on what, lowest first: where several things are wrong, the lower one is fixed first."""


@dataclass(frozen=True)
class Evidence:
    """What is known when rules are asked, by machine name.

    `facts` come with every probe. `hosts` are what machines were before hardway put anything there, `reached` which
    ports of others each got through to.
    `case` is a cluster that does not work, as doctor saw it. `clock` is the operator's, in seconds since
    the epoch, at the time of the facts.
    """

    cluster: Cluster
    facts: Mapping[str, Facts] = field(default_factory=dict)
    hosts: Mapping[str, Host] = field(default_factory=dict)
    clock: float | None = None
    snapshot: Snapshot | None = None
    setup: Setup | None = None
    reached: Mapping[str, Mapping[tuple[str, int], Reached]] = field(default_factory=dict)

    @property
    def has(self) -> frozenset[Need]:
        known: dict[Need, bool] = {
            "facts": bool(self.facts), "hosts": bool(self.hosts), "setup": self.setup is not None,
            "symptoms": self.snapshot is not None,
        }  # fmt: skip
        return frozenset(need for need, there in known.items() if there)

    def seen(self) -> Iterator[tuple[Machine, Facts]]:
        """Machines with their facts, in inventory order."""
        for machine in self.cluster.machines:
            if machine.name in self.facts:
                yield machine, self.facts[machine.name]

    def bare(self) -> Iterator[tuple[Machine, Host]]:
        """Machines on which hardway has done nothing yet, in inventory order."""
        for machine in self.cluster.machines:
            if machine.name in self.hosts:
                yield machine, self.hosts[machine.name]


@dataclass(frozen=True)
class Found:
    """What a rule saw on a machine; `fix` where it depends on what was seen, one command a line.

    `evidence` is what machines said, a line each; `symptom` how one would notice it otherwise.
    """

    machine: str
    what: str
    fix: str = ""
    evidence: tuple[str, ...] = ()
    symptom: str = ""


@dataclass(frozen=True)
class Rule:
    """One thing that goes wrong. `needs` says what of the Evidence `find` looks at; an error stops a run.

    `explains` names rules whose findings on the same machine follow from this one, `reaches` those whose
    findings on any machine do. `refuses`: no run begins while this is found, so what a run would fix waits for it.
    `detects` is what it looks for, and `symptom` how one would notice that otherwise: a
    chapter, a colon, and what is said there.
    """

    id: str
    needs: frozenset[Need]
    find: Callable[[Evidence], Iterable[Found]]
    why: str
    fix: str
    level: Level = "error"
    layer: Layer = "machine"
    explains: frozenset[str] = frozenset()
    reaches: frozenset[str] = frozenset()
    refuses: bool = False
    detects: str = ""
    symptom: str = ""


@dataclass(frozen=True)
class Finding:
    """What a rule found, for people: each with its next move."""

    machine: str
    rule: str
    what: str
    fix: str
    level: Level
    why: str = ""
    evidence: tuple[str, ...] = ()
    symptom: str = ""


def examine(rules: Sequence[Rule], evidence: Evidence) -> list[Finding]:
    """Asks every rule for which enough is known; errors first, then in the rules' order."""
    findings: list[Finding] = []
    for rule in rules:
        for found in rule.find(evidence) if rule.needs <= evidence.has else ():
            fix, symptom = found.fix or rule.fix, found.symptom or rule.symptom
            findings.append(
                Finding(found.machine, rule.id, found.what, fix, rule.level, rule.why, found.evidence, symptom)
            )
    return sorted(findings, key=lambda one: one.level != "error")

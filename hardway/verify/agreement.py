"""Do the artifacts agree with each other? What the rules find, of a declaration or of machines set up by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.plan import check_workspace, declared
from hardway.inventory.model import Cluster
from hardway.lint import rules as across
from hardway.lint.declared import declared_setup
from hardway.preview.plan import Unobserved
from hardway.probe.setup.model import Setup
from hardway.rules import Evidence, Finding, examine
from hardway.state import State
from hardway.values import OPERATOR


@dataclass(frozen=True)
class Agreement:
    """What was found. `rules` are the identifiers of all that were asked, `saw` by machine what there was to judge;
    `unknown` are single files and `unobserved` whole machines that could not be checked."""

    cluster: str
    made: str
    machines: tuple[str, ...]
    rules: tuple[str, ...]
    findings: tuple[Finding, ...]
    saw: Mapping[str, str]
    unknown: tuple[Unobserved, ...] = ()
    unobserved: tuple[Unobserved, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.level == "error")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(cluster: Cluster, setup: Setup, unobserved: Sequence[Unobserved] = ()) -> Agreement:
    """Asks every rule across artifacts."""
    unknown: list[Unobserved] = []
    for machine in setup.machines.values():
        unknown += [Unobserved(machine.name, path, why) for path, why in machine.unknown.items()]
    seen = [one for one in setup.machines.values() if one.components or one.loose or one.loose_kubeconfigs]
    return Agreement(
        cluster=cluster.name,
        made=setup.made,
        machines=tuple(one.name for one in seen if one.name != OPERATOR),
        rules=tuple(rule.id for rule in across.RULES),
        findings=tuple(examine(across.RULES, Evidence(cluster, setup=setup))),
        saw={name: _saw(setup, name) for name in setup.machines},
        unknown=tuple(unknown),
        unobserved=tuple(unobserved),
    )


def _saw(setup: Setup, name: str) -> str:
    """`kube-apiserver, etcd; 5 certificates, 3 kubeconfigs`."""
    machine = setup.machines[name]
    certificates = len({one.where for other, one in setup.certificates() if other.name == name})
    kubeconfigs = len(machine.kubeconfigs) + len(machine.loose_kubeconfigs)
    counts = ((certificates, "certificate"), (kubeconfigs, "kubeconfig"))
    parts = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count]
    return "; ".join(filter(None, (", ".join(machine.components), ", ".join(parts))))


def offline(cluster: Cluster, state: State, values: Mapping[str, bytes], *, renewing: bool) -> Agreement:
    """Judges the declaration of all chapters; contacts nobody.

    `values` are the workspace's files. With `renewing`, what a run would issue again is judged as it will be.
    """
    now = datetime.now(UTC)
    _, declaration = declared(cluster, state)
    kept = check_workspace(declaration, values, PHASE_NAMES, now).values if renewing else values
    return judge(cluster, declared_setup(cluster, declaration, kept, now))

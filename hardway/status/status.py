"""How is it? One screen's worth of a running cluster: one observation, and one question more to each machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from hardway.declare import pki
from hardway.declare.phases import virtual_address
from hardway.declare.phases.etcd import client_url
from hardway.declare.phases.paths import BIN
from hardway.declare.resources import Chain, WorkspaceFile
from hardway.engine.observe import View
from hardway.engine.plan import Plan
from hardway.engine.session import Session
from hardway.inventory.model import Cluster, Machine
from hardway.lint.rules.times import is_pending
from hardway.preview.plan import Preview
from hardway.probe import certificates, control
from hardway.probe.control import Member, MemberStatus, Node
from hardway.probe.script import Answers, Question, understood
from hardway.values import OPERATOR

UP = Question("up", "echo $(( $(date +%s) - $(stat -c %Y /proc/1) ))")


@dataclass(frozen=True)
class EtcdMember:
    """`serving` is None for a member that is no machine of the inventory, so nobody asked it. `size` and `in_use`
    are in bytes: the difference is what `etcdctl defrag` gives back.
    """

    name: str
    endpoint: str
    serving: bool | None
    version: str = ""
    leader: bool = False
    learner: bool = False
    alarms: tuple[str, ...] = ()
    size: int = 0
    in_use: int = 0
    revision: int = 0


@dataclass(frozen=True)
class Etcd:
    """`leader` is a member's name; empty where none was seen."""

    members: tuple[EtcdMember, ...] = ()
    leader: str = ""


@dataclass(frozen=True)
class CertificateStatus:
    """`path` is on the machine, with `#ca` or `#client` in a kubeconfig; of the operator's in the workspace."""

    name: str
    machine: str
    path: str
    not_after: datetime
    days_left: int


@dataclass(frozen=True)
class Waiting:
    """Something that no ordinary run does, and the command that does it."""

    what: str
    command: str


@dataclass(frozen=True)
class MachineStatus:
    """`api` and `node` are empty where the machine has none of it; `up` is in seconds.

    `versions`, by component: what etcd and the kubelet say of themselves, else what hardway has installed.
    """

    name: str
    roles: tuple[str, ...]
    reachable: bool
    os: str = ""
    up: float = 0
    api: Literal["", "ready", "not ready"] = ""
    node: Literal["", "ready", "not ready", "not registered", "unknown"] = ""
    cordoned: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return self.reachable and self.api in ("", "ready") and self.node in ("", "ready")


@dataclass(frozen=True)
class Status:
    """`certificates` are ordered by the ends of their lives; `differing` counts what is not as declared. `pending` are
    CAs near their ends."""

    cluster: str
    endpoint: str
    kubernetes: str
    etcd: Etcd
    machines: tuple[MachineStatus, ...]
    certificates: tuple[CertificateStatus, ...]
    differing: int
    complete: bool
    pending: tuple[Waiting, ...] = ()
    holders: tuple[str, ...] | None = None
    """The load balancers that have the virtual address: one, where all is well. None where there is no such address."""

    @property
    def well(self) -> bool:
        etcd = all(one.serving is not False and not one.alarms for one in self.etcd.members)
        held = self.holders is None or len(self.holders) == 1
        return self.complete and etcd and held and all(machine.well for machine in self.machines)

    def to_json(self) -> dict[str, Any]:
        certificates = [{**asdict(one), "not_after": one.not_after.isoformat()} for one in self.certificates]
        return {**asdict(self), "certificates": certificates, "well": self.well}


def status(session: Session, plan: Plan, shown: Preview) -> Status:
    """Asks each machine one more thing: how its own part does."""
    cluster = session.cluster
    answers = session.each(plan.views, lambda name: _ask(session, cluster, cluster.machine(name)))
    nodes = _nodes(session, answers)
    etcd = status_of_etcd(cluster, answers)

    def machine(name: str) -> MachineStatus:
        with understood(name, "how it is"):
            return _machine(cluster.machine(name), plan.views.get(name), answers.get(name), etcd, nodes)

    return Status(
        cluster=cluster.name,
        endpoint=cluster.api_url,
        kubernetes=cluster.kubernetes,
        etcd=etcd,
        machines=tuple(map(machine, shown.machines)),
        certificates=_certificates(plan, answers),
        differing=len(shown.items),
        complete=not shown.unobserved,
        pending=tuple(_waiting(plan)),
        holders=_holders(cluster, answers),
    )


def _waiting(plan: Plan) -> Iterator[Waiting]:
    """What a command of its own does, and no run."""
    for finding in plan.findings:
        if is_pending(finding):
            yield Waiting(finding.what, finding.fix)
    for one in plan.blockers:
        if one.kind.startswith("pending:") and one.command:
            yield Waiting(f"{one.machine} {one.what}" if one.machine else one.what, one.command)


def _ask(session: Session, cluster: Cluster, machine: Machine) -> Answers:
    questions = [UP, certificates.QUESTION]
    if machine.is_load_balancer and cluster.virtual_address:
        questions.append(Question("holds", virtual_address.holds(cluster)))
    if machine.is_controller:
        questions += [control.STATUS, control.MEMBERS, control.READY]
    return session.ask(machine.name, questions, what="ask how it is")


def _holders(cluster: Cluster, answers: Mapping[str, Answers]) -> tuple[str, ...] | None:
    if cluster.virtual_address is None:
        return None
    return tuple(
        one.name for one in cluster.load_balancers if one.name in answers and answers[one.name]["holds"].code == 0
    )


def _is_ready(answers: Answers) -> bool:
    return answers[control.READY.name].text == "ok"


def _nodes(session: Session, answers: Mapping[str, Answers]) -> Mapping[str, Node] | None:
    """By name, asked on the first controller whose API server is ready; None where there is none."""
    for name, said in answers.items():
        if _is_ready(said):
            return control.nodes(session.ask(name, [control.NODES], what="ask for nodes"))
    return None


def status_of_etcd(cluster: Cluster, answers: Mapping[str, Answers]) -> Etcd:
    """The inventory's controllers, and all other members."""
    statuses: dict[str, MemberStatus] = {}
    listed: Sequence[Member] = ()
    for name, said in answers.items():
        if found := control.member_status(said):
            statuses[name] = found
        listed = listed or control.members(said)
    names = [machine.name for machine in cluster.controllers]
    others = [one for one in listed if one.name not in names]
    members = [_member(machine, statuses.get(machine.name), listed) for machine in cluster.controllers]
    members += [EtcdMember(one.name or one.peer, one.client, None, learner=one.learner) for one in others]
    alarms = control.alarms(statuses.values())
    identities = {one.name or one.peer: one.identity for one in listed}
    identities |= {name: one.identity for name, one in statuses.items()}
    raised = [replace(one, alarms=alarms.get(identities.get(one.name, ""), ())) for one in members]
    return Etcd(tuple(raised), next((one.name for one in members if one.leader), ""))


def _member(machine: Machine, status: MemberStatus | None, listed: Sequence[Member]) -> EtcdMember:
    known = next((one for one in listed if one.name == machine.name), None)
    endpoint = known.client if known else client_url(machine)
    if status is None:
        return EtcdMember(machine.name, endpoint, False, learner=known is not None and known.learner)
    leads = status.leader == status.identity
    return EtcdMember(
        machine.name,
        endpoint,
        True,
        status.version,
        leads,
        status.learner,
        size=status.size,
        in_use=status.in_use,
        revision=status.revision,
    )


def _machine(
    machine: Machine, view: View | None, said: Answers | None, etcd: Etcd, nodes: Mapping[str, Node] | None
) -> MachineStatus:
    roles = tuple(sorted(machine.roles))
    if view is None or said is None:
        return MachineStatus(machine.name, roles, False)
    node = nodes.get(machine.name) if nodes else None
    return MachineStatus(
        machine.name,
        roles,
        True,
        os=f"{view.facts.os} {view.facts.os_version}".strip(),
        up=int(said["up"].text or 0),
        api=("ready" if _is_ready(said) else "not ready") if machine.is_controller else "",
        node=_node(node, nodes is not None) if machine.is_worker else "",
        cordoned=node is not None and node.unschedulable,
        versions=_versions(view, next((one.version for one in etcd.members if one.name == machine.name), ""), node),
    )


def _node(node: Node | None, known: bool) -> Literal["ready", "not ready", "not registered", "unknown"]:
    if node is None:
        return "not registered" if known else "unknown"
    return "ready" if node.ready else "not ready"


def _versions(view: View, etcd: str, node: Node | None) -> dict[str, str]:
    found = {}
    for key, entry in view.journal.entries.items():
        kind, _, path = key.partition(":")
        place = PurePosixPath(path)
        if kind == "binary" and str(place.parent) == BIN and "version" in entry:
            found[place.name] = str(entry["version"])
    if etcd:
        found["etcd"] = etcd
    if node and node.version:
        found["kubelet"] = node.version.removeprefix("v")
    return dict(sorted(found.items()))


def _certificates(plan: Plan, answers: Mapping[str, Answers]) -> tuple[CertificateStatus, ...]:
    seen: list[tuple[str, str, pki.Certificate]] = []
    collected = {one.path for _, one in plan.declaration.local if isinstance(one, WorkspaceFile | Chain)}
    for path, pem in plan.operator.items():
        if path.startswith("pki/") and path.endswith(".crt") and path not in collected:
            seen.append((OPERATOR, path, pki.read(pem)))
    for name, said in answers.items():
        for path, certificate in certificates.parse(said).items():
            if certificate is not None:
                seen.append((name, path, certificate))
    found = []
    for machine, path, one in seen:
        days = (one.not_after - plan.now).days
        found.append(CertificateStatus(one.common_name, machine, path, one.not_after, days))
    return tuple(sorted(found, key=lambda one: (one.not_after, one.machine, one.path)))

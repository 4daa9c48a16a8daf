"""What is wrong with a cluster now, from what status, plan and certs check have seen. Nothing is asked here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from hardway.certificates.check import Certificates, OnDisk, Served
from hardway.console.words import counted
from hardway.errors import DIFFERS, OK
from hardway.preview.plan import Preview
from hardway.status.status import Etcd, MachineStatus, Status
from hardway.values import majority

Kind = Literal["machine", "blocked", "drift", "certificate", "etcd", "quorum", "api", "node", "address", "backup"]
NAMED = 3
"""How many of several things are named."""


@dataclass(frozen=True)
class Finding:
    """`subject` is the machine, or what on it or of the cluster; `next` a command."""

    kind: Kind
    subject: str
    what: str
    next: str


@dataclass(frozen=True)
class Backups:
    """What was asked of them: `taken` is when the newest was, None where there is none."""

    folder: str
    taken: datetime | None
    max_age: timedelta


@dataclass(frozen=True)
class Watched:
    """One look. `quorum` is how many members must serve; `certificate_ends` the first end of all certificates.

    `backup_taken` is None where there is no backup, or nobody asked.
    """

    cluster: str
    at: datetime
    findings: tuple[Finding, ...]
    machines: int
    reached: int
    members: int
    serving: int
    quorum: int
    nodes: int
    ready: int
    certificate_ends: datetime | None
    backup_taken: datetime | None

    @property
    def well(self) -> bool:
        return not self.findings

    @property
    def exit_code(self) -> int:
        return OK if self.well else DIFFERS

    @property
    def verdict(self) -> list[str]:
        """What the cluster's state comes to: while it is the same, nothing has changed for the one who watches."""
        return sorted({f"{one.kind} {one.subject}" for one in self.findings})

    def to_json(self) -> dict[str, Any]:
        times = {}
        for name in ("at", "certificate_ends", "backup_taken"):
            value = getattr(self, name)
            times[name] = value.isoformat() if value else None
        return {**asdict(self), **times, "well": self.well}


def judged(found: Status, shown: Preview, certificates: Certificates, backups: Backups | None) -> Watched:
    """All findings of one look, in the order in which somebody would see to them."""
    now = certificates.at
    voters = [member for member in found.etcd.members if not member.learner]
    serving = sum(member.serving is True for member in voters)
    workers = [machine for machine in found.machines if "worker" in machine.roles]
    ends = [one.certificate.not_after for one in certificates.disk]
    ends += [one.certificate.not_after for one in certificates.served if one.certificate]
    findings = [
        *_machines(found, shown),
        *_quorum(len(voters), serving),
        *_etcd(found.etcd),
        *_services(found.machines),
        *_address(found),
        *_blocked(shown),
        *_drift(shown),
        *_certificates(certificates),
        *(_backups(backups, now) if backups else ()),
    ]
    return Watched(
        found.cluster,
        now,
        tuple(findings),
        machines=len(found.machines),
        reached=sum(machine.reachable for machine in found.machines),
        members=len(voters),
        serving=serving,
        quorum=majority(len(voters)),
        nodes=len(workers),
        ready=sum(machine.node == "ready" for machine in workers),
        certificate_ends=min(ends, default=None),
        backup_taken=backups.taken if backups else None,
    )


def _machines(found: Status, shown: Preview) -> Iterator[Finding]:
    why = {one.machine: one.why for one in shown.unobserved}
    for machine in found.machines:
        if not machine.reachable:
            said = why.get(machine.name, "it does not answer")
            yield Finding("machine", machine.name, f"could not be looked at: {said}", "hardway doctor")


def _quorum(voters: int, serving: int) -> Iterator[Finding]:
    needed = majority(voters)
    if serving < needed:
        what = f"{serving} of {voters} members serve, and {needed} must: nothing can be written"
        yield Finding("quorum", "etcd", what, "hardway doctor")
    elif serving == needed < voters:
        what = f"{serving} of {voters} members serve, and {needed} must: if one more fails, nothing can be written"
        yield Finding("quorum", "etcd", what, "hardway doctor")


def _etcd(etcd: Etcd) -> Iterator[Finding]:
    for member in etcd.members:
        if member.serving is None:
            what = "is a member of etcd, and no machine of the inventory"
            yield Finding("etcd", member.name, what, "hardway etcd status")
        elif not member.serving:
            yield Finding("etcd", member.name, "its etcd does not serve", f"hardway logs {member.name} etcd")
        for alarm in member.alarms:
            yield Finding("etcd", f"{member.name} {alarm}", f"etcd raised {alarm}", "hardway etcd alarm")
    if not etcd.leader and any(member.serving for member in etcd.members):
        yield Finding("etcd", "leader", "nobody leads", "hardway etcd status")


def _services(machines: tuple[MachineStatus, ...]) -> Iterator[Finding]:
    for machine in machines:
        if machine.api == "not ready":
            what = "its API server is not ready"
            yield Finding("api", machine.name, what, f"hardway logs {machine.name} kube-apiserver")
        if machine.node in ("not ready", "not registered"):
            yield Finding("node", machine.name, f"its node is {machine.node}", f"hardway logs {machine.name} kubelet")
    if any(machine.node == "unknown" for machine in machines):
        yield Finding("node", "all", "no API server answers: whether nodes are ready is not known", "hardway doctor")


def _address(found: Status) -> Iterator[Finding]:
    if found.holders is not None and len(found.holders) != 1:
        where = " and ".join(found.holders) or "no load balancer"
        yield Finding("address", "API", f"its address is on {where}", "hardway doctor")


def _blocked(shown: Preview) -> Iterator[Finding]:
    for one in shown.blockers:
        yield Finding("blocked", f"{one.machine or shown.cluster} {one.kind}", one.what, one.command or "hardway plan")


def _drift(shown: Preview) -> Iterator[Finding]:
    differing: dict[str, list[str]] = defaultdict(list)
    for item in shown.items:
        differing[item.machine].append(f"{item.verb} {item.name}")
    for one in shown.unknown:
        differing[one.machine].append(f"{one.what} could not be looked at")
    for machine, items in differing.items():
        yield Finding("drift", machine, f"{counted(len(items), 'difference')}: {_named(items)}", "hardway plan")


def _certificates(certificates: Certificates) -> Iterator[Finding]:
    ending: dict[str, list[OnDisk | Served]] = defaultdict(list)
    for one in certificates.ending:
        ending[one.machine].append(one)
    for machine, several in ending.items():
        told = [_end(one) for one in several]
        yield Finding("certificate", machine, _named(told), "hardway certs renew")
    for served in certificates.differing:
        what = f"{served.component} shows another certificate than {served.path} has"
        yield Finding("certificate", f"{served.machine} {served.component}", what, "hardway certs check")
    for served in certificates.silent:
        what = f"{served.component} shows no certificate at {served.address}"
        yield Finding("certificate", f"{served.machine} {served.component}", what, "hardway certs check")


def _end(one: OnDisk | Served) -> str:
    place = one.path or (one.component if isinstance(one, Served) else one.name)
    if one.certificate is None or one.certificate.age != "ending":
        return f"{place} is {one.certificate.age if one.certificate else 'not served'}"
    return f"{place} ends in {counted(one.certificate.days_left, 'day')}"


def _backups(backups: Backups, now: datetime) -> Iterator[Finding]:
    again = f"hardway backup {backups.folder}"
    if backups.taken is None:
        yield Finding("backup", backups.folder, "there is no backup of this cluster", again)
    elif now - backups.taken > backups.max_age:
        hours = (now - backups.taken) // timedelta(hours=1)
        yield Finding("backup", backups.folder, f"the newest is {counted(hours, 'hour')} old", again)


def _named(things: list[str]) -> str:
    more = [f"and {len(things) - NAMED} more"] if len(things) > NAMED else []
    return ", ".join([*things[:NAMED], *more])

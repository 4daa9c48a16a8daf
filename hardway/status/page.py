"""The state of a cluster on one screen."""

from __future__ import annotations

from hardway.console.tables import table
from hardway.console.words import counted, duration, size, uptime, wrapped
from hardway.status.status import Etcd, EtcdMember, MachineStatus, Status
from hardway.values import OPERATOR

_HEAD = ("MACHINE", "ROLE", "SYSTEM", "UP", "ETCD", "API", "NODE", "VERSION")


def status_page(found: Status, *, seconds: float, width: int = 80) -> list[str]:
    """Within the width."""
    members = {member.name: member for member in found.etcd.members}
    rows = [_row(machine, members.get(machine.name)) for machine in found.machines]
    lines = [f"{found.cluster}  Kubernetes {found.kubernetes}  {found.endpoint}", ""]
    lines += table(_HEAD, rows, width).splitlines()
    lines += ["", f"etcd          {_quorum(found.etcd)}"]
    if found.holders is not None:
        lines.append(f"API           its address is on {' and '.join(found.holders) or 'no load balancer'}")
    if found.certificates:
        first = found.certificates[0]
        where = first.path if first.machine == OPERATOR else f"{first.path} on {first.machine}"
        lines.append(f"certificates  the next to expire is {where}, in {counted(first.days_left, 'day')}")
    for one in found.pending:
        lines += wrapped("pending       ", f"{one.what}: {one.command}", width, " " * 14)
    seen = sum(machine.reachable for machine in found.machines)
    drift = "as declared" if not found.differing else f"{counted(found.differing, 'difference')}: hardway plan"
    lines.append(f"drift         {drift} ({seen} of {counted(len(found.machines), 'machine')}, {duration(seconds)})")
    return lines


def etcd_page(found: Etcd) -> list[str]:
    """A line for each member."""
    head = ("MEMBER", "ETCD", "SIZE", "IN USE", "REVISION", "VERSION", "ALARMS")
    rows = []
    for member in found.members:
        sizes = (size(member.size), size(member.in_use), str(member.revision)) if member.serving else ("", "", "")
        rows.append((member.name, _member(member), *sizes, member.version, ", ".join(member.alarms) or "-"))
    return [*table(head, rows, 120).splitlines(), "", _quorum(found)]


def _row(machine: MachineStatus, member: EtcdMember | None) -> tuple[str, ...]:
    roles = " ".join(machine.roles)
    if not machine.reachable:
        return machine.name, roles, "not reached", "", "", "", "", ""
    node = {"ready": "Ready", "not ready": "NotReady", "unknown": "not known"}.get(machine.node, machine.node)
    if machine.cordoned:
        node += ", cordoned"
    version = machine.versions.get("kubelet") or machine.versions.get("kube-apiserver", "")
    return (
        machine.name, roles, machine.os, uptime(machine.up), _member(member), machine.api or "-", node or "-", version
    )  # fmt: skip


def _member(member: EtcdMember | None) -> str:
    if member is None:
        return "-"
    if not member.serving:
        return "not up"
    return "leader" if member.leader else "learner" if member.learner else "follows"


def _quorum(etcd: Etcd) -> str:
    """`3 of 3 serving, 3.6.14, controller-1 leads`."""
    serving = [member for member in etcd.members if member.serving]
    words = [f"{len(serving)} of {len(etcd.members)} serving", *sorted({member.version for member in serving})]
    words.append(f"{etcd.leader} leads" if etcd.leader else "no leader seen")
    for member in etcd.members:
        words += [f"{member.name} raised {alarm}" for alarm in member.alarms]
    return ", ".join(filter(None, words))

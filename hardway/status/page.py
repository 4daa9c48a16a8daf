"""The state of a cluster on one screen."""

from __future__ import annotations

from datetime import datetime

from hardway.console.tables import table
from hardway.console.words import counted, duration, uptime
from hardway.status.status import MachineStatus, Status

_HEAD = ("MACHINE", "ROLE", "SYSTEM", "UP", "ETCD", "API", "NODE", "VERSION")


def status_page(found: Status, now: datetime, *, seconds: float, width: int = 80) -> list[str]:
    """Within the width."""
    lines = [f"{found.cluster}  Kubernetes {found.kubernetes}  {found.endpoint}", ""]
    lines += table(_HEAD, [_row(one) for one in found.machines], width).splitlines()
    lines += ["", f"etcd          {found.etcd}"]
    if found.expires:
        days = (found.expires - now).days
        lines.append(f"certificates  the next to expire is {found.certificate}, in {counted(days, 'day')}")
    seen = sum(one.reachable for one in found.machines)
    drift = "as declared" if not found.differing else f"{counted(found.differing, 'difference')}: hardway plan"
    lines.append(f"drift         {drift} ({seen} of {counted(len(found.machines), 'machine')}, {duration(seconds)})")
    return lines


def _row(one: MachineStatus) -> tuple[str, ...]:
    roles = " ".join(one.roles)
    if not one.reachable:
        return one.name, roles, "not reached", "", "", "", "", ""
    return one.name, roles, one.os, uptime(one.up), one.etcd or "-", one.api or "-", one.node or "-", one.version

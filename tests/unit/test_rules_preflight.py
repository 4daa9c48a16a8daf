"""Preflight looks closely at bare machines only, and a run that changes nothing costs no second look."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hardway.declare.resources import Directory, Unknown
from hardway.declare.resources.base import Observed
from hardway.engine.observe import View
from hardway.engine.session import Session
from hardway.facts import SCRIPT, parse
from hardway.inventory.model import Cluster, Machine
from hardway.journal import Journal
from hardway.preflight.preflight import preflight
from hardway.remote import Result
from hardway.rules import Finding
from hardway.workspace import Workspace

WORKER = Machine("w0", frozenset({"worker"}), IPv4Address("192.0.2.20"))


@dataclass
class ThisComputer:
    """A machine whose scripts run here."""

    name: str
    asked: list[str] = field(default_factory=list)

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        self.asked.append(what)
        done = subprocess.run(["sh", "-euc", script], capture_output=True, timeout=timeout, check=check)
        return Result(done.returncode, done.stdout, done.stderr, 0.0)


def look(
    tmp_path: Path, journal: Journal, observed: Mapping[str, Observed] | None = None
) -> tuple[dict[str, Finding], list[str]]:
    """What preflight finds by its id with this computer in a worker's place, and what it asked."""
    facts = parse(subprocess.run(["sh", "-euc", SCRIPT], capture_output=True, text=True, check=True).stdout)
    here = ThisComputer("w0")
    machines: Any = {"w0": here}
    cluster = Cluster("test", (WORKER,))
    session = Session(cluster, Workspace(tmp_path), machines)
    findings = preflight(session, {"w0": View(facts, journal, "", dict(observed or {}))}, cluster)
    return {one.rule: one for one in findings}, here.asked


def test_a_bare_machine_is_looked_at_closely(tmp_path: Path) -> None:
    found, asked = look(tmp_path, Journal())
    assert "address" in found
    assert "clock" not in found, f"at {time.time()}"
    assert asked == ["preflight"]


def test_a_folder_that_is_a_link_is_named_with_the_mount_that_does_it_instead(tmp_path: Path) -> None:
    folder, inner = Directory("/var/lib/etcd"), Directory("/var/lib/etcd/inner")
    seen = {one.key: Unknown("/var/lib/etcd is a symbolic link") for one in (folder, inner)}
    finding = look(tmp_path, Journal(entries={"x": {}}), seen)[0]["link"]
    assert (finding.machine, finding.level) == ("w0", "error")
    assert finding.fix.startswith("disk=$(readlink -f /var/lib/etcd) && rm /var/lib/etcd && mkdir /var/lib/etcd && ")


def test_a_machine_that_hardway_has_touched_is_not_asked_again(tmp_path: Path) -> None:
    found, asked = look(tmp_path, Journal(entries={"file:/etc/kubernetes/admin.conf": {}}))
    assert "address" not in found
    assert asked == []

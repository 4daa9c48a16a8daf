"""A healthy cluster as a real lab answered doctor's probe, and ways to make one thing of it wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from hardway.inventory.model import Cluster, Endpoint, LabSpec, Machine
from hardway.probe.script import Answer, Answers, answers
from hardway.probe.symptoms import Objects, Snapshot, Symptoms
from hardway.probe.symptoms_answer import objects, parse
from hardway.probe.units import UnitState
from hardway.rules import Evidence

RECORDED = Path(__file__).with_name("recorded")
NOW = datetime(2026, 11, 21, 15, 0, tzinfo=UTC).timestamp()
"""An hour after the recorded certificates were made."""

PKI = "/etc/kubernetes/pki"


def cluster() -> Cluster:
    both = frozenset({"controller", "worker"})
    return Cluster(
        name="dr-4",
        machines=(
            Machine("front", frozenset({"load-balancer"}), IPv4Address("10.249.0.9")),
            Machine("one", frozenset({"controller"}), IPv4Address("10.249.0.10")),
            Machine("two", both, IPv4Address("10.249.0.11"), pod_cidr=IPv4Network("10.200.0.0/24")),
            Machine("three", both, IPv4Address("10.249.0.12"), pod_cidr=IPv4Network("10.200.1.0/24")),
        ),
        endpoint=Endpoint("front"),
        settings={"kube-apiserver": {"tls-min-version": "VersionTLS99"}},
        lab=LabSpec(IPv4Network("10.249.0.0/24")),
    )


def recorded_answers(machine: str) -> Answers:
    return answers((RECORDED / f"{machine}.txt").read_bytes(), "NONCE")


def recorded(machine: str) -> Symptoms:
    return parse(recorded_answers(machine))


def api(nodes: str, pods: str, others: str) -> Answers:
    """What an API server says to doctor."""
    said = {"nodes": nodes, "pods": pods, "others": others}
    return Answers({name: Answer(0, text.encode()) for name, text in said.items()})


def recorded_objects() -> Objects:
    found = objects(api(*(RECORDED / "objects.txt").read_text().split("\n@\n")), "one")
    assert found is not None
    return found


def healthy() -> Snapshot:
    machines = {machine.name: recorded(machine.name) for machine in cluster().machines}
    authorities = ("ca.crt", "etcd/ca.crt", "front-proxy-ca.crt")
    trusted = {name: (found,) for name in authorities if (found := machines["one"].certificates[f"{PKI}/{name}"])}
    return Snapshot(machines=machines, objects=recorded_objects(), trusted=trusted, now=NOW)


def evidence(case: Snapshot) -> Evidence:
    return Evidence(cluster(), snapshot=case)


def on(case: Snapshot, machine: str, **changes: Any) -> Snapshot:
    """The case with something else seen on one machine."""
    return replace(case, machines={**case.machines, machine: replace(case.machines[machine], **changes)})


def unit(case: Snapshot, machine: str, name: str, **changes: Any) -> Snapshot:
    units = case.machines[machine].units
    return on(case, machine, units={**units, name: replace(units[name], **changes)})


def crashing(case: Snapshot, machine: str, name: str, *journal: str, status: int = 1) -> Snapshot:
    """A unit that systemd starts again and again."""
    state = {"active": "activating", "sub": "auto-restart", "result": "exit-code", "pid": 0}
    return unit(case, machine, name, **state, status=status, restarts=7, journal=journal)


def flag(case: Snapshot, machine: str, name: str, given: str) -> Snapshot:
    """A unit that runs with another value of a flag."""
    key = given.partition("=")[0]
    args = case.machines[machine].units[name].args
    assert any(arg.startswith(f"{key}=") for arg in args)
    return unit(case, machine, name, args=tuple(given if arg.startswith(f"{key}=") else arg for arg in args))


def entry(case: Snapshot, machine: str, of: str, key: str, change: Callable[[Any], Any] | Any) -> Snapshot:
    """The case with one entry of a mapping changed, or put there."""
    before: Mapping[str, Any] = getattr(case.machines[machine], of)
    value = change(before[key]) if callable(change) else change
    return on(case, machine, **{of: {**before, key: value}})


def certificate(case: Snapshot, machine: str, path: str, **changes: Any) -> Snapshot:
    return entry(case, machine, "certificates", path, lambda found: replace(found, **changes))


def in_api(case: Snapshot, **changes: Any) -> Snapshot:
    assert case.objects is not None
    return replace(case, objects=replace(case.objects, **changes))


def node(case: Snapshot, name: str, **changes: Any) -> Snapshot:
    assert case.objects is not None
    nodes = case.objects.nodes
    return in_api(case, nodes={**nodes, name: replace(nodes[name], **changes)})


STOPPED = UnitState("loaded", "inactive", "dead", "enabled", "success")

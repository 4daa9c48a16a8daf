"""What follows from causes: listed after them, and alone only where no cause was found."""

from __future__ import annotations

from collections.abc import Iterator

from hardway.doctor.remedies import CONTROLLER, SYMPTOMS, WORKER, lines, seen, snapshot
from hardway.probe.symptoms_probe import units
from hardway.rules import Evidence, Found, Rule


def members_down(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "controller"):
        if there.etcd is None or there.etcd.leader == "0":
            unit = there.units.get("etcd")
            said = unit.journal[-2:] if unit else ()
            errors = there.etcd.errors if there.etcd else ()
            yield Found(machine.name, "its etcd member does not serve", f"hardway logs {machine.name} etcd",
                        lines(errors, said))  # fmt: skip


def failing_units(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        for name in units(evidence.cluster, machine):
            unit = there.units.get(name)
            if unit and not unit.runs and not unit.stopped:
                times = f", started {unit.restarts} times" if unit.restarts else ""
                yield Found(
                    machine.name, f"{name} does not stay up", f"hardway logs {machine.name} {name}",
                    lines(f"{name}.service: {unit.state}, last status {unit.status}{times}", unit.journal[-2:]),
                )  # fmt: skip


def servers_not_ready(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "controller"):
        if "readyz check passed" not in there.readyz:
            wrong = [line for line in there.readyz if line.startswith("[-]")] or list(there.readyz[-2:])
            yield Found(machine.name, "its API server is not ready", f"hardway logs {machine.name} kube-apiserver",
                        lines(wrong))  # fmt: skip


def endpoint_unreachable(evidence: Evidence) -> Iterator[Found]:
    endpoint = (evidence.cluster.endpoint_host, evidence.cluster.endpoint_port)
    for machine, there in seen(evidence, "worker"):
        if there.reach.get(endpoint, "open") != "open":
            yield Found(
                machine.name, "it does not reach the API's address", "hardway status",
                lines(f"dials {endpoint[0]}:{endpoint[1]}: {there.reach[endpoint]}"),
            )  # fmt: skip


def nodes_not_ready(evidence: Evidence) -> Iterator[Found]:
    objects = snapshot(evidence).objects
    for machine in evidence.cluster.workers if objects else ():
        node = objects.nodes.get(machine.name) if objects else None
        if node and not node.ready:
            yield Found(machine.name, "its node is NotReady", f"hardway logs {machine.name} kubelet",
                        lines(node.conditions))  # fmt: skip


def dns_unready(evidence: Evidence) -> Iterator[Found]:
    objects = snapshot(evidence).objects
    if objects and objects.replicas and objects.replicas[1] < objects.replicas[0]:
        wanted, available = objects.replicas
        trouble = [f"{pod.name} on {pod.node or 'no node'}: {pod.trouble or 'not ready'}" for pod in objects.pods
                   if not pod.ready]  # fmt: skip
        yield Found(
            evidence.cluster.controllers[0].name, f"{available} of {wanted} CoreDNS pods serve",
            "hardway kubectl -n kube-system describe pods -l k8s-app=kube-dns", lines(trouble),
        )  # fmt: skip


RULES = (
    Rule(
        "etcd-member-down", SYMPTOMS, members_down, "the cluster has one member less to lose", "", layer="etcd",
        explains=frozenset({"unit-failing", "api-not-ready"}),
    ),
    Rule(
        "api-not-ready", SYMPTOMS, servers_not_ready, "a server that is not ready gets no requests", "",
        layer="control plane", explains=frozenset({"unit-failing"}), reaches=CONTROLLER - {"etcd-quorum",
        "etcd-member-down", "api-not-ready", "unit-failing"},
    ),
    Rule(
        "unit-failing", SYMPTOMS, failing_units, "systemd starts it again and again", "", layer="control plane",
        explains=frozenset({"node-not-ready"}), reaches=WORKER,
    ),
    Rule(
        "endpoint-unreachable", SYMPTOMS, endpoint_unreachable, "kubelet and kube-proxy hear nothing new", "",
        layer="control plane", explains=frozenset({"node-not-ready"}), reaches=WORKER,
    ),
    Rule("node-not-ready", SYMPTOMS, nodes_not_ready, "it gets no pods, and loses those it has", "", layer="workers",
         reaches=WORKER),
    Rule("dns-unready", SYMPTOMS, dns_unready, "programs in pods find nothing by name", "", layer="add-ons"),
)  # fmt: skip

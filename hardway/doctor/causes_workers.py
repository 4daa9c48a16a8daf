"""Causes on workers, and in CoreDNS."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from hardway.artifacts.catalogue import IMAGES
from hardway.declare.network import CNI_CONFIG
from hardway.declare.phases.paths import KUBELET_CONF, PKI
from hardway.declare.phases.workers import CONTAINERD_CONFIG, KUBELET_CONFIG
from hardway.doctor.remedies import HERE, SYMPTOMS, WORKER, apply, lines, on, seen, snapshot
from hardway.probe.symptoms import Symptoms
from hardway.probe.units import UnitState
from hardway.rules import Evidence, Found, Rule

RUNTIME = ("plugins", "io.containerd.cri.v1.runtime", "containerd", "runtimes", "runc", "options", "SystemdCgroup")
IMAGE_CHAPTERS = {"image/pause": "workers", "image/coredns": "dns"}


def node_names(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "worker"):
        wanted = f"system:node:{machine.name}"
        given = there.units.get("kubelet", UnitState()).flag("hostname-override")
        names = {
            path: found.common_name
            for path in (f"{PKI}/kubelet.crt", f"{KUBELET_CONF}#client")
            if (found := there.certificates.get(path)) and found.common_name != wanted
        }
        if names or given not in (None, machine.name):
            yield Found(
                machine.name, "its kubelet calls itself otherwise than its certificate does",
                apply(evidence, machine, *(["certs", "kubeconfigs"] if names else []), "workers"),
                lines(
                    f"kubelet runs with --hostname-override={given}" if given else "",
                    [f"{path}: CN={name}" for path, name in names.items()], f"should be {machine.name}, CN={wanted}",
                ),
            )  # fmt: skip


def cluster_dns(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "worker"):
        chosen = evidence.cluster.settings_for("kubelet", machine)
        wanted = [str(one) for one in chosen.get("clusterDNS", [evidence.cluster.network.dns_address])]
        given = there.kubelet.get("clusterDNS")
        if there.kubelet and given != wanted:
            yield Found(
                machine.name, "its kubelet gives pods another address for DNS than CoreDNS has",
                apply(evidence, machine, "workers"),
                lines(f"{KUBELET_CONFIG}: clusterDNS: {given}", f"should be {wanted}"),
            )  # fmt: skip


def cgroup_drivers(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "worker"):
        systemd, driver = _systemd_cgroup(there), there.kubelet.get("cgroupDriver")
        if systemd is not None and driver and (driver == "systemd") != systemd:
            yield Found(
                machine.name, "kubelet and containerd do not make cgroups in the same way",
                apply(evidence, machine, "workers"),
                lines(f"{KUBELET_CONFIG}: cgroupDriver: {driver}",
                      f"{CONTAINERD_CONFIG}: SystemdCgroup = {str(systemd).lower()}"),
            )  # fmt: skip


def _systemd_cgroup(there: Symptoms) -> bool | None:
    found: object = there.containerd
    for key in RUNTIME:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, bool) else None


def pod_network(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.network.plugin != "bridge":
        return
    wanted = CNI_CONFIG.rpartition("/")[2]
    for machine, there in seen(evidence, "worker"):
        first = next(iter(sorted(there.cni)), "")
        if first == wanted:
            continue
        if first and wanted in there.cni:
            what, fix = (
                "another network configuration comes before hardway's",
                on(machine, f"rm {shlex.quote(f'/etc/cni/net.d/{first}')}"),
            )
        else:
            what, fix = "it has no network configuration for its pods", apply(evidence, machine, "workers")
        objects = snapshot(evidence).objects
        node = objects.nodes.get(machine.name) if objects else None
        yield Found(
            machine.name, what, fix,
            lines(f"/etc/cni/net.d: {', '.join(there.cni) or 'empty'}", node.conditions if node else ()),
        )  # fmt: skip


def images(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "worker"):
        for name, phase in IMAGE_CHAPTERS.items():
            ref = IMAGES[name].ref
            if there.images is None or ref in there.images:
                continue
            objects = snapshot(evidence).objects
            pods = objects.pods if objects else ()
            yield Found(
                machine.name, f"the image {ref} is not there, and no registry is asked for it",
                apply(evidence, machine, phase),
                lines(f"ctr -n k8s.io images ls: {', '.join(sorted(_named(there.images))) or 'none'}",
                      [f"{pod.name}: {pod.trouble}" for pod in pods if pod.node == machine.name and pod.trouble]),
            )  # fmt: skip


def _named(references: frozenset[str]) -> list[str]:
    return [one for one in references if not one.startswith(("sha256:", "@"))]


def cordoned(evidence: Evidence) -> Iterator[Found]:
    objects = snapshot(evidence).objects
    for machine in evidence.cluster.workers if objects else ():
        node = objects.nodes.get(machine.name) if objects else None
        if node and node.unschedulable:
            yield Found(
                machine.name, "its node is cordoned: somebody keeps new pods away from it",
                f"hardway kubectl uncordon {machine.name}", lines(f"node {machine.name}: unschedulable: true"),
            )  # fmt: skip


def missing_nodes(evidence: Evidence) -> Iterator[Found]:
    objects = snapshot(evidence).objects
    for machine, there in seen(evidence, "worker"):
        if objects and machine.name not in objects.nodes:
            unit = there.units.get("kubelet", UnitState())
            yield Found(
                machine.name, "it has no Node object, and its kubelet registers only when it starts",
                on(machine, "systemctl restart kubelet.service"),
                lines(f"nodes: {', '.join(sorted(objects.nodes)) or 'none'}", unit.said("not found")),
            )  # fmt: skip


def dns_gone(evidence: Evidence) -> Iterator[Found]:
    objects, first = snapshot(evidence).objects, evidence.cluster.controllers[0]
    if objects and (objects.replicas is None or objects.dns_address is None):
        missing = ["Deployment coredns"] if objects.replicas is None else []
        missing += ["Service kube-dns"] if objects.dns_address is None else []
        yield Found(first.name, "CoreDNS is not there", apply(evidence, first, "dns"),
                    lines(f"not found in kube-system: {', '.join(missing)}"))  # fmt: skip


def dns_scaled(evidence: Evidence) -> Iterator[Found]:
    objects, first = snapshot(evidence).objects, evidence.cluster.controllers[0]
    if objects and objects.replicas and objects.replicas[0] == 0:
        yield Found(first.name, "CoreDNS was scaled to nothing", apply(evidence, first, "dns"),
                    lines("deployment coredns: replicas: 0"))  # fmt: skip


RULES = (
    Rule(
        "foreign-node-name", SYMPTOMS, node_names, "the Node authorizer lets a kubelet touch the node of its CN only",
        "", layer="workers", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "cni-config", SYMPTOMS, pod_network, "containerd has no network to put pods into, so the node is NotReady", "",
        layer="workers", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "image-missing", SYMPTOMS, images, "sites without a registry bring images along; every pod begins with pause",
        "", layer="workers", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "wrong-cluster-dns", SYMPTOMS, cluster_dns, "it is written into every pod's resolv.conf when the pod is made",
        "", layer="workers", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "cgroup-driver", SYMPTOMS, cgroup_drivers, "pods land in cgroups where their limits do not apply", "",
        layer="workers", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "node-cordoned", SYMPTOMS, cordoned, "pods stay Pending where no other node takes them", "",
        layer="workers", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "node-missing", SYMPTOMS, missing_nodes, "no pod is ever given to a node that is not registered", "",
        layer="workers", explains=HERE - {"node-missing", "drift", "port-blocked"}, reaches=WORKER,
    ),
    Rule("dns-gone", SYMPTOMS, dns_gone, "programs in pods find nothing by name", "", layer="add-ons",
         explains=HERE, reaches=WORKER),
    Rule("dns-scaled", SYMPTOMS, dns_scaled, "programs in pods find nothing by name", "", layer="add-ons",
         explains=HERE, reaches=WORKER),
)  # fmt: skip

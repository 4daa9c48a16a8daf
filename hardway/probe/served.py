"""The certificates that processes of a machine show on their ports, or say that they have loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hardway.declare.phases.handover import tell
from hardway.declare.phases.load_balancer import HEALTH_PAIR
from hardway.declare.phases.paths import ETCD_PKI, PKI
from hardway.inventory.model import API_PORT, Cluster, Machine
from hardway.probe.certificates import ONLY_CERTIFICATES
from hardway.probe.script import Question
from hardway.values import host_port

LIMIT = 4
"""Seconds; who listens answers at once."""

HAPROXY = "haproxy"


@dataclass(frozen=True)
class Port:
    """Where a component shows a certificate, and the file that it has it from: empty where the process makes its own.

    `address` is HOST:PORT, or the name of a socket.
    """

    component: str
    address: str
    path: str

    @property
    def question(self) -> Question:
        if self.component == HAPROXY:
            return Question(self.name, tell(f"show ssl cert {self.path}"), limit=LIMIT)
        shown = f"openssl s_client -connect {self.address} </dev/null 2>/dev/null | {ONLY_CERTIFICATES}"
        return Question(self.name, shown, limit=LIMIT)

    @property
    def name(self) -> str:
        return f"served:{self.address}"


def ports(cluster: Cluster, machine: Machine) -> Iterator[Port]:
    """Every port of a machine at which TLS is spoken; etcd's members show one certificate to clients, one to peers."""
    if machine.is_controller:
        yield Port("kube-apiserver", host_port(machine.ip, API_PORT), f"{PKI}/kube-apiserver.crt")
        yield Port("etcd", host_port(machine.ip, 2379), f"{ETCD_PKI}/server.crt")
        yield Port("etcd", host_port(machine.ip, 2380), f"{ETCD_PKI}/peer.crt")
        yield Port("kube-controller-manager", "127.0.0.1:10257", "")
        yield Port("kube-scheduler", "127.0.0.1:10259", "")
    if machine.is_worker:
        yield Port("kubelet", host_port(machine.ip, 10250), f"{PKI}/kubelet.crt")
    if machine.is_load_balancer:
        yield Port("kube-apiserver", host_port(machine.ip, cluster.endpoint_port), f"{PKI}/kube-apiserver.crt")
        yield Port(HAPROXY, "admin.sock", HEALTH_PAIR)


def loaded(answer: str) -> dict[str, str]:
    """What HAProxy says of a certificate, by the names that it gives these values."""
    lines = (line.partition(":") for line in answer.splitlines())
    return {name.strip(): value.strip() for name, colon, value in lines if colon}

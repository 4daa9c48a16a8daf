"""Who must reach whom: the ports between machines, from the cluster's model alone.

What listens only on its own machine is not here. A test holds these flows against the map, which reads
ports and callers from the declared files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hardway.inventory.model import API_PORT, Cluster, Machine

ETCD_CLIENTS, ETCD_PEERS, KUBELET = 2379, 2380, 10250
NODE_PORTS = (30000, 32767)
"""Where Services of type NodePort listen on every worker, both included."""


@dataclass(frozen=True)
class Flow:
    """TCP connections that a machine must let in.

    `sources` are names of other machines; `pods`: from the whole pod range, too; `anyone`: from where the
    API is used.
    """

    machine: str
    port: int
    sources: tuple[str, ...]
    why: str
    pods: bool = False
    anyone: bool = False


def flows(cluster: Cluster) -> tuple[Flow, ...]:
    """All of them, by machine in inventory order."""
    found = (flow for machine in cluster.machines for flow in _into(cluster, machine))
    return tuple(one for one in found if one.sources or one.pods or one.anyone)


def dials(cluster: Cluster, machine: Machine) -> list[tuple[str, int]]:
    """Whom a machine must reach on other machines: address and port."""
    here = [one for one in flows(cluster) if machine.name in one.sources]
    return [(str(cluster.machine(one.machine).ip), one.port) for one in here]


def open_ports(cluster: Cluster, machine: Machine) -> frozenset[int]:
    """The ports of a machine that others must reach."""
    return frozenset(one.port for one in flows(cluster) if one.machine == machine.name)


def _into(cluster: Cluster, machine: Machine) -> Iterator[Flow]:
    def others(*groups: tuple[Machine, ...]) -> tuple[str, ...]:
        names = (one.name for group in groups for one in group if one is not machine)
        return tuple(dict.fromkeys(names))

    routed = cluster.network.plugin == "bridge"
    controllers, workers, balancers = cluster.controllers, cluster.workers, cluster.load_balancers
    # Without a balancer of the inventory's people dial the API servers themselves, or a balancer of their own does.
    dialled = cluster.endpoint_machine is machine if cluster.endpoint_machine else not balancers
    if machine.is_controller and len(controllers) > 1:
        yield Flow(machine.name, ETCD_CLIENTS, others(controllers), "every API server asks every etcd member")
        yield Flow(machine.name, ETCD_PEERS, others(controllers), "etcd's members agree among themselves")
    if machine.is_controller:
        yield Flow(
            machine.name, API_PORT, others(balancers, controllers, workers),
            "the balancer, and Service kubernetes on every worker, lead to each API server",
            pods=routed, anyone=dialled and not machine.is_load_balancer,
        )  # fmt: skip
    if machine.is_load_balancer:
        yield Flow(
            machine.name, cluster.endpoint_port, others(controllers, workers),
            "kubelets, kube-proxy and people dial the API here", anyone=True,
        )  # fmt: skip
    if machine.is_worker:
        yield Flow(
            machine.name, KUBELET, others(controllers), "API servers fetch logs, and carry exec and port-forward",
            pods=routed,
        )  # fmt: skip

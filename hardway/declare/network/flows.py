"""Who calls whom, from the cluster's model alone: the map draws it, and firewalls must let it pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from hardway.inventory.model import API_PORT, Cluster, Machine

ETCD_CLIENTS, ETCD_PEERS, KUBELET = 2379, 2380, 10250
NODE_PORTS = (30000, 32767)
"""Where Services of type NodePort listen on every worker, both included."""
PODS, ENDPOINT = "pods", "endpoint"
"""Two that are no process of a machine: the pods of a worker, and a balancer that is not hardway's."""


@dataclass(frozen=True)
class Call:
    """A connection to a component of a machine; `use` says to which of its ports: `API`, `clients`, `peers` …

    `passes_on`: somebody else's TLS, as it comes.
    """

    machine: str
    component: str
    use: str
    why: str
    passes_on: bool = False


def calls(cluster: Cluster, machine: str, component: str) -> Iterator[Call]:
    """Whom a component calls; `machine` is where it runs. Of the operator's it is `kubectl` and `ssh`."""
    controllers = [one.name for one in cluster.controllers]
    if component == "ssh":
        for one in cluster.machines:
            yield Call(one.name, "sshd", "SSH", "hardway and you; host keys are pinned")
    elif component == "haproxy":
        for name in controllers:
            yield Call(name, "kube-apiserver", "API", "passes TLS on unopened", passes_on=True)
        for name in controllers:
            yield Call(name, "kube-apiserver", "API", "asks /readyz")
    elif component == ENDPOINT:
        for name in controllers:
            yield Call(name, "kube-apiserver", "API", "your own balancer passes TLS on", passes_on=True)
    elif component == "kube-apiserver":
        for name in sorted(controllers, key=lambda name: name != machine):
            yield Call(name, "etcd", "clients", "keeps all state in etcd")
        for one in cluster.workers:
            yield Call(one.name, "kubelet", "logs, exec", "logs, exec, port-forward")
        for one in cluster.workers:
            yield Call(one.name, PODS, "webhooks", "asks webhooks and API servers that are pods")
    elif component == "etcd":
        for name in controllers:
            if name != machine:
                yield Call(name, "etcd", "peers", "members agree on every write")
    elif component == PODS:
        for name in controllers:
            yield Call(name, "kube-apiserver", "API", "pods ask the API, through Service kubernetes")
    elif component in ("kube-controller-manager", "kube-scheduler"):
        yield Call(machine, "kube-apiserver", "API", "watches, and makes it so")
    elif component in _AT_ENDPOINT and (cluster.endpoint or controllers):
        for name, server in endpoints(cluster):
            yield Call(name, server, "API", _AT_ENDPOINT[component])


_AT_ENDPOINT = {
    "kubectl": "you use the cluster",
    "kubelet": "what to run, and how it is",
    "kube-proxy": "Services and who is behind them",
}


def endpoints(cluster: Cluster) -> list[tuple[str, str]]:
    """Where the API is dialled: a machine, or a name that is none of the inventory's, and what answers there.

    At a virtual address any of the load balancers may be the one that answers.
    """
    if cluster.virtual_address:
        return [(machine.name, "haproxy") for machine in cluster.load_balancers]
    machine = cluster.endpoint_machine if cluster.endpoint else cluster.controllers[0]
    if machine is None:
        return [(cluster.endpoint_host, ENDPOINT)]
    return [(machine.name, "haproxy" if machine.is_load_balancer else "kube-apiserver")]


@dataclass(frozen=True)
class Flow:
    """TCP connections that a machine must let in.

    `sources` are names of other machines; `pods`: from the whole pod range, too; `anyone`: from anywhere the
    API is used.
    """

    machine: str
    port: int
    sources: tuple[str, ...]
    why: str
    pods: bool = False
    anyone: bool = False


def flows(cluster: Cluster) -> tuple[Flow, ...]:
    """All of them, by machine in inventory order. What listens only on its own machine is not here."""
    callers = _callers(cluster)
    found: list[Flow] = []
    for machine in cluster.machines:
        found += _into(cluster, machine, callers)
    return tuple(flow for flow in found if flow.sources or flow.pods or flow.anyone)


_Callers = Mapping[tuple[str, str, str], list[str]]
"""Names of machines in inventory order, by whom they call: machine, component and use of its port."""


def _callers(cluster: Cluster) -> _Callers:
    found: dict[tuple[str, str, str], list[str]] = {}
    for machine in cluster.machines:
        for component in _components(machine):
            for call in calls(cluster, machine.name, component):
                if call.machine != machine.name:
                    found.setdefault((call.machine, call.component, call.use), []).append(machine.name)
    return found


def _components(machine: Machine) -> Iterator[str]:
    """Those that call others over the network."""
    if machine.is_load_balancer:
        yield "haproxy"
    if machine.is_controller:
        yield from ("kube-apiserver", "etcd")
    if machine.is_worker:
        yield from ("kubelet", "kube-proxy", PODS)


def by_machine(cluster: Cluster) -> dict[str, list[Flow]]:
    """What each machine must let in."""
    found: dict[str, list[Flow]] = {machine.name: [] for machine in cluster.machines}
    for flow in flows(cluster):
        found[flow.machine].append(flow)
    return found


def dials(cluster: Cluster) -> dict[str, list[tuple[str, int]]]:
    """Whom each machine must reach on other machines: address and port."""
    addresses = {machine.name: str(machine.ip) for machine in cluster.machines}
    found: dict[str, list[tuple[str, int]]] = {name: [] for name in addresses}
    for flow in flows(cluster):
        for source in flow.sources:
            found[source].append((addresses[flow.machine], flow.port))
    return found


VRRP = 112
"""The IP protocol in which load balancers agree who has the virtual address. It has no ports."""


def vrrp_peers(cluster: Cluster, machine: Machine) -> tuple[Machine, ...]:
    """Whose announcements a machine must let in: a load balancer those of the others, with whom it holds an address."""
    if cluster.virtual_address is None or not machine.is_load_balancer:
        return ()
    return tuple(one for one in cluster.load_balancers if one is not machine)


def open_ports(cluster: Cluster, machine: Machine) -> frozenset[int]:
    """The ports of a machine that others must reach."""
    return frozenset(flow.port for flow in by_machine(cluster)[machine.name])


def _into(cluster: Cluster, machine: Machine, callers: _Callers) -> Iterator[Flow]:
    def others(*groups: tuple[Machine, ...]) -> tuple[str, ...]:
        names = dict.fromkeys(one.name for one in chain.from_iterable(groups))
        names.pop(machine.name, None)
        return tuple(names)

    def calling(component: str, use: str) -> tuple[str, ...]:
        return tuple(callers.get((machine.name, component, use), ()))

    routed = cluster.network.plugin == "bridge"
    controllers, workers, balancers = cluster.controllers, cluster.workers, cluster.load_balancers
    # Without a balancer of the inventory's people dial the API servers themselves, or a balancer of their own does.
    dialled = cluster.endpoint_machine is machine if cluster.endpoint_machine else not balancers
    if machine.is_controller:
        clients, peers = calling("etcd", "clients"), calling("etcd", "peers")
        yield Flow(machine.name, ETCD_CLIENTS, clients, "every API server asks every etcd member")
        yield Flow(machine.name, ETCD_PEERS, peers, "etcd's members agree among themselves")
        # Who has a kubeconfig there may dial each API server, too.
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
            machine.name, KUBELET, calling("kubelet", "logs, exec"),
            "API servers fetch logs, and carry exec and port-forward", pods=routed,
        )  # fmt: skip

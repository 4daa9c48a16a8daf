"""The words that explanations may use, taken from the model: `{{ first_service }}`, `{{ at("network.pod_cidr") }}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hardway.declare.phases.base import Model
from hardway.inventory.model import API_PORT, Cluster
from hardway.values import majority


def vocabulary(model: Model) -> Mapping[str, Any]:
    """Each word and what it stands for in this cluster; roles that nobody holds stand as ordinary words."""
    cluster, network = model.cluster, model.cluster.network
    first, worker = cluster.controllers[0], cluster.workers[0]
    others = [machine for machine in cluster.workers if machine is not worker]
    return {
        "cluster": cluster.name,
        "inventory": cluster.path.name,
        "kubernetes": cluster.kubernetes,
        "versions": dict(model.versions),
        "service_cidr": network.service_cidr,
        "first_service": cluster.first_service_address,
        "dns_address": network.dns_address,
        "pod_cidr": network.pod_cidr,
        "pod_prefix": network.prefix_of(network.pod_cidr),
        "dual": network.is_dual_stack,
        "families": " and ".join(f"IPv{version}" for version in network.families),
        "service_cidr6": network.service_cidr6,
        "first_service6": cluster.first_service_addresses[-1],
        "pod_cidr6": network.pod_cidr6,
        "pod_prefix6": network.pod_prefix6,
        "cluster_domain": network.cluster_domain,
        "plugin": network.plugin,
        "proxy_mode": network.proxy_mode,
        "domain": cluster.domain,
        "provider": cluster.encryption.provider,
        "hostname": cluster.hosts.hostname,
        "resolve": cluster.hosts.resolve,
        "firewall": cluster.hosts.firewall,
        "key_algorithm": cluster.certs.key,
        "ca_days": cluster.certs.ca_days,
        "leaf_days": cluster.certs.leaf_days,
        "extra_sans": ", ".join(cluster.certs.extra_sans) or "none",
        "api_url": cluster.api_url,
        "api_port": API_PORT,
        "endpoint": cluster.endpoint_host,
        "endpoint_port": cluster.endpoint_port,
        "dialled": _dialled(cluster),
        "balanced": bool(cluster.load_balancers),
        "virtual": str(cluster.virtual_address or ""),
        "balancer": cluster.load_balancers[0].name if cluster.load_balancers else "the load balancer",
        "controllers": len(cluster.controllers),
        "majority": majority(len(cluster.controllers)),
        "controller": first.name,
        "controller_ip": first.ip,
        "workers": len(cluster.workers),
        "worker": worker.name,
        "worker_ip": worker.ip,
        "worker_pods": worker.pods,
        "other_worker": others[0].name if others else worker.name,
        "lab": str(cluster.lab.network) if cluster.lab else "",
        "etcd_token": model.state.etcd_token,
        "at": lambda path: place(cluster, path),
    }


def place(cluster: Cluster, path: str) -> str:
    """Where the inventory says it: `hardway.yaml:9:17`; `not in hardway.yaml: its default` when it does not."""
    stated = cluster.places.get(path)
    return f"{cluster.path.name}:{stated}" if stated else f"not in {cluster.path.name}: its default"


def who(cluster: Cluster, names: Iterable[str]) -> str:
    """Machines in few words: `controllers`, `controllers, workers`, `all machines`, or by their names."""
    wanted = set(names)
    everybody = [machine.name for machine in cluster.machines]
    if len(everybody) > 1 and wanted == set(everybody):
        return "all machines"
    roles = {
        "controllers": {machine.name for machine in cluster.controllers},
        "workers": {machine.name for machine in cluster.workers},
        "load balancers": {machine.name for machine in cluster.load_balancers},
    }
    told: list[str] = []
    covered: set[str] = set()
    for word, members in roles.items():
        if len(members) > 1 and members <= wanted and not members <= covered:
            told.append(word)
            covered |= members
    return ", ".join([*told, *(name for name in everybody if name in wanted - covered)])


def _dialled(cluster: Cluster) -> str:
    """Where kubelets and people dial the API, with the machine's name where it is one."""
    host = cluster.endpoint_host
    for machine in cluster.machines:
        if str(machine.ip) == host:
            return f"{machine.name} ({host})"
    return host

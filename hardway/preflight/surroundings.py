"""Rules about what else is on a machine and around it, before hardway has put anything there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from hardway.inventory.model import API_PORT, PLAIN_MTU, Cluster, Machine
from hardway.platforms import platform
from hardway.probe.host import Host
from hardway.probe.network import Listener, of_another_family
from hardway.rules import Evidence, Found, Need, Rule

HOSTS: frozenset[Need] = frozenset({"hosts"})
CONTROLLER_PORTS = {
    API_PORT: "kube-apiserver", 2379: "etcd", 2380: "etcd", 2381: "etcd", 10257: "kube-controller-manager",
    10259: "kube-scheduler",
}  # fmt: skip
WORKER_PORTS = {10248: "kubelet", 10250: "kubelet", 10249: "kube-proxy", 10256: "kube-proxy"}
CONTROLLER_UNITS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
WORKER_UNITS = ("kubelet", "kube-proxy", "containerd")
OTHER_RUNTIMES = ("docker", "crio")
OTHER_CLUSTERS = {
    "k3s": "k3s", "k3s-agent": "k3s", "rke2-server": "RKE2", "rke2-agent": "RKE2", "k0scontroller": "k0s",
    "k0sworker": "k0s", "snap.microk8s.daemon-kubelite": "MicroK8s",
}  # fmt: skip
_ANSWERS = ("open", "refused")
"""What only somebody who has an address says when it is dialled."""
WORKER_CGROUPS = ("cpu", "cpuset", "memory", "pids")


def own_address(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        missing = [one for one in machine.addresses if one not in host.addresses] if host.addresses else []
        for address in missing:
            others = _others(host, address.version) or "none"
            yield Found(
                machine.name,
                f"address {address} is on none of its interfaces; it has {others}",
                f"address: one of these in the inventory; where ssh must dial another one: ssh: {{host: {address}}}",
            )


def _others(host: Host, version: int) -> str:
    """Its addresses of one family by which others could reach it."""
    found = [one for one in host.addresses if one.version == version and not one.is_loopback and not one.is_link_local]
    return ", ".join(map(str, sorted(found, key=int)))


def virtual_address(evidence: Evidence) -> Iterator[Found]:
    """Load balancers hold an address of their own network, which nobody has so far."""
    address = evidence.cluster.virtual_address
    if address is None:
        return
    for machine, host in evidence.bare():
        if not machine.is_load_balancer:
            continue
        near = [route for route in host.routes if not route.via and route.to.prefixlen and address in route.to]
        if host.routes and not near:
            yield Found(
                machine.name,
                f"the endpoint {address} is in none of its networks, so no neighbour would find it there",
                "endpoint: an address of the network that the load balancers share",
            )
        elif address in host.addresses:
            yield Found(
                machine.name, f"the endpoint {address} is on one of its interfaces already",
                f"ip -o -4 addr show to {address}/32 says which; take it away where it is configured",
            )  # fmt: skip
        elif evidence.reached.get(machine.name, {}).get((str(address), evidence.cluster.endpoint_port)) in _ANSWERS:
            yield Found(
                machine.name, f"the endpoint {address} answers already: somebody in the network has it",
                "endpoint: an address that is free",
            )  # fmt: skip


def ports(machine: Machine, cluster: Cluster) -> dict[int, str]:
    """The TCP ports that components will listen on, and whose each is."""
    wanted: dict[int, str] = {}
    if machine.is_controller:
        wanted |= CONTROLLER_PORTS
    if machine.is_worker:
        wanted |= WORKER_PORTS
    if machine.is_load_balancer:
        wanted |= {cluster.endpoint_port: "the load balancer"}
    return wanted


def taken_ports(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        wanted = ports(machine, evidence.cluster)
        holders: dict[str, set[int]] = {}
        for one in host.listening:
            if one.port in wanted:
                holders.setdefault(_holder(one), set()).add(one.port)
        for process, taken in holders.items():
            numbers = sorted(taken)
            which = f"port {numbers[0]} is" if len(numbers) == 1 else f"ports {', '.join(map(str, numbers))} are"
            needed_by = " and ".join(dict.fromkeys(wanted[port] for port in numbers))
            yield Found(
                machine.name,
                f"{which} already taken by {process}; needed by {needed_by}",
                f"stop it, or give it another port; to see it: ss -ltnp 'sport = :{numbers[0]}'",
            )


def _holder(listener: Listener) -> str:
    return f"{listener.process} (pid {listener.pid})" if listener.process else "a process that ss does not name"


def other_clusters(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        signs = [
            f"{distribution} ({unit}.service)" for unit, distribution in OTHER_CLUSTERS.items() if unit in host.units
        ]
        signs += host.traces
        if signs:
            yield Found(machine.name, f"another cluster lives here, or has left traces: {', '.join(signs)}")


def packaged_components(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        names = list(WORKER_UNITS) if machine.is_worker else []
        names += CONTROLLER_UNITS if machine.is_controller else []
        found = {name: host.units[name] for name in names if name in host.units}
        found |= {name: host.units[name] for name in OTHER_RUNTIMES if machine.is_worker and _runs(host, name)}
        if found:
            units = ", ".join(f"{name} ({'runs' if unit.is_up else 'stopped'})" for name, unit in found.items())
            yield Found(
                machine.name,
                f"these are here already, from a package or by hand: {units}",
                f"systemctl disable --now {' '.join(found)}, then remove their packages or unit files",
            )


def overlapping_routes(evidence: Evidence) -> Iterator[Found]:
    network = evidence.cluster.network
    for machine, host in evidence.bare():
        ranges = [("network.pod_cidr", one) for one in network.pod_cidrs]
        ranges += [("network.service_cidr", one) for one in network.service_cidrs]
        for name, wanted in ranges:
            overlapping = [route.text for route in host.routes if route.to.prefixlen and route.to.overlaps(wanted)]
            if overlapping:
                yield Found(
                    machine.name,
                    f"{name} {wanted} overlaps with where it has routes: {'; '.join(overlapping)}",
                    f"choose another {name} (before the first init), or take these routes away",
                )


def small_packets(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.network.plugin != "bridge":
        return
    pods = evidence.cluster.network.mtu or PLAIN_MTU
    for machine, host in evidence.bare():
        own = host.mtus.get(machine.ip, pods)
        if machine.is_worker and own < pods:
            yield Found(
                machine.name,
                f"its interface takes packets of {own} bytes, and pods would send {pods}",
                f"network: {{mtu: {own}}} in the inventory, or a larger MTU on its interface",
            )


def cgroups(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        missing = [name for name in WORKER_CGROUPS if name not in host.cgroups]
        if machine.is_worker and missing:
            yield Found(machine.name, f"its kernel does not offer the cgroup controllers {', '.join(missing)}")


def kernel_features(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        if machine.is_worker and host.missing_features:
            names = ", ".join(host.missing_features)
            facts = evidence.facts.get(machine.name)
            family = platform(facts.os) if facts else None
            yield Found(
                machine.name,
                f"its kernel has these neither built in nor as modules: {names}",
                f"{family.install} {family.modules}, or another kernel" if family else "",
            )


def resolvers(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        if not machine.is_worker:
            continue
        if not host.nameservers:
            yield Found(
                machine.name,
                "it has no nameserver: CoreDNS has nobody to ask for outside names, and does not start",
                "put one into /etc/resolv.conf; where the site has none, an address that is nobody's: 192.0.2.1",
            )
        elif all(is_loopback(server) for server in host.nameservers):
            yield Found(
                machine.name,
                f"its only nameserver is its own ({', '.join(host.nameservers)}): CoreDNS would ask itself in a loop",
                "name a resolver that pods can reach in /etc/resolv.conf, or use systemd-resolved",
            )
        elif of_another_family(host.nameservers, evidence.cluster.network.families):
            have, lack = ("IPv4", "IPv6") if evidence.cluster.network.family == 4 else ("IPv6", "IPv4")
            yield Found(
                machine.name,
                f"its nameservers ({', '.join(host.nameservers)}) are reached over {lack} only, and pods, CoreDNS "
                f"among them, have {have} addresses alone",
                f"put a nameserver with an {have} address into /etc/resolv.conf, or into systemd-resolved's DNS=",
            )


def names_from_dns(evidence: Evidence) -> Iterator[Found]:
    wanted = {evidence.cluster.fqdn(one): str(one.ip) for one in evidence.cluster.machines if one.address}
    for machine, host in evidence.bare():
        wrong = [
            f"{name} leads to {host.names[name] or 'nothing'} instead of {address}"
            for name, address in wanted.items()
            if name in host.names and host.names[name] != address
        ]
        if wrong:
            yield Found(machine.name, "; ".join(wrong))


def _runs(host: Host, unit: str) -> bool:
    return unit in host.units and host.units[unit].is_up


def is_loopback(server: str) -> bool:
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def downloads(evidence: Evidence) -> Iterator[Found]:
    artifacts = evidence.cluster.artifacts
    if artifacts.fetch != "machines":
        return
    plain = artifacts.source == "mirror" and (artifacts.mirror or "").startswith("http://")
    for machine, host in evidence.bare():
        if not (machine.is_worker or machine.is_controller):
            continue
        if not host.downloads_by & {"curl", "apt-helper"}:
            yield Found(machine.name, "has neither curl nor apt-helper to download binaries with", "install curl there")
        elif not plain and "certificates" not in host.downloads_by:
            yield Found(
                machine.name,
                "has no certificates of CAs: it cannot download by https",
                "install the package ca-certificates there",
            )


RULES = (
    Rule(
        "address", HOSTS, own_address, "certificates hold this address, and components listen on it",
        "give the machine that address, or the inventory the right one",
    ),
    Rule(
        "virtual-address", HOSTS, virtual_address, "with two machines at one address callers reach now this, now that",
        "choose a free address of the load balancers' network",
    ),
    Rule("ports", HOSTS, taken_ports, "two programs cannot listen on one port", "stop what holds it"),
    Rule(
        "other-cluster", HOSTS, other_clusters, "two clusters on one machine overwrite each other",
        "remove it with its own tool (kubeadm reset, k3s-uninstall.sh …), or take another machine",
    ),
    Rule(
        "packaged", HOSTS, packaged_components, "hardway installs its own, under the same unit names; two would fight",
        "remove their packages or unit files",
    ),
    Rule(
        "routes", HOSTS, overlapping_routes, "packets for pods or Services would go where that route leads",
        "choose ranges that nothing else uses",
    ),
    Rule(
        "cgroups", HOSTS, cgroups, "the kubelet limits pods by them, and does not start without",
        "boot with cgroup_enable=memory (and cpuset), or with a kernel that has them",
    ),
    Rule(
        "kernel-features", HOSTS, kernel_features, "containers and Services are made of them",
        "install the kernel's full module package, or another kernel",
    ),
    Rule(
        "names", HOSTS, names_from_dns, "hosts.resolve: dns leaves names to DNS; each must lead to its machine",
        "fix these records in DNS, or set hosts.resolve: etc-hosts",
    ),
    Rule(
        "mtu", HOSTS, small_packets, "what is larger is refused or vanishes: small answers come, large ones hang",
        "set network.mtu", "warning",
    ),
    Rule("resolver", HOSTS, resolvers, "CoreDNS asks the machines' resolvers about outside names", ""),
    Rule(
        "downloads", HOSTS, downloads, "artifacts.fetch: machines has each machine download its binaries by itself",
        "install curl and ca-certificates there, or artifacts: {fetch: operator}", "warning",
    ),
)  # fmt: skip

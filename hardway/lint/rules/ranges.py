"""Rules about addresses: Services, DNS, pods and the ways to them, and who is behind the balancer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from hardway.inventory.model import Range, joined, listed
from hardway.lint.rules.common import (
    SETUP,
    address,
    dialled_name,
    host,
    network,
    service_range,
    setup_of,
    within,
)
from hardway.probe.network import of_another_family
from hardway.probe.setup.model import Component, Setup
from hardway.rules import Evidence, Found, Rule

RANGE = "service-cluster-ip-range"
DEFAULT_MAX_PODS = 110
"""The kubelet's own, where maxPods is not said."""


def service_ranges(evidence: Evidence) -> Iterator[Found]:
    wanted = service_range(evidence)
    for component in ("kube-apiserver", "kube-controller-manager"):
        for machine, one in setup_of(evidence).each(component):
            given = one.items(RANGE)
            if given and network(given[0]) != wanted:
                other = f"kube-apiserver has {wanted}"
                yield Found(
                    machine.name, f"{component} has --{RANGE}={given[0]}, {other}", f"--{RANGE}={wanted} for both"
                )
    yield from _second_service_range(evidence)
    inventory = evidence.cluster.network.service_cidr
    if wanted != inventory:
        machine, _ = next(setup_of(evidence).each("kube-apiserver"))
        yield Found(
            machine.name,
            f"kube-apiserver has --{RANGE}={wanted}, the inventory service_cidr {inventory}",
            f"set network.service_cidr: {wanted}, so that certificates and DNS follow, or {inventory} in the flag",
        )


def _second_service_range(evidence: Evidence) -> Iterator[Found]:
    """What differs in IPv6, or has one family more or less than the inventory."""
    wanted = tuple(map(str, evidence.cluster.network.service_cidrs))
    for component in ("kube-apiserver", "kube-controller-manager"):
        for machine, one in setup_of(evidence).each(component):
            given = one.items(RANGE)
            if given and given[1:] != wanted[1:]:
                yield Found(machine.name, f"{component} has --{RANGE}={joined(given)}, the inventory {listed(wanted)}",
                            f"--{RANGE}={joined(wanted)}")  # fmt: skip


def cluster_dns(evidence: Evidence) -> Iterator[Found]:
    setup, services = setup_of(evidence), service_range(evidence)
    wanted = setup.dns_service
    in_range = address(wanted or str(evidence.cluster.network.dns_address))
    good = str(in_range) if in_range and in_range in services else f"an address of {services}"
    for machine, kubelet in setup.each("kubelet"):
        given = _dns_servers(kubelet)
        if not given:
            # The tutorial's current edition has no DNS, and so no address of it.
            if setup.made == "declared" or wanted:
                yield Found(machine.name, "its kubelet gives pods no clusterDNS",
                            f"clusterDNS: [{good}]")  # fmt: skip
            continue
        found = address(given[0])
        if found is None or found not in services:
            yield Found(machine.name, f"its kubelet gives pods clusterDNS {given[0]}, outside of {services}",
                        f"clusterDNS: [{good}]")  # fmt: skip
        elif wanted and given[0] != wanted:
            yield Found(machine.name, f"its kubelet gives pods clusterDNS {given[0]}; the DNS Service has {wanted}",
                        f"clusterDNS: [{wanted}]")  # fmt: skip


def cluster_domains(evidence: Evidence) -> Iterator[Found]:
    wanted = evidence.cluster.network.cluster_domain
    for machine, kubelet in setup_of(evidence).each("kubelet"):
        given = str(kubelet.config.get("clusterDomain") or kubelet.flags.get("cluster-domain") or "")
        if given.rstrip(".") != wanted and (given or _dns_servers(kubelet)):
            yield Found(machine.name, f"its kubelet gives pods clusterDomain {given or '(none)'}, not {wanted}",
                        f"clusterDomain: {wanted}, or that domain as network.cluster_domain")  # fmt: skip


def _dns_servers(kubelet: Component) -> tuple[str, ...]:
    inside = kubelet.config.get("clusterDNS")
    return kubelet.items("cluster-dns") or (tuple(map(str, inside)) if isinstance(inside, list) else ())


def pod_ranges(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    whole = _cluster_cidr(evidence)
    taken: dict[str, Range] = {}
    found = _pod_ranges(setup)
    clash = _any_overlap([one for ranges in found.values() if (one := ranges.get("bridge") or ranges.get("kubelet"))])
    for name, ranges in found.items():
        kubelet, bridge = ranges.get("kubelet"), ranges.get("bridge")
        if kubelet and bridge and kubelet != bridge:
            yield Found(name, f"its kubelet has podCIDR {kubelet}, its CNI bridge {bridge}", f"{bridge} in both")
        own = bridge or kubelet
        if own is None:
            continue
        if not within(own, whole):
            yield Found(name, f"its pods have {own}, outside of the cluster's {whole}", f"give it a range of {whole}")
        for other, one in taken.items() if clash else ():
            if own.overlaps(one):
                yield Found(name, f"its pods have {own}, which {other} has too ({one})", "a range of its own for each")
        known = evidence.cluster.by_name.get(name)
        given = known.pod_cidr if known else None
        if given and given != own:
            yield Found(name, f"its pods have {own}; the routes of other machines lead {given} to it",
                        f"{given} in CNI and kubelet, or pod_cidr: {own} in the inventory")  # fmt: skip
        taken[name] = own


def _any_overlap(ranges: Sequence[Range]) -> bool:
    """Of ranges that overlap, two are neighbours in order."""
    return any(
        one.overlaps(other)
        for one, other in pairwise(sorted(ranges, key=lambda one: (one.version, int(one.network_address))))
    )


def _pod_ranges(setup: Setup) -> dict[str, dict[str, Range]]:
    """By machine, what kubelet and CNI bridge say of its pods' addresses."""
    found: dict[str, dict[str, Range]] = {}
    for machine, kubelet in setup.each("kubelet"):
        # Of two ranges the first is that of the family by which machines dial each other.
        given = network(str(kubelet.flags.get("pod-cidr") or kubelet.config.get("podCIDR") or "").partition(",")[0])
        ranges = {"kubelet": given, "bridge": machine.pod_range}
        found[machine.name] = {who: one for who, one in ranges.items() if one}
    return found


def pod_addresses(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    for name, ranges in _pod_ranges(setup).items():
        own = ranges.get("bridge")
        kubelet = setup.machines[name].components["kubelet"]
        given = str(kubelet.flags.get("max-pods") or kubelet.config.get("maxPods") or DEFAULT_MAX_PODS)
        if own is None or not given.isdecimal():
            continue
        # The first address is the network's, the second the bridge's, the last the broadcast's.
        usable = max(own.num_addresses - 3, 0)
        if int(given) > usable:
            yield Found(name, f"its kubelet takes {given} pods, and its {own} has addresses for {usable}",
                        f"settings: {{kubelet: {{maxPods: {usable}}}}}; or, before the first init, a smaller "
                        "network.pod_prefix: 24 is a share for 253 pods")  # fmt: skip


def pod_routes(evidence: Evidence) -> Iterator[Found]:
    """Where nobody has a route yet, that chapter has not come."""
    setup, whole = setup_of(evidence), _cluster_cidr(evidence)
    behind = {name: ranges["bridge"] for name, ranges in _pod_ranges(setup).items() if "bridge" in ranges}
    known = _pod_tables(setup, whole)
    if not any(known.values()):
        return
    # Tables that are just so are the rule: of a thousand machines they hold a million routes.
    objects: dict[Range, str] = {}
    for routes in known.values():
        objects.update(routes)
    same = {to: to for to in objects}
    dialled = {other: dialled_name(evidence.cluster, setup.machines[other]) for other in behind}
    everyones = {same.get(pods, pods): dialled[other] for other, pods in behind.items()}
    for name, routes in known.items():
        machine = setup.machines[name]
        if not machine.components.keys() & {"kubelet", "kube-apiserver"}:
            continue
        own = behind.get(name)
        if own and own in routes:
            yield Found(name, f"it has a route for its own pods, {own} via {routes[own]}", f"ip route del {own}")
        wanted = dict(everyones)
        if own:
            wanted.pop(own, None)
        if routes == wanted and len(everyones) == len(behind):
            continue
        for other, pods in behind.items():
            via = dialled[other]
            if other != name and routes.get(pods) != via:
                has = f"has {pods} via {routes[pods]}" if pods in routes else f"has no route to {pods}"
                yield Found(name, f"it {has}, the pods of {other}", f"ip route replace {pods} via {via}")


def _pod_tables(setup: Setup, whole: Range) -> dict[str, Mapping[Range, str]]:
    """By machine, its routes to pods, as far as its routes are known."""
    tables = {machine.name: machine.routes for machine in setup.machines.values() if machine.routes is not None}
    everything: dict[Range, str] = {}
    for table in tables.values():
        everything.update(table)
    outside = {to for to in everything if not within(to, whole)}
    if not outside:
        return dict(tables)
    inside: dict[str, Mapping[Range, str]] = {}
    for name, table in tables.items():
        inside[name] = {to: via for to, via in table.items() if to not in outside}
    return inside


def cluster_cidrs(evidence: Evidence) -> Iterator[Found]:
    whole = _cluster_cidr(evidence)
    for machine, proxy in setup_of(evidence).each("kube-proxy"):
        given = str(proxy.config.get("clusterCIDR") or proxy.flags.get("cluster-cidr") or "")
        if given and network(given.partition(",")[0]) != whole:
            yield Found(
                machine.name, f"kube-proxy has clusterCIDR {given}, the cluster {whole}", f"clusterCIDR: {whole}"
            )
    for machine, manager in setup_of(evidence).each("kube-controller-manager"):
        given = manager.flags.get("cluster-cidr", "")
        if given and network(given.partition(",")[0]) != whole:
            yield Found(machine.name, f"kube-controller-manager has --cluster-cidr={given}, the inventory {whole}",
                        f"--cluster-cidr={whole}, or network.pod_cidr: {given}")  # fmt: skip


def _cluster_cidr(evidence: Evidence) -> Range:
    return evidence.cluster.network.pod_cidr


def etcd_members(evidence: Evidence) -> Iterator[Found]:
    members = {machine.name: one for machine, one in setup_of(evidence).each("etcd") if one.items("initial-cluster")}
    first = next(iter(members), "")
    for name, one in members.items():
        listed = _members(one)
        if listed != _members(members[first]):
            yield Found(name, f"its --initial-cluster is not that of {first}", "the same list on every member")
        own = listed.get(one.flags.get("name", "default"))
        urls = set(one.items("initial-advertise-peer-urls"))
        if own is None:
            yield Found(name, f"--name={one.flags.get('name', 'default')} is not in its --initial-cluster",
                        "name it there as it names itself")  # fmt: skip
        elif urls and own not in urls:
            yield Found(name, f"--initial-cluster has {own} for it; --initial-advertise-peer-urls {', '.join(urls)}",
                        "the same URL in both")  # fmt: skip


def _members(etcd: Component) -> Mapping[str, str]:
    return dict(part.partition("=")[::2] for part in etcd.items("initial-cluster"))


def etcd_servers(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    offered: set[str] = set()
    members: set[str] = set()
    for machine, etcd in setup.each("etcd"):
        members.add(machine.name)
        offered |= {
            url.rstrip("/") for url in (*etcd.items("advertise-client-urls"), *etcd.items("listen-client-urls"))
        }
    unknown: set[str] = set()
    for one in evidence.cluster.controllers:
        if one.name not in members:
            unknown |= {one.name, str(one.ip)}
    for machine, server in setup.each("kube-apiserver"):
        given = server.items("etcd-servers")
        nowhere = [url for url in given if offered and url.rstrip("/") not in offered and host(url) not in unknown]
        if nowhere:
            yield Found(machine.name, f"--etcd-servers has {', '.join(nowhere)}, where no member listens",
                        f"--etcd-servers={','.join(sorted(offered))}")  # fmt: skip


def balanced_servers(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    ports: dict[str, str] = {}
    names: dict[str, str] = {}
    for machine, server in setup.each("kube-apiserver"):
        ip = dialled_name(evidence.cluster, machine)
        ports[ip] = server.flags.get("secure-port", "6443")
        if ip:
            names |= dict.fromkeys((machine.name, machine.hostname, ip), ip)
    unknown = {str(one.ip) for one in evidence.cluster.controllers} - set(ports)
    for machine in setup.machines.values():
        behind = {names.get(host(one), host(one)): one for one in machine.balanced}
        for ip, one in behind.items():
            if ports and ip not in unknown and one.rpartition(":")[2] != ports.get(ip):
                yield Found(machine.name, f"HAProxy passes connections to {one}, where no API server listens",
                            "one `server` line with ADDRESS:PORT for each controller")  # fmt: skip
        left_out = [ip for ip in ports if machine.balanced and ip not in behind]
        if left_out:
            yield Found(machine.name, f"HAProxy passes no connection to {', '.join(left_out)}",
                        "one `server` line for each controller")  # fmt: skip


def resolvers(evidence: Evidence) -> Iterator[Found]:
    for machine in setup_of(evidence).machines.values():
        given = machine.nameservers or ()
        if given and all((found := address(one)) is not None and found.is_loopback for one in given):
            yield Found(
                machine.name,
                f"pods' names go to {', '.join(given)}, which is CoreDNS itself once it is in a pod",
                "resolvConf: /run/systemd/resolve/resolv.conf in the kubelet's configuration, or a real nameserver",
            )


def resolver_families(evidence: Evidence) -> Iterator[Found]:
    for machine in setup_of(evidence).machines.values():
        given = machine.nameservers or ()
        if of_another_family(given, evidence.cluster.network.families):
            lacked = "IPv6" if evidence.cluster.network.family == 4 else "IPv4"
            yield Found(machine.name, f"pods' names go to {', '.join(given)}, and pods have no {lacked}")


RULES = (
    Rule(
        "service-range", SETUP, service_ranges,
        "API server and controller manager give out and guard the same addresses",
        "one range in both", layer="control plane",
        detects="different --service-cluster-ip-range in API server, controller manager and inventory",
        symptom="dns: x509: certificate is valid for …, not …; Services without an address",
    ),
    Rule(
        "cluster-dns", SETUP, cluster_dns, "pods ask this address, whatever the Service says", "one address in both",
        layer="add-ons",
        detects="a kubelet's clusterDNS outside of the service range, or not the DNS Service's address",
        symptom="dns: ;; connection timed out; no servers could be reached",
    ),
    Rule(
        "cluster-domain", SETUP, cluster_domains,
        "pods complete short names with it, and CoreDNS answers for one domain",
        "one domain in kubelets and CoreDNS", layer="add-ons",
        detects="a kubelet's clusterDomain that is not the cluster's", symptom="dns: NXDOMAIN for kubernetes.default",
    ),
    Rule(
        "pod-range", SETUP, pod_ranges, "an address says on which machine its pod is: two machines cannot share it",
        "a range of its own for each worker", layer="network",
        detects="pod ranges that overlap, are outside of the cluster's, or differ between kubelet, CNI and inventory",
        symptom="routes: pods of one worker do not answer those of another",
    ),
    Rule(
        "pod-addresses", SETUP, pod_addresses,
        "the scheduler counts pods, not addresses: a pod without one never starts",
        "fewer pods, or a larger range for each worker", layer="network",
        detects="a kubelet that takes more pods than its range has addresses for",
        symptom="smoke-test: Failed to create pod sandbox: no IP addresses available in range set",
    ),
    Rule(
        "pod-routes", SETUP, pod_routes, "a packet to a pod finds its machine by these routes alone", "set the routes",
        layer="network", detects="a missing or wrong route to another worker's pods, or one for a worker's own",
        symptom="routes: pods of one worker do not answer those of another; smoke-test: webhooks time out",
    ),
    Rule(
        "cluster-cidr", SETUP, cluster_cidrs,
        "kube-proxy takes what comes from elsewhere for a stranger's, and hides it",
        "one range for all", layer="network",
        detects="a clusterCIDR of kube-proxy or controller manager that is not the cluster's",
        symptom="smoke-test: Services answer from some nodes only",
    ),
    Rule(
        "etcd-members", SETUP, etcd_members, "members form a cluster only when all of them were told the same",
        "one --initial-cluster for all", layer="etcd", detects="members that were given different --initial-cluster",
        symptom="etcd: error validating peerURLs: member count is unequal",
    ),
    Rule(
        "etcd-servers", SETUP, etcd_servers, "an API server without etcd knows nothing and does not start",
        "name the members' client URLs", layer="control plane", detects="--etcd-servers where no member listens",
        symptom="control-plane: dial tcp: connect: connection refused",
    ),
    Rule(
        "balanced-servers", SETUP, balanced_servers, "who dials the balancer should reach every API server",
        "one server line for each controller", layer="control plane",
        detects="a balancer that passes connections to no API server, or leaves one out",
        symptom="load-balancer: Server … is DOWN",
    ),
    Rule(
        "resolver-family", SETUP, resolver_families,
        "CoreDNS inherits the file, and runs in a pod, which has no address of another family",
        "a nameserver of the pods' own family", layer="add-ons",
        detects="a kubelet's resolvConf whose nameservers pods have no address to reach by",
        symptom="dns: read udp: network is unreachable; outside names are not found",
    ),
    Rule(
        "resolver-loop", SETUP, resolvers,
        "CoreDNS inherits the file and asks the nameserver in it", "a real nameserver",
        layer="add-ons", detects="a kubelet's resolvConf that names only the machine itself",
        symptom='dns: plugin/loop: Loop (127.0.0.1 -> :53) detected for zone "."',
    ),
)  # fmt: skip

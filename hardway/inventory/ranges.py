"""Rules about addresses and ranges: unique, apart from each other, and large enough."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from hardway.inventory.model import Cluster, Machine
from hardway.inventory.problems import Problem

_SPECIAL = (
    ("this-host", IPv4Network("0.0.0.0/8")),
    ("loopback", IPv4Network("127.0.0.0/8")),
    ("link-local", IPv4Network("169.254.0.0/16")),
    ("multicast or reserved", IPv4Network("224.0.0.0/3")),
)


def _inner_ranges(cluster: Cluster) -> dict[str, IPv4Network]:
    """The ranges whose addresses mean something inside the cluster only."""
    network = cluster.network
    return {"network.service_cidr": network.service_cidr, "network.pod_cidr": network.pod_cidr}


def disjoint(cluster: Cluster) -> Iterator[Problem]:
    """Services, pods and machines each have a range of their own, of ordinary addresses."""
    seen: dict[str, IPv4Network] = {}
    ranges = _inner_ranges(cluster)
    if cluster.lab:
        ranges["lab.network"] = cluster.lab.network
    for path, cidr in ranges.items():
        for other, taken in seen.items():
            if cidr.overlaps(taken):
                text = f"{cidr} overlaps {other} {taken}; give one of them a range of its own"
                yield Problem(tuple(path.split(".")), text)
        for kind, special in _SPECIAL:
            if cidr.overlaps(special):
                text = f"{cidr} holds {kind} addresses; right: a private range such as 10.32.0.0/16"
                yield Problem(tuple(path.split(".")), text)
        seen[path] = cidr


def service_range(cluster: Cluster) -> Iterator[Problem]:
    """kube-apiserver takes a /12 at most; a /28 holds the API, DNS at its tenth and little else."""
    cidr = cluster.network.service_cidr
    if not 12 <= cidr.prefixlen <= 28:
        size = "small" if cidr.prefixlen > 28 else "large"
        yield Problem(("network", "service_cidr"), f"{cidr} is too {size}; right: a /12 to /28")


def dns_address(cluster: Cluster) -> Iterator[Problem]:
    network = cluster.network
    cidr, address = network.service_cidr, network.dns_address
    example = cidr.network_address + 10 if cidr.num_addresses > 11 else cidr.network_address + 2
    loc = ("network", "dns_address")
    if address not in cidr:
        yield Problem(loc, f"{address} is not inside service_cidr {cidr}; right: such as {example}")
    elif address == cluster.first_service_address:
        text = f"{address} is the first of service_cidr, which is the API's own; right: such as {example}"
        yield Problem(loc, text)
    elif address in (cidr.network_address, cidr.broadcast_address):
        yield Problem(loc, f"{address} is the first or last address of service_cidr {cidr}; right: such as {example}")


def pod_range(cluster: Cluster) -> Iterator[Problem]:
    """Every worker gets a share of the size `pod_prefix`."""
    cidr, prefix = cluster.network.pod_cidr, cluster.network.pod_prefix
    if prefix < cidr.prefixlen:
        text = f"a share of /{prefix} is larger than all of pod_cidr {cidr}; right: {cidr.prefixlen} to 28"
        yield Problem(("network", "pod_prefix"), text)
        return
    shares, workers = 2 ** (prefix - cidr.prefixlen), len(cluster.workers)
    if shares < workers:
        text = f"{cidr} holds {shares} shares of /{prefix}, and there are {workers} workers; take a larger one"
        yield Problem(("network", "pod_cidr"), text)


def unique_addresses(cluster: Cluster) -> Iterator[Problem]:
    seen: dict[IPv4Address, Machine] = {}
    for machine in cluster.machines:
        if machine.address is None:
            continue
        other = seen.setdefault(machine.address, machine)
        if other is not machine:
            text = f"{machine.address} is the address of {other.name} too; each machine needs its own"
            yield Problem(("machines", machine.name, "address"), text)


def addresses_apart(cluster: Cluster) -> Iterator[Problem]:
    """A machine in a range that is routed to pods, or rewritten for services, could not be reached."""
    for machine in cluster.machines:
        for path, cidr in _inner_ranges(cluster).items():
            if machine.address is not None and machine.address in cidr:
                text = f"{machine.address} is inside {path} {cidr}; move the machine or the range"
                yield Problem(("machines", machine.name, "address"), text)


def lab_addresses(cluster: Cluster) -> Iterator[Problem]:
    """Lab machines are in the lab's network, whose first address is this computer's end of the bridge."""
    if cluster.lab is None:
        return
    cidr = cluster.lab.network
    if cidr.prefixlen > 28:
        yield Problem(("lab", "network"), f"{cidr} is too small for machines; right: a /28 or larger")
        return
    kept = _kept(cidr)
    for machine in cluster.machines:
        loc = ("machines", machine.name, "address")
        right = f"right: such as {cidr.network_address + 10}"
        if machine.address is None:
            yield Problem(loc, f"is missing, and a lab machine has no DNS name; {right}", at_key=True)
        elif machine.address not in cidr:
            yield Problem(loc, f"{machine.address} is not inside lab.network {cidr}; {right}")
        elif machine.address in kept:
            yield Problem(loc, f"{machine.address} is {kept[machine.address]} in {cidr}; {right}")


def _kept(cidr: IPv4Network) -> dict[IPv4Address, str]:
    """What is no machine's in a lab's network."""
    return {
        cidr.network_address: "the network's own",
        cidr.network_address + 1: "this computer's",
        cidr.broadcast_address: "the broadcast address",
    }


def lab_images(cluster: Cluster) -> Iterator[Problem]:
    """Only what the lab boots has an image."""
    for machine in cluster.machines:
        if machine.image is not None and cluster.lab is None:
            text = f"{machine.name} is no machine of a lab, so nothing boots it from an image; take it out, or add lab:"
            yield Problem(("machines", machine.name, "image"), text)


def pod_shares(cluster: Cluster) -> Iterator[Problem]:
    """Given shares are workers', inside the pod range, and overlap no other."""
    seen: list[Machine] = []
    whole = cluster.network.pod_cidr
    for machine in cluster.machines:
        share = machine.pod_cidr
        if share is None:
            continue
        loc = ("machines", machine.name, "pod_cidr")
        if not machine.is_worker:
            yield Problem(loc, f"{machine.name} is no worker and runs no pods; take it out")
        if not share.subnet_of(whole):
            yield Problem(loc, f"{share} is not inside network.pod_cidr {whole}")
        if share.prefixlen > 28:
            yield Problem(loc, f"{share} is too small; right: a /{cluster.network.pod_prefix}")
        for other in seen:
            if other.pod_cidr and share.overlaps(other.pod_cidr):
                text = f"{share} overlaps {other.pod_cidr} of {other.name}; each worker needs its own"
                yield Problem(loc, text)
        seen.append(machine)


def endpoint_address(cluster: Cluster) -> Iterator[Problem]:
    """An endpoint given as an address is not one that only exists inside the cluster."""
    if cluster.endpoint is None or not cluster.endpoint.host[0].isdigit():
        return
    try:
        address = IPv4Address(cluster.endpoint.host)
    except ValueError:  # a DNS name that begins with a digit
        return
    for path, cidr in _inner_ranges(cluster).items():
        if address in cidr:
            yield Problem(("endpoint",), f"{address} is inside {path} {cidr}; right: one that can be dialled")


def virtual_address(cluster: Cluster) -> Iterator[Problem]:
    """What load balancers hold between them is in a lab an address of the lab's network.

    Whether it is in the balancers' own network, and nobody else's, only the machines know (preflight).
    """
    address, loc = cluster.virtual_address, ("endpoint",)
    if address is None or cluster.lab is None or cluster.lab.network.prefixlen > 28:
        return
    cidr = cluster.lab.network
    if address not in cidr:
        yield Problem(loc, f"{address} is not inside lab.network {cidr}; right: such as {cidr.network_address + 10}")
    elif kept := _kept(cidr).get(address):
        yield Problem(loc, f"{address} is {kept} in {cidr}; right: such as {cidr.network_address + 10}")

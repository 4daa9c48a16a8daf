"""Rules about addresses and ranges: unique, apart from each other, and large enough."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address

from hardway.inventory.model import Address, Cluster, Machine, Range, listed
from hardway.inventory.problems import Loc, Problem

_SPECIAL = (
    ("this-host", IPv4Network("0.0.0.0/8")),
    ("loopback", IPv4Network("127.0.0.0/8")),
    ("link-local", IPv4Network("169.254.0.0/16")),
    ("multicast or reserved", IPv4Network("224.0.0.0/3")),
    ("loopback or IPv4-mapped", IPv6Network("::/8")),
    ("link-local", IPv6Network("fe80::/10")),
    ("multicast", IPv6Network("ff00::/8")),
)


def _inner_ranges(cluster: Cluster) -> Iterator[tuple[str, Range]]:
    """The ranges whose addresses mean something inside the cluster only."""
    for path, ranges in (("service_cidr", cluster.network.service_cidrs), ("pod_cidr", cluster.network.pod_cidrs)):
        for cidr in ranges:
            yield f"network.{path}", cidr


def disjoint(cluster: Cluster) -> Iterator[Problem]:
    """Services, pods and machines each have a range of their own, of ordinary addresses."""
    seen: list[tuple[str, Range]] = []
    ranges = list(_inner_ranges(cluster))
    if cluster.lab:
        ranges += [("lab.network", cidr) for cidr in cluster.lab.networks]
    for path, cidr in ranges:
        for other, taken in seen:
            if cidr.overlaps(taken):
                text = f"{cidr} overlaps {other} {taken}; give one of them a range of its own"
                yield Problem(tuple(path.split(".")), text)
        for kind, special in _SPECIAL:
            if cidr.overlaps(special):
                private = "10.32.0.0/16" if cidr.version == 4 else "fd00:32::/112"
                text = f"{cidr} holds {kind} addresses; right: a private range such as {private}"
                yield Problem(tuple(path.split(".")), text)
        seen.append((path, cidr))


def dual_stack(cluster: Cluster) -> Iterator[Problem]:
    """IPv6 is everywhere or nowhere: Services, pods, the lab, and machines that run pods or reach them."""
    if apart := [*_of_another_family(cluster)]:
        yield from apart
        return
    wanted = cluster.network.is_dual_stack
    if (cluster.network.pod_cidr6 is not None) != wanted:
        path, other = ("pod_cidr", "service_cidr") if wanted else ("service_cidr", "pod_cidr")
        yield _without_ipv6(("network", path), f"network.{other} has", f"{_primary(cluster, path)}, fd00:…")
        return
    if cluster.lab and (cluster.lab.network6 is not None) != wanted:
        if wanted:
            yield _without_ipv6(("lab", "network"), _RANGES_HAVE, f"{cluster.lab.network}, fd00:…")
        else:
            yield _with_ipv6(("lab", "network"), str(cluster.lab.network))
    for machine in cluster.machines:
        loc = ("machines", machine.name, "address")
        needed = wanted and (machine.is_controller or machine.is_worker)
        if machine.address6 is None and needed:
            yield _without_ipv6(loc, _RANGES_HAVE, f"{machine.address or 'IPv4'}, fd00:…")
        elif machine.address6 is not None and not wanted:
            yield _with_ipv6(loc, str(machine.address or ""))


def _of_another_family(cluster: Cluster) -> Iterator[Problem]:
    """Kubernetes ties the family of the first service range to that of its pods and of the addresses it dials."""
    network = cluster.network
    family = f"IPv{network.family}"
    firsts: list[tuple[Loc, Address | Range | None]] = [(("network", "pod_cidr"), network.pod_cidr)]
    firsts += [(("lab", "network"), cluster.lab.network)] if cluster.lab else []
    firsts += [(("machines", machine.name, "address"), machine.address) for machine in cluster.machines]
    for loc, first in firsts:
        if first is not None and first.version != network.family:
            text = f"{first} is IPv{first.version}, and network.service_cidr {network.service_cidr} is {family}"
            yield Problem(loc, f"{text}; right: {family}, or the other family for service_cidr")
            if loc[0] != "machines":
                return


_RANGES_HAVE = "network.service_cidr and network.pod_cidr have"


def _primary(cluster: Cluster, path: str) -> Range:
    return cluster.network.service_cidr if path == "service_cidr" else cluster.network.pod_cidr


def _without_ipv6(loc: Loc, others: str, right: str) -> Problem:
    return Problem(loc, f"has no IPv6, and {others}; right: [{right}]")


def _with_ipv6(loc: Loc, right: str) -> Problem:
    return Problem(loc, f"has IPv6, and network.service_cidr and network.pod_cidr have none; right: {right}")


def service_range(cluster: Cluster) -> Iterator[Problem]:
    """kube-apiserver takes 20 bits at most; a /28 holds the API, DNS at its tenth and little else."""
    for cidr in cluster.network.service_cidrs:
        largest, smallest = cidr.max_prefixlen - 20, cidr.max_prefixlen - 4
        if not largest <= cidr.prefixlen <= smallest:
            size = "small" if cidr.prefixlen > smallest else "large"
            yield Problem(("network", "service_cidr"), f"{cidr} is too {size}; right: a /{largest} to /{smallest}")


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
    for cidr in cluster.network.pod_cidrs:
        yield from _shares(cluster, cidr, *(("pod_prefix", 28) if cidr.version == 4 else ("pod_prefix6", 120)))


def _shares(cluster: Cluster, cidr: Range, key: str, longest: int) -> Iterator[Problem]:
    prefix = cluster.network.prefix_of(cidr)
    if prefix < cidr.prefixlen:
        text = f"a share of /{prefix} is larger than all of pod_cidr {cidr}; right: {cidr.prefixlen} to {longest}"
        yield Problem(("network", key), text)
        return
    shares, workers = 2 ** (prefix - cidr.prefixlen), len(cluster.workers)
    if shares < workers:
        text = f"{cidr} holds {shares} shares of /{prefix}, and there are {workers} workers; take a larger one"
        yield Problem(("network", "pod_cidr"), text)


def unique_addresses(cluster: Cluster) -> Iterator[Problem]:
    seen: dict[Address, Machine] = {}
    for machine in cluster.machines:
        for address in machine.addresses:
            other = seen.setdefault(address, machine)
            if other is not machine:
                text = f"{address} is the address of {other.name} too; each machine needs its own"
                yield Problem(("machines", machine.name, "address"), text)


def addresses_apart(cluster: Cluster) -> Iterator[Problem]:
    """A machine in a range that is routed to pods, or rewritten for services, could not be reached."""
    for machine in cluster.machines:
        for path, cidr in _inner_ranges(cluster):
            for address in machine.addresses:
                if address in cidr:
                    text = f"{address} is inside {path} {cidr}; move the machine or the range"
                    yield Problem(("machines", machine.name, "address"), text)


def lab_addresses(cluster: Cluster) -> Iterator[Problem]:
    """Lab machines are in the lab's network, whose first address is this computer's end of the bridge."""
    if cluster.lab is None:
        return
    for one in cluster.lab.networks:
        if one.prefixlen > one.max_prefixlen - 4:
            right = f"a /{one.max_prefixlen - 4} or larger"
            yield Problem(("lab", "network"), f"{one} is too small for machines; right: {right}")
            return
    for machine in cluster.machines:
        loc = ("machines", machine.name, "address")
        if machine.address is None:
            right = _such_as(cluster.lab.network)
            yield Problem(loc, f"is missing, and a lab machine has no DNS name; {right}", at_key=True)
        for address, cidr in zip(machine.addresses, cluster.lab.networks, strict=False):
            yield from _lab_address(loc, address, cidr)


def _lab_address(loc: Loc, address: Address, cidr: Range) -> Iterator[Problem]:
    if address not in cidr:
        yield Problem(loc, f"{address} is not inside lab.network {cidr}; {_such_as(cidr)}")
    elif kept := _kept(cidr).get(address):
        yield Problem(loc, f"{address} is {kept} in {cidr}; {_such_as(cidr)}")


def _such_as(cidr: Range) -> str:
    return f"right: such as {cidr.network_address + (10 if cidr.version == 4 else 16)}"


def _kept(cidr: Range) -> dict[Address, str]:
    """What is no machine's in a lab's network."""
    kept: dict[Address, str] = {
        cidr.network_address: "the network's own",
        cidr.network_address + 1: "this computer's",
    }
    if cidr.version == 4:
        kept[cidr.broadcast_address] = "the broadcast address"
    return kept


def lab_images(cluster: Cluster) -> Iterator[Problem]:
    """Only what the lab boots has an image."""
    for machine in cluster.machines:
        if machine.image is not None and cluster.lab is None:
            text = f"{machine.name} is no machine of a lab, so nothing boots it from an image; take it out, or add lab:"
            yield Problem(("machines", machine.name, "image"), text)


def pod_shares(cluster: Cluster) -> Iterator[Problem]:
    """Given shares are workers', inside the pod range, and overlap no other."""
    seen: list[tuple[Machine, Range]] = []
    for machine in cluster.machines:
        loc = ("machines", machine.name, "pod_cidr")
        if machine.pod_cidrs and not machine.is_worker:
            yield Problem(loc, f"{machine.name} is no worker and runs no pods; take it out")
        for share in machine.pod_cidrs:
            yield from _share(cluster, loc, share)
            for other, taken in seen:
                if share.overlaps(taken):
                    text = f"{share} overlaps {taken} of {other.name}; each worker needs its own"
                    yield Problem(loc, text)
        seen += [(machine, share) for share in machine.pod_cidrs]


def _share(cluster: Cluster, loc: Loc, share: Range) -> Iterator[Problem]:
    network = cluster.network
    whole = listed(network.pod_cidrs)
    prefix = network.prefix_of(share)
    # An address and its prefix, as ranges of the two families cannot be compared.
    inside = [cidr for cidr in network.pod_cidrs if share.network_address in cidr and share.prefixlen >= cidr.prefixlen]
    if not inside:
        yield Problem(loc, f"{share} is not inside network.pod_cidr {whole}")
    if share.prefixlen > (28 if share.version == 4 else 120):
        yield Problem(loc, f"{share} is too small; right: a /{prefix}")


def endpoint_address(cluster: Cluster) -> Iterator[Problem]:
    """An endpoint given as an address is one that machines can dial."""
    if cluster.endpoint is None:
        return
    try:
        address = ip_address(cluster.endpoint.host)
    except ValueError:  # a DNS name
        return
    network = cluster.network
    if address.version not in network.families:
        yield Problem(("endpoint",), f"{address} is IPv{address.version}, which the cluster's machines do not have")
    elif address.version == 6 and cluster.endpoint_machine is None and len(cluster.load_balancers) > 1:
        text = f"{address}: load balancers hold only an IPv4 address between them"
        yield Problem(("endpoint",), f"{text}; right: a DNS name that leads to each of them")
    for path, cidr in _inner_ranges(cluster):
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

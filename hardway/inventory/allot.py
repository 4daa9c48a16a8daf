"""What an inventory may leave open and a run decides once: addresses behind names, pod ranges.

Both are pure: what was decided before comes from State as an argument, and goes back there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from hardway.errors import HardwayError, InventoryError
from hardway.inventory import ranges, rules
from hardway.inventory.model import DEFAULT_DOMAIN, Address, Cluster, Machine, Place, Range
from hardway.inventory.problems import Problem, dotted

Lookup = Callable[[str], Address]
"""A DNS look-up; raises OSError or HardwayError where a name has no address."""


def resolve(cluster: Cluster, pinned: Mapping[str, Address], lookup: Lookup) -> Cluster:
    """The cluster with every machine's address: the inventory's, else the pinned, else what DNS says.

    Raises InventoryError for each name without an address, and for addresses that break a rule.
    """
    problems: list[Problem] = []
    machines: list[Machine] = []
    for machine in cluster.machines:
        if machine.address is None:
            address = pinned.get(machine.name) or _looked_up(cluster, machine, lookup, problems)
            machine = replace(machine, address=address)
        machines.append(machine)
    resolved = replace(cluster, machines=tuple(machines))
    for rule in (ranges.unique_addresses, ranges.addresses_apart, rules.endpoint_machine):
        problems += rule(resolved)
    refuse(cluster, problems)
    return resolved


def lookup_name(cluster: Cluster, machine: Machine) -> str:
    """The name behind which a machine's address is: its SSH host, its full name, or its bare name where the
    inventory has no domain."""
    if machine.ssh.host is not None:
        return machine.ssh.host
    return machine.name if cluster.domain == DEFAULT_DOMAIN else cluster.fqdn(machine)


def _looked_up(cluster: Cluster, machine: Machine, lookup: Lookup, problems: list[Problem]) -> Address | None:
    name = lookup_name(cluster, machine)
    loc = ("machines", machine.name, "address")
    try:
        found = lookup(name)
    except (OSError, HardwayError) as error:
        said = error.strerror if isinstance(error, OSError) else error.what
        right = "fix DNS, or give it here, as in address: 192.0.2.10"
        problems.append(Problem(loc, f"{name} was not found ({said}); right: {right}"))
        return None
    if found.is_loopback or found.is_unspecified:
        problems.append(Problem(loc, f"{name} is {found} here; right: give the real one with address:"))
        return None
    return found


def allot_pod_cidrs(cluster: Cluster, kept: Mapping[str, Range], kept6: Mapping[str, Range] | None = None) -> Cluster:
    """The cluster with every worker's pod ranges: the inventory's, else the kept, else the first that is free.

    Kept ranges of machines that are no longer in the inventory are not given to others. Raises
    InventoryError where a kept range does not fit what the inventory now says.
    """
    network = cluster.network
    problems: list[Problem] = []
    given = {m.name: m.pod_cidr for m in cluster.machines if m.pod_cidr is not None}
    shares = _allotted(cluster, network.pod_cidr, given, kept, problems)
    shares6: dict[str, Range] = {}
    if network.pod_cidr6:
        given6 = {m.name: m.pod_cidr6 for m in cluster.machines if m.pod_cidr6 is not None}
        shares6 = _allotted(cluster, network.pod_cidr6, given6, kept6 or {}, problems)
    machines: list[Machine] = []
    for machine in cluster.machines:
        share, share6 = shares.get(machine.name), shares6.get(machine.name)
        machines.append(replace(machine, pod_cidr=share, pod_cidr6=share6))
    allotted = replace(cluster, machines=tuple(machines))
    refuse(cluster, [*problems, *ranges.pod_shares(allotted)])
    return allotted


def _allotted(
    cluster: Cluster, whole: Range, given: Mapping[str, Range], kept: Mapping[str, Range], problems: list[Problem]
) -> dict[str, Range]:
    """The shares of one family, by machine."""
    prefix = cluster.network.prefix_of(whole)
    shares = dict(given)
    held = {name: share for name, share in kept.items() if name not in given}
    subnets: Iterator[Range] = whole.subnets(new_prefix=prefix)
    free = _free(subnets, {**held, **given})
    for worker in cluster.workers:
        if worker.name in shares:
            continue
        share = held.get(worker.name) or next(free, None)
        if share is None:
            text = f"no /{prefix} of network.pod_cidr {whole} is left for it"
            problems.append(Problem(("machines", worker.name, "pod_cidr"), f"{text}; take a larger one"))
        else:
            shares[worker.name] = share
    return shares


def _free(shares: Iterable[Range], taken: Mapping[str, Range]) -> Iterator[Range]:
    for share in shares:
        if not any(map(share.overlaps, taken.values())):
            yield share


def refuse(cluster: Cluster, problems: Iterable[Problem]) -> None:
    """Raise InventoryError if there are problems, at the places the model remembers."""
    found = sorted((_place(cluster, problem), dotted(problem.loc), problem.text) for problem in problems)
    if found:
        raise InventoryError([f"{cluster.path}:{place}: {path}: {text}" for place, path, text in found])


def _place(cluster: Cluster, problem: Problem) -> Place:
    for length in range(len(problem.loc), 0, -1):
        place = cluster.places.get(dotted(problem.loc[:length]))
        if place is not None:
            return place
    return Place(1, 1)

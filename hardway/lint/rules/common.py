"""What several rules across artifacts ask of a setup."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import product
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from hardway.inventory.model import Address, Cluster, Range
from hardway.inventory.problems import Loc, dotted
from hardway.probe.setup.model import Certificate, Kubeconfig, MachineSetup, Setup
from hardway.rules import Evidence, Need
from hardway.values import ROLES

SETUP: frozenset[Need] = frozenset({"setup"})
API_SERVER_FILES = ("kubernetes", "kube-api-server", "kube-apiserver", "apiserver", "kubernetes-apiserver")
"""How tutorials call the API server's certificate, without its ending."""
NODE_PREFIX = "system:node:"


def setup_of(evidence: Evidence) -> Setup:
    """The setup of the evidence; a rule that needs it only runs with one."""
    assert evidence.setup is not None
    return evidence.setup


def stem(where: str) -> str:
    """A file's name without its ending."""
    return PurePosixPath(where.partition(" (")[0]).stem


def api_servers(setup: Setup) -> Iterator[tuple[MachineSetup, Certificate]]:
    """What API servers present, or will, as far as a file's name says."""
    for machine in setup.machines.values():
        if found := machine.presents.get("kube-apiserver/server"):
            yield machine, found
            continue
        for one in machine.loose:
            if stem(one.where) in API_SERVER_FILES and not one.is_ca:
                yield machine, one


def host(url: str) -> str:
    """The host of a URL, or of HOST:PORT; empty for what is neither."""
    try:
        return urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""


def network(text: str) -> Range | None:
    """A range, or None for what is none."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def within(inner: Range, outer: Range) -> bool:
    """Whether a range is a part of another; ranges of the two families never are."""
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def address(text: str) -> Address | None:
    try:
        return ip_address(text.strip())
    except ValueError:
        return None


def service_range(evidence: Evidence) -> Range:
    """The range that API servers give to Services: their flag's, else the inventory's."""
    for _, server in setup_of(evidence).each("kube-apiserver"):
        for part in server.items("service-cluster-ip-range"):
            if found := network(part):
                return found
    return evidence.cluster.network.service_cidr


def node_name(machine: MachineSetup) -> str:
    """Under which name its kubelet registers; empty where that is not known."""
    kubelet = machine.components.get("kubelet")
    return ((kubelet.flags.get("hostname-override") if kubelet else "") or machine.hostname).lower()


def dialled_name(cluster: Cluster, machine: MachineSetup) -> str:
    """The machine's address in the inventory; empty for one that is not in it."""
    known = cluster.by_name.get(machine.name)
    return str(known.address) if known and known.address else ""


def clients(setup: Setup) -> Iterator[tuple[MachineSetup, str, Kubeconfig]]:
    """Kubeconfigs with the component that uses them; where none is known, as the file's name says."""
    for machine, user, one in setup.all_kubeconfigs():
        yield machine, user or stem(one.where), one


def listed(names: tuple[str, ...] | list[str], limit: int = 6) -> str:
    """Names by commas; of very many the first."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def stated(evidence: Evidence, machine: str, component: str, *path: str) -> str:
    """`hardway.yaml:8:12: settings.kubelet.maxPods: `, where the inventory says a setting; empty where it does not.

    That is the machine's own, its roles' or the cluster's, in this order.
    """
    cluster = evidence.cluster
    found = cluster.by_name.get(machine)
    if found is None or setup_of(evidence).made != "declared":
        return ""
    layers: list[Loc] = [("machines", machine)]
    layers += [("roles", role) for role in reversed(ROLES) if role in found.roles]
    for length in range(len(path), 0, -1):
        for above, name in product((*layers, ()), (path[0], f"--{path[0]}")):
            loc = (*above, "settings", component, name, *path[1:length])
            if place := cluster.places.get(dotted(loc)):
                return f"{cluster.path}:{place}: {dotted(loc)}: "
    return ""

"""Who must reach whom, as a table or as commands for the machines' firewalls."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from hardway.console.tables import table
from hardway.console.words import counted, ranges, wrapped
from hardway.declare.network.firewall import Tool, commands
from hardway.declare.network.flows import NODE_PORTS, VRRP, Flow, flows, vrrp_peers
from hardway.inventory.model import Cluster, Machine


def ports_page(cluster: Cluster, chosen: Sequence[Machine], width: int) -> list[str]:
    """The port matrix of these machines, alike ones together; why each port is needed; and what it does not say."""
    names = {machine.name for machine in chosen}
    kinds: dict[tuple[int, str], list[Flow]] = {}
    for one in flows(cluster):
        if one.machine in names:
            kinds.setdefault((one.port, one.why), []).append(one)
    rows: list[tuple[str, str, str]] = []
    whys: list[str] = []
    for (port, why), alike in kinds.items():
        rows.append((f"tcp {port}", ranges(one.machine for one in alike), _sources(cluster, alike)))
        whys += wrapped(f"{port:<10} ", why, width, " " * 11)
    for machine in chosen:
        if peers := vrrp_peers(cluster, machine):
            rows.append((f"ip {VRRP}", machine.name, ranges(one.name for one in peers)))
    if any(row[0] == f"ip {VRRP}" for row in rows):
        whys += wrapped(f"{VRRP:<10} ", "VRRP: load balancers agree who has the virtual address", width, " " * 11)
    pods = (
        f"Workers also forward what comes from and goes to pods ({', '.join(map(str, cluster.network.pod_cidrs))})."
        if cluster.network.plugin == "bridge"
        else "What your own network plugin needs between workers comes on top."
    )
    node_ports = (
        f"Services of type NodePort listen on workers' ports {NODE_PORTS[0]} to {NODE_PORTS[1]}: open them to their "
        "clients. SSH, which hardway uses, is not listed."
    )
    return [
        *table(("PORT", "ON", "FROM"), rows, width).splitlines(), "",
        *whys, "",
        *wrapped("", pods, width, ""), *wrapped("", node_ports, width, ""), "",
        "As commands for firewalls:  hardway preflight --ports nft|iptables|ufw|firewalld",
    ]  # fmt: skip


def commands_page(cluster: Cluster, chosen: Sequence[Machine], tool: Tool) -> list[str]:
    """Commands for root on each machine. Nobody but a person runs them."""
    lines = [f"# As root on each of {counted(len(chosen), 'machine')}; hardway itself opens nothing."]
    if tool == "nft":
        lines.append("# Where the machine's table or chains have other names, use those: nft list chains")
        lines.append(
            "# Until the next boot; for longer put these rules into /etc/nftables.conf, in chains of these names."
        )
    for machine in chosen:
        lines += ["", f"# {machine.name}", *commands(cluster, machine, tool)]
    return lines


def _sources(cluster: Cluster, alike: Sequence[Flow]) -> str:
    if any(one.anyone for one in alike):
        return "anyone"
    names = set(chain.from_iterable(one.sources for one in alike))
    everybody = ranges(machine.name for machine in cluster.machines if machine.name in names)
    return " ".join((everybody, *(["pods"] if any(one.pods for one in alike) else [])))

"""The flows as commands for a machine's own firewall, to be typed by its owner: hardway opens nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hardway.declare.network.flows import VRRP, Flow, by_machine, vrrp_peers
from hardway.inventory.model import Cluster, Machine

Tool = Literal["nft", "iptables", "ufw", "firewalld"]

NFT_CHAINS = {"input": ("inet filter input",), "forward": ("inet filter forward",)}
"""Where Debian's own /etc/nftables.conf filters, by hook."""
Chains = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Opening:
    """Ports that the same sources must reach; no source: anyone."""

    ports: tuple[int, ...]
    sources: tuple[str, ...]
    """Addresses, and ranges of addresses."""


def openings(cluster: Cluster, machine: Machine, ports: frozenset[int] | None = None) -> list[Opening]:
    """What a machine must let in, ports with the same sources together; `ports`: these of them only."""
    found: dict[tuple[str, ...], list[int]] = {}
    for flow in by_machine(cluster)[machine.name]:
        if ports is None or flow.port in ports:
            found.setdefault(_addresses(cluster, flow), []).append(flow.port)
    return [Opening(tuple(numbers), sources) for sources, numbers in found.items()]


def commands(
    cluster: Cluster,
    machine: Machine,
    tool: Tool,
    *,
    ports: frozenset[int] | None = None,
    chains: Chains = NFT_CHAINS,
) -> list[str]:
    """Lines of shell for root on that machine. `chains`: where nft filters, as `family table chain`."""
    opened = openings(cluster, machine, ports)
    pods = str(cluster.network.pod_cidr) if _routes_pods(cluster, machine) else ""
    peers = tuple(str(one.ip) for one in vrrp_peers(cluster, machine))
    if tool == "nft":
        return list(_nft(opened, pods, peers, chains))
    return list({"iptables": _iptables, "ufw": _ufw, "firewalld": _firewalld}[tool](opened, pods, peers))


def _addresses(cluster: Cluster, flow: Flow) -> tuple[str, ...]:
    if flow.anyone:
        return ()
    addresses = [str(cluster.machine(name).ip) for name in flow.sources]
    return (*addresses, *([str(cluster.network.pod_cidr)] if flow.pods else []))


def _routes_pods(cluster: Cluster, machine: Machine) -> bool:
    return machine.is_worker and cluster.network.plugin == "bridge"


def _nft(opened: list[Opening], pods: str, peers: tuple[str, ...], chains: Chains) -> Iterator[str]:
    """Inserted, not added: a chain often ends with a rule that rejects the rest. A packet has to pass every chain."""
    for chain in chains["input"]:
        for one in opened:
            sources = f"ip saddr {_set(one.sources)} " if one.sources else ""
            yield f"nft 'insert rule {chain} {sources}tcp dport {_set(one.ports)} accept'"
        if peers:
            yield f"nft 'insert rule {chain} ip saddr {_set(peers)} ip protocol {VRRP} accept'"
    for chain in chains["forward"] if pods else ():
        for side in ("saddr", "daddr"):
            yield f"nft 'insert rule {chain} ip {side} {pods} accept'"


def _set(values: tuple[object, ...]) -> str:
    return str(values[0]) if len(values) == 1 else f"{{ {', '.join(map(str, values))} }}"


def _iptables(opened: list[Opening], pods: str, peers: tuple[str, ...]) -> Iterator[str]:
    for one in opened:
        sources = f" -s {','.join(one.sources)}" if one.sources else ""
        yield f"iptables -I INPUT -p tcp -m multiport --dports {','.join(map(str, one.ports))}{sources} -j ACCEPT"
    if peers:
        yield f"iptables -I INPUT -p {VRRP} -s {','.join(peers)} -j ACCEPT"
    for side in ("-s", "-d") if pods else ():
        yield f"iptables -I FORWARD {side} {pods} -j ACCEPT"


def _ufw(opened: list[Opening], pods: str, peers: tuple[str, ...]) -> Iterator[str]:
    for one in opened:
        for source in one.sources or ("any",):
            yield f"ufw allow proto tcp from {source} to any port {','.join(map(str, one.ports))}"
    for peer in peers:
        yield f"ufw allow in proto vrrp from {peer}"
    if pods:
        yield f"ufw route allow from {pods}"
        yield f"ufw route allow to {pods}"


def _firewalld(opened: list[Opening], pods: str, peers: tuple[str, ...]) -> Iterator[str]:
    keep = "firewall-cmd --permanent"
    for one in opened:
        for port in one.ports:
            for source in one.sources:
                rule = f'rule family="ipv4" source address="{source}" port port="{port}" protocol="tcp" accept'
                yield f"{keep} --add-rich-rule='{rule}'"
            if not one.sources:
                yield f"{keep} --add-port={port}/tcp"
    for peer in peers:
        rule = f'rule family="ipv4" source address="{peer}" protocol value="vrrp" accept'
        yield f"{keep} --add-rich-rule='{rule}'"
    if pods:
        # What comes from pods is trusted, and forwarded within the zone and to the outside.
        yield f"{keep} --zone=trusted --add-source={pods}"
        yield f"{keep} --new-policy=hardway-pods"
        yield f"{keep} --policy=hardway-pods --add-ingress-zone=ANY"
        yield f"{keep} --policy=hardway-pods --add-egress-zone=trusted"
        yield f"{keep} --policy=hardway-pods --set-target=ACCEPT"
    yield "firewall-cmd --reload"

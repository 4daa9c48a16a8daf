"""The flows as commands for a machine's own firewall, to be typed by its owner: hardway opens nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
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
    pods = _ranges(cluster) if _routes_pods(cluster, machine) else ()
    peers = tuple(str(one.ip) for one in vrrp_peers(cluster, machine))
    if tool == "nft":
        return list(_nft(opened, pods, peers, chains))
    if tool == "iptables":
        return list(_iptables(opened, pods, peers, families=cluster.network.families))
    return list({"ufw": _ufw, "firewalld": _firewalld}[tool](opened, pods, peers))


def _addresses(cluster: Cluster, flow: Flow) -> tuple[str, ...]:
    if flow.anyone:
        return ()
    addresses: list[str] = []
    for name in flow.sources:
        addresses += map(str, cluster.machine(name).addresses)
    return (*addresses, *(_ranges(cluster) if flow.pods else ()))


def _ranges(cluster: Cluster) -> tuple[str, ...]:
    return tuple(map(str, cluster.network.pod_cidrs))


def _by_family(sources: tuple[str, ...]) -> Iterator[tuple[bool, tuple[str, ...]]]:
    """IPv4 and then IPv6, as far as there are any: no rule can name both. No source: anyone, of either family."""
    for is_ipv6 in (False, True):
        some = tuple(source for source in sources if (":" in source) == is_ipv6)
        if some:
            yield is_ipv6, some


def _routes_pods(cluster: Cluster, machine: Machine) -> bool:
    return machine.is_worker and cluster.network.plugin == "bridge"


def _nft(opened: list[Opening], pods: tuple[str, ...], peers: tuple[str, ...], chains: Chains) -> Iterator[str]:
    """Inserted, not added: a chain often ends with a rule that rejects the rest. A packet has to pass every chain."""
    for chain in chains["input"]:
        for one in opened:
            for is_ipv6, some in _by_family(one.sources):
                if is_ipv6 and _is_ipv4_alone(chain):
                    continue
                sources = f"{_nft_family(is_ipv6)} saddr {_set(some)} "
                yield f"nft 'insert rule {chain} {sources}tcp dport {_set(one.ports)} accept'"
            if not one.sources:
                yield f"nft 'insert rule {chain} tcp dport {_set(one.ports)} accept'"
        if peers:
            yield f"nft 'insert rule {chain} ip saddr {_set(peers)} ip protocol {VRRP} accept'"
    for chain in chains["forward"] if pods else ():
        for range_, side in product(pods, ("saddr", "daddr")):
            if ":" in range_ and _is_ipv4_alone(chain):
                continue
            yield f"nft 'insert rule {chain} {_nft_family(':' in range_)} {side} {range_} accept'"


def _is_ipv4_alone(chain: str) -> bool:
    """Whether no packet of IPv6 comes by there."""
    return chain.startswith("ip ")


def _nft_family(is_ipv6: bool) -> str:
    return "ip6" if is_ipv6 else "ip"


def _set(values: tuple[object, ...]) -> str:
    return str(values[0]) if len(values) == 1 else f"{{ {', '.join(map(str, values))} }}"


def _iptables(
    opened: list[Opening], pods: tuple[str, ...], peers: tuple[str, ...], *, families: tuple[int, ...]
) -> Iterator[str]:
    for one in opened:
        ports = ",".join(map(str, one.ports))
        for is_ipv6, some in _by_family(one.sources):
            yield f"{_tables(is_ipv6)} -I INPUT -p tcp -m multiport --dports {ports} -s {','.join(some)} -j ACCEPT"
        for family in families if not one.sources else ():
            yield f"{_tables(family == 6)} -I INPUT -p tcp -m multiport --dports {ports} -j ACCEPT"
    if peers:
        yield f"iptables -I INPUT -p {VRRP} -s {','.join(peers)} -j ACCEPT"
    for range_, side in product(pods, ("-s", "-d")):
        yield f"{_tables(':' in range_)} -I FORWARD {side} {range_} -j ACCEPT"


def _tables(is_ipv6: bool) -> str:
    return "ip6tables" if is_ipv6 else "iptables"


def _ufw(opened: list[Opening], pods: tuple[str, ...], peers: tuple[str, ...]) -> Iterator[str]:
    for one in opened:
        for source in one.sources or ("any",):
            yield f"ufw allow proto tcp from {source} to any port {','.join(map(str, one.ports))}"
    for peer in peers:
        yield f"ufw allow in proto vrrp from {peer}"
    for range_ in pods:
        yield f"ufw route allow from {range_}"
        yield f"ufw route allow to {range_}"


def _firewalld(opened: list[Opening], pods: tuple[str, ...], peers: tuple[str, ...]) -> Iterator[str]:
    keep = "firewall-cmd --permanent"
    for one in opened:
        for port in one.ports:
            for source in one.sources:
                family = "ipv6" if ":" in source else "ipv4"
                rule = f'rule family="{family}" source address="{source}" port port="{port}" protocol="tcp" accept'
                yield f"{keep} --add-rich-rule='{rule}'"
            if not one.sources:
                yield f"{keep} --add-port={port}/tcp"
    for peer in peers:
        rule = f'rule family="ipv4" source address="{peer}" protocol value="vrrp" accept'
        yield f"{keep} --add-rich-rule='{rule}'"
    if pods:
        # What comes from pods is trusted, and forwarded within the zone and to the outside.
        for range_ in pods:
            yield f"{keep} --zone=trusted --add-source={range_}"
        yield f"{keep} --new-policy=hardway-pods"
        yield f"{keep} --policy=hardway-pods --add-ingress-zone=ANY"
        yield f"{keep} --policy=hardway-pods --add-egress-zone=trusted"
        yield f"{keep} --policy=hardway-pods --set-target=ACCEPT"
    yield "firewall-cmd --reload"

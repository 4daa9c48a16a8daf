"""Rules about what a firewall keeps apart, before anything listens there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from hardway.declare.network.firewall import Chains, Tool, commands
from hardway.declare.network.flows import by_machine
from hardway.inventory.model import Machine
from hardway.platforms import DEBIAN, platform
from hardway.probe.host import Host
from hardway.probe.network import DIAL_SECONDS, Reached
from hardway.rules import Evidence, Found, Need, Rule

HOSTS: frozenset[Need] = frozenset({"hosts"})
_IPTABLES = ("", "ip filter INPUT", "ip filter FORWARD")
_SAID: dict[Reached, str] = {
    "silent": f"no answer within {DIAL_SECONDS:g} s",
    "rejected": "rejected by a firewall",
}


def closed_ports(evidence: Evidence) -> Iterator[Found]:
    """Where one machine did not get through to another. That nothing listens yet is no obstacle."""
    if evidence.cluster.hosts.firewall == "ignore":
        return
    incoming = by_machine(evidence.cluster)
    for machine in evidence.cluster.machines:
        kept_out: dict[tuple[tuple[str, ...], Reached], list[int]] = {}
        for flow in incoming[machine.name]:
            found = {name: _answer(evidence, name, machine, flow.port) for name in flow.sources}
            for said in _SAID:
                if names := tuple(name for name, answer in found.items() if answer == said):
                    kept_out.setdefault((names, said), []).append(flow.port)
        if kept_out:
            ports = frozenset(chain.from_iterable(kept_out.values()))
            closed = "; ".join(
                f"TCP {', '.join(map(str, sorted(numbers)))} to {', '.join(names)} ({_SAID[said]})"
                for (names, said), numbers in kept_out.items()
            )
            yield Found(machine.name, f"closed: {closed}", _fix(evidence, machine, ports))


def unrouted(evidence: Evidence) -> Iterator[Found]:
    for machine in evidence.cluster.machines:
        gone = {host for (host, _), said in evidence.reached.get(machine.name, {}).items() if said == "unrouted"}
        others = [f"{one.name} ({one.ip})" for one in evidence.cluster.machines if str(one.ip) in gone]
        if others:
            yield Found(machine.name, f"it has no route to {', '.join(others)}")


def _answer(evidence: Evidence, source: str, machine: Machine, port: int) -> Reached | None:
    """None where that source was not asked."""
    return evidence.reached.get(source, {}).get((str(machine.ip), port))


def _fix(evidence: Evidence, machine: Machine, ports: frozenset[int] | None) -> str:
    """Commands for the machine's own firewall, where it has one; else it is one on the way."""
    host = evidence.hosts.get(machine.name)
    if host is None:
        printed = f"hardway preflight --ports nft|iptables|ufw|firewalld -l {machine.name}"
        return f"open them in its own firewall, or in one on the way; the commands:\n  {printed}"
    if not host.manager and not re.search(r"\b(drop|reject)\b", host.ruleset, re.IGNORECASE):
        return "open them in the firewall on the way; hardway preflight --ports table lists all that must be open"
    lines: list[str] = []
    for tool, chains in _tools(host):
        lines += commands(evidence.cluster, machine, tool, ports=ports, chains=chains)
    facts = evidence.facts.get(machine.name)
    family = (platform(facts.os) if facts else None) or DEBIAN
    kept = "" if host.manager else f", and for the next boot in what loads its rules ({family.nftables}, iptables-save)"
    return "\n".join((f"as root on it{kept}:", *(f"  {line}" for line in lines)))


def _tools(host: Host) -> Iterator[tuple[Tool, Chains]]:
    """By which tools, and in which chains: what iptables has made is only its own to change."""
    if host.manager:
        yield host.manager, {}
        return
    if any(one.chain in _IPTABLES for one in host.filters):
        yield "iptables", {}
    others: dict[str, tuple[str, ...]] = {"input": (), "forward": ()}
    for one in host.filters:
        if one.chain not in _IPTABLES:
            others[one.hook] = (*others.get(one.hook, ()), one.chain)
    if any(others.values()):
        yield "nft", others


def firewalls(evidence: Evidence) -> Iterator[Found]:
    """What cannot be dialled before there are pods. A ruleset that names their range is believed.

    Not of machines with closed ports: the commands that open these open all of it.
    """
    if evidence.cluster.hosts.firewall == "ignore" or evidence.cluster.network.plugin != "bridge":
        return
    ranges = [str(cidr) for cidr in evidence.cluster.network.pod_cidrs]
    pods = ", ".join(ranges)
    told = {one.machine for one in closed_ports(evidence)}
    incoming = by_machine(evidence.cluster)
    for machine, host in evidence.bare():
        needed = any(flow.pods and not flow.anyone for flow in incoming[machine.name])
        if all(one in host.ruleset for one in ranges) or not needed or machine.name in told:
            continue
        dropping = {one.hook for one in host.filters if one.drops}
        if machine.is_worker and ("forward" in dropping or host.manager):
            yield Found(
                machine.name,
                f"its firewall ({host.manager or 'FORWARD policy DROP'}) drops what is forwarded: pods of different "
                "workers would not meet",
                _fix(evidence, machine, frozenset()),
            )
        elif "input" in dropping or host.manager:
            yield Found(
                machine.name,
                f"its firewall ({host.manager or 'INPUT policy DROP'}) drops what it was not told of; it was told "
                f"nothing of pods ({pods})",
                _fix(evidence, machine, None),
            )


RULES = (
    Rule(
        "ports-closed", HOSTS, closed_ports,
        "components dial each other there; hardway never opens a firewall by itself", "open them",
    ),
    Rule(
        "unrouted", HOSTS, unrouted, "components dial each other at these addresses",
        "address: in the inventory as the other machines reach it, or a route there",
    ),
    Rule("firewall", HOSTS, firewalls, "hardway never opens a firewall by itself", "open it", "warning"),
)  # fmt: skip

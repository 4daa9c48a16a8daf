"""Rules about what a firewall keeps apart, before anything listens there."""

from __future__ import annotations

from collections.abc import Iterator

from hardway.inventory.model import Machine
from hardway.network.firewall import NFT_CHAINS, Tool, commands
from hardway.network.flows import flows
from hardway.platforms import DEBIAN, platform
from hardway.rules.host import DIAL_SECONDS, Host, Reached
from hardway.rules.model import Found, Need, Rule, Scene

HOSTS: frozenset[Need] = frozenset({"hosts"})
_SAID: dict[Reached, str] = {
    "silent": f"no answer within {DIAL_SECONDS:g} s",
    "rejected": "rejected by a firewall",
}


def closed_ports(scene: Scene) -> Iterator[Found]:
    """Where one machine did not get through to another. That nothing listens yet is no obstacle."""
    if scene.cluster.hosts.firewall == "ignore":
        return
    for machine in scene.cluster.machines:
        kept_out: dict[tuple[str, ...], set[int]] = {}
        answers: dict[str, Reached] = {}
        for flow in (one for one in flows(scene.cluster) if one.machine == machine.name):
            found = {name: _answer(scene, name, machine, flow.port) for name in flow.sources}
            closed = {name: answer for name, answer in found.items() if answer in _SAID}
            answers |= closed
            if closed:
                kept_out.setdefault(tuple(closed), set()).add(flow.port)
        if kept_out:
            ports = frozenset().union(*kept_out.values())
            closed_to = "; ".join(
                f"TCP {_numbers(numbers)} to {', '.join(names)} ({_SAID[answers[names[0]]]})"
                for names, numbers in kept_out.items()
            )
            yield Found(machine.name, f"closed: {closed_to}", _fix(scene, machine, ports))


def _answer(scene: Scene, source: str, machine: Machine, port: int) -> Reached | None:
    """None where that source was not asked."""
    host = scene.hosts.get(source)
    return host.reached.get((str(machine.ip), port)) if host else None


def _fix(scene: Scene, machine: Machine, ports: frozenset[int] | None) -> str:
    """Commands for the machine's own firewall, where it has one; else it is one on the way."""
    host = scene.hosts.get(machine.name, Host())
    if not (host.manager or host.ruleset.strip() or host.dropping):
        return "open them in the firewall on the way; hardway preflight --ports table lists all that must be open"
    tool: Tool = host.manager or "nft"
    chains = NFT_CHAINS | {hook: chain for hook, chain in host.dropping.items() if chain}
    lines = commands(scene.cluster, machine, tool, ports=ports, chains=chains)
    facts = scene.facts.get(machine.name)
    family = (platform(facts.os) if facts else None) or DEBIAN
    kept = f", and for the next boot in {family.nftables}" if tool == "nft" else ""
    return "\n".join((f"as root on it{kept}:", *(f"  {line}" for line in lines)))


def firewalls(scene: Scene) -> Iterator[Found]:
    """What cannot be dialled before there are pods. A ruleset that names their range is believed.

    Not of machines with closed ports: the commands that open these open all of it.
    """
    if scene.cluster.hosts.firewall == "ignore" or scene.cluster.network.plugin != "bridge":
        return
    pods = str(scene.cluster.network.pod_cidr)
    told = {one.machine for one in closed_ports(scene)}
    for machine, host in scene.bare():
        needed = any(one.pods and not one.anyone and one.machine == machine.name for one in flows(scene.cluster))
        if pods in host.ruleset or not needed or machine.name in told:
            continue
        if machine.is_worker and ("forward" in host.dropping or host.manager):
            yield Found(
                machine.name,
                f"its firewall ({host.manager or 'FORWARD policy DROP'}) drops what is forwarded: pods of different "
                "workers would not meet",
                _fix(scene, machine, frozenset()),
            )
        elif "input" in host.dropping or host.manager:
            yield Found(
                machine.name,
                f"its firewall ({host.manager or 'INPUT policy DROP'}) drops what it was not told of; it was told "
                f"nothing of pods ({pods})",
                _fix(scene, machine, None),
            )


def _numbers(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


RULES = (
    Rule(
        "ports-closed", HOSTS, closed_ports,
        "components dial each other there; hardway never opens a firewall by itself", "open them",
    ),
    Rule("firewall", HOSTS, firewalls, "hardway never opens a firewall by itself", "open it", "warning"),
)  # fmt: skip

"""Causes between machines: routes, firewalls, and where names are asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hardway.declare.network import BRIDGE, routed, routes
from hardway.declare.network.flows import open_ports
from hardway.declare.phases.workers import KUBELET_CONFIG
from hardway.doctor.remedies import CONTROLLER, HERE, SYMPTOMS, WORKER, apply, lines, on, seen, snapshot
from hardway.inventory.model import Machine
from hardway.preflight.surroundings import CONTROLLER_PORTS, WORKER_PORTS, is_loopback
from hardway.rules import Evidence, Found, Rule
from hardway.values import host_port

OWNERS = {**CONTROLLER_PORTS, **WORKER_PORTS, 2379: "etcd", 2380: "etcd"}


_EXCEPTING = re.compile(r"saddr|iif|ct state| -s | -i |ctstate")


def lost_routes(evidence: Evidence) -> Iterator[Found]:
    for machine in routed(evidence.cluster):
        there = snapshot(evidence).machines.get(machine.name)
        if there is None or not there.routes:
            continue
        wanted = routes(evidence.cluster, machine)
        known = {(str(route.to), route.via) for route in there.routes}
        lost = [f"{to} via {via}" for to, via in wanted.items() if (to, via) not in known]
        if lost:
            yield Found(
                machine.name, "it has lost the way to pods of other workers", apply(evidence, machine, "routes"),
                lines(f"no route {', '.join(lost)}; those it has:", [route.text for route in there.routes]),
            )  # fmt: skip


def own_routes(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.network.plugin != "bridge":
        return  # Another plugin routes a node's own pods as it likes.
    for machine, there in seen(evidence, "worker"):
        for route in there.routes:
            if route.to in machine.pod_cidrs and route.via:
                yield Found(
                    machine.name, "a route leads its own pods' addresses away from it",
                    on(machine, f"ip route delete {route.to} via {route.via}"), lines(route.text),
                )  # fmt: skip


def forwarding_dropped(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.network.plugin != "bridge":
        return  # By which interfaces and marks another plugin's packets are let through is not known here.
    for machine, there in seen(evidence, "worker"):
        accepted = [one for one in (*there.accepts, *there.iptables) if _is_about_pods(evidence, machine, one)]
        if accepted:
            continue
        what = "its firewall drops what is forwarded: its pods meet nobody on other nodes"
        for chain in there.dropping:
            if chain.hook == "forward":
                where = f"{chain.family} {chain.table} {chain.name}"
                yield Found(
                    machine.name, what, on(machine, f"nft 'chain {where} {{ policy accept; }}'"),
                    lines(f"nft: chain {where}: hook forward, policy drop"),
                )  # fmt: skip
        if "-P FORWARD DROP" in there.iptables:
            yield Found(machine.name, what, on(machine, "iptables -P FORWARD ACCEPT"), lines("-P FORWARD DROP"))


def _is_about_pods(evidence: Evidence, machine: Machine, rule: str) -> bool:
    wide = str(evidence.cluster.network.pod_cidr)
    return any(one in rule for one in (str(machine.pods), wide, BRIDGE))


def dropped_ports(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        for rule in there.filters:
            if ports := _kept_out(evidence, machine, rule.text, _ports(rule.text)):
                where = f"{rule.family} {rule.table} {rule.chain}"
                yield Found(
                    machine.name, f"its firewall drops {_services(ports)}",
                    on(machine, f"nft delete rule {where} handle {rule.handle}"),
                    lines(f"nft: {where}: {rule.text}", _dialled(evidence, machine)),
                )  # fmt: skip
        for line in there.iptables:
            found = re.match(r"-A (INPUT.*--dports? (\S+) .*-j (?:DROP|REJECT).*)", line)
            if found and (ports := _kept_out(evidence, machine, line, _ports(f"dport {found[2]}"))):
                yield Found(
                    machine.name, f"its firewall drops {_services(ports)}", on(machine, f"iptables -D {found[1]}"),
                    lines(line, _dialled(evidence, machine)),
                )  # fmt: skip


def _kept_out(evidence: Evidence, machine: Machine, rule: str, dropped: set[int]) -> set[int]:
    """The ports that others need and do not get, as far as this rule is to blame.

    Most firewalls accept some callers first and drop the rest, or except them in the rule itself. So those who dialled
    are believed; where none of them was asked, a rule that excepts nobody.
    """
    found = set()
    for port in dropped & open_ports(evidence.cluster, machine):
        answers = {
            symptoms.reach[str(machine.ip), port]
            for other, symptoms in seen(evidence)
            if other is not machine and (str(machine.ip), port) in symptoms.reach
        }
        if answers - {"open"} or (not answers and not _EXCEPTING.search(rule)):
            found.add(port)
    return found


def blocked(evidence: Evidence) -> Iterator[Found]:
    """Where nothing on the machine itself says why."""
    for machine, _ in seen(evidence):
        if dialled := _dialled(evidence, machine):
            yield Found(
                machine.name, "others do not reach what listens there",
                on(machine, "nft list ruleset"), lines(dialled),
            )  # fmt: skip


def _dialled(evidence: Evidence, machine: Machine) -> list[str]:
    """Who did not get through to a port on which something listens there."""
    there = snapshot(evidence).machines[machine.name]
    listening = {one.port for one in there.listening if one.port in open_ports(evidence.cluster, machine)}
    refused: list[str] = []
    for other, symptoms in seen(evidence):
        for (host, port), answer in symptoms.reach.items():
            if host == str(machine.ip) and port in listening and answer != "open" and other is not machine:
                refused.append(f"{other.name} dials {host_port(machine.ip, port)}: {answer}")
    return refused


def _ports(rule: str) -> set[int]:
    """The ports that a rule of nftables names: one, a range, or a set of them."""
    found = set()
    for text in re.findall(r"dport (\{[^}]*\}|\S+)", rule):
        for part in re.findall(r"(\d+)(?:[-:](\d+))?", text):
            found |= set(range(int(part[0]), int(part[1] or part[0]) + 1))
    return found


def _services(ports: set[int]) -> str:
    return ", ".join(f"{port} ({OWNERS.get(port, 'the API')})" for port in sorted(ports))


def _nameserver(evidence: Evidence, path: str) -> str:
    """One that a machine has in this file and that is not its own; empty where there is none."""
    for _, there in seen(evidence):
        for server in there.nameservers.get(path, ()):
            if not is_loopback(server):
                return server
    return ""


def resolver_loops(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence, "worker"):
        path = str(there.kubelet.get("resolvConf", "/etc/resolv.conf"))
        servers = there.nameservers.get(path, ())
        if not servers or not all(is_loopback(server) for server in servers):
            continue
        better = _nameserver(evidence, path)
        edit = f"sed -i 's/^nameserver .*/nameserver {better}/' {path}" if better else f"vi {path}"
        yield Found(
            machine.name,
            f"{path} names the machine itself as its resolver: CoreDNS asks itself in a loop",
            f"{on(machine, edit)}\nhardway kubectl -n kube-system delete pod -l k8s-app=kube-dns",
            lines(
                [f"{path}: nameserver {server}" for server in servers],
                f"{KUBELET_CONFIG}: resolvConf: {path}",
                [line for line in there.dns_log if "Loop" in line][-1:],
            ),
        )


RULES = (
    Rule(
        "pod-route", SYMPTOMS, lost_routes, "a pod's address says which worker it is on; all must know the way", "",
        layer="network", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "own-route", SYMPTOMS, own_routes, f"{BRIDGE} has that route already; one more breaks the node's pods", "",
        layer="network", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "firewall-forward", SYMPTOMS, forwarding_dropped,
        "a worker is the router of its pods; put the rule into your firewall's own configuration, too", "",
        layer="network", explains=HERE, reaches=WORKER,
    ),
    Rule(
        "firewall-port", SYMPTOMS, dropped_ports,
        "callers wait until they give up; put the change into your firewall's own configuration, too", "",
        layer="network", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "port-blocked", SYMPTOMS, blocked, "a firewall on the way, or a route that leads elsewhere", "",
        layer="network", explains=HERE - {"port-blocked", "drift", "node-missing"}, reaches=CONTROLLER,
    ),
    Rule(
        "dns-loop", SYMPTOMS, resolver_loops, "CoreDNS asks the machine's resolvers about all other names", "",
        layer="network", explains=HERE, reaches=WORKER,
    ),
)  # fmt: skip

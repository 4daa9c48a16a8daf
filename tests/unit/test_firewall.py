"""Which ports must be open between machines, and the commands that open them."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from hardway.declare.network.firewall import Opening, commands, openings
from hardway.declare.network.flows import KUBELET, dials, flows, open_ports
from hardway.engine.guards import first_state
from hardway.engine.plan import declared
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.model import Cluster, Endpoint, Hosts, Machine, Network
from hardway.map import Map, drawn
from hardway.preflight import firewalls
from hardway.probe.host import Filter, Host
from hardway.probe.network import Reached
from hardway.rules import Evidence, Finding, examine

ROOT = Path(__file__).parents[2]
LB = Machine("lb", frozenset({"load-balancer"}), IPv4Address("192.0.2.9"))
CONTROLLERS = tuple(Machine(f"c{n}", frozenset({"controller"}), IPv4Address(f"192.0.2.1{n}")) for n in range(3))
W0, W1 = (Machine(f"w{n}", frozenset({"worker"}), IPv4Address(f"192.0.2.2{n}")) for n in range(2))
WHOLE = Cluster("whole", (LB, *CONTROLLERS, W0, W1), endpoint=Endpoint("lb"))
SMALL = Cluster("small", (CONTROLLERS[0], W0))
STACKED = Cluster(
    "stacked", tuple(replace(one, roles=frozenset({"controller", "worker"})) for one in CONTROLLERS),
    endpoint=Endpoint("api.example.net"),
)  # fmt: skip


def shape(name: str) -> Cluster:
    found = {"whole": WHOLE, "small": SMALL, "stacked": STACKED}.get(name)
    return allot_pod_cidrs(found or load(ROOT / f"inventories/{name}.yaml"), {})


def map_of(cluster: Cluster) -> Map:
    return drawn(cluster, declared(cluster, first_state(cluster))[1])


SHAPES = ("whole", "small", "stacked", "lab", "lab-pair", "single")


@pytest.mark.parametrize("name", SHAPES)
def test_every_connection_of_the_map_may_pass(name: str) -> None:
    cluster = shape(name)
    drawn_map = map_of(cluster)
    names = {machine.name for machine in cluster.machines}
    wanted = {
        (one.caller.machine, one.server.machine, one.port)
        for one in drawn_map.connections
        if {one.caller.machine, one.server.machine} <= names
        and one.caller.machine != one.server.machine
        and one.server.component != "pods"
    }
    passing = {(source, one.machine, one.port) for one in flows(cluster) for source in one.sources}
    assert wanted <= passing
    assert len(wanted) > 1 or len(names) == 1


@pytest.mark.parametrize("name", SHAPES)
def test_something_listens_on_every_port_that_is_opened(name: str) -> None:
    cluster = shape(name)
    listening = {
        (machine.name, port.number)
        for machine in map_of(cluster).machines
        for component in machine.components
        for port in component.ports
        if not port.local
    }
    assert {(one.machine, one.port) for one in flows(cluster)} <= listening


def test_a_name_before_a_balancer_of_the_inventory_opens_no_controller_to_anyone() -> None:
    named = replace(WHOLE, endpoint=Endpoint("api.example.net"))
    assert {one.machine for one in flows(named) if one.anyone} == {"lb"}


def test_only_where_people_dial_the_api_anyone_may_come() -> None:
    assert {one.machine for one in flows(WHOLE) if one.anyone} == {"lb"}
    assert {one.machine for one in flows(SMALL) if one.anyone} == {"c0"}
    assert {one.machine for one in flows(STACKED) if one.anyone} == {"c0", "c1", "c2"}


def test_a_machine_alone_opens_nothing_to_others() -> None:
    alone = Cluster("one", (replace(W0, roles=frozenset({"controller", "worker"})),))
    assert dials(alone) == {alone.machines[0].name: []}
    without_pods = replace(alone, network=Network(plugin="none"))
    assert open_ports(without_pods, alone.machines[0]) == {6443}


def test_ports_of_the_same_sources_go_together() -> None:
    assert openings(WHOLE, CONTROLLERS[1])[0] == Opening((2379, 2380), ("192.0.2.10", "192.0.2.12"))
    assert openings(WHOLE, CONTROLLERS[1], frozenset({6443}))[0].ports == (6443,)


def test_nft_puts_its_rules_before_a_last_one_that_rejects() -> None:
    assert commands(SMALL, W0, "nft", chains={"input": ("ip mine in",), "forward": ("ip mine fwd",)}) == [
        "nft 'insert rule ip mine in ip saddr { 192.0.2.10, 10.200.0.0/16 } tcp dport 10250 accept'",
        "nft 'insert rule ip mine fwd ip saddr 10.200.0.0/16 accept'",
        "nft 'insert rule ip mine fwd ip daddr 10.200.0.0/16 accept'",
    ]
    assert commands(SMALL, CONTROLLERS[0], "nft") == ["nft 'insert rule inet filter input tcp dport 6443 accept'"]


def test_ufw_and_firewalld_keep_what_they_are_told() -> None:
    assert commands(SMALL, W0, "ufw") == [
        "ufw allow proto tcp from 192.0.2.10 to any port 10250",
        "ufw allow proto tcp from 10.200.0.0/16 to any port 10250",
        "ufw route allow from 10.200.0.0/16",
        "ufw route allow to 10.200.0.0/16",
    ]
    lines = commands(SMALL, CONTROLLERS[0], "firewalld")
    assert lines == ["firewall-cmd --permanent --add-port=6443/tcp", "firewall-cmd --reload"]


def test_iptables_has_its_own_way() -> None:
    assert commands(SMALL, W0, "iptables") == [
        "iptables -I INPUT -p tcp -m multiport --dports 10250 -s 192.0.2.10,10.200.0.0/16 -j ACCEPT",
        "iptables -I FORWARD -s 10.200.0.0/16 -j ACCEPT",
        "iptables -I FORWARD -d 10.200.0.0/16 -j ACCEPT",
    ]


def test_with_another_plugin_pods_are_its_own_matter() -> None:
    bare = replace(SMALL, network=Network(plugin="none"))
    assert commands(bare, W0, "ufw") == ["ufw allow proto tcp from 192.0.2.10 to any port 10250"]


Answers = Mapping[str, Reached]


def find(
    cluster: Cluster = SMALL, reached: Mapping[str, Answers] | None = None, **hosts: dict[str, Any]
) -> list[Finding]:
    """`reached`: by who dialled, what `ADDRESS:PORT` answered."""
    seen = {one.name: Host(**hosts.get(one.name, {})) for one in cluster.machines}
    answers = {
        name: {(address, int(port)): said for text, said in of.items() for address, _, port in [text.partition(":")]}
        for name, of in (reached or {}).items()
    }
    return examine(firewalls.RULES, Evidence(cluster, hosts=seen, reached=answers))


OWN = {"filters": (Filter("input", "inet company in", True),), "ruleset": "policy drop"}


def test_a_port_on_which_nothing_listens_yet_is_open() -> None:
    assert find(reached={"c0": {f"192.0.2.20:{KUBELET}": "refused"}}) == []


def test_closed_ports_are_told_with_who_dialled_and_what_opens_them() -> None:
    [finding] = find(reached={"c0": {f"192.0.2.20:{KUBELET}": "silent"}}, w0=OWN)
    assert (finding.machine, finding.level) == ("w0", "error")
    assert finding.what == "closed: TCP 10250 to c0 (no answer within 2.5 s)"
    assert "  nft 'insert rule inet company in ip saddr { 192.0.2.10," in finding.fix


def test_each_answer_is_told_with_those_who_got_it() -> None:
    answers: dict[str, dict[str, Reached]] = {
        "c0": {"192.0.2.11:2379": "silent", "192.0.2.11:2380": "rejected", "192.0.2.11:6443": "silent"},
        "c2": {"192.0.2.11:2379": "silent"},
    }
    [finding] = find(WHOLE, answers)
    assert finding.what == (
        "closed: TCP 2379 to c0, c2 (no answer within 2.5 s); TCP 2380 to c0 (rejected by a firewall); "
        "TCP 6443 to c0 (no answer within 2.5 s)"
    )


@pytest.mark.parametrize(
    ("there", "fix"),
    [
        ({}, "open them in the firewall on the way"),
        (
            {"filters": (Filter("forward", "ip filter FORWARD", False),), "ruleset": "accept"},
            "open them in the firewall on",
        ),
        (OWN, "nft 'insert rule inet company in ip saddr"),
        (
            {"filters": (Filter("input", "", True),), "ruleset": "-P INPUT DROP"},
            "iptables -I INPUT -p tcp -m multiport",
        ),
        ({"filters": (Filter("input", "ip filter INPUT", False),), "ruleset": "reject"}, "iptables -I INPUT -p tcp"),
        ({"manager": "ufw"}, "ufw allow proto tcp from 192.0.2.10 to any port 10250"),
        ({"manager": "firewalld"}, "firewall-cmd --permanent --add-rich-rule="),
    ],
)
def test_what_opens_a_port_is_said_for_what_closes_it(there: dict[str, Any], fix: str) -> None:
    [finding] = find(reached={"c0": {f"192.0.2.20:{KUBELET}": "rejected"}}, w0=there)
    assert fix in finding.fix


def test_of_a_machine_that_was_not_looked_at_nothing_is_claimed() -> None:
    evidence = Evidence(SMALL, reached={"w0": {("192.0.2.10", 6443): "silent"}}, hosts={"w0": Host()})
    [finding] = examine(firewalls.RULES, evidence)
    assert (finding.machine, finding.fix.splitlines()[0]) == (
        "c0",
        "open them in its own firewall, or in one on the way; the commands:",
    )


def test_who_knows_no_way_is_not_told_of_a_firewall() -> None:
    [finding] = find(reached={"c0": {f"192.0.2.20:{KUBELET}": "unrouted"}})
    assert (finding.rule, finding.machine, finding.what) == ("unrouted", "c0", "it has no route to w0 (192.0.2.20)")


def test_a_ruleset_that_knows_the_pods_is_believed() -> None:
    told = {"manager": "ufw", "ruleset": "ip saddr 10.200.0.0/16 counter accept"}
    assert find(w0=told) == []
    assert [one.level for one in find(w0=told | {"ruleset": "drop"})] == ["warning"]


def test_a_firewall_is_nobody_s_business_where_the_inventory_says_so() -> None:
    ignoring = replace(SMALL, hosts=Hosts(firewall="ignore"))
    assert find(ignoring, {"c0": {f"192.0.2.20:{KUBELET}": "silent"}}) == []


def test_both_families_are_let_in_each_by_rules_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "hardway.yaml"
    path.write_text(
        'cluster: both\nnetwork: {service_cidr: [10.32.0.0/24, "fd00:32::/112"], '
        'pod_cidr: [10.200.0.0/16, "fd00:200::/56"]}\n'
        'machines:\n  c: {role: controller, address: [192.0.2.1, "fd00:2::1"]}\n'
        '  w: {role: worker, address: [192.0.2.2, "fd00:2::2"]}\n'
    )
    cluster = allot_pod_cidrs(load(path), {})
    worker = cluster.machine("w")
    assert commands(cluster, worker, "nft") == [
        "nft 'insert rule inet filter input ip saddr { 192.0.2.1, 10.200.0.0/16 } tcp dport 10250 accept'",
        "nft 'insert rule inet filter input ip6 saddr { fd00:2::1, fd00:200::/56 } tcp dport 10250 accept'",
        "nft 'insert rule inet filter forward ip saddr 10.200.0.0/16 accept'",
        "nft 'insert rule inet filter forward ip daddr 10.200.0.0/16 accept'",
        "nft 'insert rule inet filter forward ip6 saddr fd00:200::/56 accept'",
        "nft 'insert rule inet filter forward ip6 daddr fd00:200::/56 accept'",
    ]
    assert commands(cluster, worker, "iptables") == [
        "iptables -I INPUT -p tcp -m multiport --dports 10250 -s 192.0.2.1,10.200.0.0/16 -j ACCEPT",
        "ip6tables -I INPUT -p tcp -m multiport --dports 10250 -s fd00:2::1,fd00:200::/56 -j ACCEPT",
        "iptables -I FORWARD -s 10.200.0.0/16 -j ACCEPT",
        "iptables -I FORWARD -d 10.200.0.0/16 -j ACCEPT",
        "ip6tables -I FORWARD -s fd00:200::/56 -j ACCEPT",
        "ip6tables -I FORWARD -d fd00:200::/56 -j ACCEPT",
    ]
    # A table of IPv4 alone sees no packet of the other family.
    chains = {"input": ("ip filter INPUT",), "forward": ("ip filter FORWARD",)}
    assert not [line for line in commands(cluster, worker, "nft", chains=chains) if "ip6" in line]


def test_anyone_is_let_in_over_both_families_of_a_dual_stack_cluster() -> None:
    network = replace(SMALL.network, service_cidr6=IPv6Network("fd00:32::/112"), pod_cidr6=IPv6Network("fd00::/56"))
    both = replace(SMALL, network=network)
    lines = commands(both, CONTROLLERS[0], "iptables", ports=frozenset({6443}))
    assert lines == [
        f"{tool} -I INPUT -p tcp -m multiport --dports 6443 -j ACCEPT" for tool in ("iptables", "ip6tables")
    ]

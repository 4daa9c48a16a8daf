"""Clusters with a second family: what an inventory may say, and what a running cluster makes of it."""

import json
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path

import pytest

from hardway.engine.pending import in_words, pending
from hardway.errors import InventoryError
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.inventory.view import shown
from hardway.preflight import surroundings
from hardway.probe import network
from hardway.probe.host import Host
from hardway.probe.script import Answer, Answers
from hardway.rules import Evidence
from hardway.state import State, fixed_values, nodes_of
from hardway.values import host_port

NETWORK = "network: {service_cidr: [10.32.0.0/24, 'fd00:32::/112'], pod_cidr: [10.200.0.0/16, 'fd00:200::/56']}\n"
MACHINES = """\
machines:
  k1: {role: controller, address: [10.0.8.11, "fd00:8::11"]}
  w1: {role: worker, address: [10.0.8.21, "fd00:8::21"]}
  w2: {role: worker, address: [10.0.8.22, "fd00:8::22"]}
"""
IPV4 = """\
cluster: both
machines:
  k1: {role: controller, address: 10.0.8.11}
  w1: {role: worker, address: 10.0.8.21}
  w2: {role: worker, address: 10.0.8.22}
"""
BOTH = f"cluster: both\n{NETWORK}{MACHINES}"


def read(folder: Path, text: str) -> Cluster:
    path = folder / "hardway.yaml"
    path.write_text(text)
    return load(path)


def complaints(folder: Path, text: str) -> list[str]:
    """What is wrong with an inventory, each with its place."""
    with pytest.raises(InventoryError) as raised:
        read(folder, text)
    return [problem.removeprefix(f"{folder}/hardway.yaml:") for problem in raised.value.problems]


def test_each_worker_gets_a_share_of_each_family(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, BOTH), {})
    assert [list(map(str, worker.pod_cidrs)) for worker in cluster.workers] == [
        ["10.200.0.0/24", "fd00:200::/64"],
        ["10.200.1.0/24", "fd00:200:0:1::/64"],
    ]


def test_a_share_is_kept_also_when_workers_go(tmp_path: Path) -> None:
    kept = {"gone": IPv4Network("10.200.0.0/24"), "w2": IPv4Network("10.200.7.0/24")}
    kept6 = {"gone": IPv6Network("fd00:200::/64"), "w2": IPv6Network("fd00:200:0:7::/64")}
    cluster = allot_pod_cidrs(read(tmp_path, BOTH), kept, kept6)
    assert [list(map(str, worker.pod_cidrs)) for worker in cluster.workers] == [
        ["10.200.1.0/24", "fd00:200:0:1::/64"],
        ["10.200.7.0/24", "fd00:200:0:7::/64"],
    ]


def test_a_share_may_be_given(tmp_path: Path) -> None:
    given = MACHINES.replace(', "fd00:8::22"]', ', "fd00:8::22"], pod_cidr: [10.200.9.0/24, "fd00:200:0:9::/64"]')
    cluster = allot_pod_cidrs(read(tmp_path, f"cluster: both\n{NETWORK}{given}"), {})
    assert list(map(str, cluster.workers[1].pod_cidrs)) == ["10.200.9.0/24", "fd00:200:0:9::/64"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("[10.32.0.0/24, 'fd00:32::/112']", "['fd00:32::/112', 10.32.0.0/24]",
         "2:25: network.service_cidr: IPv4 must come first; right: [10.32.0.0/24, fd00:32::/112]"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "'fd00:32::/112'",
         "2:52: network.pod_cidr: 10.200.0.0/16 is IPv4, and network.service_cidr fd00:32::/112 is IPv6; "
         "right: IPv6, or the other family for service_cidr"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 10.33.0.0/24]",
         "2:25: network.service_cidr: has two of one family; right: one of IPv4, and after it at most one of IPv6"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 'fd00:32::/104']",
         "2:25: network.service_cidr: fd00:32::/104 is too large; right: a /108 to /124"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 'fd00:32::1/112']",
         "2:40: network.service_cidr.1: \"fd00:32::1/112\" does not begin at the range's first address; "
         "right: fd00:32::/112"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 'fd00:32::']",
         "2:40: network.service_cidr.1: \"fd00:32::\" has no prefix length; right: a range such as fd00:32::/112"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 'fd00:32::/1x']",
         "2:40: network.service_cidr.1: \"fd00:32::/1x\" is not an IPv6 range; right: a range such as fd00:32::/112"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 'fe80::/112']",
         "2:25: network.service_cidr: fe80::/112 holds link-local addresses; "
         "right: a private range such as fd00:32::/112"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "[10.32.0.0/24, 'fd00:200::/112']",
         "2:69: network.pod_cidr: fd00:200::/56 overlaps network.service_cidr fd00:200::/112; "
         "give one of them a range of its own"),
        ("[10.32.0.0/24, 'fd00:32::/112']", "10.32.0.0/24",
         "2:25: network.service_cidr: has no IPv6, and network.pod_cidr has; right: [10.32.0.0/24, fd00:…]"),
        ("[10.200.0.0/16, 'fd00:200::/56']", "10.200.0.0/16",
         "2:68: network.pod_cidr: has no IPv6, and network.service_cidr has; right: [10.200.0.0/16, fd00:…]"),
        ("'fd00:200::/56'", "'fd00:200::/64'",
         "2:68: network.pod_cidr: fd00:200::/64 holds 1 shares of /64, and there are 2 workers; take a larger one"),
        ('[10.0.8.21, "fd00:8::21"]', "10.0.8.21",
         "5:31: machines.w1.address: has no IPv6, and network.service_cidr and network.pod_cidr have; "
         "right: [10.0.8.21, fd00:…]"),
        ('"fd00:8::21"', '"fd00:8::22"',
         "6:31: machines.w2.address: fd00:8::22 is the address of w1 too; each machine needs its own"),
        ('"fd00:8::21"', '"fe80::21"',
         "5:43: machines.w1.address.1: fe80::21 is a link-local address; right: one that the other machines can dial"),
        ('"fd00:8::21"', '"fd00:8::21/64"',
         "5:43: machines.w1.address.1: \"fd00:8::21/64\" is not an IPv6 address; "
         "right: IPv6 without a prefix, brackets or port, such as fd00:240::10"),
        ('"fd00:8::21"', '"fd00:200::21"',
         "5:31: machines.w1.address: fd00:200::21 is inside network.pod_cidr fd00:200::/56; "
         "move the machine or the range"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, before: str, after: str, expected: str) -> None:
    assert before in BOTH
    assert complaints(tmp_path, BOTH.replace(before, after)) == [expected]


def test_an_address_of_a_family_that_the_cluster_has_not(tmp_path: Path) -> None:
    assert complaints(tmp_path, IPV4.replace("10.0.8.21", '[10.0.8.21, "fd00:8::21"]')) == [
        "4:31: machines.w1.address: has IPv6, and network.service_cidr and network.pod_cidr have none; right: 10.0.8.21"
    ]


def test_a_lab_has_both_families_or_one(tmp_path: Path) -> None:
    lab = BOTH.replace("cluster: both\n", "cluster: both\nlab: {network: 10.0.8.0/24}\n")
    assert complaints(tmp_path, lab) == [
        "2:16: lab.network: has no IPv6, and network.service_cidr and network.pod_cidr have; "
        "right: [10.0.8.0/24, fd00:…]"
    ]
    outside = lab.replace("10.0.8.0/24}", '[10.0.8.0/24, "fd00:9::/64"]}')
    assert [one.partition(": ")[2] for one in complaints(tmp_path, outside)] == [
        f"machines.{name}.address: fd00:8::{end} is not inside lab.network fd00:9::/64; right: such as fd00:9::10"
        for name, end in (("k1", "11"), ("w1", "21"), ("w2", "22"))
    ]


def test_what_is_shown_is_an_inventory_again(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, BOTH), {})
    inventory = shown(cluster).inventory
    assert inventory["network"]["service_cidr"] == ["10.32.0.0/24", "fd00:32::/112"]
    assert inventory["machines"]["w1"]["address"] == ["10.0.8.21", "fd00:8::21"]
    assert inventory["machines"]["w1"]["pod_cidr"] == ["10.200.0.0/24", "fd00:200::/64"]
    alone = shown(allot_pod_cidrs(read(tmp_path, IPV4), {})).inventory
    assert alone["network"]["service_cidr"] == "10.32.0.0/24"
    assert not [name for name in alone["network"] if name.endswith("6")]


def _running(cluster: Cluster) -> State:
    state = State(cluster.name, "id", etcd="initialized", fixed=fixed_values(cluster), kubernetes=cluster.kubernetes)
    return replace(state, nodes=nodes_of(cluster, state, {}))


def test_a_running_cluster_gets_no_second_family(tmp_path: Path) -> None:
    before = allot_pod_cidrs(read(tmp_path, IPV4), {})
    wanted = read(tmp_path, BOTH)
    state = _running(before)
    found = pending(allot_pod_cidrs(wanted, state.pinned_pod_cidrs(), state.pinned_pod_cidrs6()), state)
    assert [(one.kind, one.subject) for one in found] == [
        ("fixed", "network.service_cidr"),
        ("fixed", "network.pod_cidr"),
        ("address", "k1"),
        ("address", "w1"),
        ("pod-cidr", "w1"),
        ("address", "w2"),
        ("pod-cidr", "w2"),
    ]
    assert in_words(found[0]) == (
        "network.service_cidr is 10.32.0.0/24 in the running cluster and cannot become [10.32.0.0/24, fd00:32::/112]",
        "Set `network.service_cidr: 10.32.0.0/24` again.",
    )


@pytest.mark.parametrize("text", [IPV4, BOTH])
def test_nothing_waits_in_a_cluster_that_is_as_its_inventory_says(tmp_path: Path, text: str) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, text), {})
    state = State.from_json(_running(cluster).to_json(), "state.json")
    again = allot_pod_cidrs(read(tmp_path, text), state.pinned_pod_cidrs(), state.pinned_pod_cidrs6())
    assert again == cluster
    assert pending(again, state) == ()


def test_what_an_older_hardway_noted_has_one_family(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, IPV4), {})
    noted = json.loads(_running(cluster).to_json())
    for node in noted["nodes"].values():
        del node["address6"], node["pod_cidr6"]
    assert pending(cluster, State.from_json(json.dumps(noted), "state.json")) == ()


ROUTES = b"""\
default via 10.0.8.1 dev eth0 proto static
10.200.0.0/24 via 10.0.8.21 dev eth0 proto static
fd00:200::/64 via fd00:8::21 dev eth0 proto static metric 1024 pref medium
fe80::/64 dev eth0 proto kernel metric 256 pref medium
default via fe80::1 dev eth0 proto ra metric 1024 pref medium
default dev tun0 metric 1024 pref medium
"""


def test_a_machine_tells_its_routes_and_addresses_of_both_families() -> None:
    found = [(str(one.to), one.via) for one in network.routes(Answers(routes=Answer(0, ROUTES)))]
    assert found == [
        ("0.0.0.0/0", "10.0.8.1"),
        ("10.200.0.0/24", "10.0.8.21"),
        ("fd00:200::/64", "fd00:8::21"),
        ("fe80::/64", ""),
        ("::/0", "fe80::1"),
        ("::/0", ""),
    ]
    lines = b"2: eth0    inet 10.0.8.21/24 scope global eth0\n2: eth0    inet6 fd00:8::21/64 scope global \n"
    addresses = network.addresses(Answers(addresses=Answer(0, lines)))
    assert list(map(str, addresses)) == ["10.0.8.21", "fd00:8::21"]


def test_preflight_misses_an_address_of_either_family(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, BOTH), {})
    there = Host(addresses=frozenset(map(ip_address, ("10.0.8.11", "fd00:8::12", "fe80::12", "::1"))))
    evidence = Evidence(cluster, hosts={"k1": there})
    assert [one.what for one in surroundings.own_address(evidence)] == [
        "address fd00:8::11 is on none of its interfaces; it has fd00:8::12"
    ]


def test_preflight_sees_that_an_ipv6_range_is_routed_elsewhere(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, BOTH), {})
    route = network.Route(IPv6Network("fd00:200::/48"), "fd00:200::/48 dev tun0")
    evidence = Evidence(cluster, hosts={"w1": Host(routes=(route,))})
    assert [one.what for one in surroundings.overlapping_routes(evidence)] == [
        "network.pod_cidr fd00:200::/56 overlaps with where it has routes: fd00:200::/48 dev tun0"
    ]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("10.0.8.11", "10.0.8.11:6443"), ("api.example.net", "api.example.net:6443"), ("fd00:8::11", "[fd00:8::11]:6443")],
)
def test_an_ipv6_address_stands_in_brackets_before_a_port(host: str, expected: str) -> None:
    assert host_port(host, 6443) == expected

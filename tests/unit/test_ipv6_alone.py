"""Clusters of IPv6 alone: what an inventory may say, and what becomes of it where hardway dials or looks."""

from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest

from hardway.declare.network import firewall
from hardway.engine.pending import pending
from hardway.errors import InventoryError
from hardway.inventory.allot import allot_pod_cidrs, resolve
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.inventory.view import shown
from hardway.lab.model import Lab, LabMachine, nspawn_name
from hardway.preflight import surroundings
from hardway.probe.host import Host
from hardway.rules import Evidence
from hardway.state import State, fixed_values, nodes_of

IPV6 = """\
cluster: six
lab: {network: "fd00:8::/64"}
network: {service_cidr: "fd00:32::/112", pod_cidr: "fd00:200::/56"}
machines:
  k1: {role: controller, address: "fd00:8::11"}
  w1: {role: worker, address: "fd00:8::21"}
  w2: {role: worker, address: "fd00:8::22"}
"""


def read(folder: Path, text: str) -> Cluster:
    path = folder / "hardway.yaml"
    path.write_text(text)
    return load(path)


def test_a_worker_gets_a_share_of_ipv6_and_a_running_cluster_keeps_it(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, IPV6), {})
    assert [list(map(str, worker.pod_cidrs)) for worker in cluster.workers] == [
        ["fd00:200::/64"],
        ["fd00:200:0:1::/64"],
    ]
    assert cluster.api_url == "https://[fd00:8::11]:6443"
    assert str(cluster.network.dns_address) == "fd00:32::a"
    state = State(cluster.name, "id", etcd="initialized", fixed=fixed_values(cluster), kubernetes=cluster.kubernetes)
    state = replace(state, nodes=nodes_of(cluster, state, {}))
    state = State.from_json(state.to_json(), "state.json")
    assert state.pinned_addresses()["w1"] == IPv6Address("fd00:8::21")
    again = allot_pod_cidrs(read(tmp_path, IPV6), state.pinned_pod_cidrs(), state.pinned_pod_cidrs6())
    assert again == cluster
    assert pending(again, state) == ()
    network = shown(again).inventory["network"]
    assert (network["pod_cidr"], network["pod_prefix6"], "pod_prefix" in network) == ("fd00:200::/56", 64, False)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('"fd00:8::21"', "10.0.8.21",
         "6:31: machines.w1.address: 10.0.8.21 is IPv4, and network.service_cidr fd00:32::/112 is IPv6; "
         "right: IPv6, or the other family for service_cidr"),
        ('"fd00:8::21"', '"fd00:8::1"',
         "6:31: machines.w1.address: fd00:8::1 is this computer's in fd00:8::/64; right: such as fd00:8::10"),
        ("cluster: six", 'cluster: six\nendpoint: "[fd00:200::9]:6443"',
         "2:11: endpoint: fd00:200::9 is inside network.pod_cidr fd00:200::/56; right: one that can be dialled"),
        ("cluster: six", "cluster: six\nendpoint: 10.0.8.9",
         "2:11: endpoint: 10.0.8.9 is IPv4, which the cluster's machines do not have"),
        ('pod_cidr: "fd00:200::/56"', 'pod_cidr: "fd00:200::/56", dns_address: 10.32.0.10',
         "3:82: network.dns_address: 10.32.0.10 is not inside service_cidr fd00:32::/112; right: such as fd00:32::a"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, before: str, after: str, expected: str) -> None:
    assert before in IPV6
    with pytest.raises(InventoryError) as raised:
        read(tmp_path, IPV6.replace(before, after))
    found = [problem.removeprefix(f"{tmp_path}/hardway.yaml:") for problem in raised.value.problems]
    assert expected in found


def test_two_balancers_cannot_hold_an_ipv6_address(tmp_path: Path) -> None:
    balancers = "".join(f'  b{n}: {{role: load-balancer, address: "fd00:8::3{n}"}}\n' for n in (1, 2))
    with pytest.raises(InventoryError) as raised:
        read(tmp_path, IPV6.replace("cluster: six", 'cluster: six\nendpoint: "fd00:8::9"') + balancers)
    [problem] = raised.value.problems
    assert "fd00:8::9: load balancers hold only an IPv4 address between them" in problem


def test_an_endpoint_with_a_port_is_in_brackets(tmp_path: Path) -> None:
    text = IPV6.replace("role: controller", "role: [controller, load-balancer]")
    cluster = read(tmp_path, text.replace("cluster: six", 'cluster: six\nendpoint: "[fd00:8::11]:8443"'))
    assert cluster.endpoint_machine is cluster.machine("k1")
    assert cluster.api_url == "https://[fd00:8::11]:8443"
    assert shown(allot_pod_cidrs(cluster, {})).inventory["endpoint"] == "[fd00:8::11]:8443"


def test_names_lead_to_ipv6(tmp_path: Path) -> None:
    text = IPV6.replace('lab: {network: "fd00:8::/64"}\n', "").replace(', address: "fd00:8::21"', "")
    resolved = resolve(read(tmp_path, text), {}, lambda name: ip_address("fd00:8::77"))
    assert resolved.machine("w1").ip == IPv6Address("fd00:8::77")


def test_preflight_misses_a_nameserver_of_ipv6(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, IPV6), {})
    for servers, found in ((("10.0.0.53",), 1), (("10.0.0.53", "fd00::53"), 0)):
        evidence = Evidence(cluster, hosts={"w1": Host(nameservers=servers)})
        assert len(list(surroundings.resolvers(evidence))) == found


def test_iptables_commands_are_those_of_ipv6(tmp_path: Path) -> None:
    cluster = allot_pod_cidrs(read(tmp_path, IPV6), {})
    lines = [line for one in cluster.machines for line in firewall.commands(cluster, one, "iptables")]
    assert {line.partition(" ")[0] for line in lines} == {"ip6tables"}


def test_a_lab_machine_far_from_its_networks_first_address_has_a_short_interface(tmp_path: Path) -> None:
    cluster = read(tmp_path, IPV6)
    assert cluster.lab is not None
    machines = tuple(LabMachine(name, IPv6Address(f"fd00:8::{name}")) for name in ("10", "ffff:1:2:3", "ffff:1:2:4"))
    lab = Lab("six", cluster.lab.network, machines, tmp_path)
    names = {nspawn_name(lab, machine) for machine in machines}
    assert len(names) == len(machines)
    assert max(len(f"vb-{name}") for name in names) <= 15

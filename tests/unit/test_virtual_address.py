"""Several load balancers and the address between them: what is declared, what is refused, and how they are changed."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from fake.cluster import FakeCluster

from hardway.declare.network.firewall import commands
from hardway.declare.network.flows import vrrp_peers
from hardway.engine.guards import first_state
from hardway.engine.plan import declared
from hardway.engine.reset import reset
from hardway.errors import CommandFailed, InventoryError
from hardway.facts import SCRIPT, parse, question
from hardway.inventory.load import load
from hardway.inventory.model import Cluster, Endpoint, Machine
from hardway.map import drawn
from hardway.preflight.surroundings import RULES
from hardway.probe.host import Host
from hardway.probe.network import Reached, Route
from hardway.rules import Evidence, examine
from hardway.status.page import status_page
from hardway.status.status import Etcd, Status
from hardway.values import OPERATOR

NewCluster = Callable[[str], FakeCluster]

PAIR = """\
cluster: pair
endpoint: 10.240.0.40
machines:
  l0: {role: load-balancer, address: 10.240.0.30}
  l1: {role: load-balancer, address: 10.240.0.31}
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
"""
HAPROXY = "settings: {haproxy: {defaults: {retries: 9}}}\n"
API_FLAG = "settings: {kube-apiserver: {event-ttl: 2h}}\n"
CONF = "etc/kubernetes/keepalived.conf"


@pytest.fixture
def pair(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(PAIR)


def read(folder: Path, text: str) -> Cluster:
    path = folder / "hardway.yaml"
    path.write_text(text)
    return load(path)


def order(made: FakeCluster, *wanted: str) -> list[str]:
    """Who is asked these things from now on, in order."""
    asked: list[str] = []

    def listen(name: str, what: str) -> None:
        if what in wanted:
            asked.append(f"{name} {what}")

    for name, machine in made.machines.items():
        machine.after = lambda what, name=name: listen(name, what)  # type: ignore[misc]
    return asked


@pytest.mark.parametrize(
    ("endpoint", "machines", "address"),
    [
        ("10.240.0.40", "", "10.240.0.40"),
        ("10.240.0.40:8443", "", "10.240.0.40"),
        ("l0", "", None),
        ("10.240.0.30", "", None),
        ("api.example.net", "", None),
        ("10.240.0.40", "l1", None),
    ],
)
def test_an_address_that_is_no_machines_is_held_by_several_balancers(
    tmp_path: Path, endpoint: str, machines: str, address: str | None
) -> None:
    lines = [line for line in PAIR.splitlines() if not machines or f"  {machines}:" not in line]
    text = "\n".join(lines).replace("endpoint: 10.240.0.40", f"endpoint: {endpoint}")
    found = read(tmp_path, text).virtual_address
    assert found == (IPv4Address(address) if address else None)


@pytest.mark.parametrize(
    ("endpoint", "lab", "said"),
    [
        ("10.241.0.40", "10.240.0.0/24", "10.241.0.40 is not inside lab.network 10.240.0.0/24"),
        ("10.240.0.1", "10.240.0.0/24", "10.240.0.1 is this computer's in 10.240.0.0/24"),
        ("10.200.0.9", "", "10.200.0.9 is inside network.pod_cidr 10.200.0.0/16"),
    ],
)  # fmt: skip
def test_what_can_be_no_address_between_them_is_refused(tmp_path: Path, endpoint: str, lab: str, said: str) -> None:
    text = PAIR.replace("10.240.0.40", endpoint)
    with pytest.raises(InventoryError) as caught:
        read(tmp_path, text + (f"lab: {{network: {lab}}}\n" if lab else ""))
    [problem] = caught.value.problems
    assert f"endpoint: {said}; right: " in problem


def test_each_balancer_announces_to_the_others_from_the_interface_of_its_own_address(pair: FakeCluster) -> None:
    texts = {name: (pair.machines[name].root / CONF).read_text() for name in ("l0", "l1")}
    for name, own, other, priority in (("l0", 30, 31, 200), ("l1", 31, 30, 199)):
        lines = [line.strip() for line in texts[name].splitlines()]
        assert f"interface eth{own}" in lines
        assert f"unicast_src_ip 10.240.0.{own}" in lines
        assert f"10.240.0.{other} min_ttl 255 max_ttl 255" in lines
        assert f"priority {priority}" in lines
        assert f"10.240.0.40 dev eth{own}" in lines
    assert "keepalived" in (pair.machines["l0"].root / "fake/apt").read_text()


def test_a_change_goes_to_one_balancer_after_the_other_and_the_holder_last(pair: FakeCluster) -> None:
    pair.machines["l0"].write("/fake/addresses", "2: eth30    inet 10.240.0.40/32 scope global eth30\n")
    pair.inventory.write_text(PAIR + HAPROXY)
    asked = order(pair, "load-balancer")
    pair.init(["load-balancer"])
    assert asked == ["l1 load-balancer", "l0 load-balancer"]
    assert {item.machine for item in pair.plan().items} <= {OPERATOR}


def test_a_balancer_that_does_not_come_back_leaves_the_other_alone(pair: FakeCluster) -> None:
    pair.machines["l0"].write("/fake/addresses", "2: eth30    inet 10.240.0.40/32 scope global eth30\n")
    pair.machines["l1"].write("/fake/broken/kube-apiserver-lb.service", "")
    unit = pair.machines["l1"].root / "etc/systemd/system/kube-apiserver-lb.service"
    unit.write_text(unit.read_text() + "\n")
    pair.inventory.write_text(PAIR + HAPROXY)
    asked = order(pair, "load-balancer")
    with pytest.raises(CommandFailed) as caught:
        pair.init(["load-balancer"])
    assert caught.value.machine == "l1"
    assert asked == ["l1 load-balancer"]
    assert "retries 9" not in (pair.machines["l0"].root / "etc/kubernetes/haproxy.cfg").read_text()


def test_both_balancers_are_told_before_and_after_each_api_server(pair: FakeCluster) -> None:
    pair.inventory.write_text(PAIR + API_FLAG)
    asked = order(pair, "control-plane", "take c1 out", "put c1 back")
    pair.init(["control-plane"], names=["c1"])
    assert asked[2] == "c1 control-plane"
    assert set(asked[:2]) == {"l0 take c1 out", "l1 take c1 out"}
    assert set(asked[3:]) == {"l0 put c1 back", "l1 put c1 back"}


def test_reset_takes_it_away(pair: FakeCluster) -> None:
    reset(pair.session())
    for name in ("l0", "l1"):
        root = pair.machines[name].root
        assert not (root / CONF).exists()
        assert not (root / "etc/systemd/system/kube-apiserver-vip.service").exists()
        assert not (root / "fake/units/kube-apiserver-vip.service").exists()


def test_a_fact_says_which_interface_has_an_address() -> None:
    seen = parse("interface-10-240-0-30=eth1\ninterface-127-0-0-1=lo\n")
    assert seen.placeholders["fact/interface-10-240-0-30"] == b"eth1"
    assert question("interface-10-240-0-30").startswith("ip -o -4 addr show to 10.240.0.30/32 ")
    assert "interface-" in SCRIPT


L0, L1 = (Machine(f"l{n}", frozenset({"load-balancer"}), IPv4Address(f"192.0.2.3{n}")) for n in range(2))
C0 = Machine("c0", frozenset({"controller"}), IPv4Address("192.0.2.10"))
W0 = Machine("w0", frozenset({"worker"}), IPv4Address("192.0.2.20"), pod_cidr=IPv4Network("10.200.0.0/24"))
CLUSTER = Cluster("two", (L0, L1, C0, W0), endpoint=Endpoint("192.0.2.40"))


def test_firewalls_let_announcements_in_from_the_other_balancers_alone() -> None:
    assert [one.name for one in vrrp_peers(CLUSTER, L0)] == ["l1"]
    assert vrrp_peers(CLUSTER, C0) == ()
    assert vrrp_peers(replace(CLUSTER, endpoint=Endpoint("l0")), L0) == ()
    assert "nft 'insert rule inet filter input ip saddr 192.0.2.31 ip protocol 112 accept'" in commands(
        CLUSTER, L0, "nft"
    )
    assert "iptables -I INPUT -p 112 -s 192.0.2.30 -j ACCEPT" in commands(CLUSTER, L1, "iptables")
    assert "ufw allow in proto vrrp from 192.0.2.31" in commands(CLUSTER, L0, "ufw")
    rule = 'rule family="ipv4" source address="192.0.2.31" protocol value="vrrp" accept'
    assert f"firewall-cmd --permanent --add-rich-rule='{rule}'" in commands(CLUSTER, L0, "firewalld")


def test_the_map_leads_everybody_to_both_balancers() -> None:
    found = drawn(CLUSTER, declared(CLUSTER, first_state(CLUSTER))[1])
    assert "192.0.2.40" not in {machine.name for machine in found.machines}
    kubelet = {one.server.machine for one in found.connections if one.caller.component == "kubelet"}
    assert kubelet == {"l0", "l1"}


LINK = Route(IPv4Network("192.0.2.0/24"), "192.0.2.0/24 dev eth0")


def found_before(host: Host, reached: Reached | None) -> list[tuple[str, str]]:
    evidence = Evidence(CLUSTER, hosts={"l0": host}, reached={"l0": {("192.0.2.40", 6443): reached}} if reached else {})
    return [(one.rule, one.machine) for one in examine(RULES, evidence) if one.rule == "virtual-address"]


@pytest.mark.parametrize(
    ("routes", "addresses", "reached", "finds"),
    [
        ((LINK,), (), None, False),
        ((LINK,), (), "rejected", False),
        ((LINK,), (), "silent", False),
        ((LINK,), (), "open", True),
        ((LINK,), (), "refused", True),
        ((LINK,), ("192.0.2.40",), None, True),
        ((Route(IPv4Network("0.0.0.0/0"), "default dev eth0"),), (), None, True),
        ((replace(LINK, via="192.0.2.1"),), (), None, True),
    ],
)
def test_preflight_finds_an_address_that_is_taken_or_in_no_network(
    routes: tuple[Route, ...], addresses: tuple[str, ...], reached: Reached | None, finds: bool
) -> None:
    own = frozenset(map(IPv4Address, ("192.0.2.30", *addresses)))
    assert found_before(Host(addresses=own, routes=routes), reached) == ([("virtual-address", "l0")] if finds else [])


@pytest.mark.parametrize(
    ("holders", "well", "line"),
    [
        (("l1",), True, "API           its address is on l1"),
        ((), False, "API           its address is on no load balancer"),
        (("l0", "l1"), False, "API           its address is on l0 and l1"),
        (None, True, ""),
    ],
)
def test_status_says_who_has_the_address(holders: tuple[str, ...] | None, well: bool, line: str) -> None:
    status = Status("two", "https://192.0.2.40:6443", "1.36.4", Etcd(), (), (), 0, True, holders=holders)
    assert status.well is well
    lines = [one for one in status_page(status, seconds=1) if one.startswith("API ")]
    assert lines == ([line] if line else [])

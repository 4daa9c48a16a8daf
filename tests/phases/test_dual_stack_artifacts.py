"""What machines of a dual-stack cluster get: both families wherever a component can have both."""

import json
from pathlib import Path

import pytest
import yaml
from phase_models import LAB, file, model, on
from shapes import DUAL, written

from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.phases.certs import certificates
from hardway.declare.render import flags
from hardway.declare.resources import Routes, Sysctl
from hardway.declare.undo import SYSCTLS

SERVICES, PODS = "10.96.0.0/16,fd00:96::/112", "10.100.0.0/16,fd00:100::/56"
OWN = "10.100.0.0/24,fd00:100::/64"


@pytest.fixture
def dual(tmp_path: Path) -> Model:
    return model(written(DUAL, tmp_path))


def test_components_are_told_both_ranges(dual: Model) -> None:
    server = flags(file(dual, "k1", "/etc/systemd/system/kube-apiserver.service").text)
    manager = flags(file(dual, "k1", "/etc/systemd/system/kube-controller-manager.service").text)
    kubelet = flags(file(dual, "w1", "/etc/systemd/system/kubelet.service").text)
    assert (server["service-cluster-ip-range"], server["advertise-address"]) == (SERVICES, "10.0.8.11")
    assert (manager["service-cluster-ip-range"], manager["cluster-cidr"]) == (SERVICES, PODS)
    assert kubelet["node-ip"] == "10.0.8.21,fd00:8::21"
    assert yaml.safe_load(file(dual, "w1", "/var/lib/kubelet/config.yaml").text)["podCIDR"] == OWN
    assert yaml.safe_load(file(dual, "w1", "/var/lib/kube-proxy/kube-proxy-config.yaml").text)["clusterCIDR"] == PODS


def test_a_pod_gets_an_address_and_a_way_out_of_each_family(dual: Model) -> None:
    bridge = json.loads(file(dual, "w2", "/etc/cni/net.d/10-bridge.conflist").text)["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.100.1.0/24"}], [{"subnet": "fd00:100:0:1::/64"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_routes_and_masquerading_are_there_for_each_family(dual: Model) -> None:
    [routes] = on(dual, "k1", Routes)
    assert isinstance(routes, Routes)
    assert routes.table == (
        ("10.100.0.0/24", "10.0.8.21"),
        ("fd00:100::/64", "fd00:8::21"),
        ("10.100.1.0/24", "10.0.8.22"),
        ("fd00:100:0:1::/64", "fd00:8::22"),
    )
    assert "ip -6 route show" in routes.probe([routes])
    unit = file(dual, "k1", "/etc/systemd/system/pod-routes.service").text
    assert "ExecStart=/sbin/ip route replace fd00:100::/64 via fd00:8::21 proto static\n" in unit
    rules = file(dual, "w1", "/etc/kubernetes/pod-masquerade.nft").text
    assert "\t\tip saddr 10.100.0.0/24 ip daddr != @known masquerade\n" in rules
    assert "\t\tip6 saddr fd00:100::/64 ip6 daddr != @known masquerade\n" in rules
    assert "elements = { fd00:100::/56, fd00:8::11, fd00:8::21, fd00:8::22 }\n" in rules
    stops = file(dual, "w1", "/etc/systemd/system/pod-masquerade.service").text
    assert [line for line in stops.splitlines() if line.startswith("ExecStop=")] == [
        f"ExecStop=-/usr/sbin/nft delete table {family} hardway-pods" for family in ("ip", "ip6")
    ]


def test_workers_forward_both_families(dual: Model) -> None:
    wanted = {"net.ipv6.conf.all.forwarding", "net.bridge.bridge-nf-call-ip6tables"}
    assert wanted <= {one.key.partition(":")[2] for one in on(dual, "w1", Sysctl)}
    assert wanted <= set(SYSCTLS), "reset puts back what it was"
    assert not {one.key.partition(":")[2] for one in on(model(LAB), "worker-0", Sysctl)} & wanted


def test_certificates_hold_both_addresses(dual: Model) -> None:
    held = {issued.path: issued.spec.addresses for issued in certificates(dual)}
    assert {"10.96.0.1", "fd00:96::1", "10.0.8.11", "fd00:8::11", "fd00:8::9"} <= set(held["pki/kube-apiserver"])
    assert [path for path, addresses in held.items() if "fd00:8::21" in addresses] == ["pki/kubelet-w1"]


def test_names_lead_to_both_and_the_balancer_listens_on_both(dual: Model) -> None:
    blocks = [one.resource for one in declare(dual).on("w1") if one.resource.kind == "block"]
    assert "10.0.8.11 k1.kubernetes.local k1\nfd00:8::11 k1.kubernetes.local k1\n" in blocks[0].text  # type: ignore[attr-defined]
    assert "  bind :::6443 v4v6\n" in file(dual, "lb", "/etc/kubernetes/haproxy.cfg").text

"""What machines of a cluster of IPv6 alone get: no address of IPv4 but loopback, and brackets before each port."""

import json
import re
from pathlib import Path

import pytest
import yaml
from phase_models import file, model, on
from shapes import written

from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.phases.certs import certificates
from hardway.declare.render import flags
from hardway.declare.resources import File, Routes, Sysctl

IPV6 = """\
cluster: six
endpoint: lb
network: {service_cidr: "fd00:96::/112", pod_cidr: "fd00:100::/56"}
machines:
  lb: {role: load-balancer, address: "fd00:8::9"}
  k1: {role: controller, address: "fd00:8::11"}
  w1: {role: worker, address: "fd00:8::21"}
  w2: {role: worker, address: "fd00:8::22"}
"""


@pytest.fixture
def six(tmp_path: Path) -> Model:
    return model(written(IPV6, tmp_path))


def test_components_listen_at_ipv6_and_dial_it_in_brackets(six: Model) -> None:
    etcd = flags(file(six, "k1", "/etc/systemd/system/etcd.service").text)
    server = flags(file(six, "k1", "/etc/systemd/system/kube-apiserver.service").text)
    assert etcd["listen-client-urls"] == "https://[fd00:8::11]:2379,https://127.0.0.1:2379"
    assert etcd["initial-advertise-peer-urls"] == "https://[fd00:8::11]:2380"
    assert (server["bind-address"], server["advertise-address"]) == ("::", "fd00:8::11")
    assert (server["etcd-servers"], server["service-cluster-ip-range"]) == (
        "https://[fd00:8::11]:2379",
        "fd00:96::/112",
    )
    assert "server: https://[fd00:8::9]:6443\n" in file(six, "w1", "/etc/kubernetes/kubelet.conf").text
    balancer = file(six, "lb", "/etc/kubernetes/haproxy.cfg").text
    assert "  bind :::6443 v4v6\n" in balancer
    assert "  server k1 [fd00:8::11]:6443 fall 1000000\n" in balancer


def test_pods_have_ipv6_alone(six: Model) -> None:
    kubelet = yaml.safe_load(file(six, "w2", "/var/lib/kubelet/config.yaml").text)
    assert flags(file(six, "w2", "/etc/systemd/system/kubelet.service").text)["node-ip"] == "fd00:8::22"
    assert (kubelet["clusterDNS"], kubelet["podCIDR"]) == (["fd00:96::a"], "fd00:100:0:1::/64")
    bridge = json.loads(file(six, "w2", "/etc/cni/net.d/10-bridge.conflist").text)["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "fd00:100:0:1::/64"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "::/0"}]
    [routes] = on(six, "w1", Routes)
    assert isinstance(routes, Routes)
    assert routes.table == (("fd00:100:0:1::/64", "fd00:8::22"),)
    assert "net.ipv6.conf.all.forwarding" in {one.key.partition(":")[2] for one in on(six, "w1", Sysctl)}
    assert "table ip " not in file(six, "w1", "/etc/kubernetes/pod-masquerade.nft").text


def test_no_file_names_an_ipv4_address_of_a_machine_or_an_address_and_port_without_brackets(six: Model) -> None:
    texts = {one.resource.path: one.resource.text for one in declare(six).placed if isinstance(one.resource, File)}
    wrong = re.compile(r"\b10\.\d+\.\d+\.\d+|(?<!\[)\bfd00:8::\d+:\d{4,5}\b")
    assert {path: found[0] for path, text in texts.items() if (found := wrong.search(text))} == {}


def test_certificates_hold_the_addresses(six: Model) -> None:
    held = {issued.path: issued.spec.addresses for issued in certificates(six)}
    assert set(held["pki/kube-apiserver"]) == {"fd00:96::1", "127.0.0.1", "fd00:8::11", "fd00:8::9"}
    assert held["pki/kubelet-w1"] == ("fd00:8::21",)

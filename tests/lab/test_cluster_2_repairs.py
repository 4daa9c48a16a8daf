"""What somebody changed by hand is put right, and nothing else is touched."""

import pytest
from driving import Site, other_restarts, until

pytestmark = pytest.mark.lab

ETCD = "/etc/systemd/system/etcd.service"


def test_etcd_alone_brings_a_deleted_unit_back_and_restarts_nothing_else(seven: Site) -> None:
    wanted, cluster = seven.on("controller-1", f"cat {ETCD}"), seven.etcd_cluster_id("controller-0")
    before = seven.processes()
    seven.on("controller-1", f"rm {ETCD}")
    ran = seven.hardway("etcd", "--yes", "-o", "json")
    assert {machine for machine, _, _ in ran.changes} == {"controller-1"}
    assert seven.on("controller-1", f"cat {ETCD}; systemctl is-enabled etcd") == wanted + "enabled\n"
    assert other_restarts(before, seven.processes(), ("controller-1", "etcd")) == []
    assert seven.etcd_cluster_id("controller-1") == cluster
    seven.unchanged("init")


def test_what_was_stopped_or_taken_away_comes_back(seven: Site) -> None:
    seven.on("worker-0", "systemctl disable --now kube-proxy && ip route delete 10.200.1.0/24")
    seven.on("worker-1", "sysctl -qw net.ipv4.ip_forward=0 && rm /etc/sysctl.d/90-hardway.conf")
    seven.on("lb-0", "rm /etc/kubernetes/pki/ca.crt && systemctl stop kube-apiserver-lb")
    before = seven.processes()
    seven.init()
    assert seven.on("worker-0", "systemctl is-active kube-proxy; systemctl is-enabled kube-proxy") == (
        "active\nenabled\n"
    )
    assert "via 10.245.0.21" in seven.on("worker-0", "ip route show 10.200.1.0/24")
    assert seven.on("worker-1", "sysctl -n net.ipv4.ip_forward") == "1\n"
    allowed = [("worker-0", "kube-proxy"), ("lb-0", "kube-apiserver-lb")]
    assert other_restarts(before, seven.processes(), *allowed) == []
    seven.unchanged("init")


def test_a_dead_control_plane_is_started_all_at_once(seven: Site) -> None:
    controllers = [name for name in seven.machines if name.startswith("controller-")]
    cluster = seven.etcd_cluster_id("controller-0")
    # Without etcd an API server does not end by itself before systemd kills it.
    seven.everywhere("systemctl kill -s KILL kube-apiserver; systemctl stop kube-apiserver etcd", controllers)
    seven.init()
    until(lambda: len(seven.nodes_ready()) == 3, 60, "three Ready nodes")
    assert seven.etcd_cluster_id("controller-0") == cluster
    seven.unchanged("init")

"""The inventory's proxy on the machines: containerd has it in a drop-in, and apt for the packages that are missing."""

from collections.abc import Callable

import pytest
from fake.cluster import ONE, FakeCluster, keys

from hardway.declare.resources import Package
from hardway.declare.resources.base import Context, Difference
from hardway.inventory.load import load

NewCluster = Callable[[str], FakeCluster]
DROP_IN = "/etc/systemd/system/containerd.service.d/10-proxy.conf"
PROXY = "proxy: http://proxy.example.net:3128\n"


@pytest.fixture
def one(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(ONE)


def test_it_comes_as_a_drop_in_and_restarts_containerd_alone(one: FakeCluster) -> None:
    one.rewrite("cluster: one\n", f"cluster: one\n{PROXY}")
    assert keys(one.init().changes) == [
        ("solo", "create", f"file:{DROP_IN}"),
        ("solo", "restart", "service:containerd.service"),
    ]
    text = one.machines["solo"].read(DROP_IN)
    assert "\nEnvironment=HTTPS_PROXY=http://proxy.example.net:3128\n" in text
    assert "\nEnvironment=NO_PROXY=localhost,127.0.0.1,10.240.0.10,10.32.0.0/24,10.200.0.0/16," in text
    assert one.init().changes == []


def test_without_it_the_drop_in_goes_and_containerd_restarts(one: FakeCluster) -> None:
    one.rewrite("cluster: one\n", f"cluster: one\n{PROXY}")
    one.init()
    one.rewrite(PROXY, "")
    assert keys(one.init().changes) == [
        ("solo", "delete", f"file:{DROP_IN}"),
        ("solo", "restart", "service:containerd.service"),
    ]
    assert not one.machines["solo"].has("/etc/systemd/system/containerd.service.d")
    assert one.init().changes == []


def test_apt_is_given_it(one: FakeCluster) -> None:
    package = Package("socat", "socat", proxy="http://proxy:3128")
    steps = package.steps(Difference("create", ""), Context("solo"))
    assert steps == "install_package socat socat '' http://proxy:3128"
    [typed] = package.manual_steps()
    assert "http_proxy=http://proxy:3128 https_proxy=http://proxy:3128 apt-get install" in typed.command


def test_every_package_has_it(one: FakeCluster) -> None:
    from hardway.declare.phases.base import Model
    from hardway.declare.phases.hosts import packages
    from hardway.engine.guards import first_state

    one.rewrite("cluster: one\n", f"cluster: one\n{PROXY}")
    cluster = load(one.inventory)
    found = packages(Model(cluster, first_state(cluster), {}), cluster.machines[0])
    assert {package.proxy for package in found} == {"http://proxy.example.net:3128"}

"""Machines of both architectures in one inventory: each gets the binaries of its own."""

from collections.abc import Callable

import pytest
from fake.cluster import ARCH, PAIR, FakeCluster, stocked

from hardway.artifacts.catalogue import ARCHES
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.engine.blockers import Blocked
from hardway.engine.guards import first_state
from hardway.engine.observe import observe
from hardway.preflight.preflight import preflight

NewCluster = Callable[[str], FakeCluster]
OTHER = next(arch for arch in ARCHES if arch != ARCH)
UNAME = {"amd64": "x86_64", "arm64": "aarch64"}


@pytest.fixture
def mixed(new_cluster: NewCluster) -> FakeCluster:
    """A controller as this computer is, and a worker of the other architecture."""
    made = new_cluster(PAIR)
    becomes(made, "hand", UNAME[OTHER])
    return made


def becomes(made: FakeCluster, machine: str, processor: str) -> None:
    uname = made.machines[machine].root / "fake/bin/uname"
    uname.write_text(f'#!/bin/sh\n[ "$1" != -m ] || exec echo {processor}\nexec /usr/bin/uname "$@"\n')
    uname.chmod(0o755)


def test_each_machine_gets_the_binaries_of_its_own_architecture(mixed: FakeCluster) -> None:
    stocked(mixed.store, mixed.lock, mixed.cluster.kubernetes, OTHER)
    mixed.init()
    assert mixed.machines["hand"].read("/usr/local/bin/kubelet").endswith(f"# {OTHER}\n")
    assert OTHER not in mixed.machines["head"].read("/usr/local/bin/kube-apiserver")
    assert mixed.init().changes == []


def test_the_binary_of_the_wrong_architecture_is_a_difference(mixed: FakeCluster) -> None:
    stocked(mixed.store, mixed.lock, mixed.cluster.kubernetes, OTHER)
    mixed.init()
    kubelet = mixed.machines["hand"].read("/usr/local/bin/kubelet")
    mixed.machines["hand"].write("/usr/local/bin/kubelet", kubelet.removesuffix(f"# {OTHER}\n"))
    changed = [(one.machine, one.key) for one in mixed.init().changes]
    assert changed == [("hand", "binary:/usr/local/bin/kubelet"), ("hand", "service:kubelet.service")]


def test_a_machine_for_which_there_is_nothing_is_named_with_the_next_move(mixed: FakeCluster) -> None:
    becomes(mixed, "hand", "riscv64")
    with pytest.raises(Blocked, match="unsupported architecture: riscv64") as refused:
        mixed.init()
    assert refused.value.machine == "hand"
    assert "amd64 or arm64" in (refused.value.hint or "")
    assert not mixed.machines["hand"].has("/usr/local/bin/kubelet")


def test_preflight_finds_it_first(mixed: FakeCluster) -> None:
    becomes(mixed, "hand", "i686")
    session = mixed.session()
    model = Model(session.cluster, first_state(session.cluster), mixed.resolver().versions)
    views = observe(session, declare(model), session.machines)
    found = [one for one in preflight(session, views, session.cluster) if one.rule == "architecture"]
    assert [(one.machine, one.level) for one in found] == [("hand", "error")]
    assert "i686" in found[0].what
    assert found[0].fix

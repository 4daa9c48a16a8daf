"""A lost member of etcd is replaced, on played machines: nobody else restarts, and a cut anywhere is gone on from."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from fake.cluster import PAIR, FakeCluster, keys
from fake.machine import Cut
from test_rollout_cut import THREE

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.selection import Selection
from hardway.errors import HardwayError, UsageError
from hardway.inventory.load import load
from hardway.operations import etcd_replace
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.run import run_operation
from hardway.operations.stage import nothing_to_prove
from hardway.remote import ConnectionLost


@pytest.fixture
def three(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    return built_cluster(THREE)


def wipe(three: FakeCluster, name: str) -> None:
    three.machines[name].run(
        "systemctl stop etcd.service; rm -rf /var/lib/etcd/member", timeout=10, what="lose the disk"
    )


def run(three: FakeCluster, name: str) -> None:
    # A machine is known by its name: whatever else of it is decided only with the State, as a worker's pod range.
    operation = etcd_replace.operation(load(three.inventory), name)
    # Proofs are the lab's: no real TLS answers here.
    stages = tuple(replace(stage, gate=nothing_to_prove) for stage in operation.stages)
    session = three.session()
    selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
    operation = replace(operation, stages=stages)
    run_operation(session, three.state(), operation, selection, three.resolver(), three.store, by="ada@desk")


def members(three: FakeCluster) -> list[tuple[str, str]]:
    """Name of each member, and whether it is a learner."""
    lines = (three.root / "net" / "members").read_text().splitlines()
    return sorted((line.split()[1], line.split()[4]) for line in lines)


def last_controller(three: FakeCluster) -> str:
    return three.cluster.controllers[-1].name


def test_a_wiped_member_joins_again(three: FakeCluster) -> None:
    lost = last_controller(three)
    before = three.member(lost)
    wipe(three, lost)
    with pytest.raises(HardwayError, match="its etcd data is gone") as stopped:
        three.init()
    assert stopped.value.hint == f"have it join again: hardway etcd replace {lost}"
    run(three, lost)
    assert members(three) == sorted((one.name, "false") for one in three.cluster.controllers)
    assert three.member(lost) != before
    assert three.state().nodes[lost].control == ""
    assert three.state().operation is None
    unit = three.machines[lost].read("/etc/systemd/system/etcd.service")
    assert f"--listen-client-urls=https://{three.cluster.machine(lost).ip}:2379," in unit
    assert keys(three.init().changes) == []


def test_what_is_not_lost_is_not_replaced(three: FakeCluster) -> None:
    first, *_, last = (one.name for one in three.cluster.controllers)
    with pytest.raises(HardwayError, match="its etcd member serves"):
        run(three, last)
    three.machines[last].run("systemctl stop etcd.service", timeout=10, what="stop it")
    with pytest.raises(HardwayError, match="is only stopped"):
        run(three, last)
    wipe(three, last)
    wipe(three, first)
    with pytest.raises(HardwayError, match="does not serve either"):
        run(three, last)
    assert three.state().operation is None


def test_a_worker_is_no_member(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no controller"):
        etcd_replace.operation(FakeCluster.new(tmp_path, PAIR).cluster, "hand")


@pytest.mark.parametrize("call", (9, 21))
def test_cut_anywhere_the_same_command_goes_on(three: FakeCluster, call: int) -> None:
    lost = last_controller(three)
    wipe(three, lost)
    for name in (lost, three.cluster.controllers[0].name):
        three.machines[name].cut = Cut(call, 1)
        with suppress(ConnectionLost, HardwayError):
            run(three, lost)
        three.machines[name].cut = None
    with suppress(HardwayError):  # one that has ended finds nothing to replace
        run(three, lost)
    assert members(three) == sorted((one.name, "false") for one in three.cluster.controllers)
    assert keys(three.init().changes) == []

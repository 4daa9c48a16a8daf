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


def run(three: FakeCluster, *names: str) -> None:
    # A machine is known by its name: whatever else of it is decided only with the State, as a worker's pod range.
    operation = etcd_replace.operation(load(three.inventory), *names)
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
    with pytest.raises(HardwayError, match="no majority of etcd serves") as refused:
        run(three, last)
    assert "hardway etcd recover" in (refused.value.hint or "")
    with pytest.raises(HardwayError, match="its etcd data is gone") as stopped:
        three.init()
    assert "hardway etcd recover" in (stopped.value.hint or "")
    assert three.state().operation is None


@pytest.fixture
def five(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    return built_cluster(THREE + FOURTH_AND_FIFTH)


FOURTH_AND_FIFTH = """\
  c3: {role: controller, address: 10.240.0.13}
  c4: {role: controller, address: 10.240.0.14}
"""


def test_two_of_five_are_replaced_by_one_command(five: FakeCluster) -> None:
    for name in ("c3", "c4"):
        wipe(five, name)
    with pytest.raises(HardwayError, match="its etcd data is gone") as stopped:
        five.init()
    assert stopped.value.hint == "have it join again: hardway etcd replace c3 c4"
    with pytest.raises(HardwayError, match="c4 lost its data, too") as refused:
        run(five, "c3")
    assert refused.value.hint == "name them all: hardway etcd replace c3 c4"
    assert five.state().operation is None
    run(five, "c3", "c4")
    assert members(five) == sorted((one.name, "false") for one in five.cluster.controllers)
    assert five.state().operation is None
    assert keys(five.init().changes) == []


@pytest.mark.parametrize("call", (12, 24))
def test_cut_with_two_lost_the_same_command_goes_on(five: FakeCluster, call: int) -> None:
    for name in ("c3", "c4"):
        wipe(five, name)
    for name in ("c3", "c4", "c0"):
        five.machines[name].cut = Cut(call, 1)
        with suppress(ConnectionLost, HardwayError):
            run(five, "c3", "c4")
        five.machines[name].cut = None
    with suppress(HardwayError):  # one that has ended finds nothing to replace
        run(five, "c3", "c4")
    assert members(five) == sorted((one.name, "false") for one in five.cluster.controllers)
    assert keys(five.init().changes) == []


def test_the_only_member_is_not_replaced(built_cluster: Callable[[str], FakeCluster]) -> None:
    one = built_cluster(PAIR)
    wipe(one, "head")
    with pytest.raises(HardwayError, match="no member of etcd would be left") as refused:
        run(one, "head")
    assert "hardway etcd restore" in (refused.value.hint or "")


@pytest.mark.parametrize("voters", range(1, 8))
def test_members_are_replaced_just_where_etcd_does_it(voters: int) -> None:
    """By the rules of raft and of etcd for each step: remove, add a learner, promote."""
    for serving in range(voters):
        is_agreed = serving >= voters // 2 + 1
        left = voters - 1
        learner_taken = left == 1 or serving >= (left + 1) // 2 + 1
        promotion_agreed = serving >= left // 2 + 1
        assert etcd_replace.majority_serves(voters, serving) == (is_agreed and learner_taken and promotion_agreed)


def test_how_many_may_be_lost_at_once() -> None:
    most = [
        max((lost for lost in range(1, voters) if etcd_replace.majority_serves(voters, voters - lost)), default=0)
        for voters in range(1, 8)
    ]
    assert most == [0, 0, 1, 1, 2, 2, 3]


def test_a_worker_is_no_member(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no controller"):
        etcd_replace.operation(FakeCluster.new(tmp_path, PAIR).cluster, "hand")


def lost_in_the_last_stage(three: FakeCluster, lost: str, *names: str) -> str:
    """Has the command lose this member again once it is at its last stage, where it stops; the member that it was."""
    machine = three.machines[lost]

    def lose(what: str) -> None:
        underway = three.state().operation
        if what == "record the intents" and underway is not None and underway.stage == "serve":
            machine.run("systemctl stop etcd.service; rm -rf /var/lib/etcd", timeout=10, what="lose it again")

    machine.after = lose
    with pytest.raises(HardwayError):
        run(three, *names)
    machine.after = lambda what: None
    underway = three.state().operation
    assert underway is not None
    assert underway.stage == "serve"
    return three.member(lost)


def test_lost_again_in_the_last_stage_the_same_command_goes_on(three: FakeCluster) -> None:
    lost = last_controller(three)
    wipe(three, lost)
    before = lost_in_the_last_stage(three, lost, lost)
    run(three, lost)
    assert three.member(lost) != before
    assert members(three) == sorted((one.name, "false") for one in three.cluster.controllers)
    assert three.state().operation is None
    assert keys(three.init().changes) == []


def test_where_one_of_two_is_lost_again_the_same_command_goes_on(five: FakeCluster) -> None:
    """The stage is that of both, so the other one joins once more, too."""
    for name in ("c3", "c4"):
        wipe(five, name)
    before = lost_in_the_last_stage(five, "c4", "c3", "c4")
    run(five, "c3", "c4")
    assert five.member("c4") != before
    assert members(five) == sorted((one.name, "false") for one in five.cluster.controllers)
    assert keys(five.init().changes) == []


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

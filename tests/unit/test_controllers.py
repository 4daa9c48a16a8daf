"""Controllers come and go, on played machines: one at a time, nobody loses a majority, and a cut one goes on."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from fake.cluster import FakeCluster, keys, room
from fake.machine import Cut
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_engine_cut import assert_runs_with_what_is_there
from test_rollout_cut import EXAMPLES, NO_SHRINKING, authorities

from hardway.declare.phases import PHASE_NAMES, control_plane
from hardway.declare.resources import Service
from hardway.engine.blockers import Blocked
from hardway.engine.plan import Plan
from hardway.engine.selection import Selection
from hardway.errors import HardwayError, UsageError
from hardway.operations import add_controller, drain, remove_controller
from hardway.operations.drain import How
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.run import run_operation
from hardway.operations.stage import Operation, nothing_to_prove
from hardway.remote import ConnectionLost

ONE = """\
cluster: grows
endpoint: api.example.net
machines:
  c0: {role: controller, address: 10.240.0.10}
  w0: {role: worker, address: 10.240.0.20}
"""
CONTROL_PLANE = tuple(f"{unit}.service" for unit in ("etcd", *control_plane.COMPONENTS))
THREE = ONE + (
    "  c1: {role: controller, address: 10.240.0.11}\n"
    "  c2: {role: [controller, worker], address: 10.240.0.12}\n"
)  # fmt: skip
FIVE = THREE + (
    "  c3: {role: controller, address: 10.240.0.13}\n"
    "  c4: {role: controller, address: 10.240.0.14}\n"
)  # fmt: skip


NAMES = ("c0", "c1", "c2", "w0")
cuts = st.builds(Cut, st.integers(0, 40), st.one_of(st.integers(1, 40), st.integers(1, 400)), st.just(True))


@pytest.fixture
def one(built_cluster: Callable[[str], FakeCluster], nodes_leave: None) -> FakeCluster:
    return built_cluster(ONE)


@pytest.fixture
def three(built_cluster: Callable[[str], FakeCluster], nodes_leave: None) -> FakeCluster:
    return built_cluster(THREE)


@pytest.fixture
def nodes_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes and their pods are a real API server's."""
    monkeypatch.setattr(drain, "exists", lambda session, name: False)
    monkeypatch.setattr(drain, "delete_node", lambda session, name: None)
    monkeypatch.setattr(add_controller, "preflight", lambda session, views, cluster: [])


class Declined(Exception):
    """Stands for what ends a run between two stages."""


def run(
    made: FakeCluster, operation: Operation, leaving: str = "", *, gone: bool = False, stages: int = 3
) -> list[set[str]]:
    """What each stage restarted of the control plane, machine and unit. Proofs are the lab's: no real TLS answers.

    It ends after so many `stages`.
    """
    restarted: list[set[str]] = []

    def review(plan: Plan) -> None:
        if len(restarted) == stages:
            raise Declined
        names = {f"{one.machine} {one.name}" for one in plan.changes if one.difference.verb == "restart"}
        restarted.append({name for name in names if name.split()[1] in CONTROL_PLANE})

    operation = replace(operation, stages=tuple(replace(one, gate=nothing_to_prove) for one in operation.stages))
    session = made.session()
    if leaving in session.machines and not gone:
        session.peers[leaving] = session.machines.pop(leaving)
    session.machines.pop(leaving, None)
    selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
    run_operation(
        session, made.state(), operation, selection, made.resolver(), made.store, by="ada@desk", review=review
    )
    return restarted


def add(made: FakeCluster, name: str, *, stages: int = 3) -> list[set[str]]:
    made.joining = name
    try:
        return run(made, add_controller.operation(made.cluster, made.state(), name), stages=stages)
    finally:
        made.joining = ""


def grow(made: FakeCluster, inventory: str) -> None:
    made.inventory.write_text(inventory)
    made.raise_machines()


def members(made: FakeCluster) -> list[tuple[str, str]]:
    """Name of each member, and whether it is a learner."""
    lines = (made.root / "net" / "members").read_text().splitlines()
    return sorted((line.split()[1], line.split()[4]) for line in lines)


def voters(*names: str) -> list[tuple[str, str]]:
    return [(name, "false") for name in names]


def asks(made: FakeCluster, name: str) -> set[str]:
    """The addresses of the etcd members that an API server asks."""
    unit = made.machines[name].read("/etc/systemd/system/kube-apiserver.service")
    [flag] = [word for word in unit.split() if word.startswith("--etcd-servers=")]
    urls = flag.partition("=")[2].split(",")
    return {url.removeprefix("https://10.240.0.").removesuffix(":2379") for url in urls}


def test_one_becomes_three_and_who_served_restarts_once_for_each(one: FakeCluster) -> None:
    before = authorities(one)
    grow(one, THREE)
    with pytest.raises(Blocked) as stopped:
        one.init()
    assert [(two.kind, two.machine, two.command) for two in stopped.value.blockers] == [
        ("pending:new-controller", "c1", "hardway node add c1"),
        ("pending:new-controller", "c2", "hardway node add c2"),
    ]
    assert add(one, "c1") == [set(), set(), {"c0 kube-apiserver.service"}]
    assert members(one) == voters("c0", "c1")
    assert (asks(one, "c0"), asks(one, "c1")) == ({"10", "11"}, {"10", "11"})
    assert add(one, "c2") == [set(), set(), {"c0 kube-apiserver.service", "c1 kube-apiserver.service"}]
    assert members(one) == voters("c0", "c1", "c2")
    assert [asks(one, name) for name in ("c0", "c1", "c2")] == [{"10", "11", "12"}] * 3
    assert {node.control for node in one.state().nodes.values()} == {""}
    assert keys(one.init().changes) == []
    assert authorities(one) == before
    assert (one.root / "net" / "initialised").read_text().split() == ["c0"]


def remove(made: FakeCluster, name: str, *, gone: bool = False) -> list[set[str]]:
    made.joining = name
    try:
        machine = made.cluster.machine(name)
    finally:
        made.joining = ""
    operation = remove_controller.operation(machine, How(), gone=gone)
    made.workspace().save_state(remove_controller.taken_back(made.state(), name, gone=gone))
    return run(made, operation, name, gone=gone)


def test_three_become_one_and_the_first_is_no_other_than_the_rest(three: FakeCluster) -> None:
    before = authorities(three)
    three.lead("c0")
    remove(three, "c0")
    assert members(three) == voters("c1", "c2")
    assert [asks(three, name) for name in ("c1", "c2")] == [{"11", "12"}] * 2
    assert not (three.machines["c0"].root / "etc/kubernetes").exists()
    assert not (three.machines["c0"].root / "var/lib/etcd").exists()
    assert "10.240.0.10" not in three.machines["c1"].read("/etc/hosts")
    remove(three, "c1")
    assert members(three) == voters("c2")
    assert asks(three, "c2") == {"12"}
    lines = [line for line in THREE.splitlines() if "c0:" not in line and "c1:" not in line]
    three.inventory.write_text("\n".join(lines))
    assert keys(three.init().changes) == []
    assert authorities(three) == before


def test_a_lost_one_is_forgotten(three: FakeCluster) -> None:
    with pytest.raises(HardwayError, match="c1 is not gone: its etcd answers"):
        remove(three, "c1", gone=True)
    three.machines["c1"].run("systemctl stop etcd.service kube-apiserver.service", timeout=20, what="lose it")
    three.off.add("c1")
    remove(three, "c1", gone=True)
    assert members(three) == voters("c0", "c2")
    assert [asks(three, name) for name in ("c0", "c2")] == [{"10", "12"}] * 2
    with pytest.raises(Blocked) as stopped:
        three.init()
    assert [one.command for one in stopped.value.blockers] == ["hardway node add c1"]


def test_no_majority_is_taken_away(three: FakeCluster) -> None:
    three.machines["c1"].run("systemctl stop etcd.service", timeout=20, what="stop it")
    with pytest.raises(HardwayError, match="1 of the 2 other etcd members serve, and without c0 2 must"):
        remove(three, "c0")
    assert three.state().operation is None
    assert members(three) == voters("c0", "c1", "c2")


def test_three_become_five(three: FakeCluster) -> None:
    grow(three, FIVE)
    add(three, "c3")
    add(three, "c4")
    assert members(three) == voters("c0", "c1", "c2", "c3", "c4")
    assert [len(asks(three, name)) for name in ("c0", "c1", "c2", "c3", "c4")] == [5] * 5
    assert keys(three.init().changes) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [("w0", "is no controller"), ("c0", "is part of the cluster already"), ("c9", "no machine is named")],
)
def test_who_cannot_be_added_is_told_why(one: FakeCluster, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        add_controller.operation(one.cluster, one.state(), name)


def test_a_worker_does_not_become_a_controller(one: FakeCluster) -> None:
    grow(
        one,
        THREE.replace("w0: {role: worker", "w0: {role: [controller, worker]").replace(
            "[controller, worker], address: 10.240.0.12", "worker, address: 10.240.0.12"
        ),
    )
    with pytest.raises(UsageError, match="is part of the cluster as worker"):
        add_controller.operation(one.cluster, one.state(), "w0")


def test_the_last_controller_does_not_leave(one: FakeCluster) -> None:
    with pytest.raises(UsageError, match="c0 is the only controller"):
        remove_controller.refuse(one.cluster, "c0")


def test_none_is_added_while_a_member_is_down_or_beside_another_etcd(three: FakeCluster) -> None:
    grow(three, FIVE)
    three.machines["c3"].run("mkdir -p /var/lib/etcd/member", timeout=10, what="have an etcd")
    with pytest.raises(HardwayError, match="holds data of another etcd"):
        add(three, "c3")
    three.machines["c1"].run("systemctl stop etcd.service", timeout=10, what="stop it")
    with pytest.raises(HardwayError, match="etcd does not serve on c1"):
        add(three, "c4")
    assert three.state().operation is None


@contextmanager
def copied(before: FakeCluster) -> Iterator[FakeCluster]:
    """One of its own for each example."""
    place = room()
    try:
        yield before.copied(place)
    finally:
        shutil.rmtree(place)


def assert_all_run_as_declared(made: FakeCluster) -> None:
    again = made.init()
    assert (keys(again.changes), again.made) == ([], [])
    for machine in made.cluster.machines:
        for placed in again.declaration.on(machine.name):
            if isinstance(placed.resource, Service):
                assert_runs_with_what_is_there(made, machine.name, placed.resource, again.views[machine.name])


def voting(made: FakeCluster) -> list[str]:
    """Members that vote and run."""
    net = made.root / "net"
    return [name for name, learner in members(made) if learner == "false" and (net / f"etcd-{name}").exists()]


def assert_a_majority_serves(made: FakeCluster) -> None:
    voters_there = [name for name, learner in members(made) if learner == "false"]
    assert len(voting(made)) > len(voters_there) // 2


HEALTH = settings(max_examples=EXAMPLES, deadline=None, phases=NO_SHRINKING, suppress_health_check=list(HealthCheck))


@HEALTH
@given(name=st.sampled_from(NAMES[:2]), cut=cuts)
def test_an_addition_that_is_cut_anywhere_goes_on(one: FakeCluster, name: str, cut: Cut) -> None:
    with copied(one) as made:
        grow(made, THREE)
        made.machines[name].restored(cut)
        with suppress(ConnectionLost, HardwayError):
            add(made, "c1")
        assert_a_majority_serves(made)
        made.machines[name].restored()
        if "c1" not in made.state().nodes or made.state().operation:
            add(made, "c1")
        assert members(made) == voters("c0", "c1")
        assert {len(asks(made, one)) for one in ("c0", "c1")} == {2}
        add(made, "c2")
        assert_all_run_as_declared(made)


@pytest.mark.parametrize("stages", [1, 2])
def test_an_addition_is_given_up(one: FakeCluster, stages: int) -> None:
    grow(one, THREE)
    with pytest.raises(Declined):
        add(one, "c1", stages=stages)
    assert members(one) == voters("c0", "c1")
    remove(one, "c1")
    assert members(one) == voters("c0")
    assert asks(one, "c0") == {"10"}
    one.inventory.write_text(ONE)
    assert_all_run_as_declared(one)


def test_an_addition_to_a_machine_that_is_lost_is_given_up(one: FakeCluster) -> None:
    grow(one, THREE)
    one.machines["c1"].restored(Cut(10, 1, True))
    with pytest.raises((ConnectionLost, HardwayError)):
        add(one, "c1")
    assert one.state().nodes["c1"].control == "prepared"
    one.machines["c1"].restored()
    one.off.add("c1")
    remove(one, "c1", gone=True)
    assert members(one) == voters("c0")
    one.inventory.write_text(ONE)
    assert_all_run_as_declared(one)


@HEALTH
@given(name=st.sampled_from(NAMES[:3]), cut=cuts)
def test_a_removal_that_is_cut_anywhere_goes_on(three: FakeCluster, name: str, cut: Cut) -> None:
    with copied(three) as made:
        made.machines[name].restored(cut)
        with suppress(ConnectionLost, HardwayError):
            remove(made, "c0")
        assert_a_majority_serves(made)
        made.machines[name].restored()
        if "c0" in made.state().nodes or made.state().operation:
            remove(made, "c0")
        assert members(made) == voters("c1", "c2")
        remove(made, "c1")
        lines = [line for line in THREE.splitlines() if "c0:" not in line and "c1:" not in line]
        made.inventory.write_text("\n".join(lines))
        assert_all_run_as_declared(made)
        assert asks(made, "c2") == {"12"}

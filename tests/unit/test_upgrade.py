"""Upgrades on played machines: what each stage changes and in which order, and that a cut one goes on or back."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from fake.cluster import FakeCluster, keys, room, stocked
from fake.machine import Cut, why_not
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_cut import assert_nothing_is_left_to_do
from test_rollout_cut import EXAMPLES, NO_SHRINKING

from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model
from hardway.engine.blockers import Blocked
from hardway.engine.plan import Plan
from hardway.engine.selection import Selection
from hardway.errors import HardwayError
from hardway.operations import rotate_sa, upgrade
from hardway.operations.drain import How
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.run import _left, run_operation
from hardway.operations.stage import Operation, nothing_to_do, nothing_to_prove
from hardway.remote import ConnectionLost
from hardway.state import OperationState, State, Upgrade

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

OLD, NEW = "kubernetes: 1.35.6\n", "kubernetes: 1.36.4\n"
PAIR_OLD = f"""\
cluster: pair
{OLD}machines:
  head: {{role: controller, address: 10.240.0.10}}
  hand: {{role: worker, address: 10.240.0.20}}
  foot: {{role: worker, address: 10.240.0.21}}
"""
THREE_OLD = f"""\
cluster: three
{OLD}endpoint: api.example.net
machines:
  c0: {{role: controller, address: 10.240.0.10}}
  c1: {{role: controller, address: 10.240.0.11}}
  c2: {{role: [controller, worker], address: 10.240.0.12}}
"""
API, MANAGER, SCHEDULER = (f"kube-{name}.service" for name in ("apiserver", "controller-manager", "scheduler"))
SERVERS = {f"head {API}"}
MANAGERS = {f"head {MANAGER}", f"head {SCHEDULER}"}


def node(name: str) -> set[str]:
    return {f"{name} kubelet.service", f"{name} kube-proxy.service"}


Build = Callable[[str], FakeCluster]


@pytest.fixture
def made(built_cluster: Build) -> FakeCluster:
    """A cluster of 1.35.6 whose inventory says 1.36.4."""
    return wanting_more(built_cluster(PAIR_OLD))


def wanting_more(made: FakeCluster) -> FakeCluster:
    made.rewrite(OLD, NEW)
    stocked(made.store, made.lock, "1.36.4")
    return made


class Declined(Exception):
    """Stands for what ends a run between two stages."""


def engine_only(operation: Operation) -> Operation:
    """Without what only a real API server answers: the lab has that."""
    stages = tuple(replace(stage, gate=nothing_to_prove, act=nothing_to_do) for stage in operation.stages)
    return replace(operation, stages=stages)


def apply(made: FakeCluster, *, until: str = "", at_once: int = 1) -> dict[str, set[str]]:
    return _run(made, upgrade.apply(made.cluster, made.state(), at_once), until)


def finish(made: FakeCluster) -> dict[str, set[str]]:
    return _run(made, upgrade.finish(made.cluster), "")


def rollback(made: FakeCluster, *, until: str = "") -> dict[str, set[str]]:
    operation = upgrade.rollback(made.cluster, made.state(), 1)
    return _run(made, operation, until, upgrade.superseded(made.state(), operation))


def _run(made: FakeCluster, operation: Operation, until: str, state: State | None = None) -> dict[str, set[str]]:
    """The units that each stage restarted; `until` names a stage that is cut at its plan."""
    state = state or made.state()
    session = made.session()
    session.cluster = upgrade.declared_as(made.cluster, state, operation)
    stages = operation.stages
    if state.operation and state.operation.command == OperationState.command_of(operation.name, operation.arguments):
        stages = _left(operation, state.operation, state)
    left = [stage.name for stage in stages]
    restarted: dict[str, set[str]] = {}

    def review(plan: Plan) -> None:
        stage = left[len(restarted)]
        if stage == until:
            made.workspace().save_state(plan.state)
            raise Declined
        restarted[stage] = {
            f"{change.machine} {change.key.removeprefix('service:')}" for change in plan.changes if change.restarts
        }

    selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
    resolver = replace(made.resolver(), kubernetes=session.cluster.kubernetes)
    run_operation(session, state, engine_only(operation), selection, resolver, made.store, by="ada@desk", review=review)
    return restarted


def installed(made: FakeCluster) -> dict[str, str]:
    """The version of each kubelet and API server, as the played binaries say it."""
    found = {}
    for name in made.machines:
        for binary in ("kube-apiserver", "kube-scheduler", "kubelet"):
            path = made.machines[name].root / "usr/local/bin" / binary
            if path.exists():
                found[f"{name} {binary}"] = path.read_text().split()[-1]
    return found


def assert_all_on(made: FakeCluster, version: str) -> State:
    """Every machine has it, the State says so, and nothing is left to do for an inventory that wants it."""
    assert set(installed(made).values()) == {version}
    state = made.state()
    assert (state.operation, state.kubernetes) == (None, version)
    assert {one.kubernetes for one in state.nodes.values()} == {version}
    assert keys(made.init().changes) == []
    return state


def test_servers_first_then_what_asks_them_then_worker_by_worker(made: FakeCluster) -> None:
    restarted = apply(made)
    assert list(restarted) == [
        "snapshot", "api-servers", "controllers", "drain hand", "hand", "drain foot", "foot", "end",
    ]  # fmt: skip
    assert restarted["snapshot"] == set()
    # What runs beside an API server restarts with it only where it leads there.
    assert restarted["api-servers"] == SERVERS
    assert restarted["controllers"] == MANAGERS
    assert (restarted["hand"], restarted["foot"]) == (node("hand"), node("foot"))
    assert restarted["drain hand"] | restarted["drain foot"] | restarted["end"] == set()
    assert assert_all_on(made, "1.36.4").upgrade == Upgrade("1.35.6", "1.36.4")


def test_the_end_is_a_second_roll_of_what_emulated(made: FakeCluster) -> None:
    apply(made)
    unit = "/etc/systemd/system/kube-apiserver.service"
    assert "--emulated-version=1.35" in made.machines["head"].read(unit)
    assert finish(made) == {"finish": SERVERS | MANAGERS}
    assert "emulated" not in made.machines["head"].read(unit)
    assert assert_all_on(made, "1.36.4").upgrade is None


def test_the_way_back_is_the_same_in_reverse(made: FakeCluster) -> None:
    apply(made)
    restarted = rollback(made)
    assert list(restarted) == ["drain hand", "hand", "drain foot", "foot", "controllers", "api-servers", "end"]
    assert (restarted["hand"], restarted["controllers"], restarted["api-servers"]) == (node("hand"), MANAGERS, SERVERS)
    # The inventory still wants what there was a way back from.
    with pytest.raises(Blocked) as blocked:
        made.init()
    assert [one.command for one in blocked.value.blockers] == ["hardway upgrade apply"]
    made.rewrite(NEW, OLD)
    assert assert_all_on(made, "1.35.6").upgrade is None


def test_there_and_back_and_there_again(made: FakeCluster) -> None:
    before = {name: one.read("/etc/hosts") for name, one in made.machines.items()}
    apply(made)
    rollback(made)
    apply(made)
    finish(made)
    assert_all_on(made, "1.36.4")
    assert {name: one.read("/etc/hosts") for name, one in made.machines.items()} == before


def test_several_workers_at_a_time(made: FakeCluster) -> None:
    restarted = apply(made, at_once=2)
    assert restarted["hand, foot"] == node("hand") | node("foot")


def test_a_patch_release_drains_nobody_and_needs_no_second_roll(built_cluster: Build) -> None:
    made = built_cluster(PAIR_OLD)
    made.rewrite(OLD, "kubernetes: 1.35.7\n")
    stocked(made.store, made.lock, "1.35.7")
    assert list(apply(made)) == ["snapshot", "api-servers", "controllers", "hand", "foot", "end"]
    assert assert_all_on(made, "1.35.7").upgrade is None
    made.rewrite("kubernetes: 1.35.7\n", OLD)
    apply(made)
    assert_all_on(made, "1.35.6")


STAGES = ["api-servers", "drain hand", "foot"]


@pytest.mark.parametrize("stage", STAGES)
def test_cut_at_any_stage_it_goes_on_or_back(made: FakeCluster, stage: str) -> None:
    with pytest.raises(Declined):
        apply(made, until=stage)
    with pytest.raises(Blocked) as blocked:
        made.init()
    assert [one.command for one in blocked.value.blockers] == ["hardway upgrade apply"]
    rollback(made)
    assert set(installed(made).values()) == {"1.35.6"}
    with pytest.raises(Declined):
        apply(made, until=stage)
    apply(made)
    assert_all_on(made, "1.36.4")


def test_a_way_back_that_was_cut_goes_on(made: FakeCluster) -> None:
    apply(made)
    for stage in ("hand", "controllers", "api-servers", "end"):
        with pytest.raises(Declined):
            rollback(made, until=stage)
    with pytest.raises(Blocked) as blocked:
        apply(made)
    assert [one.command for one in blocked.value.blockers] == ["hardway upgrade rollback"]
    rollback(made)
    made.rewrite(NEW, OLD)
    assert_all_on(made, "1.35.6")


HAND, FOOT = PAIR_OLD.splitlines(keepends=True)[-2:]


def reorder(made: FakeCluster) -> None:
    made.rewrite(HAND + FOOT, FOOT + HAND)


def test_no_worker_is_left_out_when_the_inventorys_order_changes_meanwhile(made: FakeCluster) -> None:
    with pytest.raises(Declined):
        apply(made, until="hand")
    reorder(made)
    assert list(apply(made)) == ["hand", "drain foot", "foot", "end"]
    assert_all_on(made, "1.36.4")
    with pytest.raises(Declined):
        rollback(made, until="foot")
    made.rewrite(FOOT + HAND, HAND + FOOT)
    assert list(rollback(made)) == ["foot", "drain hand", "hand", "controllers", "api-servers", "end"]
    made.rewrite(NEW, OLD)
    assert_all_on(made, "1.35.6")


def test_workers_taken_together_stay_together_in_another_order(made: FakeCluster) -> None:
    with pytest.raises(Declined):
        apply(made, until="hand, foot", at_once=2)
    reorder(made)
    assert list(apply(made, at_once=2)) == ["hand, foot", "end"]
    assert_all_on(made, "1.36.4")


def test_a_worker_that_was_passed_over_is_taken_before_the_end(made: FakeCluster) -> None:
    moved = replace(made.state(), upgrade=Upgrade("1.35.6", "1.36.4", ("foot",)))
    underway = OperationState("upgrade apply", (), "end", "ada@desk", "2026-11-28")
    operation = upgrade.apply(made.cluster, replace(moved, operation=underway), 1)
    assert [one.name for one in _left(operation, underway, moved)] == ["drain foot", "foot", "end"]
    with pytest.raises(HardwayError, match=r"foot runs 1\.35\.6"):
        operation.stages[-1].edit(moved)
    with pytest.raises(HardwayError, match=r"foot runs 1\.35\.6"):
        upgrade.finish(made.cluster).stages[0].edit(moved)


def test_api_servers_do_not_go_back_before_a_kubelet(made: FakeCluster) -> None:
    state = replace(made.state(), upgrade=Upgrade("1.35.6", "1.36.4", ("hand",)))
    stages = {one.name: one for one in upgrade.rollback(made.cluster, state, 1).stages}
    with pytest.raises(HardwayError, match=r"foot runs Kubernetes 1\.36\.4"):
        stages["controllers"].edit(state)
    assert stages["foot"].is_due(state) and not stages["hand"].is_due(state)


def test_a_drain_is_done_as_the_flags_say(made: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    drained: list[tuple[Sequence[str], How]] = []
    monkeypatch.setattr(upgrade.drain, "drain", lambda session, names, how, lent: drained.append((names, how)))
    state = replace(made.state(), kubernetes="1.36.4", upgrade=Upgrade("1.35.6", "1.36.4", ("hand", "foot")))
    how = How(7, force=True, elsewhere=False)
    for name, operation in (
        ("hand", upgrade.apply(made.cluster, state, 1, how)),
        ("foot", upgrade.rollback(made.cluster, state, 1, how)),
    ):
        stages = {one.name: one for one in operation.stages}
        there = state if operation.name == upgrade.APPLY else replace(state, upgrade=Upgrade("1.35.6", "1.36.4"))
        stages[f"drain {name}"].act(made.session(), Model(made.cluster, there, made.resolver().versions))
        assert drained.pop() == ([name], replace(how, operation=operation.name))


def test_two_operations_at_once_are_refused(made: FakeCluster) -> None:
    with pytest.raises(Declined):
        apply(made, until="hand")
    for other in (rotate_sa.operation(), upgrade.apply(made.cluster, made.state(), 2), upgrade.finish(made.cluster)):
        with pytest.raises(Blocked) as blocked:
            _run(made, other, "")
        assert [one.command for one in blocked.value.blockers] == ["hardway upgrade apply"]


@contextmanager
def three() -> Iterator[FakeCluster]:
    place = room()
    try:
        made = FakeCluster.new(place, THREE_OLD)
        made.init()
        yield wanting_more(made)
    finally:
        shutil.rmtree(place)


# Calls: of each stage observing, the intents, the upload, each chapter with its roll, observing again.
cuts = st.builds(Cut, st.integers(0, 80), st.one_of(st.integers(1, 40), st.integers(1, 400)), st.just(True))


@settings(max_examples=EXAMPLES, deadline=None, phases=NO_SHRINKING)
@given(name=st.sampled_from(("c0", "c1", "c2")), cut=cuts, back=st.booleans())
def test_an_upgrade_that_is_killed_anywhere_is_ended_by_the_same_command(name: str, cut: Cut, back: bool) -> None:
    with three() as made:
        way: Callable[[FakeCluster], object] = rollback if back else apply
        if back:
            apply(made)
        for machine in made.machines.values():
            machine.restored()
        made.machines[name].restored(cut)
        with suppress(ConnectionLost):
            way(made)
        assert sum((made.root / "net" / f"etcd-{one}").exists() for one in made.machines) >= 2
        made.machines[name].restored()
        if back and made.state().upgrade is not None:
            rollback(made)
        elif made.state().operation is not None or made.state().kubernetes == "1.35.6":
            way(made)
        if back:
            made.rewrite(NEW, OLD)
        assert_nothing_is_left_to_do(made)
        assert set(installed(made).values()) == {"1.35.6" if back else "1.36.4"}

"""One value decides: what blocks a plan blocks the run, and what a person must agree to is asked once."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fake.cluster import PAIR, FakeCluster

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.blockers import Blocked, Blocker
from hardway.engine.changes import by_machine
from hardway.engine.guards import first_state, quorum
from hardway.engine.pending import in_words, pending
from hardway.engine.plan import Plan, observe_and_plan
from hardway.engine.selection import Selection
from hardway.errors import HardwayError, PlanChanged, Unreachable, UsageError
from hardway.operations.apply import Incomplete, Request, SomeUnreachable, apply, require_reached
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.preview.page import plan_page

NewCluster = Callable[[str], FakeCluster]
THREE = """\
cluster: three
endpoint: api.example.net
machines:
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
"""
TWO_WORKERS = PAIR + "  foot: {role: worker, address: 10.240.0.21}\n"
API = "/etc/systemd/system/kube-apiserver.service"
ETCD = "/etc/systemd/system/etcd.service"


@pytest.fixture
def pair(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(PAIR)


def planned(cluster: FakeCluster, unreached: dict[str, HardwayError] | None = None) -> Plan:
    names = [name for name in cluster.machines if name not in (unreached or {})]
    session = cluster.session(names=names)
    state = session.workspace.load_state() or first_state(session.cluster)
    selection = Selection(PHASE_NAMES, frozenset(cluster.machines), BOOTSTRAP)
    return observe_and_plan(session, state, selection, cluster.resolver(), unreached or {})


def applied(
    cluster: FakeCluster,
    confirm: Callable[[Plan], bool] | None = None,
    agreed: bool = False,
    expected: str | None = None,
) -> int:
    """How many changes a run makes that was asked for so."""
    session = cluster.session()
    session.workspace.create()
    state = session.workspace.load_state() or first_state(session.cluster)
    selection = Selection(PHASE_NAMES, frozenset(cluster.machines), BOOTSTRAP)
    request = Request("hardway apply", selection, agreed=agreed, expected=expected)
    return len(apply(session, state, request, cluster.resolver(), cluster.store, confirm=confirm).changes)


def edited(cluster: FakeCluster, path: str = API) -> None:
    """Somebody edits a unit on every controller by hand."""
    for machine in cluster.machines.values():
        if machine.has(path):
            machine.write(path, machine.read(path) + "\n")


def test_a_run_stops_at_what_the_plan_shows_as_a_blocker(built_cluster: NewCluster) -> None:
    """A worker deleted from the inventory: the plan proposes nothing that the run would refuse."""
    cluster = built_cluster(TWO_WORKERS)
    cluster.inventory.write_text(TWO_WORKERS.replace("  foot: {role: worker, address: 10.240.0.21}\n", ""))
    del cluster.machines["foot"]
    shown = cluster.plan()
    with pytest.raises(Blocked) as caught:
        cluster.init()
    assert [one.kind for one in caught.value.blockers] == [one.kind for one in shown.blockers] == ["pending:removed"]
    page = "\n".join(plan_page(shown, seconds=1))
    assert (shown.exit_code, "Do it" in page) == (1, False)


def test_a_misspelt_setting_blocks_both(pair: FakeCluster) -> None:
    pair.rewrite("machines:", "settings: {kube-apiserver: {audit-log-maxages: 3}}\nmachines:")
    shown = pair.plan()
    assert {one.kind.partition(":")[0] for one in shown.blockers} == {"lint"}
    assert shown.exit_code == 1
    with pytest.raises(Blocked) as caught:
        pair.init()
    assert {one.kind for one in caught.value.blockers} == {one.kind for one in shown.blockers}


@pytest.mark.parametrize(
    ("have", "want", "words"),
    [
        ("1.36.4", "1.35.6", "Kubernetes 1.36.4 → 1.35.6 is a downgrade; not supported"),
        ("1.35.6", "1.36.4", "Kubernetes 1.35.6 → 1.36.4 is an upgrade; init and apply do not upgrade"),
    ],
)
def test_a_downgrade_is_called_one(pair: FakeCluster, have: str, want: str, words: str) -> None:
    state = replace(pair.state(), kubernetes=have)
    [one] = pending(replace(pair.cluster, kubernetes=want), state)
    assert in_words(one) == (words, f"Set `kubernetes: {have}` again.")


def test_a_first_build_runs_without_a_question(new_cluster: NewCluster) -> None:
    assert applied(new_cluster(PAIR)) > 50


def test_without_a_terminal_a_running_cluster_changes_only_as_agreed(pair: FakeCluster) -> None:
    edited(pair)
    with pytest.raises(HardwayError, match="no terminal to ask on; nothing was changed") as caught:
        applied(pair)
    identifier = planned(pair).identifier
    assert f"--expect {identifier[:12]}" in (caught.value.hint or "")
    with pytest.raises(PlanChanged):
        applied(pair, agreed=True, expected="0123456789ab")
    assert applied(pair, expected=identifier[:12]) == 2
    edited(pair)
    assert applied(pair, agreed=True) == 2


def test_nothing_to_do_needs_nobody(pair: FakeCluster) -> None:
    pair.init()
    assert applied(pair) == 0


@pytest.mark.parametrize(("answer", "changes"), [(True, 2), (False, 0)])
def test_a_person_is_shown_the_plan_and_asked_once(pair: FakeCluster, answer: bool, changes: int) -> None:
    edited(pair)
    shown: list[list[str]] = []

    def confirm(plan: Plan) -> bool:
        shown.append([change.key for change in plan.changes])
        return answer

    if answer:
        assert applied(pair, confirm) == changes
    else:
        with pytest.raises(HardwayError, match="nothing was changed"):
            applied(pair, confirm)
    assert shown == [[f"file:{API}", "service:kube-apiserver.service"]]


def test_a_machine_that_is_off_does_not_keep_others_from_their_changes(built_cluster: NewCluster) -> None:
    cluster = built_cluster(THREE)
    edited(cluster)
    off: dict[str, HardwayError] = {"c0": Unreachable("no answer", machine="c0")}
    outcome = cluster.init(names=["c1", "c2", "w0"], skipped=off)
    assert set(by_machine(outcome.changes)) == {"c1", "c2"}
    assert set(outcome.skipped) == {"c0"}
    assert set(by_machine(cluster.init().changes)) == {"c0"}


def test_without_the_quorum_that_it_needs_no_member_is_restarted(built_cluster: NewCluster) -> None:
    cluster = built_cluster(THREE)
    edited(cluster, ETCD)
    off: dict[str, HardwayError] = {"c0": Unreachable("no answer", machine="c0")}
    with pytest.raises(Blocked) as caught:
        cluster.init(names=["c1", "c2", "w0"], skipped=off)
    assert [one.kind for one in caught.value.blockers] == ["quorum"]
    plan = planned(cluster)
    assert list(quorum(plan.cluster, plan.changes, plan.declaration, ())) == []
    assert [(roll.group, roll.machines) for roll in plan.rolls] == [("etcd", ("c0", "c1", "c2"))]


def test_the_error_for_a_machine_that_is_off_has_the_command_that_goes_on() -> None:
    off = {"worker-3": Unreachable("no answer", machine="worker-3")}
    with pytest.raises(SomeUnreachable) as caught:
        require_reached(["c0"], off, "hardway apply control-plane", skip=False)
    assert caught.value.command == "hardway apply control-plane --skip-unreachable"
    assert "nothing was changed" in str(caught.value)
    assert require_reached(["c0"], off, "hardway apply", skip=True) == ["c0"]
    with pytest.raises(Unreachable):
        require_reached([], off, "hardway apply", skip=True)
    assert Incomplete(off, "hardway apply").exit_code == 1


def test_a_limit_may_leave_machines_out(new_cluster: NewCluster) -> None:
    cluster = new_cluster(THREE).cluster
    assert [one.name for one in cluster.select("!c1")] == ["c0", "c2", "w0"]
    assert [one.name for one in cluster.select("controller,!c0")] == ["c1", "c2"]
    for wrong in ("!c9", "c1,!c1", "!controller,!worker", ""):
        with pytest.raises(UsageError):
            cluster.select(wrong)


def test_blockers_that_are_alike_are_one_sentence() -> None:
    both = [Blocker("lost-workspace", "is lost", name, hint="restore it") for name in ("head", "hand")]
    assert (Blocked(both).what, Blocked(both).machine) == ("is lost", "head, hand")
    assert "2 things block this run" in Blocked([*both, Blocker("conflict", "in the way")]).what


def test_a_run_notes_on_which_kubernetes_each_machine_is_as_declared(new_cluster: NewCluster) -> None:
    cluster = new_cluster(PAIR)
    cluster.init(("hosts",))
    assert {node.kubernetes for node in cluster.state().nodes.values()} == {""}
    cluster.init()
    assert {node.kubernetes for node in cluster.state().nodes.values()} == {"1.36.4"}
    assert cluster.init().state == cluster.state()

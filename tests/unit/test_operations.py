"""An operation cut at any stage is ended by the same command, and nothing else runs before that."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

import pytest
from fake.cluster import PAIR, FakeCluster, keys

from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model, Proof
from hardway.engine.blockers import Blocked
from hardway.engine.plan import Plan
from hardway.engine.selection import Selection
from hardway.errors import HardwayError, ProofFailed, UsageError, WorkspaceError
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.run import run_operation
from hardway.operations.stage import Operation, Stage
from hardway.state import OperationState, State

HOSTS = Proof("hand", "the names are there", "grep -q head /etc/hosts", "the stage restores them")
NEVER = Proof("hand", "never", "false", "")


class Killed(BaseException):
    """The operator's process is gone."""


@dataclass
class Invented:
    """An operation of two stages: it marks a node as leaving, and takes the mark away."""

    made: FakeCluster
    killed_at: str = ""
    gate: Proof = HOSTS
    by: str = "ada@desk"
    take_over: bool = False
    seen: list[str] = field(default_factory=list)

    def run(self) -> State:
        made = self.made
        session = made.session()
        selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
        state = session.workspace.load_state()
        assert state is not None
        operation = Operation("node mark", ("hand",), (self.stage("mark", True), self.stage("clear", False)))
        wanted, store = made.resolver(), made.store
        return run_operation(session, state, operation, selection, wanted, store, by=self.by, take_over=self.take_over)

    def stage(self, name: str, leaving: bool) -> Stage:
        def edit(state: State) -> State:
            self.pass_by(f"{name}: edit")
            node = replace(state.nodes["hand"], leaving=leaving)
            return replace(state, nodes={**state.nodes, "hand": node})

        def gate(model: Model) -> Iterator[Proof]:
            self.pass_by(f"{name}: gate")
            assert model.state.nodes["hand"].leaving == leaving
            yield self.gate

        return Stage(name, edit, gate)

    def pass_by(self, point: str) -> None:
        self.seen.append(point)
        if point == self.killed_at:
            raise Killed


@pytest.fixture
def made(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    cluster = built_cluster(PAIR)
    (cluster.machines["hand"].root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    return cluster


def on_machines(made: FakeCluster) -> list[State]:
    return [State.from_json(one.read("/var/lib/hardway/state.json"), name) for name, one in made.machines.items()]


def assert_over(made: FakeCluster) -> None:
    state = made.state()
    assert (state.operation, state.nodes["hand"].leaving) == (None, False)
    assert on_machines(made) == [state, state]
    assert keys(made.init().changes) == []


def test_each_stage_edits_converges_and_passes_its_gate(made: FakeCluster) -> None:
    invented = Invented(made)
    invented.run()
    assert invented.seen == ["mark: edit", "mark: gate", "clear: edit", "clear: gate"]
    assert_over(made)


@pytest.mark.parametrize(
    ("killed_at", "stage", "resumed"),
    [
        ("mark: gate", "mark", ["mark: edit", "mark: gate", "clear: edit", "clear: gate"]),
        ("clear: edit", "mark", ["mark: edit", "mark: gate", "clear: edit", "clear: gate"]),
        ("clear: gate", "clear", ["clear: edit", "clear: gate"]),
    ],
)
def test_killed_between_its_stages_the_same_command_goes_on(
    made: FakeCluster, killed_at: str, stage: str, resumed: list[str]
) -> None:
    with suppress(Killed):
        Invented(made, killed_at).run()
    under_way = made.state().operation
    assert under_way is not None
    assert (under_way.name, under_way.arguments, under_way.stage) == ("node mark", ("hand",), stage)
    assert [one.operation for one in on_machines(made)] == [under_way, under_way]
    again = Invented(made)
    again.run()
    assert again.seen == resumed
    assert_over(made)


def test_while_it_is_open_nothing_else_runs(made: FakeCluster) -> None:
    with suppress(Killed):
        Invented(made, "mark: gate").run()
    for run in (made.init, lambda: made.init(("hosts",))):
        with pytest.raises(Blocked) as error:
            run()
        [blocker] = error.value.blockers
        assert (blocker.kind, blocker.command) == ("open-operation", "hardway node mark hand")
        assert blocker.hint == "resume: hardway node mark hand"
    assert [one.kind for one in made.plan().blockers] == ["open-operation"]


def test_another_operation_waits_for_it_too(made: FakeCluster) -> None:
    other = OperationState("upgrade apply", (), "worker-1", "ada@desk", "2026-11-27T12:00:00+00:00")
    made.workspace().save_state(replace(made.state(), operation=other))
    invented = Invented(made)
    with pytest.raises(Blocked) as error:
        invented.run()
    assert [one.command for one in error.value.blockers] == ["hardway upgrade apply"]
    assert invented.seen == []


def test_what_another_operator_has_started_is_taken_over_by_name_only(made: FakeCluster) -> None:
    with suppress(Killed):
        Invented(made, "mark: gate").run()
    with pytest.raises(HardwayError, match=r"was started by ada@desk on .*, and stopped at mark") as error:
        Invented(made, by="bob@desk").run()
    assert "hardway node mark hand --take-over" in str(error.value.hint)
    Invented(made, by="bob@desk", take_over=True).run()
    assert_over(made)


def test_a_gate_that_does_not_hold_stops_it_there(made: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardway.operations.run.GATE_LIMIT", 0.0)
    with pytest.raises(ProofFailed):
        Invented(made, gate=NEVER).run()
    under_way = made.state().operation
    assert under_way is not None
    assert under_way.stage == "mark"


def test_a_stage_of_another_hardway_is_not_guessed_at(made: FakeCluster) -> None:
    unknown = OperationState("node mark", ("hand",), "polish", "ada@desk", "2026-11-27T12:00:00+00:00")
    made.workspace().save_state(replace(made.state(), operation=unknown))
    with pytest.raises(WorkspaceError, match="a stage that this hardway does not have: polish"):
        Invented(made).run()


def test_an_operation_whose_first_plan_is_declined_was_never_begun(made: FakeCluster) -> None:
    session = made.session()
    state = made.state()
    selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
    operation = Operation("node mark", ("hand",), (Stage("mark", lambda state: replace(state, fixed={"a": "b"})),))

    def decline(plan: Plan) -> None:
        raise UsageError("no")

    with pytest.raises(UsageError):
        run_operation(session, state, operation, selection, made.resolver(), made.store, by="ada@desk", review=decline)
    assert made.state() == state
    assert made.init().state.operation is None

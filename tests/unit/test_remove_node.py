"""A machine that was taken out of a cluster, and whose line in the inventory stayed."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.blockers import Blocked
from hardway.engine.plan import Plan
from hardway.engine.selection import Selection
from hardway.engine.session import Session
from hardway.errors import HardwayError, PlanChanged
from hardway.operations import drain, remove_node
from hardway.operations.apply import Request, apply
from hardway.operations.drain import How
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.state import advanced

SAID = "was removed on 2026-11-28; its line is still in the inventory: init adds it again"


@pytest.fixture
def made(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    cluster = built_cluster(PAIR)
    state = cluster.state()
    nodes = {name: node for name, node in state.nodes.items() if name != "hand"}
    cluster.workspace().save_state(advanced(state, nodes=nodes, removed={"hand": "2026-11-28"}))
    return cluster


def test_a_plan_says_that_it_comes_back(
    made: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = made.plan()
    assert [(one.machine, one.rule, one.what) for one in found.findings] == [("hand", "removed-machine", SAID)]
    _, out, _ = Commands(made, monkeypatch, capsys)("plan")
    assert "hand was removed on 2026-11-28" in " ".join(out.replace(":", "").split())


def test_a_run_says_so_once(made: FakeCluster) -> None:
    def run() -> list[str]:
        events: list[object] = []
        session = made.session(events.append)
        selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
        request = Request("hardway init", selection, whole=False, agreed=True, expected=None)
        apply(session, made.state(), request, made.resolver(), made.store)
        return [one.text for one in events if SAID in getattr(one, "text", "")]

    assert len(run()) == 1
    assert made.state().removed == {}
    assert "hand" in made.state().nodes
    assert run() == []


def test_a_run_without_it_still_remembers(made: FakeCluster) -> None:
    made.init(names=["head"])
    assert made.state().removed == {"hand": "2026-11-28"}


WIDE = PAIR + "  foot: {role: worker, address: 10.240.0.21}\n"
MORE = """\
endpoint: api.example.net
machines:
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
"""
FLAG = "settings: {kube-apiserver: {event-ttl: 2h}}\n"


@dataclass
class Removal:
    """Removals from a played cluster: what a real API answers is left out."""

    made: FakeCluster
    acts: list[str]
    seen: list[tuple[str, str]] = field(default_factory=list)

    def run(self, name: str = "foot", *, agree: bool = True) -> None:
        def review(rest: Session, plan: Plan) -> None:
            assert self.acts == []
            self.seen = [(one.machine, one.key) for one in plan.changes]
            if not agree:
                raise HardwayError("nothing was changed")

        session = self.made.session()
        machines = frozenset(one for one in self.made.machines if one != name)
        selection = Selection(PHASES, machines, BOOTSTRAP)
        resolver, store = self.made.resolver(), self.made.store
        remove_node.remove(session, self.made.state(), name, selection, resolver, store, How(), review=review)


PHASES = tuple(one for one in PHASE_NAMES if one != "smoke-test")


@pytest.fixture
def removal(built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch) -> Removal:
    acts: list[str] = []
    monkeypatch.setattr(drain, "exists", lambda session, node: True)
    monkeypatch.setattr(drain, "drain", lambda session, nodes, how: acts.append("drain"))
    monkeypatch.setattr(drain, "delete_node", lambda session, node: acts.append("delete"))
    monkeypatch.setattr(remove_node, "reset", lambda session, declaration: acts.append("reset"))
    return Removal(built_cluster(WIDE), acts)


def test_what_changes_elsewhere_is_shown_before_the_node_goes(removal: Removal) -> None:
    removal.made.inventory.write_text(WIDE + FLAG)
    with pytest.raises(HardwayError, match="nothing was changed"):
        removal.run(agree=False)
    assert removal.acts == []
    assert ("head", "service:kube-apiserver.service") in removal.seen
    assert "foot" not in {machine for machine, _ in removal.seen}
    removal.made.inventory.write_text(WIDE)
    removal.run()
    assert removal.acts == ["drain", "delete", "reset"]
    assert ("head", "service:kube-apiserver.service") not in removal.seen
    assert "foot" not in removal.made.state().nodes


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("cluster: pair\n", "cluster: pair\nkubernetes: 1.35.6\n", "pending:downgrade"),
        ("  hand: {role: worker, address: 10.240.0.20}\n", "", "pending:removed"),
        ("machines:\n", MORE, "pending:new-controller"),
    ],
)
def test_what_waits_is_asked_before_anything_is_destroyed(removal: Removal, old: str, new: str, kind: str) -> None:
    removal.made.inventory.write_text(WIDE.replace(old, new))
    with pytest.raises(Blocked) as blocked:
        removal.run()
    assert kind in {one.kind for one in blocked.value.blockers}
    assert removal.acts == []


def test_what_changed_since_is_not_done_unseen(removal: Removal, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = "/etc/systemd/system/kube-scheduler.service"

    def changed(session: Session, declaration: object) -> None:
        removal.made.machines["head"].run(f"echo >>{unit}", timeout=10, what="by hand")

    monkeypatch.setattr(remove_node, "reset", changed)
    with pytest.raises(PlanChanged, match="foot has left") as more:
        removal.run()
    assert f"head: file:{unit}" in (more.value.said or "")
    assert "foot" not in removal.made.state().nodes


def test_the_question_has_what_changes_elsewhere(
    removal: Removal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    removal.made.inventory.write_text(WIDE + FLAG)
    run = Commands(removal.made, monkeypatch, capsys)
    code, _, said = run("node", "remove", "foot")
    assert (code, "no terminal to ask on" in said) == (1, True)
    run.at_a_terminal(lambda: "n")
    code, out, said = run("node", "remove", "foot")
    assert (code, removal.acts) == (1, [])
    assert "Remove foot from the cluster pair, with these changes to the other machines?" in out + said
    assert "--event-ttl=2h" in out + said

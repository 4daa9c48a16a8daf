"""A machine that was taken out of a cluster, and whose line in the inventory stayed."""

from collections.abc import Callable

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.selection import Selection
from hardway.operations.apply import Request, apply
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

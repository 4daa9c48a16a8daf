"""Whom a drain takes, which budgets hold a pod, and which machines may be removed at all."""

import inspect
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hardway.cli import node, upgrade
from hardway.engine.session import Session
from hardway.errors import NotSettled, Unreachable, UsageError
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.operations import drain as draining
from hardway.operations import remove_node
from hardway.operations.drain import MARK, How, _is_evicted, _selects, _way_on
from hardway.remote.model import Result
from hardway.state import Node, State

PLAIN: dict[str, Any] = {
    "metadata": {"name": "a", "namespace": "b", "labels": {"app": "web", "tier": "x"}},
    "status": {},
}


def pod(**metadata: Any) -> dict[str, Any]:
    return {**PLAIN, "metadata": {**PLAIN["metadata"], **metadata}}


def test_what_a_node_keeps_is_not_evicted() -> None:
    assert _is_evicted(PLAIN)
    assert _is_evicted(pod(ownerReferences=[{"kind": "ReplicaSet", "name": "r"}]))
    assert not _is_evicted(pod(ownerReferences=[{"kind": "DaemonSet", "name": "d"}]))
    assert not _is_evicted(pod(annotations={"kubernetes.io/config.mirror": "x"}))
    assert not _is_evicted({**PLAIN, "status": {"phase": "Succeeded"}})


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "y"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "no", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_a_budget_holds_the_pods_that_it_selects(selector: dict[str, Any], selected: bool) -> None:
    assert _selects(selector, PLAIN) is selected


@pytest.mark.parametrize(
    ("blocking", "said", "way"),
    [
        (["budget a/b allows no eviction"], "emptyDir", "loosen that budget"),
        (
            [],
            "cannot delete Pods with local storage (use --delete-emptydir-data to override)",
            "--delete-emptydir-data",
        ),
        ([], "cannot delete Pods that declare no controller (use --force to override)", "--force"),
        ([], "connection refused", "--timeout"),
    ],
)
def test_what_helps_a_drain_is_named(blocking: list[str], said: str, way: str) -> None:
    assert way in _way_on(blocking, said)


def cluster(tmp_path: Any, workers: int) -> Cluster:
    lines = [f"  w{number}: {{role: worker, address: 10.0.0.{20 + number}}}" for number in range(workers)]
    path = tmp_path / "hardway.yaml"
    path.write_text(
        "\n".join(["cluster: few", "machines:", "  c0: {role: controller, address: 10.0.0.10}", *lines]) + "\n"
    )
    return load(path)


@pytest.mark.parametrize(
    ("workers", "name", "gone", "said"),
    [
        (2, "c0", False, "workers and controllers alone"),
        (2, "nobody", False, "there is no machine nobody"),
        (1, "w0", False, "is the only worker"),
        (2, "lost", False, "is not in the inventory any more"),
    ],
)
def test_who_cannot_be_removed_is_told_why(tmp_path: Any, workers: int, name: str, gone: bool, said: str) -> None:
    state = State("few", "feed", nodes={"lost": Node(("worker",), "10.0.0.29")})
    with pytest.raises(UsageError, match=said):
        remove_node.refuse(cluster(tmp_path, workers), state, name, gone=gone)


def test_who_can_be_removed_is_left_out_of_the_cluster(tmp_path: Any) -> None:
    few = cluster(tmp_path, 2)
    remove_node.refuse(few, State("few", "feed"), "w0", gone=False)
    remove_node.refuse(few, State("few", "feed", nodes={"lost": Node(("worker",), "10.0.0.29")}), "lost", gone=True)
    assert [machine.name for machine in few.without("w0").machines] == ["c0", "w1"]


class Api:
    """Answers a drain's questions to kubectl from values, and keeps what Nodes become."""

    def __init__(self, **node: Any) -> None:
        self.unschedulable = bool(node.get("unschedulable"))
        self.annotations: dict[str, str] = dict(node.get("annotations", {}))
        self.replica_sets: list[dict[str, Any]] = []
        self.budgets: list[dict[str, Any]] = []
        self.waiting: list[dict[str, Any]] = []
        self.pods = [pod(ownerReferences=[{"kind": "ReplicaSet", "name": "web"}])]
        self.on_drain: Callable[[], int] = lambda: 0
        self.seconds = 0.0
        self.notes: list[str] = []

    def run(self, machine: str, words: str, **_: Any) -> Result:
        code = 0
        for command in words.split(" && "):
            code = code or self._one(command)
        return Result(code, self._answer(words), b"", self.seconds)

    def _one(self, words: str) -> int:
        if " cordon " in words or " uncordon " in words:
            self.unschedulable = " cordon " in words
        elif words.endswith(f"{MARK}=yes"):
            self.annotations[MARK] = "yes"
        elif words.endswith(f"{MARK}-"):
            self.annotations.pop(MARK, None)
        elif " drain " in words:
            return self.on_drain()
        return 0

    def _answer(self, words: str) -> bytes:
        if " get node " in words:
            node = {"metadata": {"annotations": self.annotations}, "spec": {"unschedulable": self.unschedulable}}
            return json.dumps(node).encode()
        if "status.phase=Pending" in words:
            return json.dumps({"items": self.waiting}).encode()
        listed = {"pods": self.pods, "replicasets": self.replica_sets, "poddisruptionbudgets": self.budgets}
        for kind, items in listed.items():
            if f" get {kind} " in words:
                return json.dumps({"items": items}).encode()
        return b""

    def scale(self, replicas: int, ready: int) -> int:
        metadata = {"namespace": "b", "name": "web"}
        self.replica_sets = [{"metadata": metadata, "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}]
        return 0


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setattr(draining, "home_of", lambda session: "c0")
    monkeypatch.setattr(draining, "ELSEWHERE_LIMIT", -1.0)
    monkeypatch.setattr(draining, "PAUSE", 0.0)
    return Api()


def drain(api: Api, *, lent: bool = False, limit: float = 1, elsewhere: bool = True) -> tuple[str, ...]:
    def run(machine: str, words: str, **given: Any) -> Result:
        return api.run(machine, words, **given)

    values = {"run": run, "events": lambda event: api.notes.append(event.text), "cluster": SimpleNamespace(hooks={})}
    session = cast(Session, SimpleNamespace(**values))
    return draining.drain(session, ["w0"], How(limit, elsewhere=elsewhere), lent=lent)


@pytest.mark.parametrize(
    ("replicas", "ready", "drained"),
    [(3, 3, True), (3, 2, False), (2, 2, True), (2, 1, False), (0, 0, True), (4, 3, True)],
)
def test_pods_are_elsewhere_once_as_many_are_ready_as_before_or_as_are_wanted_now(
    api: Api, replicas: int, ready: int, drained: bool
) -> None:
    api.scale(3, 3)
    api.on_drain = lambda: api.scale(replicas, ready)
    if drained:
        assert drain(api) == ("b/a",)
    else:
        with pytest.raises(NotSettled, match="not Ready elsewhere"):
            drain(api)
    assert api.unschedulable is drained


@pytest.mark.parametrize(
    ("unschedulable", "marked", "code", "lent", "after"),
    [
        (False, False, 0, False, (True, False)),
        (False, False, 0, True, (True, True)),
        (False, False, 1, True, (False, False)),
        # Somebody else's cordon stays, whatever becomes of the drain.
        (True, False, 0, True, (True, False)),
        (True, False, 1, True, (True, False)),
        # A run that was killed left its own.
        (True, True, 1, False, (False, False)),
        (True, True, 0, False, (True, False)),
        (True, True, 0, True, (True, True)),
    ],
)
def test_only_a_cordon_of_hardway_is_taken_back(
    api: Api, unschedulable: bool, marked: bool, code: int, lent: bool, after: tuple[bool, bool]
) -> None:
    api.unschedulable = unschedulable
    api.annotations = {MARK: "yes"} if marked else {}
    api.on_drain = lambda: code
    if code:
        with pytest.raises(NotSettled, match="as it was before"):
            drain(api, lent=lent)
    else:
        drain(api, lent=lent)
    assert (api.unschedulable, MARK in api.annotations) == after


@pytest.mark.parametrize(("selector", "blocks"), [({}, True), (None, False)])
def test_a_budget_without_a_selector_blocks_nobody(api: Api, selector: dict[str, Any] | None, blocks: bool) -> None:
    spec = {} if selector is None else {"selector": selector}
    metadata = {"namespace": "b", "name": "tight"}
    api.budgets = [{"metadata": metadata, "spec": spec, "status": {"disruptionsAllowed": 0}}]
    api.on_drain = lambda: 1
    with pytest.raises(NotSettled) as raised:
        drain(api)
    assert ("budget b/tight" in (raised.value.said or "")) is blocks


@pytest.mark.parametrize(
    "command", [node.drain, node.remove, node.replace_node, node.reboot, upgrade.apply, upgrade.rollback]
)
def test_each_command_that_drains_has_the_flags_that_errors_name(command: Callable[..., None]) -> None:
    assert {"timeout", "force", "no_wait"} <= inspect.signature(command).parameters.keys()


def test_pods_that_no_other_node_takes_are_waited_for_unless_it_is_said(api: Api) -> None:
    api.scale(1, 1)
    api.on_drain = lambda: api.scale(1, 0)
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
    api.waiting = [{**api.pods[0], "status": {"phase": "Pending", "conditions": [waits]}}]
    with pytest.raises(NotSettled) as raised:
        drain(api)
    assert "b/a: 0/1 nodes are available" in (raised.value.said or "")
    assert "--no-wait-elsewhere" in (raised.value.hint or "")
    assert not api.unschedulable
    assert drain(api, elsewhere=False) == ("b/a",)
    assert api.unschedulable


def interrupted() -> int:
    raise KeyboardInterrupt


@pytest.mark.parametrize("lent", [False, True])
def test_an_interrupted_drain_leaves_the_node_as_it_was(api: Api, lent: bool) -> None:
    api.on_drain = interrupted
    with pytest.raises(KeyboardInterrupt):
        drain(api, lent=lent)
    assert (api.unschedulable, MARK in api.annotations) == (False, False)


def test_a_drain_that_cannot_be_undone_now_says_so_and_why_it_failed(api: Api) -> None:
    def lost() -> int:
        api.run = unreachable  # type: ignore[method-assign]
        return 1

    def unreachable(*_: object, **__: object) -> Result:
        raise Unreachable("no answer", machine="c0")

    api.on_drain = lost
    with pytest.raises(Unreachable):
        drain(api)
    assert [note for note in api.notes if "w0 stays cordoned: no answer" in note]
    assert (api.unschedulable, MARK in api.annotations) == (True, True)


def test_evictions_that_take_long_are_gone_on_with_until_the_limit(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    calls: list[float] = []

    def slow() -> int:
        now[0] += draining.SLICE
        calls.append(now[0])
        return 1

    monkeypatch.setattr("hardway.operations.drain.time", SimpleNamespace(monotonic=lambda: now[0], sleep=None))
    api.on_drain, api.seconds = slow, draining.SLICE
    with pytest.raises(NotSettled, match="within 25 s"):
        drain(api, limit=25)
    assert calls == [10.0, 20.0, 30.0]

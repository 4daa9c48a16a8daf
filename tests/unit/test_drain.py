"""Whom a drain takes, which budgets hold a pod, and which machines may be removed at all."""

from typing import Any

import pytest

from hardway.errors import UsageError
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.operations import remove_node
from hardway.operations.drain import _is_evicted, _selects, _way_on
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
        (2, "c0", False, "only machines that are workers alone"),
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
    assert [machine.name for machine in remove_node.without(few, "w0").machines] == ["c0", "w1"]

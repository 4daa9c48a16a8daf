"""What `upgrade plan` finds in the way, from what machines say."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake.cluster import PAIR, FakeCluster

from hardway.engine.session import Session
from hardway.errors import Unreachable
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.probe import control
from hardway.probe.control import Node
from hardway.probe.script import Answer, Answers
from hardway.state import OperationState, State, Upgrade
from hardway.status import upgrade
from hardway.status.upgrade import Obstacle, plan_upgrade, refusal
from hardway.status.upgrade_page import upgrade_page

STATE = State("a", "b", etcd="initialized", kubernetes="1.35.6")


def kinds(found: Any) -> list[tuple[str, str]]:
    return [(one.kind, one.level) for one in found]


@pytest.mark.parametrize(
    ("have", "to", "why"),
    [
        ("1.35.6", "1.36.4", ""),
        ("1.35.6", "1.35.7", ""),
        ("1.35.6", "1.35.1", ""),
        ("1.35.6", "1.35.6", ""),
        ("1.35.6", "1.37.0", "1.35.6 → 1.37.0 skips a minor release: 1.36 comes first"),
        ("1.35.6", "2.36.0", "1.35.6 → 2.36.0 skips a minor release: 1.36 comes first"),
        ("1.36.4", "1.35.6", "1.36.4 → 1.35.6 goes back a minor release, and that is finished: what is stored may need "
         "1.36"),
        ("1.36.4", "new", "Invalid version: 'new'"),
    ],
)  # fmt: skip
def test_one_minor_release_at_a_time_and_none_back(have: str, to: str, why: str) -> None:
    assert refusal(have, to) == why


def test_what_is_under_way_comes_first() -> None:
    open_one = OperationState("certs rotate-sa", (), "sign", "ada@desk", "2026-11-27T12:00:00+00:00")
    assert kinds(upgrade._of_path(replace(STATE, operation=open_one), "1.36.4")) == [("operation", "blocker")]
    moved = replace(STATE, kubernetes="1.36.4", upgrade=Upgrade("1.35.6", "1.36.4"))
    assert kinds(upgrade._of_path(moved, "1.36.3")) == [("unfinished", "blocker")]
    assert [one.fix for one in upgrade._of_path(moved, "1.35.6")] == ["hardway upgrade rollback"]
    assert kinds(upgrade._of_path(moved, "1.36.4")) == []


def test_a_kubelet_that_the_new_servers_do_not_support() -> None:
    nodes = {
        "well": Node("well", True, version="v1.35.6"),
        "down": Node("down", False, version="v1.35.6"),
        "cordoned": Node("cordoned", True, unschedulable=True, version="v1.35.6"),
        "ahead": Node("ahead", True, version="v1.37.0"),
        "oldest": Node("oldest", True, version="v1.33.1"),
        "older": Node("older", True, version="v1.32.1"),
    }
    assert [(one.machine, one.kind) for one in upgrade._of_nodes(nodes, "1.36.4")] == [
        ("down", "node"), ("cordoned", "cordoned"), ("ahead", "skew"), ("older", "skew"),
    ]  # fmt: skip


DF = "/dev/sda1 20000 15000 {free} 75% {at}\n"


def test_a_full_disk_is_found_where_it_is() -> None:
    said = {"a": Answers({"disk": Answer(0, (DF.format(free=9000, at="/") + DF.format(free=100, at="/var")).encode())})}
    assert list(upgrade._of_disks(said)) == [
        Obstacle("disk", "blocker", "/var has 100 MiB free, and 2048 are needed", "make room there", "a")
    ]


METRIC = (
    'apiserver_requested_deprecated_apis{{group="x.io",removed_release="{gone}",resource="csrs",version="v1beta1"}} 1\n'
)


@pytest.mark.parametrize(("gone", "level"), [("1.36", "blocker"), ("1.37", "warning"), ("", "warning")])
def test_an_api_that_is_removed_blocks_and_one_that_will_be_warns(gone: str, level: str) -> None:
    said = Answers({"deprecated": Answer(0, METRIC.format(gone=gone).encode())})
    [one] = upgrade._of_deprecated({"a": said, "b": said}, "1.36.4")
    assert (one.level, one.what.partition(" ")[0]) == (level, "x.io/v1beta1/csrs")


def webhook(resources: list[str], **more: Any) -> Mapping[str, Any]:
    one = {
        "name": "guard.x.io",
        "clientConfig": {"service": {"namespace": "x", "name": "guard"}},
        "rules": [{"resources": resources}],
        **more,
    }
    return {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [one]}


def endpoints(*ready: bool) -> Mapping[str, Any]:
    return {
        "kind": "EndpointSlice",
        "metadata": {"namespace": "x", "name": "guard-1", "labels": {"kubernetes.io/service-name": "guard"}},
        "endpoints": [{"conditions": {"ready": one}} for one in ready],
    }


@pytest.mark.parametrize(
    ("items", "level"),
    [
        ([webhook(["pods"])], "blocker"),
        ([webhook(["pods"]), endpoints(False)], "blocker"),
        ([webhook(["pods"]), endpoints(False, True)], ""),
        ([webhook(["widgets"])], "warning"),
        ([webhook(["pods"], failurePolicy="Ignore")], ""),
        ([webhook(["pods"], clientConfig={"url": "https://outside.example.net"})], ""),
    ],
)
def test_a_webhook_that_nobody_answers_blocks_where_pods_need_it(items: list[Mapping[str, Any]], level: str) -> None:
    assert [one.level for one in upgrade._of_objects(items)] == ([level] if level else [])


@pytest.mark.parametrize(("allowed", "expected", "found"), [(0, 1, 1), (1, 2, 0), (0, 0, 0)])
def test_a_budget_that_allows_nothing_now(allowed: int, expected: int, found: int) -> None:
    status = {"disruptionsAllowed": allowed, "expectedPods": expected}
    budget = {"kind": "PodDisruptionBudget", "metadata": {"namespace": "x", "name": "db"}, "status": status}
    assert kinds(upgrade._of_objects([budget])) == [("budget", "warning")] * found


def workload(replicas: int, wanted: Mapping[str, str], topology: str = "kubernetes.io/hostname") -> Mapping[str, Any]:
    term = {"topologyKey": topology, "labelSelector": {"matchLabels": wanted}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"affinity": affinity}}
    metadata = {"namespace": "x", "name": "db"}
    return {"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": replicas, "template": template}}


def volume(*nodes: str, phase: str = "Bound") -> Mapping[str, Any]:
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    spec = {
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}},
        "claimRef": {"namespace": "x", "name": "data-db-0"},
    }
    return {"kind": "PersistentVolume", "metadata": {"name": "pv"}, "spec": spec, "status": {"phase": phase}}


WIDE = PAIR + "  foot: {role: worker, address: 10.240.0.21}\n"


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([workload(2, {"app": "db"})], "StatefulSet x/db wants a node for each of its 2 pods, and there are 2 workers"),
        ([workload(1, {"app": "db"})], ""),
        ([workload(2, {"app": "other"})], ""),
        ([workload(2, {"app": "db"}, "topology.kubernetes.io/zone")], ""),
        ([volume("hand")], "x/data-db-0"),
        ([volume("hand", "foot")], ""),
        ([volume("hand", phase="Released")], ""),
    ],
)
def test_pods_that_no_other_node_can_take_are_named_before(
    items: list[Mapping[str, Any]], said: str, tmp_path: Path
) -> None:
    found = list(upgrade._of_one_node(loaded(tmp_path, WIDE), items))
    assert kinds(found) == ([("elsewhere", "warning")] if said else [])
    assert said in "".join(one.what for one in found)
    assert all("--no-wait-elsewhere" in one.fix for one in found)


def test_what_the_only_worker_runs_can_go_nowhere(tmp_path: Path) -> None:
    assert [one.machine for one in upgrade._of_one_node(loaded(tmp_path, PAIR), [])] == ["hand"]


def loaded(tmp_path: Path, text: str) -> Cluster:
    path = tmp_path / "hardway.yaml"
    path.write_text(text)
    return load(path)


Build = Callable[[str], FakeCluster]


def test_a_gate_that_the_new_release_does_not_have(built_cluster: Build) -> None:
    made = built_cluster(PAIR.replace("cluster: pair\n", "cluster: pair\nkubernetes: 1.35.6\n"))
    made.rewrite("machines:", "settings: {kubelet: {featureGates: {MemoryManager: true}}}\nmachines:")
    assert kinds(upgrade._of_settings(made.cluster, "1.35.6")) == []
    [one] = upgrade._of_settings(made.cluster, "1.36.4")
    assert (one.kind, one.fix) == (
        "settings", "take it out of the inventory: settings.kubelet.featureGates.MemoryManager"
    )  # fmt: skip


SAID = {
    "version": json.dumps({"gitVersion": "v1.36.4", "major": "1", "minor": "36", "emulationMajor": "1",
                           "emulationMinor": "35"}),
    "disk": DF.format(free=9000, at="/"),
    "ready": "ok",
    "nodes": json.dumps({"items": []}),
    "objects": json.dumps({"items": []}),
}  # fmt: skip


def test_all_of_it_as_a_page(built_cluster: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    made = built_cluster(PAIR)

    def ask(session: Session, name: str, questions: Any, **more: Any) -> Answers:
        return Answers({one.name: Answer(0, SAID.get(one.name, "").encode()) for one in questions})

    monkeypatch.setattr(Session, "ask", ask)
    monkeypatch.setattr(control, "member_status", lambda answers: "serves")
    state = replace(made.state(), upgrade=Upgrade("1.35.6", "1.36.4"))
    away = {"hand": Unreachable("no answer", machine="hand")}
    found = plan_upgrade(made.session(names=["head"]), state, "1.36.4", away)
    assert upgrade_page(found) == [
        "pair  Kubernetes 1.36.4 → 1.36.4",
        "",
        "  head: API server 1.36.4, behaves as 1.35",
        "  newest snapshot: none",
        "",
        "1 blocker:",
        "  hand: no answer",
        "    next: bring it back",
        "",
        "1 warning:",
        "  no snapshot of etcd is younger than an hour",
        "    next: apply takes one first",
    ]
    assert found.to_json()["possible"] is False

"""Taints of nodes: what differs, what is put on and taken away, and what is never touched."""

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml
from fake.cluster import PAIR, FakeCluster, keys

from hardway.declare.resources import Absent, Context, NodeTaints, Observed, Present, Unknown
from hardway.declare.resources.taints import KUBECONFIG, KUBECTL
from hardway.declare.undo import is_ours, undo

GPU, SPOT, READY = "dedicated=gpu:NoSchedule", "spot=:PreferNoSchedule", "node.kubernetes.io/not-ready=:NoSchedule"
WANTED = NodeTaints((("w1", (GPU, SPOT)), ("w2", (GPU,))))


def noted(**taints: list[str]) -> Context:
    lines = [f"{node} {one}" for node, own in taints.items() for one in own]
    return Context("head", noted={WANTED.key: {"taints": lines}})


def seen(**taints: Iterable[str]) -> Present:
    return Present({node: frozenset(own) for node, own in taints.items()})


ALL = {"w1": [GPU, SPOT], "w2": [GPU]}
OLD = "old=:NoExecute"
CASES: list[tuple[Observed, Context, str | None]] = [
    (seen(**ALL), noted(**ALL), None),
    (seen(w1=[READY, GPU, SPOT], w2=[READY, GPU]), noted(**ALL), None),
    (seen(w1=[READY, SPOT], w2=[GPU]), noted(**ALL), f"w1 lacks {GPU}"),
    # Its kubelet registers with them, and then they are to be taken away again one day.
    (seen(w1=[GPU, SPOT]), noted(**ALL), None),
    (seen(w1=[GPU, SPOT]), noted(w1=[GPU, SPOT]), f"w2 gets {GPU}"),
    (seen(**ALL), noted(w1=[GPU, SPOT]), f"w2 gets {GPU}"),
    (Absent(), noted(), f"w1 gets {GPU}; w1 gets {SPOT}; w2 gets {GPU}"),
    (Absent(), noted(**ALL), None),
    (seen(w1=[GPU, SPOT, OLD], w2=[GPU]), noted(**ALL), None),
    (seen(w1=[GPU, SPOT, OLD], w2=[GPU]), noted(w1=[GPU, SPOT, OLD], w2=[GPU]), f"w1 still has {OLD}"),
    (seen(**ALL, w3=[GPU]), noted(**ALL, w3=[GPU]), f"w3 still has {GPU}"),
    (seen(**ALL), noted(**ALL, w3=[GPU]), None),
    (Unknown("no answer"), noted(), None),
]


@pytest.mark.parametrize(("observed", "context", "said"), CASES)
def test_only_what_hardway_declares_or_once_did_differs(
    observed: Observed, context: Context, said: str | None
) -> None:  # fmt: skip
    found = WANTED.diff(observed, context)
    assert (found.why if found else None) == said


@pytest.mark.parametrize(
    ("output", "observed"),
    [
        (f"w1\t{GPU} {READY} \nw2\t\n", seen(w1=[GPU, READY], w2=[])),
        ("", seen()),
        ("@none\n", Absent()),
        ("Error from server (Forbidden): no rights yet\n@failed\n", Absent()),
        ("The connection was refused\n@failed\n", Unknown("The connection was refused")),
    ],
)
def test_what_kubectl_answers_is_read(output: str, observed: Observed) -> None:
    assert NodeTaints.parse([WANTED], output) == {WANTED.key: observed}


def test_the_journal_keeps_what_is_still_to_be_taken_away() -> None:
    old = "old=:NoExecute"
    assert WANTED.entry(seen(w1=[old], w2=[GPU]), noted(w1=[old], w2=["gone=:NoExecute"])) == {
        "taints": [f"w1 {GPU}", f"w1 {SPOT}", f"w1 {old}", f"w2 {GPU}"]
    }


KUBECTL_TYPED = """#!/bin/sh
[ "$3" != get ] || exit 0
echo "$*" >>{log}
case "$*" in *-) exit 1 ;; esac
"""


def typed(script: str, folder: Path) -> list[str]:
    """What of it reaches kubectl, which knows every node, and none of the taints that are to be taken away."""
    program, log = folder / "kubectl", folder / "log"
    program.write_text(KUBECTL_TYPED.format(log=log))
    program.chmod(0o755)
    subprocess.run(["sh", "-euc", script.replace(KUBECTL, str(program))], check=True)
    return [line.partition("--request-timeout=10s ")[2] for line in log.read_text().splitlines()]


def test_steps_put_on_and_take_away_and_may_be_repeated(tmp_path: Path) -> None:
    context = noted(w1=["dedicated=db:NoSchedule", "old=:NoExecute"], w3=[GPU])
    difference = WANTED.diff(seen(w1=["old=:NoExecute"], w2=[], w3=[GPU]), context)
    assert difference is not None
    # One with another value is written over, and never away in between.
    assert typed(WANTED.steps(difference, context), tmp_path) == [
        "taint node w1 old:NoExecute-",
        "taint node w3 dedicated:NoSchedule-",
        f"taint --overwrite node w1 {GPU} {SPOT}",
        f"taint --overwrite node w2 {GPU}",
    ]


def test_what_is_no_longer_declared_goes(tmp_path: Path) -> None:
    assert is_ours(WANTED.key)
    assert typed(undo(WANTED.key, {"taints": [f"w1 {GPU}"]}), tmp_path) == ["taint node w1 dedicated:NoSchedule-"]


@pytest.mark.parametrize("line", [f"w1; reboot {GPU}", "w1 x; reboot", "w1", ""])
def test_a_journal_that_somebody_wrote_to_gets_nothing_run(line: str) -> None:
    assert undo(WANTED.key, {"taints": [line]}) == ""


def test_by_hand_it_is_one_command_a_node() -> None:
    assert [one.command for one in WANTED.manual_steps()] == [
        f"kubectl --kubeconfig={KUBECONFIG} taint --overwrite node w1 {GPU} {SPOT}",
        f"kubectl --kubeconfig={KUBECONFIG} taint --overwrite node w2 {GPU}",
    ]


TAINTED = PAIR.replace("{role: worker,", "{role: worker, taints: [dedicated=gpu:NoSchedule],") + (
    "  spare: {role: worker, address: 10.240.0.21}\n"
)


def test_taints_come_with_the_inventory_and_go_with_it(new_cluster: Callable[[str], FakeCluster]) -> None:
    made = new_cluster(TAINTED)
    made.init()
    config = yaml.safe_load(made.machines["hand"].read("/var/lib/kubelet/config.yaml"))
    assert config["registerWithTaints"] == [{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}]
    assert "registerWithTaints" not in made.machines["spare"].read("/var/lib/kubelet/config.yaml")
    assert made.init().changes == []
    nodes = made.root / "net/nodes"
    nodes.mkdir()
    (nodes / "hand").write_text(f"{READY}\n")
    (nodes / "spare").write_text(f"{READY}\nby=hand:NoExecute\n")
    assert keys(made.init().changes) == [("head", "update", "taints:nodes")]
    assert (nodes / "hand").read_text().split() == [READY, GPU]
    made.rewrite("taints: [dedicated=gpu:NoSchedule],", "")
    assert ("head", "delete", "taints:nodes") in keys(made.init().changes)
    assert (nodes / "hand").read_text().split() == [READY]
    assert (nodes / "spare").read_text().split() == [READY, "by=hand:NoExecute"]
    assert made.init().changes == []

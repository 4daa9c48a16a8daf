"""Commands of the operator's around drains, upgrades and restarts."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake.cluster import PAIR, FakeCluster
from test_drain import Api, api, cluster
from test_reboot import Restarts, restarts

from hardway.engine.session import Session
from hardway.errors import HardwayError, InventoryError
from hardway.inventory.load import load
from hardway.inventory.model import Hook, HookName
from hardway.operations import drain as draining
from hardway.operations import hooks, upgrade
from hardway.operations.drain import How
from hardway.state import State, Upgrade

__all__ = ["api", "restarts"]


def ran(made: FakeCluster, hook: Hook, name: HookName = "before_drain", machine: str = "hand") -> list[str]:
    """What was noted while it ran."""
    notes: list[str] = []
    session = made.session(lambda event: notes.append(getattr(event, "text", "")))
    session.cluster = replace(session.cluster, hooks={name: hook})
    hooks.run(session, name, [machine], "node drain")
    return [one for one in notes if one]


@pytest.fixture
def pair(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    return built_cluster(PAIR)


TELL = 'echo "$HARDWAY_HOOK $HARDWAY_OPERATION $HARDWAY_CLUSTER $HARDWAY_NODE $HARDWAY_ADDRESS"'


@pytest.mark.parametrize("on", ["operator", "node"])
def test_a_hook_knows_what_it_is_about_and_what_it_says_is_noted(pair: FakeCluster, on: Any) -> None:
    notes = ran(pair, Hook(f"{TELL}; echo also >&2", on=on))
    assert notes[1:] == [
        "hand: before_drain: before_drain node drain pair hand 10.240.0.20",
        "hand: before_drain: also",
    ]


def test_an_operators_hook_is_beside_the_inventory_and_has_the_clusters_kubeconfig(pair: FakeCluster) -> None:
    notes = ran(pair, Hook('pwd; echo "$KUBECONFIG"; cat'))
    root = pair.inventory.parent
    assert [one.rpartition(" ")[2] for one in notes[1:]] == [str(root), str(pair.workspace().root / "kubeconfig")]


def test_a_hook_is_for_its_machines(pair: FakeCluster) -> None:
    assert ran(pair, Hook("echo said", machines=("head",))) == []
    assert ran(pair, Hook("echo said", machines=("controller",))) == []
    assert len(ran(pair, Hook("echo said", machines=("worker",)))) == 2


@pytest.mark.parametrize("on", ["operator", "node"])
@pytest.mark.parametrize(
    ("command", "fault"),
    [("echo why; exit 3", "status 3"), ("echo why; sleep 60; sleep 60 & wait", "not done within 1 s")],
)
def test_one_that_fails_stops_and_says_why(pair: FakeCluster, on: Any, command: str, fault: str) -> None:
    if on == "node":
        # A played machine's clock is its own: here the limit is the shell's, as on a real one.
        command = command.replace("sleep 60; sleep 60 & wait", "exit 9")
        fault = "status" if "9" in command else fault
    with pytest.raises(HardwayError, match=f"the hook before_drain of hand failed: {fault}") as failed:
        ran(pair, Hook(command, on=on, timeout=1))
    assert failed.value.said == "why"
    assert "hooks.before_drain" in (failed.value.hint or "")


def test_a_node_that_cannot_be_reached_has_failed_its_hook(pair: FakeCluster) -> None:
    session = pair.session(names=["head"])
    pair.off.add("hand")
    session.cluster = replace(session.cluster, hooks={"before_drain": Hook("true", on="node")})
    with pytest.raises(HardwayError, match="cannot be reached"):
        hooks.run(session, "before_drain", ["hand"], "node drain")
    pair.off.clear()
    hooks.run(session, "before_drain", ["hand"], "node drain")


def drained(api: Api, tmp_path: Path, **given: str) -> None:
    hooked = replace(cluster(tmp_path, 2), hooks={name: Hook(text) for name, text in given.items()})  # type: ignore[misc]

    def run(machine: str, words: str, **rest: Any) -> Any:
        return api.run(machine, words, **rest)

    workspace = SimpleNamespace(root=tmp_path)
    values = {"run": run, "events": lambda event: None, "cluster": hooked, "workspace": workspace}
    draining.drain(cast(Session, SimpleNamespace(**values)), ["w0"], How(limit=1))


def test_a_hook_before_a_drain_that_fails_leaves_everything_as_it_was(api: Api, tmp_path: Path) -> None:
    asked: list[str] = []
    api.on_drain = lambda: asked.append("drain") or 0  # type: ignore[func-returns-value]
    with pytest.raises(HardwayError, match="before_drain of w0"):
        drained(api, tmp_path, before_drain="false")
    assert (api.unschedulable, api.annotations, asked) == (False, {}, [])


def test_a_hook_after_a_drain_that_fails_gives_the_node_back(api: Api, tmp_path: Path) -> None:
    with pytest.raises(HardwayError, match="after_drain of w0"):
        drained(api, tmp_path, after_drain="false")
    assert (api.unschedulable, api.annotations) == (False, {})


def test_restarts_have_hooks_around_them(restarts: Restarts) -> None:
    log = restarts.made.root / "log"
    tell = f"echo $HARDWAY_HOOK $HARDWAY_NODE >>{log}"
    restarts.made.rewrite(
        "machines:\n",
        f"hooks: {json.dumps({'before_reboot': {'run': tell}, 'after_reboot': {'run': tell}})}\nmachines:\n",
    )
    restarts.run("c2")
    assert log.read_text().splitlines() == ["before_reboot c2", "after_reboot c2"]
    restarts.made.rewrite(f'{{"before_reboot": {{"run": "{tell}"}}', '{"before_reboot": {"run": "false"}')
    with pytest.raises(HardwayError, match="before_reboot of c2"):
        restarts.run("c2")
    assert restarts.restarted == ["c2"]
    assert restarts.made.state().operation is None


def test_an_upgrade_has_hooks_before_its_workers(tmp_path: Path) -> None:
    """A patch release exchanges kubelets without a drain: what comes before has a stage of its own, if there is any."""
    few = cluster(tmp_path, 1)
    hooked = replace(few, hooks={"before_upgrade": Hook("true")})
    patch = State("few", "feed", kubernetes="1.36.3", upgrade=Upgrade("1.36.3", "1.36.4", ("w0",)))
    minor = replace(patch, upgrade=Upgrade("1.35.6", "1.36.4", ("w0",)))

    def names(of: Any, state: State) -> list[str]:
        return [stage.name for stage in upgrade.apply(of, state, 1).stages if "w0" in stage.name]

    assert names(few, patch) == ["w0"]
    assert names(hooked, patch) == ["before w0", "w0"]
    assert names(hooked, minor) == names(few, minor) == ["drain w0", "w0"]


MACHINES = """\
cluster: typed
machines:
  c: {role: controller, address: 10.0.0.1}
  w: {role: worker, address: 10.0.0.2}
"""


def test_what_an_inventory_says_of_hooks(tmp_path: Path) -> None:
    path = tmp_path / "hardway.yaml"
    path.write_text(
        f"""{MACHINES}hooks:
  before_drain: {{run: ./silence.sh, machines: worker}}
  after_reboot: {{run: /usr/local/sbin/warm-up, on: node, timeout: 5, machines: [w]}}
"""
    )
    assert load(path).hooks == {
        "before_drain": Hook("./silence.sh", machines=("worker",)),
        "after_reboot": Hook("/usr/local/sbin/warm-up", "node", 5, ("w",)),
    }


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("before_drian: {run: x}", ":6:3: hooks.before_drian: "),
        ("before_drain: {run: x, form: y}", ":6:26: hooks.before_drain.form: "),
        ("before_drain: {run: y, timeout: 0}", ":6:35: hooks.before_drain.timeout: "),
        ("before_drain: {on: node}", ":6:17: hooks.before_drain"),
        ("before_drain: {run: x, on: moon}", ":6:30: hooks.before_drain.on: "),
        ("before_drain: {run: x, machines: nobody}", "hooks.before_drain.machines: no machine or role is named"),
        ("before_drain: {run: x, machines: controller}", "before_drain is for workers; right: machines: worker"),
        ('before_drain: {run: ""}', "is empty; right: a command line"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, hook: str, told: str) -> None:
    path = tmp_path / "hardway.yaml"
    path.write_text(f"{MACHINES}hooks:\n  {hook}\n")
    with pytest.raises(InventoryError) as error:
        load(path)
    assert told in str(error.value)

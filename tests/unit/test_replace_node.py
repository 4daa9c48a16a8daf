"""A worker's name goes to another machine, on played machines: what real Nodes answer is left out."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fake.cluster import FakeCluster, keys
from fake.machine import Cut, FakeMachine

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.selection import Selection
from hardway.errors import HardwayError, UsageError
from hardway.inventory.load import load
from hardway.operations import drain, replace_node
from hardway.operations.drain import How
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.remote import ConnectionLost
from hardway.remote.known_hosts import without
from hardway.state import Node, State

TRIO = """\
cluster: trio
machines:
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
  foot: {role: worker, address: 10.240.0.21}
"""
OLD, NEW = "10.240.0.20", "10.240.0.30"


@dataclass
class Replaced:
    """A cluster of which `hand` is replaced; `nodes` are the Nodes of its API, and whether they are Ready."""

    made: FakeCluster
    nodes: dict[str, bool] = field(default_factory=dict)
    drained: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    old: FakeMachine | None = None

    def new_machine(self, address: str = OLD) -> FakeMachine:
        """Another machine is at the address that `hand` has in the inventory."""
        made = self.made
        self.old = made.machines["hand"]
        made.machines["hand"] = FakeMachine("hand", made.root / "other", made.root / "net")
        if address != OLD:
            made.rewrite(OLD, address)
            addresses = made.root / "net/addresses"
            addresses.write_text(f"{addresses.read_text()}{address} hand\n")
        return made.machines["hand"]

    def run(self, *, old: bool = False, gone: bool = False) -> None:
        made = self.made
        session = made.session(lambda event: self.notes.append(getattr(event, "text", "")))
        selection = Selection(PHASE_NAMES, frozenset(session.machines), BOOTSTRAP)
        replace_node.run(
            session,
            made.state(),
            "hand",
            self.old if old else None,
            selection,
            made.resolver(),
            made.store,
            How(),
            by="ada@desk",
            gone=gone,
        )

    def assert_over(self, address: str) -> None:
        state = self.made.state()
        assert state.operation is None
        assert (state.nodes["hand"].address, state.nodes["hand"].pod_cidr) == (address, "10.200.0.0/24")
        assert keys(self.made.init().changes) == []


@pytest.fixture
def replaced(built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch) -> Replaced:
    this = Replaced(built_cluster(TRIO), {"hand": False, "foot": True})
    monkeypatch.setattr(drain, "exists", lambda session, name: name in this.nodes)
    monkeypatch.setattr(drain, "is_ready", lambda session, name: this.nodes[name])
    monkeypatch.setattr(drain, "delete_node", lambda session, name: this.nodes.pop(name, None))
    monkeypatch.setattr(drain, "drain", lambda session, names, how: this.drained.extend(names))

    def ready(*_: object) -> Iterator[Any]:
        return iter(())

    monkeypatch.setattr(replace_node, "_is_ready", ready)
    monkeypatch.setattr(replace_node, "preflight", lambda *_: [])
    return this


def kubelet_key(made: FakeCluster) -> bytes:
    return (made.workspace().root / "pki/kubelet-hand.key").read_bytes()


def test_another_machine_at_the_same_address_is_built_with_a_key_of_its_own(replaced: Replaced) -> None:
    made, before = replaced.made, kubelet_key(replaced.made)
    new = replaced.new_machine()
    foot = made.machines["foot"].tree()
    replaced.run()
    replaced.assert_over(OLD)
    assert kubelet_key(made) != before
    assert (made.workspace().root / "retired/pki/kubelet-hand.key").read_bytes() == before
    assert new.read("/etc/kubernetes/pki/kubelet.key").encode() == kubelet_key(made)
    assert replaced.drained == []
    assert "hand" not in replaced.nodes
    assert any("the old hand was not reset" in one for one in replaced.notes)
    changed = {path for path, content in made.machines["foot"].tree().items() if foot.get(path) != content}
    assert {path.rpartition("/")[0] for path in changed} <= {"var/lib/hardway"}


def test_an_old_machine_that_answers_is_drained_and_reset(replaced: Replaced) -> None:
    replaced.nodes["hand"] = True
    replaced.new_machine(NEW)
    replaced.run(old=True)
    replaced.assert_over(NEW)
    assert replaced.drained == ["hand"]
    assert replaced.old is not None
    assert not replaced.old.has("/var/lib/hardway")
    assert not replaced.old.has("/etc/kubernetes/pki/kubelet.key")
    assert not any("was not reset" in one for one in replaced.notes)
    assert f"10.200.0.0/24 via {NEW}" in replaced.made.machines["foot"].read("/fake/routes")


def test_one_that_does_not_answer_must_be_gone(replaced: Replaced) -> None:
    replaced.new_machine(NEW)
    with pytest.raises(HardwayError, match=f"the old hand does not answer at {OLD}") as refused:
        replaced.run()
    assert refused.value.hint == "switch it on, or where it is lost: hardway node replace hand --gone"
    assert replaced.made.state().nodes["hand"].address == OLD
    replaced.run(gone=True)
    replaced.assert_over(NEW)


def test_nobody_is_gone_who_reports(replaced: Replaced) -> None:
    replaced.nodes["hand"] = True
    replaced.new_machine()
    with pytest.raises(HardwayError, match="the old hand is not gone"):
        replaced.run(gone=True)
    assert replaced.nodes["hand"]


def test_a_machine_that_is_part_of_the_cluster_is_not_its_own_successor(replaced: Replaced) -> None:
    before = kubelet_key(replaced.made)
    with pytest.raises(HardwayError, match="is not new"):
        replaced.run(gone=True)
    assert (kubelet_key(replaced.made), replaced.made.state().operation) == (before, None)


@pytest.mark.parametrize("name", ["hand", "head", "foot"])
@pytest.mark.parametrize("call", [1, 3, 6, 10])
def test_cut_anywhere_the_same_command_goes_on(replaced: Replaced, name: str, call: int) -> None:
    replaced.nodes["hand"] = True
    replaced.new_machine(NEW)
    machine = replaced.made.machines[name]
    machine.restored(Cut(call, 2))
    with suppress(ConnectionLost, HardwayError):
        replaced.run(old=True)
    machine.restored()
    if replaced.made.state().nodes["hand"].address == OLD:
        replaced.run(old=True)
    # Where only the building failed, that is init's.
    replaced.made.init()
    replaced.assert_over(NEW)


class Killed(BaseException):
    """The operator's process is gone."""


def test_until_it_is_built_nothing_else_begins(replaced: Replaced) -> None:
    new = replaced.new_machine()

    def kill(what: str) -> None:
        if what == "record the intents":
            raise Killed

    new.after = kill
    with pytest.raises(Killed):
        replaced.run()
    new.after = lambda what: None
    with pytest.raises(HardwayError, match="node replace was started and is not finished"):
        replaced.made.init()
    replaced.run()
    replaced.assert_over(OLD)


def test_who_cannot_be_replaced_so_is_told_what_can(tmp_path: Path) -> None:
    path = tmp_path / "hardway.yaml"
    path.write_text(TRIO + "  front: {role: load-balancer, address: 10.240.0.9}\n")
    state = State("trio", "feed", nodes={"hand": Node(("worker",), OLD)})
    for name, hint in (
        ("head", "hardway etcd replace head"),
        ("front", "hardway init builds it again on 10.240.0.9"),
        ("foot", "hardway init adds it"),
    ):
        with pytest.raises(UsageError) as refused:
            replace_node.refuse_others(load(path), state, name)
        assert refused.value.hint == hint


def test_only_the_lines_of_one_host_leave_known_hosts() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB3PZ5rH0SGBTsXHcKQuiLmlqcHnwHvhhFYQfrRYtsW1"
    others = f"10.0.0.22 {key}\n@revoked 10.0.0.2 {key}\n# 10.0.0.2\n"
    left, fingerprints = without(f"10.0.0.2,hand {key}\n{others}", "10.0.0.2")
    assert left == others
    assert [one.startswith("SHA256:") for one in fingerprints] == [True]

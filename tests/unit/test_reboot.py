"""Which machines want a restart, as the real sh reads a system; and restarts of all, cut anywhere."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from fake.cluster import FakeCluster, keys
from test_rollout_cut import THREE

from hardway.declare.phases import load_balancer
from hardway.errors import HardwayError, NotSettled, ProofFailed, Unreachable
from hardway.operations import drain, reboot
from hardway.operations.drain import How
from hardway.state import State


def asked(root: Path, running: str, *kernels: str) -> str:
    """What the question answers on a system that runs one kernel and has these installed."""
    for kernel in kernels:
        (root / "lib/modules" / kernel).mkdir(parents=True)
        (root / "boot").mkdir(exist_ok=True)
        (root / f"boot/vmlinuz-{kernel}").touch()
    script = reboot._NEEDED
    for path in ("/lib/modules", "/boot/", "/run/"):
        script = script.replace(path, f"{root}{path}")
    script = f"uname() {{ echo {running}; }}\n{script}"
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("running", "others", "newer"),
    [
        ("6.1.0-30-amd64", ["6.1.0-31-amd64"], "6.1.0-31-amd64"),
        ("6.1.0-9-amd64", ["6.1.0-10-amd64"], "6.1.0-10-amd64"),
        ("6.1.0-30-amd64", ["6.1.0-31-cloud-amd64"], ""),
        ("6.1.0-30-cloud-amd64", ["6.1.0-31-cloud-amd64", "6.1.0-32-amd64"], "6.1.0-31-cloud-amd64"),
        ("6.12.48+deb13-amd64", ["6.12.57+deb13-amd64"], "6.12.57+deb13-amd64"),
        ("6.1.0-30-amd64", ["6.1.0-31-rt-amd64", "6.1.0-29-amd64"], ""),
        ("6.8.0-45-generic", ["6.8.0-1015-aws"], ""),
        ("6.8.0-45-generic", ["6.8.0-47-generic", "6.8.0-1015-aws"], "6.8.0-47-generic"),
        ("5.14.0-427.13.1.el9_4.x86_64", ["5.14.0-427.16.1.el9_4.x86_64"], "5.14.0-427.16.1.el9_4.x86_64"),
        ("5.14.0-427.13.1.el9_4.x86_64", ["5.14.0-427.16.1.el9_4.x86_64+debug"], ""),
    ],
)
def test_only_a_newer_kernel_of_the_same_flavour_counts(
    tmp_path: Path, running: str, others: list[str], newer: str
) -> None:
    said = f"kernel {newer} is installed, {running} runs" if newer else ""
    assert asked(tmp_path, running, running, *others) == said


def test_a_kernel_that_is_not_in_boot_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/6.1.0-31-amd64").mkdir(parents=True)
    assert asked(tmp_path, "6.1.0-30-amd64", "6.1.0-30-amd64") == ""


def test_a_system_without_kernels_of_its_own_wants_nothing(tmp_path: Path) -> None:
    assert asked(tmp_path, "6.1.0-30-amd64") == ""


def test_the_systems_own_word_counts(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    assert asked(tmp_path, "6.1.0-30-amd64", "6.1.0-30-amd64") == "the system asks for it"


STARTED = "for unit in /fake/enabled/*; do systemctl start ${unit##*/}; done"


class Killed(BaseException):
    """The operator's process is gone."""


@dataclass
class Restarts:
    """Reboots of a played cluster: what real nodes and real TLS answer is left out."""

    made: FakeCluster
    restarted: list[str] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)
    drained: set[str] = field(default_factory=set)
    ever_drained: set[str] = field(default_factory=set)
    killed_before: str = ""
    killed_after: str = ""

    def __post_init__(self) -> None:
        for name, machine in self.made.machines.items():
            boot = machine.root / "fake/sysctls/kernel/random/boot_id"
            boot.parent.mkdir(parents=True, exist_ok=True)
            boot.write_text("0\n")
            machine.after = partial(self.after, name, boot)

    def after(self, name: str, boot: Path, what: str) -> None:
        if what != "restart the machine":
            return
        if name == self.killed_before:
            raise Killed
        self.restarted.append(name)
        boot.write_text(f"{int(boot.read_text()) + 1}\n")
        self.made.machines[name].run(STARTED, timeout=10, what="start what is enabled")
        if name == self.killed_after:
            raise Killed

    def drain(self, nodes: Sequence[str]) -> None:
        self.drained.update(nodes)
        self.ever_drained.update(nodes)

    def run(self, *names: str, by: str = "ada@desk", take_over: bool = False) -> tuple[str, ...]:
        session = self.made.session()
        state = self.made.state()
        choose = partial(reboot.chosen, session, names, if_needed=False)
        arguments = names or ("--rolling",)
        return reboot.reboot(
            session, state, self.made.declaration(), arguments, choose, How(), by=by, take_over=take_over
        )


@pytest.fixture
def restarts(built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch) -> Restarts:
    made = Restarts(built_cluster(THREE))
    monkeypatch.setattr(reboot, "PAUSE", 0.0)
    monkeypatch.setattr(reboot, "_await_services", lambda session, name, declaration: None)
    monkeypatch.setattr(reboot, "_await_proofs", lambda session, name, declaration: made.came_back.append(name))
    monkeypatch.setattr(drain, "drain", lambda session, nodes, how, lent: made.drain(nodes))
    monkeypatch.setattr(drain, "give_back", lambda session, nodes: made.drained.difference_update(nodes))
    return made


def kept(made: FakeCluster) -> list[State]:
    """The States of the workspace and of the machines."""
    machines = made.machines.values()
    return [made.state(), *(State.from_json(one.read("/var/lib/hardway/state.json"), one.name) for one in machines)]


def test_all_restart_once_and_nothing_is_open_afterwards(restarts: Restarts) -> None:
    names = list(restarts.made.machines)
    assert sorted(restarts.run()) == sorted(restarts.restarted) == sorted(names)
    assert restarts.drained == set()
    assert {(one.operation, one.generation) for one in kept(restarts.made)} == {
        (None, restarts.made.state().generation)
    }
    assert keys(restarts.made.init().changes) == []


@pytest.mark.parametrize("at", ["before", "after"])
def test_killed_at_any_machine_the_same_command_goes_on_with_those_that_are_left(restarts: Restarts, at: str) -> None:
    for name in restarts.made.machines:
        restarts.killed_before, restarts.killed_after = (name, "") if at == "before" else ("", name)
        with pytest.raises(Killed):
            restarts.run()
        assert {one.operation is not None for one in kept(restarts.made)} == {True}
        with pytest.raises(HardwayError, match="hardway node reboot --rolling"):
            restarts.made.init()
        restarts.killed_before = restarts.killed_after = ""
        restarts.came_back.clear()
        with pytest.raises(HardwayError, match="was started by ada@desk"):
            restarts.run(by="bob@desk")
        again = restarts.run(by="bob@desk", take_over=True)
        assert sorted(restarts.restarted) == sorted(restarts.made.machines)
        assert set(restarts.came_back) == set(restarts.made.machines)
        assert restarts.drained == set()
        assert (name in again) == (at == "before")
        restarts.restarted.clear()


def test_one_that_does_not_answer_after_a_kill_ends_it(restarts: Restarts) -> None:
    restarts.killed_after = "c0"
    with pytest.raises(Killed):
        restarts.run()
    session = restarts.made.session(names=["c1", "c2"])
    gone = {"c0": Unreachable("no answer", machine="c0", hint="check that it is up")}
    with pytest.raises(Unreachable) as failed:
        reboot.give_up(session, restarts.made.state(), gone, "ada@desk", False)
    assert "hardway node uncordon c0" in (failed.value.hint or "")
    assert (failed.value.hint or "").endswith("hardway node reboot c1 c2")
    assert restarts.made.state().operation is None


def test_one_that_does_not_come_back_whole_ends_it_and_the_others_are_named(
    restarts: Restarts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(session: object, name: str, declaration: object) -> None:
        raise ProofFailed("its routes are gone", machine=name, hint="hardway doctor")

    monkeypatch.setattr(reboot, "_await_proofs", never)
    with pytest.raises(ProofFailed) as failed:
        restarts.run()
    left = [name for name in restarts.made.machines if name not in restarts.restarted]
    *_, last = (failed.value.hint or "").splitlines()
    assert sorted(last.split()) == sorted(["hardway", "node", "reboot", *left])
    # What is wrong may need any other command.
    assert {one.operation for one in kept(restarts.made)} == {None}
    assert keys(restarts.made.init().changes) == []


def test_a_node_that_cannot_be_spared_keeps_its_pods(restarts: Restarts) -> None:
    restarts.made.machines["c0"].run("systemctl stop etcd.service", timeout=10, what="by hand")
    with pytest.raises(NotSettled, match="etcd was not restarted here"):
        restarts.run("c2")
    assert (restarts.ever_drained, restarts.restarted) == (set(), [])


def test_a_worker_whose_restart_did_not_begin_takes_pods_again(restarts: Restarts) -> None:
    def fails(what: str) -> None:
        if what == "stop the control plane":
            raise NotSettled("no answer within 300 s", machine="c2")

    restarts.made.machines["c2"].after = fails
    with pytest.raises(NotSettled, match="no answer"):
        restarts.run("c2")
    assert (restarts.ever_drained, restarts.drained, restarts.restarted) == ({"c2"}, set(), [])


@pytest.mark.parametrize("check", ["_await_services", "_await_proofs"])
def test_a_worker_that_is_not_well_stays_cordoned_and_the_error_says_so(
    restarts: Restarts, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    def never(session: object, name: str, declaration: object) -> None:
        raise ProofFailed("its routes are gone", machine=name, hint="hardway worker-routes")

    monkeypatch.setattr(reboot, check, never)
    with pytest.raises(ProofFailed) as failed:
        restarts.run("c2")
    assert restarts.drained == {"c2"}
    assert "c2 takes no pods; once it is well: hardway node uncordon c2" in (failed.value.hint or "")
    with pytest.raises(ProofFailed) as failed:
        restarts.run("c1")
    assert "uncordon" not in (failed.value.hint or "")


BALANCED = """\
cluster: balanced
endpoint: api.example.net
machines:
  lb0: {role: load-balancer, address: 10.240.0.5}
  lb1: {role: load-balancer, address: 10.240.0.6}
  c0: {role: [controller, worker], address: 10.240.0.10}
"""


@pytest.fixture
def balanced(built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch) -> Restarts:
    made = Restarts(built_cluster(BALANCED))
    monkeypatch.setattr(reboot, "PAUSE", 0.0)
    monkeypatch.setattr(reboot, "_await_services", lambda session, name, declaration: None)
    monkeypatch.setattr(reboot, "_await_proofs", lambda session, name, declaration: None)
    # A handshake needs a real HAProxy and a real API server behind it: a file stands for it.
    monkeypatch.setattr(reboot.prove, "GRACE", 0.0)
    declaration = made.made.declaration()
    proofs = []
    for phase, proof in declaration.proofs:
        is_handshake = proof.name == load_balancer.ENDPOINT_ANSWERS
        proofs.append((phase, replace(proof, query="test -e /fake/answers", within=0) if is_handshake else proof))
    monkeypatch.setattr(made.made, "declaration", lambda: replace(declaration, prove=lambda: proofs))
    return made


def by_hand(made: FakeCluster, name: str, script: str) -> None:
    made.machines[name].run(script, timeout=10, what="by hand")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("touch /fake/answers; systemctl stop kube-apiserver-lb.service", "HAProxy runs"),
        ("rm -f /fake/answers", load_balancer.ENDPOINT_ANSWERS),
    ],
)
def test_a_balancer_goes_only_while_another_one_answers(balanced: Restarts, script: str, said: str) -> None:
    by_hand(balanced.made, "lb1", script)
    with pytest.raises(NotSettled, match=r"no other load balancer answers for the API \(lb1\)") as refused:
        balanced.run("lb0")
    assert f"lb1: {said}" in (refused.value.said or "")
    assert balanced.restarted == []
    by_hand(balanced.made, "lb1", "touch /fake/answers; systemctl start kube-apiserver-lb.service")
    assert balanced.run("lb0") == ("lb0",)

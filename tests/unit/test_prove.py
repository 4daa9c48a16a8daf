"""Proofs are asked by one script a machine, again while they may still come true, and told with evidence."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hardway.declare.phases.base import Proof
from hardway.engine import prove as proving
from hardway.engine.prove import prove, require
from hardway.engine.session import Session
from hardway.errors import ProofFailed
from hardway.events import Event, Proved
from hardway.inventory.model import Cluster
from hardway.remote import Result
from hardway.workspace import Workspace


@dataclass
class ThisComputer:
    """A machine whose scripts run here, as the root shell runs them: `sh -eu`, nothing to read."""

    name: str
    scripts: list[str] = field(default_factory=list)

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        self.scripts.append(script)
        done = subprocess.run(
            ["sh", "-euc", script], stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=check
        )
        return Result(done.returncode, done.stdout, done.stderr, 0.0)


def session(tmp_path: Path, *names: str) -> tuple[Session, list[Event]]:
    events: list[Event] = []
    machines: Any = {name: ThisComputer(name) for name in names}
    return Session(Cluster("test", ()), Workspace(tmp_path), machines, events.append), events


def ask(tmp_path: Path, *proofs: Proof, wait: float = 0) -> list[Proved]:
    opened, _ = session(tmp_path, *{proof.machine for proof in proofs})
    return prove(opened, [("chapter", proof) for proof in proofs], wait=wait)


@pytest.mark.parametrize(
    ("query", "expectation", "expected", "holds", "evidence"),
    [
        ("true", "succeeds", "", True, "yes"),
        ("echo a; echo b", "succeeds", "", True, "a b"),
        ("echo 32", "equals", "32", True, "32"),
        ("printf 'x active y'", "contains", "active", True, "x active y"),
        ("echo k8s:enc:secretbox:v1", "starts-with", "k8s:enc:", True, "k8s:enc:secretbox:v1"),
        ("echo 31", "equals", "32", False, "31; wanted: equals '32'"),
        ("echo 32; exit 3", "equals", "32", False, "32; exit status 3; wanted: equals '32'"),
        ("echo refused >&2; exit 1", "succeeds", "", False, "refused; exit status 1"),
        ("false", "succeeds", "", False, "(nothing); exit status 1"),
        ("false; echo 1", "equals", "1", False, "(nothing); exit status 1; wanted: equals '1'"),
        ("echo noise >&2; echo 1", "equals", "1", True, "1"),
        ("echo 'it'\\''s'", "equals", "it's", True, "it's"),
        ("echo $unset_by_nobody", "succeeds", "", False, None),
    ],
)
def test_an_answer_is_compared_and_told_in_one_line(
    tmp_path: Path, query: str, expectation: Any, expected: str, holds: bool, evidence: str | None
) -> None:
    [proved] = ask(tmp_path, Proof("m", "name", query, "why", expectation, expected))
    assert proved.holds is holds
    if evidence is not None:
        assert proved == Proved("m", "chapter", "name", holds, evidence, "why")


def test_all_proofs_of_a_machine_are_one_script_and_none_disturbs_the_next(tmp_path: Path) -> None:
    opened, events = session(tmp_path, "a", "b")
    queries = ["exit 5", "cd /tmp; x=1; echo one", "echo ${x:-unset}", "cat; echo read", "printf 'no newline'"]
    proofs = [("c", Proof("a", str(n), query, "")) for n, query in enumerate(queries)]
    proofs.insert(2, ("c", Proof("b", "other", "echo b", "")))
    proved = prove(opened, proofs)
    assert [(one.machine, one.evidence) for one in proved] == [
        ("a", "(nothing); exit status 5"),
        ("a", "one"),
        ("b", "b"),
        ("a", "unset"),
        ("a", "read"),
        ("a", "no newline"),
    ]
    machine: Any = opened.machines["a"]
    assert len(machine.scripts) == 1
    assert sorted(map(str, proved)) == sorted(str(event) for event in events if isinstance(event, Proved))


def test_what_does_not_hold_yet_is_asked_again_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "PAUSE", 0)
    count, other = tmp_path / "count", tmp_path / "other"
    slow = Proof("m", "slow", f"echo x >>{count}; wc -l <{count}", "", "equals", "3", within=30)
    quick = Proof("m", "quick", f"echo x >>{other}", "")
    proved = ask(tmp_path, slow, quick, wait=30)
    assert [one.holds for one in proved] == [True, True]
    assert (count.read_text(), other.read_text()) == ("x\n" * 3, "x\n")


def test_without_waiting_each_proof_is_asked_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    [proved] = ask(tmp_path, Proof("m", "slow", f"echo x >>{count}; false", "", within=30))
    assert not proved.holds
    assert count.read_text() == "x\n"


def test_waiting_ends_with_what_was_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "PAUSE", 0)
    monkeypatch.setattr(proving, "GRACE", 0)
    [proved] = ask(tmp_path, Proof("m", "never", "echo 0 of 3; false", "", within=0.05), wait=60)
    assert proved.evidence == "0 of 3; exit status 1"


def test_a_query_that_hangs_is_ended_and_the_others_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "QUERY_LIMIT", 0.1)
    proved = ask(tmp_path, Proof("m", "hangs", "exec tail -f /dev/null", ""), Proof("m", "next", "echo on", ""))
    assert [one.evidence for one in proved] == ["no answer within 0.1 s", "on"]


def test_long_output_is_cut(tmp_path: Path) -> None:
    [proved] = ask(tmp_path, Proof("m", "long", "printf '%1000s' x | tr ' ' y", ""))
    assert len(proved.evidence) == proving.EVIDENCE_LENGTH


def test_require_lists_each_failure_with_machine_evidence_why_and_next_move() -> None:
    good = Proved("c-0", "etcd", "healthy", True, "yes")
    bad = Proved("c-1", "etcd", "one leader", False, "2; wanted: equals '1'", "two leaders would be two clusters")
    require([good])
    with pytest.raises(ProofFailed) as failure:
        require([good, bad])
    assert str(failure.value).splitlines() == [
        "c-1: 1 proof does not hold (etcd)",
        "  said:  c-1: one leader",
        "           came back: 2; wanted: equals '1'",
        "           why it matters: two leaders would be two clusters",
        "  next:  hardway doctor looks for the cause; once it is gone: hardway etcd",
    ]


@pytest.mark.parametrize(
    ("having", "holds", "evidence"),
    [
        (("a",), True, ["it is here", "yes"]),
        ((), False, ["on none; wanted: on one of a, b"] * 2),
        (("a", "b"), False, ["on a, b; wanted: on one of a, b"] * 2),
    ],
)
def test_what_one_machine_alone_must_have_is_compared_between_them(
    tmp_path: Path, having: tuple[str, ...], holds: bool, evidence: list[str]
) -> None:
    queries = {name: "echo it is here" if name in having else ":" for name in ("a", "b")}
    proofs = [Proof(name, "one", query, "", one_of=("a", "b")) for name, query in queries.items()]
    proved = ask(tmp_path, *proofs)
    assert [one.holds for one in proved] == [holds, holds]
    assert [one.evidence for one in proved] == evidence
    # Nothing is known of one that is not asked.
    [alone] = ask(tmp_path, proofs[1])
    assert alone.holds

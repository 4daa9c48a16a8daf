"""The loop of `walk`: which commands it runs for which answers, and where it stands afterwards."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from played_case import cluster

from hardway.cli.walking import Grade, Walk
from hardway.console.talk import Talk
from hardway.errors import HardwayError
from hardway.explain.prose import Gain
from hardway.inventory.model import Cluster
from hardway.preview.plan import Preview, Unobserved
from hardway.rules import Finding
from hardway.verify.verification import Verification
from hardway.walk import PREFLIGHT, STATIONS, Hint, Place

HINT = Hint("file:/etc/hosts", ("one",), "/etc/hosts", "differs", ("-a", "+b"))
FIRST, LAST = STATIONS[1], STATIONS[-1]


def preview(to_do: bool, conflicts: int = 0) -> Preview:
    unknown = (Unobserved("one", "file:/etc/hosts", "no answer"),) if to_do else ()
    unmanaged = {"one": tuple(f"/etc/{number}" for number in range(conflicts))} if conflicts else {}
    return Preview("dr-4", ("one",), True, (LAST,), False, (), (), unmanaged, unknown, (), (), (), "0123456789abcdef")


@dataclass
class Recorder:
    """The commands of a walk; notes those that were run. `hints` is what each look at hand work finds, in order."""

    to_do: bool = True
    unmanaged: int = 0
    hints: list[tuple[Hint, ...]] = field(default_factory=list)
    findings: Sequence[Finding] = ()
    fails: int = 0
    ran: list[str] = field(default_factory=list)
    kept: list[Place] = field(default_factory=list)
    cluster: Cluster = field(default_factory=lambda: replace(cluster(), lab=None, path=Path("dr.yaml")))
    workspace: str = "/workspace"
    given: str = ""

    def keep(self, place: Place) -> None:
        self.kept.append(place)

    def explain(self, what: str) -> list[str]:
        self.ran.append(f"explain {what}")
        return []

    def preflight(self) -> Sequence[Finding]:
        self.ran.append("preflight")
        return self.findings

    def plan(self, phase: str) -> tuple[Preview, float]:
        return preview(self.to_do, self.unmanaged), 0.0

    def apply(self, phase: str, *, adopt: bool, expect: str | None) -> None:
        self.ran.append(f"apply {phase} adopt={adopt} expect={expect}")
        if self.fails:
            self.fails -= 1
            raise HardwayError("etcd does not start")

    def grade(self, phase: str) -> Grade:
        self.ran.append(f"verify {phase}")
        hints = self.hints.pop(0) if self.hints else ()
        return Grade(Verification(preview(False, self.unmanaged), (), 0), hints, 0.0)

    def shell(self, phase: str) -> list[str]:
        self.ran.append(f"shell {phase}")
        return []

    def files(self, phase: str) -> list[str]:
        self.ran.append(f"files {phase}")
        return []

    def gains(self, station: str) -> Sequence[Gain]:
        return ()

    def break_something(self) -> None:
        self.ran.append("break")

    def doctor(self) -> tuple[bool, list[str]]:
        self.ran.append("doctor")
        return False, []


def walked(do: Recorder, *answers: str, at: str = LAST, asking: bool = True, adopt: bool = False) -> tuple[bool, Place]:
    """Whether it came to the end, and where it stands; there is nobody any more after the last answer."""
    talk = Talk(io.StringIO(), io.StringIO("".join(f"{answer}\n" for answer in answers)))
    walk = Walk(do, talk, Place(at), width=100, asking=asking, adopt=adopt)
    return walk.go(), walk.place


APPLY = f"apply {LAST} adopt=False expect=0123456789abcdef"
ADOPT = f"apply {LAST} adopt=True expect=0123456789abcdef"


@pytest.mark.parametrize(
    ("answers", "ran", "how"),
    [
        (["a"], [APPLY, f"verify {LAST}"], "applied"),
        (["apply"], [APPLY, f"verify {LAST}"], "applied"),
        (["?", "s"], [], "skipped"),
        (["e pod-cidr", "s"], ["explain pod-cidr"], "skipped"),
        (["t", "s", "f", "d"], [f"shell {LAST}", f"files {LAST}", f"verify {LAST}"], "typed"),
        (["t", "b", "a"], [APPLY, f"verify {LAST}"], "applied"),
    ],
)
def test_an_answer_runs_its_command(answers: list[str], ran: list[str], how: str) -> None:
    do = Recorder()
    assert walked(do, *answers) == (True, Place("", {LAST: how}))
    assert do.ran == [f"explain {LAST}", *ran]
    assert do.kept == [Place("", {LAST: how})]


@pytest.mark.parametrize("answers", [["q"], [], ["t", "q"], ["t"]])
def test_leaving_changes_nothing_and_keeps_the_place(answers: list[str]) -> None:
    do = Recorder()
    assert walked(do, *answers) == (False, Place(LAST))
    assert do.ran == [f"explain {LAST}"]
    assert do.kept == []


def test_a_phase_without_changes_is_only_verified() -> None:
    do = Recorder(to_do=False)
    assert walked(do, "") == (True, Place("", {LAST: "toured"}))
    assert do.ran == [f"explain {LAST}", f"verify {LAST}"]


def test_hand_work_is_done_once_there_is_no_hint_left() -> None:
    do = Recorder(hints=[(HINT,), (HINT,), ()])
    assert walked(do, "t", "d", "h", "d") == (True, Place("", {LAST: "typed"}))
    assert do.ran.count(f"verify {LAST}") == 3


@pytest.mark.parametrize(("answer", "ran"), [("y", [ADOPT]), ("n", [APPLY]), ("", [])])
def test_unmanaged_files_are_adopted_only_by_consent(answer: str, ran: list[str]) -> None:
    """An empty line is no answer: the question is asked again, and nothing is applied."""
    do = Recorder(unmanaged=2)
    came_to_the_end, _ = walked(do, "a", answer)
    assert came_to_the_end == bool(ran)
    assert [command for command in do.ran if command.startswith("apply")] == ran


@pytest.mark.parametrize(("answer", "ran"), [("y", [f"apply {LAST} adopt=True expect=None"]), ("n", []), ("", [])])
def test_hand_work_is_adopted_only_by_consent(answer: str, ran: list[str]) -> None:
    do = Recorder(unmanaged=2)
    assert walked(do, "t", "d", answer) == (True, Place("", {LAST: "typed"}))
    assert [command for command in do.ran if command.startswith("apply")] == ran


def test_after_a_failure_the_same_choice_is_offered_again() -> None:
    do = Recorder(fails=1)
    assert walked(do, "a", "a") == (True, Place("", {LAST: "applied"}))
    assert do.ran == [f"explain {LAST}", APPLY, APPLY, f"verify {LAST}"]


def test_without_questions_a_failure_ends_the_walk() -> None:
    do = Recorder(fails=1)
    with pytest.raises(HardwayError, match="etcd does not start"):
        walked(do, asking=False)
    assert do.kept == []


def test_without_questions_every_phase_is_applied() -> None:
    do = Recorder()
    came_to_the_end, place = walked(do, at=PREFLIGHT, asking=False)
    assert came_to_the_end
    assert place == Place("", {PREFLIGHT: "toured"} | dict.fromkeys(STATIONS[1:], "applied"))
    assert do.kept[-1] == place


def test_an_error_of_preflight_is_looked_at_again_or_skipped() -> None:
    do = Recorder(findings=(Finding("one", "swap", "swap is on", "swapoff -a", "error"),))
    assert walked(do, "a", "s", "q", at=PREFLIGHT) == (False, Place(FIRST, {PREFLIGHT: "skipped"}))
    assert do.ran == ["preflight", "preflight", f"explain {FIRST}"]


def test_without_questions_an_error_of_preflight_ends_the_walk() -> None:
    do = Recorder(findings=(Finding("one", "swap", "swap is on", "swapoff -a", "error"),))
    with pytest.raises(HardwayError):
        walked(do, at=PREFLIGHT, asking=False)
    assert do.ran == ["preflight"]

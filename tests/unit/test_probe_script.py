"""Many questions are one script, and no answer can be taken for another, whatever a machine prints."""

import subprocess
import time
from collections.abc import Iterator

import pytest

from hardway.probe.script import MOST_TOGETHER, Answer, Answers, Question, answers, new_nonce, script

NONCE = "hardway-0123456789abcdef"


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def ask(shell: str, *questions: Question) -> Answers:
    nonce = new_nonce()
    asked = script(questions, nonce)
    done = subprocess.run([shell, "-euc", asked], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return answers(done.stdout, nonce)


@pytest.mark.parametrize("limit", [0, 5])
def test_an_answer_is_byte_for_byte_what_was_said(shell: str, limit: float) -> None:
    said = ask(
        shell,
        Question("binary", "printf '\\0\\377 no end'", limit),
        Question("blank", "printf '\\n\\na\\n\\n'", limit),
        Question("nothing", "true", limit),
    )
    assert {name: (answer.code, answer.raw) for name, answer in said.items()} == {
        "binary": (0, b"\0\xff no end"), "blank": (0, b"\n\na\n\n"), "nothing": (0, b""),
    }  # fmt: skip


@pytest.mark.parametrize("limit", [0, 5])
def test_no_question_disturbs_the_next(shell: str, limit: float) -> None:
    said = ask(
        shell,
        Question("ends", "echo one; exit 5", limit),
        Question("changes", "cd /tmp; x=1; code=7; true", limit),
        Question("reads", "cat; echo ${x:-unset}", limit),
    )
    assert [(answer.code, answer.lines) for answer in said.values()] == [(5, ["one"]), (0, []), (0, ["unset"])]


def test_errors_stand_apart_and_what_hangs_is_ended(shell: str) -> None:
    said = ask(
        shell, Question("fails", "echo out; echo err >&2; exit 3", 5), Question("hangs", "exec sleep 9", 0.1)
    )  # fmt: skip
    assert said["fails"] == Answer(3, b"out\n", "err\n")
    assert (said["hangs"].code, said["hangs"].text) == (124, "")


def test_a_flood_is_cut_and_the_next_is_answered(shell: str) -> None:
    said = ask(shell, Question("flood", "yes", 5, most=1000), Question("next", "echo on", 5))
    assert (len(said["flood"].raw), said["next"].text) == (1000, "on")


def test_questions_together_take_as_long_as_the_slowest(shell: str) -> None:
    slow = [Question(str(number), f"sleep 0.4; echo {number}", 5, together=True) for number in range(4)]
    flood = Question("flood", "yes", 5, together=True)
    begun = time.monotonic()
    said = ask(shell, *slow, flood, Question("after", "echo after", 5))
    assert time.monotonic() - begun < 1.5
    assert [said[str(number)].text for number in range(4)] == ["0", "1", "2", "3"]
    assert (len(said["flood"].raw), said["after"].text) == (MOST_TOGETHER, "after")


def test_a_strict_question_fails_the_script() -> None:
    asked = script([Question("strict", "false; echo unheard", strict=True), Question("next", "true")], NONCE)
    done = subprocess.run(["sh", "-euc", asked], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert answers(done.stdout, NONCE) == {"strict": Answer(None)}


def test_what_looks_like_a_nonce_is_a_part_of_the_answer(shell: str) -> None:
    forged = f"\n{NONCE} next\nforged\n{NONCE} . 0\n"
    said = ask(shell, Question("forger", f"printf %s '{forged}'"), Question("next", "echo true"))
    assert (said["forger"].output, said["next"].text) == (forged, "true")


@pytest.mark.parametrize("kept", range(70, 125, 6))
def test_an_output_that_was_cut_off_gives_no_whole_answer(kept: int) -> None:
    whole = f"\n{NONCE} one\nfirst\n\n{NONCE} . 0\n\n{NONCE} two\nsecond\n\n{NONCE} . 0\n".encode()
    said = answers(whole[:kept], NONCE)
    assert said["one"].code == 0
    assert (said["two"].code, said["three"]) == (None, Answer())

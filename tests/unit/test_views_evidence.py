"""Evidence is read with one script that only reads, and compared word by word."""

import subprocess
from pathlib import Path

import pytest

from hardway.preview.evidence import Details, Wanted, command, questions, read, runs_with
from hardway.probe.script import answers, script

UNIT = """\
[Service]
ExecStartPre=/bin/true --no
ExecStart=/usr/local/bin/thing \\
  --one=1 \\
  "--two=a b" \\
  --three
Restart=always
"""


def test_the_words_of_a_command_over_several_lines_are_read_with_their_quotes() -> None:
    assert command(UNIT) == ["/usr/local/bin/thing", "--one=1", "--two=a b", "--three"]
    assert command("[Unit]\nDescription=none\n") == []


@pytest.mark.parametrize(
    ("running", "has", "lacks"),
    [
        (["thing", "--one=1", "--two=a b", "--three"], [], []),
        (["thing", "--one=2", "--two=a b", "--three"], ["--one=2"], ["--one=1"]),
        (["thing", "--one=1", "--two=a b", "--three", "--four"], ["--four"], []),
        (["thing", "--one=1", "--two=a b"], [], ["--three"]),
    ],
)
def test_flags_that_a_process_has_or_lacks_are_told(running: list[str], has: list[str], lacks: list[str]) -> None:
    assert runs_with(UNIT, running) == (has, lacks)


def test_a_variable_in_the_unit_makes_no_flag_a_conflict() -> None:
    unit = UNIT.replace("--three", "--address=$ADDRESS")
    assert runs_with(unit, ["thing", "--one=1", "--two=a b", "--address=10.0.0.1"]) == ([], [])


def test_files_and_processes_are_read_whole_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    odd = tmp_path / "a file"
    odd.write_bytes(b"one\n\nno end")
    with subprocess.Popen(["sleep", "60"]) as process:
        what = Wanted((str(odd), str(tmp_path / "gone")), (process.pid, 2**30))
        asked = script(questions(what), "mark")
        answer = subprocess.run(["sh", "-eu", "-c", asked], capture_output=True, check=True).stdout
        process.kill()
    assert read(what, answers(answer, "mark")) == Details({str(odd): b"one\n\nno end"}, {process.pid: ("sleep", "60")})

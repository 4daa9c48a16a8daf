"""Another program's output on its way to the terminal: shown, never obeyed."""

import json
import subprocess
import sys

import pytest

from hardway.cli.relay import relay
from hardway.errors import HardwayError


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r"etcd: ready\n", "etcd: ready\n"),
        (r"\033]0;owned\007\033[2Jboo\r\n", "\\x1b]0;owned\\x07\\x1b[2Jboo\n"),
        (r"user \342\200\256gnp.exe\n", "user \\u202egnp.exe\n"),
        (r"\377 half a line", "\\xff half a line\n"),
        (r"one\rtwo\n\n", "one\\x0dtwo\n\n"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(said: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert relay(["printf", said], "text") == 0
    assert capsys.readouterr().out == shown


def test_the_other_stream_is_no_way_round(capsys: pytest.CaptureFixture[str]) -> None:
    assert relay(["sh", "-c", r"printf 'sudo: \033[2J\n' >&2; exit 7"], "text") == 7
    assert capsys.readouterr().err == "sudo: \\x1b[2J\n"


def test_an_entry_of_the_journal_stays_the_same_document(capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"MESSAGE": "\x7f\u202e\x1b[2J Zoë", "_PID": "7"}
    relay(["printf", "%s\n%s\n", json.dumps(entry, ensure_ascii=False), "not \x1bJSON"], "json")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == entry
    assert first.isascii() and "\x7f" not in first
    assert second == "not \\x1bJSON"


def test_lines_come_as_they_are_written() -> None:
    code = "from hardway.cli.relay import relay; relay(['sh', '-c', 'echo first; read line; echo $line'], 'text')"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stdin and ran.stdout
        assert ran.stdout.readline() == "first\n"
        assert ran.communicate("second\n")[0] == "second\n"


def test_a_program_that_is_missing_is_named() -> None:
    with pytest.raises(HardwayError, match="there is no no-such-ssh on this computer"):
        relay(["no-such-ssh"], "text")

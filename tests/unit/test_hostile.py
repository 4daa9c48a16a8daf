"""What machines say is shown and never obeyed, whatever they say."""

import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from fake.cluster import PAIR, FakeCluster
from fake.machine import FakeMachine
from played_run import Commands

from hardway.console import console, error, json_error
from hardway.console.printing import ask, print_json, print_text
from hardway.console.talk import Talk
from hardway.console.visible import visible
from hardway.errors import CommandFailed
from hardway.events import CommandRun, MachineProgress, Note, Proved, RunStarted, StepStarted
from hardway.probe.script import ERROR_SHOWN, answers
from hardway.remote import Result

NewCluster = Callable[[str], FakeCluster]

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\u2066[bold]red[/] [/nothing] \r\x00\x7f\u2028end"
SHOWN = (
    r"\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp\u2066[bold]red[/] [/nothing] \x0d\x00\x7f\u2028end"
)  # fmt: skip


def obeyed(text: str) -> set[str]:
    """Characters that a terminal would obey, or that make text look like another."""
    return {one for one in text if one not in "\n\t" and unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs")}


def test_everything_that_is_no_plain_text_is_shown_by_its_number() -> None:
    # Signs of Arabic, Kaithi and Syriac numbers are of that class, and are seen.
    seen = {*map(chr, range(0x600, 0x606)), "\u06dd", "\u0890", "\u0891", "\u08e2"}
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        if obeyed(one) - seen:
            assert visible(one) == one.encode("ascii", "backslashreplace").decode() or code < 0x100
            assert obeyed(visible(one)) == set()
        elif unicodedata.category(one) != "Cn" and code < 0xE0000:  # beyond, all of it is invisible
            assert visible(one) == one
    assert visible(EVIL) == SHOWN
    assert visible("a\tb\r\nc\n") == "a\tb\nc\n"


def evil_run(sink) -> None:  # type: ignore[no-untyped-def]
    for event in (
        RunStarted("init", "lab", ("m1",), ("etcd",)),
        StepStarted("etcd"),
        MachineProgress("m1", "etcd", "running", EVIL),
        Note(EVIL, "warning"),
        Proved("m1", "etcd", "healthy", False, EVIL),
        CommandRun("m1", EVIL, EVIL, 1.0),
    ):
        sink(event)


@pytest.mark.parametrize("terminal", [False, True])
def test_no_console_of_a_run_obeys_it(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("TERM", "xterm")
    out, err = io.StringIO(), io.StringIO()
    with console(output="text", verbose=2, stream=out, error_stream=err, is_terminal=terminal, width=400) as sink:
        evil_run(sink)
    # The live table has escapes of its own: colours, and lines taken away again.
    said = re.sub(r"\x1b\[(\d*(;\d+)*m|2K|1A)|\r" if terminal else "$.", "", out.getvalue() + err.getvalue())
    assert obeyed(said) == set()
    # A script is told line by line, and a lone carriage return ends a line, too.
    assert said.count(SHOWN) == (4 if terminal else 3)


def test_json_keeps_it_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    with console(output="json", verbose=1, stream=out, error_stream=out, is_terminal=False, width=None) as sink:
        sink(Note(EVIL))
    json_error(CommandFailed(EVIL, machine="m1", said=EVIL), out)
    note, failed = map(json.loads, out.getvalue().splitlines())
    assert (note["text"], failed["what"], failed["said"]) == (EVIL, EVIL, EVIL)
    print_json({"said": EVIL})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"said": EVIL}
    assert obeyed(out.getvalue() + printed) == set()


def test_errors_pages_and_questions_show_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    error(CommandFailed(EVIL, machine="m1", tried=EVIL, said=EVIL, hint=EVIL), sys.stderr)
    print_text(f"page {EVIL}")
    assert ask(f"question {EVIL}?") == "y"
    talk = Talk(sys.stdout, io.StringIO("quit\n"), is_terminal=True)
    talk.tell("etcd", "plan", [EVIL])
    talk.ask("etcd", EVIL, ("quit",))
    said = capsys.readouterr()
    assert obeyed(said.out + said.err) == set()
    assert said.out.count(SHOWN) == 4


def hostile(made: FakeCluster, name: str) -> None:
    """The machine says what it is in words that a terminal obeys."""
    text = EVIL.replace("\x00", "")
    made.machines[name].write("/etc/os-release", f"ID='{text}'\nVERSION_ID='{text}'\n")


@pytest.fixture
def hardway(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[FakeCluster], Commands]:
    return lambda cluster: Commands(cluster, monkeypatch, capsys)


def test_preflight_shows_what_a_hostile_machine_calls_itself(
    new_cluster: NewCluster, hardway: Callable[[FakeCluster], Commands]
) -> None:
    made = new_cluster(PAIR)
    hostile(made, "hand")
    code, out, err = hardway(made)("preflight")
    assert code == 1
    assert obeyed(out + err) == set()
    assert r"\u202egnp\u2066[bold]red[/]" in out + err
    assert "hand" in err


def test_the_question_shows_what_a_hostile_machine_has_put_into_a_file(
    built_cluster: NewCluster, hardway: Callable[[FakeCluster], Commands]
) -> None:
    made = built_cluster(PAIR)
    commands = hardway(made)
    path = "/etc/crictl.yaml"
    made.machines["hand"].write(path, f"{made.machines['hand'].read(path)}# {EVIL}\n")
    before = made.machines["hand"].tree()
    commands.at_a_terminal(lambda: "n")
    code, out, err = commands("apply")
    assert (code, "nothing was changed" in err) == (1, True)
    assert "Make these changes to the running cluster? [y/N]" in out
    assert r"\x1b[2J\x1b]0;title\x07" in out
    assert obeyed(out + err) == set()
    assert made.machines["hand"].tree() == before


def test_a_failed_unit_shows_what_its_journal_says(
    built_cluster: NewCluster, hardway: Callable[[FakeCluster], Commands]
) -> None:
    made = built_cluster(PAIR)
    hand = made.machines["hand"]
    hand.write("/etc/systemd/system/kubelet.service", hand.read("/etc/systemd/system/kubelet.service") + "# mine\n")
    hand.write("/fake/broken/kubelet.service", "")
    hand.write("/fake/journal", f"kubelet.service: error: {EVIL}\n")
    code, out, err = hardway(made)("apply", "--yes")
    assert code == 1
    assert obeyed(out + err) == set()
    assert r"error: \x1b[2J\x1b]0;title\x07" in err


# answers that are not in the form that was asked for


def answering(machine: FakeMachine, question: str, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the machine answers this question of any script so, and says that all is well."""
    told = FakeMachine.run
    frame = rb"(\n(hardway-[0-9a-f]{16}) " + re.escape(question.encode()) + rb"\n).*?(\n\2 \. )\d+"

    def run(self: FakeMachine, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        result = told(self, script, timeout=timeout, what=what, check=check)
        if self is not machine:
            return result
        said = re.sub(frame, lambda found: found[1] + answer + found[3] + b"0", result.stdout, flags=re.DOTALL)
        return replace(result, stdout=said)

    monkeypatch.setattr(FakeMachine, "run", run)


STAT = b"x\t" * 9 + b"\n"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("facts", b"memory-kib=x\n"),
        ("facts", b"now=nan\n"),
        ("facts", b"free-kib=" + b"9" * 5000),
        ("file", STAT),
        ("binary", STAT),
        ("directory", STAT),
        ("inputs", STAT),
        ("service", b"Id=etcd.service\nMainPID=x\nExecMainStartTimestamp=Thu x y z\n"),
    ],
)
def test_an_answer_in_another_form_is_told_with_machine_and_question(
    built_cluster: NewCluster,
    hardway: Callable[[FakeCluster], Commands],
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    answer: bytes,
) -> None:
    made = built_cluster(PAIR)
    answering(made.machines["head"], question, answer, monkeypatch)
    before = {name: one.tree() for name, one in made.machines.items()}
    code, out, _ = hardway(made)("apply", "certs", "--yes", "-o", "json")
    failed = json.loads(out.splitlines()[-1])
    assert (code, failed["kind"], failed["machine"], failed["tried"]) == (1, "ProtocolError", "head", question)
    assert len(failed["said"]) <= ERROR_SHOWN
    assert {name: one.tree() for name, one in made.machines.items()} == before


@pytest.mark.parametrize(
    ("command", "question", "answer"),
    [
        ("status", "up", b"x\n"),
        ("doctor", "facts", b"cgroup=z\n"),
        ("verify", "facts", b"cgroup=z\n"),
        ("plan", "facts", b"cgroup=z\n"),
    ],
)
def test_commands_that_look_name_the_machine_that_answers_in_another_form(
    built_cluster: NewCluster,
    hardway: Callable[[FakeCluster], Commands],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    question: str,
    answer: bytes,
) -> None:
    made = built_cluster(PAIR)
    answering(made.machines["head"], question, answer, monkeypatch)
    code, out, err = hardway(made)(command)
    assert code == (3 if command == "doctor" else 1)
    assert "head" in out + err and "not in the form that was asked for" in " ".join((out + err).split())


def test_preflight_names_the_machine_that_answers_in_another_form(
    new_cluster: NewCluster, hardway: Callable[[FakeCluster], Commands], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_cluster(PAIR)
    answering(made.machines["hand"], "ports", b"x x x x\n", monkeypatch)
    code, _, err = hardway(made)("preflight")
    assert (code, err.startswith("error  hand: its answer to the question 'preflight'")) == (1, True)


def test_a_frame_with_an_endless_status_is_no_whole_answer() -> None:
    said = answers(b"\nN one\ntext\nN . " + b"9" * 5000 + b"\n", "N")
    assert (said["one"].code, said["one"].text) == (None, "")


@pytest.mark.parametrize("content", [b"", b"\xff", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
@pytest.mark.parametrize("name", ["pki/ca.key", "pki/etcd/peer-head.key", "pki/sa.key", "secrets/encryption-key"])
def test_a_damaged_key_of_the_workspace_is_told_and_nothing_changes(
    built_cluster: NewCluster, hardway: Callable[[FakeCluster], Commands], name: str, content: bytes
) -> None:
    made = built_cluster(PAIR)
    commands = hardway(made)
    before = {name: one.tree() for name, one in made.machines.items()}
    path = made.workspace().root / name
    path.write_bytes(content)
    for command in (("plan",), ("apply", "--yes")):
        code, out, _ = commands(*command, "-o", "json")
        failed = json.loads(out.splitlines()[-1])
        assert (code, failed["kind"]) == (1, "WorkspaceError")
        assert failed["what"].startswith(f"{path} {'is' if not content else ''}")
    assert path.read_bytes() == content
    assert {name: one.tree() for name, one in made.machines.items()} == before

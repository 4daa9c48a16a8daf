"""Which display is chosen, and that none of them tells a secret."""

import io
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hardway.console import console, error, hold, run_log, tee
from hardway.console.jsonl import JsonLines, line
from hardway.errors import CommandFailed, HardwayError
from hardway.events import (
    Changed,
    CommandRun,
    Event,
    MachineProgress,
    Note,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Transferred,
)
from hardway.values import Secret

CANARY = "canary-5e1f"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RUN: tuple[Event, ...] = (
    RunStarted("init", "lab", ("controller-0", "worker-0"), ("hosts", "etcd")),
    StepStarted("etcd"),
    MachineProgress("controller-0", "etcd", "running"),
    CommandRun("controller-0", "etcd", f"echo {CANARY}", 0.5),
    Changed("controller-0", "etcd", "service:etcd.service", "start", "is inactive"),
    MachineProgress("controller-0", "etcd", "done"),
    StepFinished("etcd", 1.5),
    Note("the clock is late", "warning"),
    RunFinished(True, 1, 1, 2.0, ("kubectl get nodes",)),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(output, verbose, *, terminal=False, events=RUN) -> str:
    stream = Terminal() if terminal else io.StringIO()
    with console(
        output=output, verbose=verbose, stream=stream, error_stream=stream, is_terminal=terminal, width=80
    ) as sink:
        for event in events:
            sink(event)
    return stream.getvalue()


@pytest.fixture
def xterm(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize(("output", "terminal"), [("text", False), ("text", True), ("json", False)])
def test_the_text_of_a_script_is_not_shown(output, terminal, verbose, xterm):
    assert CANARY not in shown(output, verbose, terminal=terminal)


@pytest.mark.parametrize(("output", "terminal"), [("text", False), ("text", True), ("json", False)])
def test_the_text_of_a_script_is_shown_when_verbose_twice(output, terminal, xterm):
    assert CANARY in shown(output, 2, terminal=terminal)


def test_the_log_of_a_run_holds_no_script(tmp_path):
    with run_log(tmp_path, "init") as sink:
        for event in RUN:
            sink(event)
    (path,) = tmp_path.iterdir()
    told = [json.loads(text) for text in path.read_text().splitlines()]
    assert [one["event"] for one in told] == [type(event).__name__ for event in RUN]
    assert {k: v for k, v in told[3].items() if k != "at"} == {
        "event": "CommandRun",
        "machine": "controller-0",
        "what": "etcd",
        "seconds": 0.5,
    }


def test_a_secret_is_printed_as_its_digest(tmp_path):
    secret = Secret(CANARY.encode())
    failure = CommandFailed(f"bad key {secret}", machine="worker-0", tried=f"{secret!r}", said=str(secret))
    stream = io.StringIO()
    error(failure, stream)
    with pytest.raises(CommandFailed), run_log(tmp_path, "etcd") as sink:
        sink(Note(f"{secret}"))
        sink(Note(secret))  # type: ignore[arg-type]
        raise failure
    (path,) = tmp_path.iterdir()
    for text in (stream.getvalue(), path.read_text(), line(Note(secret), NOON)):  # type: ignore[arg-type]
        assert CANARY not in text
        assert "secret sha256:" in text


def test_json_is_one_event_a_line():
    told = [json.loads(text) for text in shown("json", 0).splitlines()]
    assert [one["event"] for one in told] == [type(e).__name__ for e in RUN if not isinstance(e, CommandRun)]
    assert line(RUN[4], NOON) == (
        '{"event": "Changed", "at": "2026-11-21T12:00:00.000Z", "machine": "controller-0", "phase": "etcd", '
        '"what": "service:etcd.service", "verb": "start", "why": "is inactive"}'
    )


def test_json_thins_out_transfers_but_tells_their_end():
    told: list[str] = []
    seconds = iter([0.0, 0.1, 0.2, 0.6, 0.7])
    sink = JsonLines(told.append, ticks=lambda: next(seconds))
    for sent in (0, 10, 20, 30, 100):
        sink(Transferred("worker-0", sent, 100))
    assert [json.loads(text)["sent"] for text in told] == [0, 30, 100]


def test_without_a_terminal_that_can_move_its_cursor_lines_are_plain(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    text = shown("text", 0, terminal=True)
    assert "\x1b" not in text
    assert "controller-0: started etcd.service (1.5 s)" in text


def test_live_output_never_hides_the_cursor_and_ends_with_the_summary(xterm):
    text = shown("text", 0, terminal=True)
    assert "\x1b[?25l" not in text
    assert text.endswith("  1 service started or restarted\n\n\x1b[1mNext\x1b[0m\n  kubectl get nodes\n")


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), HardwayError("no"), RuntimeError("bug")])
def test_live_output_stops_whatever_ends_the_run(ending, xterm):
    stream = Terminal()
    with pytest.raises(type(ending)), console(
        output="text", verbose=0, stream=stream, error_stream=stream, is_terminal=True, width=80
    ) as sink:  # fmt: skip
        for event in RUN[:5]:
            sink(event)
        raise ending
    ended = stream.getvalue()
    assert "Stopped after" in ended
    assert "1 change made so far" in ended
    sink(RUN[4])
    assert stream.getvalue() == ended


def test_a_question_finds_the_terminal_still(xterm):
    stream = Terminal()
    with console(output="text", verbose=0, stream=stream, error_stream=stream, is_terminal=True, width=80) as sink:
        sink(RUN[0])
        with hold(tee(sink, lambda event: None)):
            before = stream.getvalue()
            sink(RUN[2])
            sink(RUN[0])
            assert stream.getvalue() == before
    assert "controller-0" in stream.getvalue().removeprefix(before)


def test_events_of_many_threads_are_whole_lines():
    stream = io.StringIO()
    with console(output="json", verbose=0, stream=stream, error_stream=stream, is_terminal=False, width=None) as sink:
        threads = [threading.Thread(target=lambda: [sink(Note("x" * 200)) for _ in range(100)]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {json.loads(text)["text"] for text in stream.getvalue().splitlines()} == {"x" * 200}


def test_a_reader_that_has_gone_does_not_stop_the_run():
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with console(output="text", verbose=1, stream=Gone(), error_stream=Gone(), is_terminal=False, width=None) as sink:
        for event in RUN:
            sink(event)


def test_a_stream_without_unicode_gets_what_it_can_take():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with console(output="text", verbose=0, stream=stream, error_stream=stream, is_terminal=False, width=None) as sink:
        sink(Note("digest 0123… held"))
    assert raw.getvalue().decode("ascii").endswith("digest 0123... held\n")


def test_escape_sequences_of_a_machine_do_not_reach_the_terminal():
    assert "\x1b" not in shown("text", 0, events=[Note("\x1b[2J\x1b]0;gone\x07quiet")])


def test_logs_are_private_and_the_newest_fifty_stay(tmp_path: Path):
    folder = tmp_path / "logs"
    folder.mkdir()
    for number in range(60):
        (folder / f"20200101T0000{number:02}.000000Z-init.jsonl").touch()
    (folder / "notes.txt").touch()
    with run_log(folder, "apply etcd; ../x") as sink:
        sink(Note("hello"))
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 51
    assert names[0] == "20200101T000011.000000Z-init.jsonl"
    assert names[-1] == "notes.txt"
    assert names[-2].endswith("Z-apply-etcd-x.jsonl")
    assert (folder / names[-2]).stat().st_mode & 0o777 == 0o600


def test_an_error_is_the_last_line_of_the_log(tmp_path: Path):
    with pytest.raises(HardwayError), run_log(tmp_path, "init"):
        raise HardwayError("no route", machine="worker-0", hint="look at the cable")
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["text"] == "worker-0: no route\n  next:  look at the cable"

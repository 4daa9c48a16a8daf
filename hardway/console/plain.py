"""Plain lines, for logs: at the end of each step what happened there, to whom, and how long it took."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TextIO

from hardway.console.lines import dated, spoken
from hardway.console.tally import Sent, Summary, Tally
from hardway.console.terminal import UNWRAPPED
from hardway.console.words import counted, duration, grouped, machines, ranges, size
from hardway.console.writer import Writer
from hardway.events import (
    ArtifactProgress,
    Changed,
    Event,
    MachineProgress,
    Note,
    Proved,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Transferred,
)

SILENCE = 15.0
"""Seconds without a line after which a log says what is being waited for."""


class Plain:
    """A sink that writes lines; `now` gives the time of day, `ticks` seconds for durations."""

    def __init__(
        self,
        stream: TextIO,
        error_stream: TextIO,
        verbose: int = 0,
        now: Callable[[], datetime] = datetime.now,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out, self._err = Writer(stream), Writer(error_stream)
        self._verbose, self._now, self._ticks = verbose, now, ticks
        self._lock = threading.Lock()
        self._tally = Tally()
        self._step = ""
        self._heard: dict[str, None] = {}
        self._busy: dict[str, None] = {}
        self._sent = Sent()
        self._changes: list[Changed] = []
        self._proved: list[Proved] = []
        self._artifacts = _Artifacts(ticks)
        self._began = self._last = ticks()

    def __call__(self, event: Event) -> None:
        with self._lock:
            for line in spoken(event, self._verbose, self._now()):
                self._write(line, self._err if isinstance(event, Note) and event.level == "warning" else self._out)
            self._tally.take(event)
            self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._began = self._ticks()
                self._say(event.command, f"{event.cluster}: {ranges(event.machines)}")
            case StepStarted():
                self._flush_changes(None)
                self._step, self._heard, self._busy = event.step, {}, {}
                self._sent = Sent()
            case StepFinished():
                self._finish(event)
            case MachineProgress():
                self._heard[event.machine] = None
                self._busy.pop(event.machine, None)
                if event.state == "running":
                    self._busy[event.machine] = None
            case Changed():
                self._changes.append(event)
            case Proved():
                self._proved.append(event)
            case Transferred():
                self._heard[event.machine] = None
                self._sent.take(event, self._ticks())
            case ArtifactProgress():
                if line := self._artifacts.take(event):
                    self._say("artifacts", line)
            case RunFinished():
                self._flush_changes(None)
                self._summarise(self._tally.finished(event))

    def _finish(self, event: StepFinished) -> None:
        took = f"({duration(event.seconds)})"
        if any(change.phase == event.step for change in self._changes):
            self._flush_changes(took)
        elif event.step == "artifacts":
            self._say(event.step, f"{self._artifacts.summary()} {took}")
        elif not self._proved:
            who = machines(self._heard or self._tally.machines, self._tally.machines)
            sent = self._sent.total
            rate = f", {size(int(sent / event.seconds))}/s" if event.seconds >= 1 else ""
            bytes_sent = f", {size(sent)} sent{rate}" if sent else ""
            self._say(event.step, f"{who}{bytes_sent} {took}")
        if self._proved:
            held = sum(proof.holds for proof in self._proved)
            self._say(event.step, f"{held} of {counted(len(self._proved), 'proof')} held {took}")
            self._proved = []
        self._step = ""

    def _flush_changes(self, took: str | None) -> None:
        """What was done in each chapter since the last time; in full it has been said already where verbose."""
        waiting, self._changes = self._changes, []
        for phase in dict.fromkeys(change.phase for change in waiting):
            mine = [change for change in waiting if change.phase == phase]
            if self._verbose:
                who = machines([change.machine for change in mine], self._tally.machines)
                lines = [f"{who}: {counted(len(mine), 'change')}"]
            else:
                lines = grouped(mine, self._tally.machines)
            if took:
                lines[-1] += f" {took}"
            for line in lines:
                self._say(phase, line)

    def _summarise(self, summary: Summary) -> None:
        self._write("\n" + "\n".join(summary.lines(UNWRAPPED)))

    def _say(self, step: str, text: str) -> None:
        self._write(dated(self._now(), step, text))

    def _write(self, line: str, writer: Writer | None = None) -> None:
        self._last = self._ticks()
        (writer or self._out).line(line)

    def still(self) -> None:
        """Says what is being waited for, after SILENCE: what one needs in the log of a run that hangs."""
        with self._lock:
            if self._ticks() - self._last < SILENCE:
                return
            waiting = self._artifacts.waiting() or self._sending() or machines(self._busy, self._tally.machines)
            if self._step:
                self._say(self._step, f"still at work{': ' if waiting else ''}{waiting}")

    def _sending(self) -> str:
        """How far each machine's stream is, and how fast."""
        told = []
        for machine in self._busy:
            if under_way := self._sent.under_way(machine):
                sent, total = under_way
                rate = self._sent.rate(machine, self._ticks())
                at = f" at {size(int(rate))}/s" if rate is not None else ""
                told.append(f"{machine} has {size(sent)} of {size(total)}{at}")
        return ", ".join(told)

    def broke_off(self) -> None:
        """The run ended without saying so."""
        with self._lock:
            if self._tally.running:
                self._flush_changes(None)
                self._summarise(self._tally.stopped(self._ticks() - self._began))
                self._out.line()


class _Artifacts:
    """What has been got, and what is on its way."""

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._began: dict[tuple[str, str], float] = {}
        self._ready: dict[str, int] = {}

    def take(self, event: ArtifactProgress) -> str:
        """The line to say about it, mostly none."""
        key = (event.action, event.name)
        if event.action == "ready":
            self._ready[event.name] = event.total
            return ""
        is_new = key not in self._began
        began = self._began.setdefault(key, self._ticks())
        if event.total == 0 or event.done < event.total:
            # A build says nothing more for minutes.
            return f"build {event.name} begins" if is_new and event.action == "build" else ""
        del self._began[key]
        bytes_got = "" if event.action == "build" else f", {size(event.total)}"
        return f"{event.action} {event.name}{bytes_got} ({duration(self._ticks() - began)})"

    def waiting(self) -> str:
        return ", ".join(f"{action} {name}" for action, name in self._began)

    def summary(self) -> str:
        if not self._ready:
            return "nothing needed"
        return f"{counted(len(self._ready), 'file')} at hand, {size(sum(self._ready.values()))}"


@contextlib.contextmanager
def plain(stream: TextIO, error_stream: TextIO, verbose: int) -> Iterator[Plain]:
    """A sink of plain lines; at the end of the block a run that did not finish is said to have stopped."""
    sink = Plain(stream, error_stream, verbose)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(SILENCE / 3):
            sink.still()

    threading.Thread(target=watch, name="console", daemon=True).start()
    try:
        yield sink
    finally:
        over.set()
        sink.broke_off()

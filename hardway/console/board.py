"""What the live table shows, as a value that events move forward: machines, chapters, artifacts. No drawing."""

from __future__ import annotations

from dataclasses import dataclass, field

from hardway.console.tally import Sent
from hardway.events import (
    ArtifactProgress,
    Changed,
    Event,
    MachineProgress,
    Proved,
    RunFinished,
    RunStarted,
    State,
    StepFinished,
    StepStarted,
    Transferred,
)


@dataclass
class Row:
    """One machine. `cells` has a state by chapter; `busy` are the seconds of work that is over."""

    name: str
    cells: dict[str, State] = field(default_factory=dict)
    doing: str = ""
    since: float = 0.0
    busy: float = 0.0
    failed: bool = False

    def seconds(self, now: float) -> float:
        return self.busy + (now - self.since if self.doing else 0)


@dataclass
class Item:
    """An artifact on its way."""

    name: str
    action: str
    done: int
    total: int
    since: float


@dataclass
class Board:
    """The state of one run. Times are seconds of whatever clock `now` comes from."""

    command: str = ""
    cluster: str = ""
    phases: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    rows: dict[str, Row] = field(default_factory=dict)
    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    sent: Sent = field(default_factory=Sent)
    step: str = ""
    began: float = 0.0
    ready: int = 0

    def take(self, event: Event, now: float) -> None:
        match event:
            case RunStarted():
                self._start(event, now)
            case StepStarted():
                self.step = event.step
                self._pass_over(event.step)
            case StepFinished():
                self._finish_step(event.step)
            case MachineProgress():
                self._progress(event, now)
            case Transferred():
                self.sent.take(event, now)
            case ArtifactProgress():
                self._artifact(event, now)
            case Changed():
                self._mark(event.machine, event.phase, "done")
            case Proved():
                self._mark(event.machine, event.phase, "done" if event.holds else "failed")
            case RunFinished(ok=True):
                self.step = ""
                for row in self.rows.values():
                    self._settle(row, self.phases)

    def _start(self, event: RunStarted, now: float) -> None:
        self.command, self.cluster = event.command, event.cluster
        self.phases, self.machines = event.phases, event.machines
        self.rows = {name: Row(name) for name in event.machines}
        self.began, self.step, self.sent, self.ready = now, "", Sent(), 0

    def _row(self, name: str) -> Row:
        # The operator's own computer has a row as soon as something is made there.
        return self.rows.setdefault(name, Row(name))

    def _mark(self, name: str, phase: str, state: State) -> None:
        cells = self._row(name).cells
        if phase in self.phases and cells.get(phase) not in ("running", "failed"):
            cells[phase] = state

    def _progress(self, event: MachineProgress, now: float) -> None:
        row = self._row(event.machine)
        row.busy, row.since = row.seconds(now), now
        row.doing = (event.detail or event.step) if event.state == "running" else ""
        row.failed = row.failed or event.state == "failed"
        if event.step in self.phases:
            row.cells[event.step] = event.state

    def _pass_over(self, phase: str) -> None:
        """Chapters come in their order: those before one that starts had nothing to do."""
        if phase in self.phases:
            for row in self.rows.values():
                self._settle(row, self.phases[: self.phases.index(phase)])

    def _finish_step(self, step: str) -> None:
        if step in self.phases:
            for row in self.rows.values():
                self._settle(row, (step,))
        self.step = ""

    def _settle(self, row: Row, phases: tuple[str, ...]) -> None:
        for phase in phases:
            row.cells.setdefault(phase, "unchanged")

    def _artifact(self, event: ArtifactProgress, now: float) -> None:
        key = (event.action, event.name)
        if event.action == "ready":
            self.ready += 1
        elif event.total and event.done >= event.total:
            self.items.pop(key, None)
        else:
            item = self.items.setdefault(key, Item(event.name, event.action, 0, 0, now))
            item.done, item.total = event.done, event.total

    def stop(self, failed: frozenset[str], now: float) -> None:
        """The run has ended here; `failed` are the machines it ended for."""
        for row in self.rows.values():
            row.busy, row.since, row.doing = row.seconds(now), now, ""
            if row.name in failed:
                row.failed = True
                running = [phase for phase, state in row.cells.items() if state == "running"]
                row.cells.update(dict.fromkeys(running, "failed"))
        self.items.clear()

    def state_of(self, phase: str) -> State:
        """The whole chapter's, over all machines."""
        states = {row.cells.get(phase, "waiting") for row in self.rows.values()}
        if phase == self.step:
            return "running"
        for state in ("failed", "running", "done", "unchanged"):
            if state in states:
                return state
        return "waiting"

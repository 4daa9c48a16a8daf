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
    StageFinished,
    StageStarted,
    State,
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
    chapters: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    rows: dict[str, Row] = field(default_factory=dict)
    items: dict[tuple[str, str], Item] = field(default_factory=dict)
    sent: Sent = field(default_factory=Sent)
    stage: str = ""
    began: float = 0.0
    ready: int = 0

    def take(self, event: Event, now: float) -> None:
        match event:
            case RunStarted():
                self._start(event, now)
            case StageStarted():
                self.stage = event.stage
                self._pass_over(event.stage)
            case StageFinished():
                self._finish_stage(event.stage)
            case MachineProgress():
                self._progress(event, now)
            case Transferred():
                self.sent.take(event, now)
            case ArtifactProgress():
                self._artifact(event, now)
            case Changed():
                self._mark(event.machine, event.chapter, "done")
            case Proved():
                self._mark(event.machine, event.chapter, "done" if event.holds else "failed")
            case RunFinished(ok=True):
                self.stage = ""
                for row in self.rows.values():
                    self._settle(row, self.chapters)

    def _start(self, event: RunStarted, now: float) -> None:
        self.command, self.cluster = event.command, event.cluster
        self.chapters, self.machines = event.chapters, event.machines
        self.rows = {name: Row(name) for name in event.machines}
        self.began, self.stage, self.sent, self.ready = now, "", Sent(), 0

    def _row(self, name: str) -> Row:
        # The operator's own computer has a row as soon as something is made there.
        return self.rows.setdefault(name, Row(name))

    def _mark(self, name: str, chapter: str, state: State) -> None:
        cells = self._row(name).cells
        if chapter in self.chapters and cells.get(chapter) not in ("running", "failed"):
            cells[chapter] = state

    def _progress(self, event: MachineProgress, now: float) -> None:
        row = self._row(event.machine)
        row.busy, row.since = row.seconds(now), now
        row.doing = (event.detail or event.stage) if event.state == "running" else ""
        row.failed = row.failed or event.state == "failed"
        if event.stage in self.chapters:
            row.cells[event.stage] = event.state

    def _pass_over(self, chapter: str) -> None:
        """Chapters come in their order: those before one that starts had nothing to do."""
        if chapter in self.chapters:
            for row in self.rows.values():
                self._settle(row, self.chapters[: self.chapters.index(chapter)])

    def _finish_stage(self, stage: str) -> None:
        if stage in self.chapters:
            for row in self.rows.values():
                self._settle(row, (stage,))
        self.stage = ""

    def _settle(self, row: Row, chapters: tuple[str, ...]) -> None:
        for chapter in chapters:
            row.cells.setdefault(chapter, "unchanged")

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
                running = [chapter for chapter, state in row.cells.items() if state == "running"]
                row.cells.update(dict.fromkeys(running, "failed"))
        self.items.clear()

    def state_of(self, chapter: str) -> State:
        """The whole chapter's, over all machines."""
        states = {row.cells.get(chapter, "waiting") for row in self.rows.values()}
        if chapter == self.stage:
            return "running"
        for state in ("failed", "running", "done", "unchanged"):
            if state in states:
                return state
        return "waiting"

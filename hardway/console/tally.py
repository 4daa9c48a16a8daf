"""What a run did, counted as it goes, and the last words about it."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass

from hardway.console.words import counted, duration, machines, size
from hardway.events import Changed, Event, MachineProgress, Proved, RunFinished, RunStarted, Transferred
from hardway.values import OPERATOR

_JOINED = "\u00a0"
"""The space within a pair, which must not become the end of a line."""


@dataclass(frozen=True)
class Summary:
    """`headline` is one sentence; `details` are facts about it; `next` what one may type now."""

    headline: str
    details: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    ok: bool = True

    def lines(self, width: int) -> list[str]:
        """All of it within the width; the lines to type are never broken."""
        lines = [self.headline]
        for detail in self.details:
            wrapped = textwrap.wrap(detail, width - 3, break_long_words=False, break_on_hyphens=False)
            lines += [f"  {line}".replace(_JOINED, " ") for line in wrapped]
        return lines + (["", "Next", *(f"  {line}" for line in self.next)] if self.next else [])


class Sent:
    """Bytes taken by each machine, over several streams one after the other."""

    def __init__(self) -> None:
        self._before: Counter[str] = Counter()
        self._now: dict[str, Transferred] = {}
        self._began: dict[str, tuple[float, int]] = {}

    def take(self, event: Transferred, now: float = 0.0) -> None:
        """`now` in seconds, for the rate."""
        last = self._now.get(event.machine)
        if last is None or event.total != last.total or event.sent < last.sent:
            self._before[event.machine] += last.sent if last else 0
            self._began[event.machine] = now, event.sent
        self._now[event.machine] = event

    def rate(self, machine: str, now: float) -> float | None:
        """Bytes a second since this machine's stream began; None within its first second."""
        if machine not in self._began:
            return None
        began, first = self._began[machine]
        return (self._now[machine].sent - first) / (now - began) if now - began >= 1 else None

    def of(self, machine: str) -> int:
        now = self._now.get(machine)
        return self._before[machine] + (now.sent if now else 0)

    def under_way(self, machine: str) -> tuple[int, int] | None:
        """Sent and total of a stream that has not ended."""
        now = self._now.get(machine)
        return (now.sent, now.total) if now and now.sent < now.total else None

    @property
    def machines(self) -> int:
        return len(self._now)

    @property
    def total(self) -> int:
        return sum(self.of(machine) for machine in self._now)


class Tally:
    """Counts of one run. Not safe for threads: its sink holds a lock."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.machines: tuple[str, ...] = ()
        self.sent = Sent()
        self._changes: Counter[str] = Counter()
        self._touched: set[str] = set()
        self._begun: dict[str, None] = {}
        self._proofs: Counter[bool] = Counter()
        self.running = False

    def take(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._clear()
                self.machines, self.running = event.machines, True
                self._changes = Counter(dict.fromkeys(event.phases, 0))
            case Changed():
                self._changes[event.phase] += 1
                if event.machine != OPERATOR:
                    self._touched.add(event.machine)
            case MachineProgress() if event.step in self._changes:
                self._begun.pop(event.machine, None)
                if event.state == "running":
                    self._begun[event.machine] = None
            case Transferred():
                self.sent.take(event)
            case Proved():
                self._proofs[event.holds] += 1
            case RunFinished():
                self.running = False

    @property
    def changed(self) -> int:
        return self._changes.total()

    def finished(self, event: RunFinished) -> Summary:
        """The last words about a run that came to its end."""
        if not event.ok:
            return Summary(self._stopped(event.seconds), self._details(event.restarted), event.next, ok=False)
        if not event.changed:
            headline = f"Nothing to do: {counted(len(self.machines), 'machine')} as declared"
            return Summary(f"{headline} ({duration(event.seconds)}).", self._proved(), event.next)
        done = f"Done in {duration(event.seconds)}: {counted(event.changed, 'change')}"
        if self._touched:
            done += f" on {counted(len(self._touched), 'machine')}"
        return Summary(f"{done}.", self._details(event.restarted), event.next)

    def stopped(self, seconds: float) -> Summary:
        """The last words about a run that an error or an interrupt ended; what it was is said elsewhere."""
        return Summary(self._stopped(seconds), self._details(0), ok=False)

    def _stopped(self, seconds: float) -> str:
        so_far = f"{counted(self.changed, 'change')} made so far" if self.changed else ""
        begun = f"changes begun on {machines(self._begun, self.machines)}" if self._begun else ""
        told = ", ".join(filter(None, (so_far, begun))) or "nothing was changed"
        return f"Stopped after {duration(seconds)}: {told}."

    def _details(self, restarted: int) -> tuple[str, ...]:
        phases = ", ".join(f"{name}{_JOINED}{count}" for name, count in self._changes.items() if count)
        facts = [counted(restarted, "service") + " started or restarted"] if restarted else []
        facts += [f"{size(self.sent.total)} sent"] if self.sent.total else []
        return tuple(filter(None, (phases, ", ".join(facts)))) + self._proved()

    def _proved(self) -> tuple[str, ...]:
        held, failed = self._proofs[True], self._proofs[False]
        if failed:
            return (f"{failed} of {held + failed} proofs failed",)
        return (f"{counted(held, 'proof holds', 'proofs hold')}",) if held else ()

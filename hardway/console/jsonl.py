"""Events as JSON, one object a line: for programs (`-o json`) and for the log of a run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime

from hardway.events import ArtifactProgress, CommandRun, Event, Transferred

INTERVAL = 0.5
"""Seconds between two reports of the same transfer."""


def document(value: object, *, indent: int | None = None, default: Callable[[object], object] | None = None) -> str:
    """JSON that a terminal shows as it is: all ASCII, and DEL escaped, too."""
    return json.dumps(value, indent=indent, default=default).replace("\x7f", "\\u007f")


def line(event: Event, when: datetime, *, scripts: bool = False) -> str:
    """`{"event": "Changed", "at": "2026-11-21T10:04:11.250Z", …}`; the text of a script only if `scripts`."""
    told = {"event": type(event).__name__, "at": moment(when)}
    told |= {one.name: getattr(event, one.name) for one in fields(event) if one.name != "script" or scripts}
    return document(told, default=_plain)


def _plain(value: object) -> object:
    """An event within an event as its fields; of all else its text: a Secret that came here shows its digest."""
    if isinstance(value, Event):
        return {one.name: getattr(value, one.name) for one in fields(value)}
    return str(value)


def moment(when: datetime) -> str:
    """UTC, to the millisecond, as RFC 3339 has it."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Thinned:
    """Leaves out reports of a transfer that come within INTERVAL of the last one, never its end."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._last: dict[tuple[str, ...], float] = {}

    def passes(self, event: Event) -> bool:
        match event:
            case Transferred(machine, done, total):
                key: tuple[str, ...] = (machine,)
            case ArtifactProgress(name, action, done, total):
                key = (action, name)
            case _:
                return True
        now = self._ticks()
        if done != total and now - self._last.get(key, float("-inf")) < INTERVAL:
            return False
        self._last[key] = now
        return True


class JsonLines:
    """A sink that hands lines to `write`, which must take them from any thread."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        verbose: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._verbose, self._now = write, verbose, now
        self._thinned = Thinned(ticks)

    def __call__(self, event: Event) -> None:
        if isinstance(event, CommandRun) and not self._verbose:
            return
        if self._thinned.passes(event):
            self._write(line(event, self._now(), scripts=self._verbose > 1))

"""The live table on a terminal: what is said goes above it, and it stays where it ended."""

from __future__ import annotations

import contextlib
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from hardway.console.board import Board
from hardway.console.drawing import draw
from hardway.console.failure import machines_of
from hardway.console.lines import STEP_WIDTH, spoken
from hardway.console.tally import Summary, Tally
from hardway.console.visible import visible
from hardway.events import ArtifactProgress, Event, Note, Proved, RunFinished, RunStarted

REFRESHES = 4
"""A second. Both processors are busy with better things."""


class _Terminal(Console):
    def show_cursor(self, show: bool = True) -> bool:
        # Never hidden: whatever kills us, there is nothing to put right.
        return False


class Live:
    """A sink that keeps a table at the bottom of the terminal. `ticks` gives seconds."""

    def __init__(
        self, stream: TextIO, verbose: int, width: int | None, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = _Terminal(file=stream, force_terminal=True, width=width, highlight=False, markup=False)
        self._verbose, self._ticks = verbose, ticks
        self._board, self._tally = Board(), Tally()
        self._lock = threading.Lock()
        self._drawing, self._question = threading.RLock(), threading.Lock()
        self._live: RichLive | None = None
        self._whole = self._asking = self._closed = False

    def __call__(self, event: Event) -> None:
        if self._closed:
            return  # after an interrupt, threads may still talk
        now = self._ticks()
        event = _visible(event)
        with self._lock:
            self._board.take(event, now)
            self._tally.take(event)
        # Not under the lock: rich has one of its own, and draws, which needs ours.
        for line in spoken(event, self._verbose, datetime.now()):
            for number, piece in enumerate(_wrapped(line, self._console.width)):
                self._console.print(_styled(event, piece) if number == 0 else Text(piece), soft_wrap=True)
        if isinstance(event, RunStarted | ArtifactProgress) and self._board_has_something():
            self._show()
        if isinstance(event, RunFinished):
            self._finish(self._tally.finished(event), keep=bool(event.changed) or not event.ok)

    def _board_has_something(self) -> bool:
        with self._lock:
            return bool(self._board.rows or self._board.items)

    def _draw(self) -> Text:
        with self._lock:
            height = None if self._whole else self._console.height
            return draw(
                self._board,
                self._console.width,
                height,
                self._ticks(),
                ascii_only=not self._console.encoding.startswith("utf"),
            )

    def _show(self) -> None:
        with self._drawing:
            if self._live is None and not self._asking and not self._closed:
                self._whole = False
                self._live = RichLive(
                    get_renderable=self._draw, console=self._console, refresh_per_second=REFRESHES, transient=True
                )
                self._live.start()

    def _hide(self, *, keep: bool) -> bool:
        """Takes the table away, or leaves it on the screen as it is at the end; whether there was one."""
        with self._drawing:
            live, self._live = self._live, None
            if live is None:
                return False
            self._whole, live.transient = keep, not keep
            live.stop()
            return True

    def _finish(self, summary: Summary, *, keep: bool) -> None:
        if self._hide(keep=keep) and keep:
            self._console.print()
        for number, line in enumerate(summary.lines(self._console.width)):
            style = ("bold green" if summary.ok else "bold red") if number == 0 else "bold" if line == "Next" else ""
            self._console.print(Text(line, style), soft_wrap=True)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The terminal as it was, for a question; one question at a time."""
        with self._question:
            was_shown, self._asking = self._hide(keep=False), True
            try:
                yield
            finally:
                self._asking = False
                if was_shown:
                    self._show()

    def close(self, error: BaseException | None) -> None:
        """The end of the block. A run that did not finish keeps its table, with what failed marked."""
        self._closed = True
        with self._lock:
            broke_off = self._tally.running
            seconds = self._ticks() - self._board.began
            self._board.stop(machines_of(error), self._ticks())
        if broke_off:
            self._finish(self._tally.stopped(seconds), keep=True)
            self._console.print()
        else:
            self._hide(keep=False)


def _visible(event: Event) -> Event:
    """The event with all its texts harmless: rich hands on to the terminal what is in them."""
    texts: dict[str, Any] = {}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, str):
            texts[field.name] = visible(value)
        elif isinstance(value, tuple):
            texts[field.name] = tuple(visible(one) if isinstance(one, str) else one for one in value)
    return replace(event, **texts)


def _wrapped(line: str, width: int) -> list[str]:
    """By words, below itself; a script keeps its lines."""
    if len(line) <= width or line.startswith(" "):
        return [line]
    indent = " " * (10 + STEP_WIDTH)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    )


def _styled(event: Event, line: str) -> Text:
    text = Text(line)
    text.stylize("bright_black", 0, 9 + STEP_WIDTH)
    if isinstance(event, Note) and event.level == "warning":
        text.stylize("yellow", 9)
    elif isinstance(event, Proved) and not event.holds:
        text.stylize("red", 9)
    return text


@contextlib.contextmanager
def live(stream: TextIO, verbose: int, width: int | None) -> Iterator[Live]:
    """A sink with a live table; the terminal is whole again after the block, however it ends."""
    sink = Live(stream, verbose, width)
    try:
        yield sink
    except BaseException as error:
        sink.close(error)
        raise
    sink.close(None)

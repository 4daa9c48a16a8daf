"""The only room that prints: a run's events live, as plain lines, or as JSON; errors; tables; the run's log."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TextIO

from hardway.console.failure import error, json_error
from hardway.console.jsonl import JsonLines
from hardway.console.log import run_log
from hardway.console.plain import plain
from hardway.console.writer import Writer
from hardway.events import Event, Sink

__all__ = ["console", "error", "hold", "json_error", "run_log", "tee"]


@contextlib.contextmanager
def console(
    *,
    output: Literal["text", "json"],
    verbose: int,
    stream: TextIO,
    error_stream: TextIO,
    is_terminal: bool,
    width: int | None,
) -> Iterator[Sink]:
    """A sink that shows a run, safe to call from any thread.

    JSON lines for programs; on a terminal a live table; else plain lines, with warnings on
    `error_stream`. `verbose` 1 adds each change and command, 2 the commands' scripts. `width` in columns
    (None: the terminal's). When the block ends, so does the display, whatever ended it.
    """
    if output == "json":
        yield JsonLines(Writer(stream).line, verbose=verbose)
    elif is_terminal and os.environ.get("TERM") not in (None, "dumb", "unknown"):
        # Only here: rich costs what a second run with nothing to do can save.
        from hardway.console.live import live

        with live(stream, verbose, width) as sink:
            yield sink
    else:
        with plain(stream, error_stream, verbose) as sink:
            yield sink


@dataclass(frozen=True)
class _Tee:
    sinks: tuple[Sink, ...]

    def __call__(self, event: Event) -> None:
        for sink in self.sinks:
            sink(event)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for sink in self.sinks:
                stack.enter_context(hold(sink))
            yield


def tee(*sinks: Sink) -> Sink:
    """A sink that hands every event to each of the sinks, in their order."""
    return _Tee(sinks)


def hold(sink: Sink) -> AbstractContextManager[None]:
    """Keeps the display still while somebody is asked something on the terminal."""
    held = getattr(sink, "held", None)
    return held() if held else contextlib.nullcontext()

"""An error as a person reads it: where, what was tried, what came back, and the next move."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from hardway.console import jsonl
from hardway.console.terminal import page_width
from hardway.console.visible import visible
from hardway.console.words import counted, machines
from hardway.console.writer import Writer
from hardway.errors import HardwayError, InventoryError
from hardway.events import Failed

_LABEL = 7
_COMMAND = 4
_RED, _BOLD, _PLAIN = "\x1b[1;31m", "\x1b[1m", "\x1b[0m"


def error(failure: HardwayError, stream: TextIO, width: int | None = None) -> None:
    """Prints an error within the width (default: the terminal's; unbroken where it goes to a file or a program).

    Mistakes in an inventory are one line each, unbroken, so that editors find their places. Machines that
    failed alike share a block.
    """
    colour = stream.isatty() and "NO_COLOR" not in os.environ
    columns = width or page_width(stream)
    writer = Writer(stream, keep_colours=colour)
    for row in map(visible, _lines(failure, max(columns, 40))):
        writer.line(_coloured(row) if colour else row)


def json_error(failure: HardwayError, stream: TextIO) -> None:
    """Prints an error as the event that ends a command."""
    Writer(stream).line(jsonl.line(as_event(failure), datetime.now(UTC)))


def as_event(failure: HardwayError) -> Failed:
    """The error as a value."""
    parts = getattr(failure, "errors", None) or {}
    return Failed(
        type(failure).__name__,
        failure.what,
        failure.machine,
        failure.tried,
        failure.said,
        failure.hint,
        code=failure.exit_code,
        problems=failure.problems if isinstance(failure, InventoryError) else (),
        machines=tuple(as_event(part) for part in parts.values()),
    )


def machines_of(failure: BaseException | None) -> frozenset[str]:
    """The machines that an error is about."""
    if not isinstance(failure, HardwayError):
        return frozenset()
    return frozenset(name for name in _parts(failure) if name)


def _parts(failure: HardwayError) -> dict[str | None, HardwayError]:
    """By machine: the parts of an error that collects several, else itself."""
    return getattr(failure, "errors", None) or {failure.machine: failure}


def _lines(failure: HardwayError, width: int) -> Iterable[str]:
    if isinstance(failure, InventoryError):
        yield from failure.problems
        if len(failure.problems) > 1:
            yield f"{counted(len(failure.problems), 'mistake')} in the inventory; nothing was done"
        return
    alike: dict[tuple[str | None, ...], list[str]] = {}
    for machine, part in _parts(failure).items():
        alike.setdefault((part.what, part.tried, part.said, part.hint), []).append(machine or "")
    for number, ((what, tried, said, hint), names) in enumerate(alike.items()):
        if number:
            yield ""
        where = machines(filter(None, names))
        yield from _labelled("error", f"{where}: {what}" if where else what or "", width)
        yield from _labelled("tried", tried, width)
        yield from _labelled("said", said, width)
        yield from _labelled("next", hint, width)
    if failure.hint and getattr(failure, "errors", None):
        yield ""
        yield from _labelled("next", failure.hint, width)


def _labelled(label: str, text: str | None, width: int) -> Iterable[str]:
    """`label  text`, each of its lines wrapped below itself; words (paths, commands) are never broken."""
    head = f"{label:<{_LABEL}}"
    for line in (text or "").strip().splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        # What is indented further is a command below its explanation, and is copied as it stands.
        room = width - _LABEL - len(indent) if len(indent) < _COMMAND else len(line) + 1
        wrapped = textwrap.wrap(line.strip(), room, break_long_words=False, break_on_hyphens=False)
        for piece in wrapped:
            yield f"{head}{indent}{piece}"
            head = " " * _LABEL


def _coloured(line: str) -> str:
    label, rest = line[:_LABEL], line[_LABEL:]
    match label.strip():
        case "error":
            return f"{_RED}{label}{_PLAIN}{_BOLD}{rest}{_PLAIN}"
        case "tried" | "said" | "next":
            return f"{_BOLD}{label}{_PLAIN}{rest}"
    return line

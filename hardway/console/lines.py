"""One event as one line, the same above the live table and without it."""

from __future__ import annotations

from datetime import datetime

from hardway.console.words import counted, duration, past, thing
from hardway.events import Changed, CommandRun, Event, Note, Proved

STEP_WIDTH = 15


def dated(when: datetime, step: str, text: str) -> str:
    """`10:04:11 etcd            controller-0: started etcd.service`."""
    return f"{when:%H:%M:%S} {step:<{STEP_WIDTH}} {text}".rstrip()


def spoken(event: Event, verbose: int, when: datetime) -> list[str]:
    """What is said of an event by itself; nothing for most, unless `verbose`.

    A command is told by what it is for; its script only from 2 on: it is long, and not for everybody's eyes.
    """
    match event:
        case Note():
            return [dated(when, event.level if event.level == "warning" else "note", event.text)]
        case Changed() if verbose:
            why = f"  ({event.why})" if event.why else ""
            return [dated(when, event.phase, f"{event.machine}: {past(event.verb)} {thing(event.what)}{why}")]
        case Proved() if verbose or not event.holds:
            text = f"{event.machine}: {event.what}: {'' if event.holds else 'FAILED: '}{event.evidence}"
            return [dated(when, event.phase, text)]
        case CommandRun() if verbose:
            size = "" if verbose > 1 else f", {counted(event.script.count(chr(10)) + 1, 'line')} of sh"
            said = [dated(when, "ran", f"{event.machine}: {event.what}{size}, {duration(event.seconds)}")]
            return said + ([f"    | {line}" for line in event.script.splitlines()] if verbose > 1 else [])
    return []

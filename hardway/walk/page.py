"""What `walk` says between the pages of other commands, within a width."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from hardway.console.failure import error
from hardway.console.words import counted, machines, typed, wrapped
from hardway.errors import HardwayError
from hardway.explain.prose import Gain
from hardway.inventory.model import Cluster
from hardway.rules import Finding
from hardway.verify.rules_page import finding_lines
from hardway.walk import PREFLIGHT, STATIONS, Hint, Place

LEVELS = 3
"""How often one thing can be hinted at: where, what, how."""


def opening(cluster: Cluster, place: Place, width: int) -> list[str]:
    """What a walk is, at its beginning; on coming back, where somebody was."""
    head = f"WALK   {cluster.name} | {counted(len(cluster.machines), 'machine')} | inventory: {cluster.path.name}"
    if place.begun:
        where = f"You are at {_numbered(place.next)}." if place.next else "Every chapter is behind you."
        return [head, "", *wrapped("", f"{where} {behind(place.done)}".strip(), width)]
    text = (
        f"{len(STATIONS) - 1} chapters, from bare machines to a cluster. For each: why it is there, what it would "
        "change, your choice, the proof. Nothing is changed before you choose. Leave whenever you like: your place is "
        "kept, and hardway walk goes on there."
    )
    return [head, "", *wrapped("", text, width)]


def behind(done: Mapping[str, str]) -> str:
    """`Applied: hosts, certs. By hand: etcd.`"""
    told = []
    for how in ("applied", "typed", "skipped", "toured"):
        names = [name for name in STATIONS[1:] if done.get(name) == how]
        if names:
            told.append(f"{how.capitalize()}: {', '.join(names)}.")
    return " ".join(told)


def left(place: Place, command: str, width: int) -> list[str]:
    """How to go on, for who leaves."""
    where = f"Your place is kept: {_numbered(place.next)}." if place.next else "Every chapter is behind you."
    return [*wrapped("", where, width), f"Go on:  {command}"]


def preflight_lines(findings: Sequence[Finding], cluster: Cluster, width: int) -> list[str]:
    """What was found on the machines, errors last."""
    lines = [f"{counted(len(cluster.machines), 'machine')} checked, nothing changed."]
    for level in ("warning", "error"):
        for one in findings:
            if one.level == level:
                lines += finding_lines(one, width)
    if not any(one.level == "error" for one in findings):
        lines.append("No obstacles found.")
    return lines


def failure_lines(failure: HardwayError, width: int) -> list[str]:
    """An error, as every command shows it."""
    stream = io.StringIO()
    error(failure, stream, width)
    return stream.getvalue().splitlines()


def typing_lines(phase: str, workspace: str, width: int) -> list[str]:
    """What somebody who types may ask for."""
    text = (
        f"{phase} is yours to type. hardway waits, and changes nothing. done: it looks at what you did. "
        "hint: one more hint. shell: what this project would type. files: the chapter's binaries, put into bin/ of "
        "your workspace. back: choose again."
    )
    return [*wrapped("", text, width), f"Keys and kubeconfigs belong below {workspace}"]


def hint_lines(hint: Hint, level: int, left_over: int, everybody: Sequence[str], width: int) -> list[str]:
    """One hint: at level 1 where, at 2 also what, at 3 how; `left_over` is how many others there are."""
    who = "your workspace" if hint.machines == ("operator",) else machines(hint.machines, everybody)
    lines = wrapped("Look at  ", f"{who}: {hint.where}" if who else hint.where, width)
    if level > 1:
        lines += wrapped("what     ", hint.what, width)
    if level > 2:
        lines += ["how", *(f"  {line}".rstrip() for line in hint.how or ("nothing more is known of it",))]
    if level == 1 and left_over:
        lines.append(f"{counted(left_over, 'other thing')} after that.")
    if level < LEVELS:
        lines.append("More of it:  hint")
    return lines


def gain_lines(gains: Sequence[Gain], given: str, width: int) -> list[str]:
    """What is possible now, and what to try."""
    lines: list[str] = []
    for one in gains:
        lines += wrapped("NOW    ", one.text, width)
        for number, command in enumerate(one.commands):
            lines.append(f"{'TRY' if number == 0 else '':<7}{typed(command, given)}")
    return lines


def unmanaged_lines(phase: str, count: int, width: int) -> list[str]:
    """What it means that something was typed."""
    text = (
        f"Done by hand, and as declared. {counted(count, 'thing')} of {phase} on the machines hardway did not put "
        "there: its journals do not know them. That is no fault. hardway reset would leave them, and no run overwrites "
        "them. Taken over (as hardway apply --adopt does), they are kept and taken away like all the rest."
    )
    return wrapped("", text, width)


def ending(place: Place, lab: bool, given: str, width: int) -> list[str]:
    """After the last chapter."""
    lines = ["THE END", "", *wrapped("", behind(place.done), width)]
    skipped = [name for name in STATIONS[1:] if place.done.get(name) == "skipped"]
    if skipped:
        lines += [f"What you skipped:  {typed(f'hardway walk --from {skipped[0]}', given)}"]
    asks = [
        ("hardway status", "the cluster on one screen"),
        ("hardway explain 10.32.0.1", "any value, flag, path or name"),
        ("hardway walk --restart", "the same way again, as a tour"),
    ]
    if lab:
        asks.append(("hardway lab break --list", "what can be broken, and is worth finding"))
    commands = [(typed(command, given), gives) for command, gives in asks]
    wide = max(len(command) for command, _ in commands)
    lines += ["", *(f"{command:<{wide}}  {gives}" for command, gives in commands)]
    return [*lines, "And to read:  docs/what-next.md, docs/operate/troubleshooting.md"]


def _numbered(station: str) -> str:
    if station == PREFLIGHT:
        return PREFLIGHT
    return f"chapter {STATIONS.index(station)} of {len(STATIONS) - 1}, {station}"

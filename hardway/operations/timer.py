"""A command of hardway's that systemd runs on the operator's own computer: a service and its timer.

It is the computer that has the workspace and the SSH keys; no machine of the cluster has either.
"""

from __future__ import annotations

import difflib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hardway.errors import HardwayError, WorkspaceError
from hardway.workspace import write_file

SYSTEM = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""There where systemd is what runs this computer (sd_booted(3))."""
LIMIT = 60.0
_SERVICE = """\
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{user}ExecStart={command}
TimeoutStartSec={limit}
UMask=0077
Nice=10
"""
_TIMER = """\
[Unit]
Description={description}

[Timer]
{schedule}

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True)
class Timer:
    """What is run when: `schedule` are lines of the timer's own (systemd.timer(5))."""

    name: str
    description: str
    command: tuple[str, ...]
    schedule: tuple[str, ...]
    limit: str


@dataclass(frozen=True)
class Unit:
    """A unit's file as it will be, and its difference from what is there."""

    path: str
    text: str
    change: Literal["none", "create", "update"]
    diff: tuple[str, ...] = ()


@dataclass(frozen=True)
class Timers:
    """`user` is whose units they are, empty for the system's; `installed`: they are there now, and the timer runs."""

    units: tuple[Unit, ...]
    user: str
    installed: bool = False


def planned(timer: Timer, user: str) -> Timers:
    """The units as they will be: root's are the system's, another user's are that user's own."""
    is_root = os.geteuid() == 0
    folder = SYSTEM if is_root else Path.home() / ".config/systemd/user"
    service = _SERVICE.format(
        description=timer.description,
        # Without it the system's services have no HOME, where SSH looks for keys.
        user="User=root\n" if is_root else "",
        command=" ".join(map(quoted, timer.command)),
        limit=timer.limit,
    )
    when = _TIMER.format(description=timer.description, schedule="\n".join(timer.schedule))
    texts = {f"{timer.name}.service": service, f"{timer.name}.timer": when}
    units = tuple(_unit(folder / name, text) for name, text in texts.items())
    return Timers(units, "" if is_root else user)


def quoted(word: str) -> str:
    """A word as systemd reads it back: `%`, `$` and `\\` are its own (systemd.service(5), command lines)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if escaped and not set(escaped) & set(" \t'\";") else f'"{escaped}"'


def install(timers: Timers) -> Timers:
    """Writes the units, and starts the timer. Raises HardwayError."""
    require_systemd()
    for unit in timers.units:
        write_file(Path(unit.path), unit.text.encode(), 0o644)
    _systemctl(timers, "daemon-reload")
    _systemctl(timers, "enable", "--now", *_timers(timers))
    return Timers(timers.units, timers.user, installed=True)


def remove(timers: Timers) -> Timers:
    """Stops the timer, and takes the units away. Raises HardwayError."""
    require_systemd()
    there = [Path(unit.path) for unit in timers.units if unit.change != "create"]
    if there:
        _systemctl(timers, "disable", "--now", *_timers(timers))
    for path in there:
        try:
            path.unlink()
        except OSError as error:
            raise WorkspaceError(f"{path}: {error.strerror}", hint="remove it by hand") from error
    _systemctl(timers, "daemon-reload")
    return timers


def require_systemd() -> None:
    """Raises HardwayError where there is none that would run a timer."""
    if not BOOTED.is_dir():
        raise HardwayError(
            "systemd does not run this computer, so there is nobody to run a timer",
            said="nothing was changed",
            hint="--print shows the units; cron can run the command in ExecStart",
        )


def _unit(path: Path, text: str) -> Unit:
    try:
        before = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Unit(str(path), text, "create")
    diff = difflib.unified_diff(before.splitlines(), text.splitlines(), "now", "then", lineterm="")
    return Unit(str(path), text, "none" if before == text else "update", tuple(diff))


def _timers(timers: Timers) -> list[str]:
    return [Path(unit.path).name for unit in timers.units if unit.path.endswith(".timer")]


def _systemctl(timers: Timers, *words: str) -> None:
    command: Sequence[str] = ("systemctl", *(("--user",) if timers.user else ()), *words)
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HardwayError(f"{' '.join(command)}: {error}", hint="the same command again goes on") from error
    if ran.returncode:
        raise HardwayError(
            f"{' '.join(command)} ended with {ran.returncode}",
            said=ran.stderr.strip() or None,
            hint="the same command again goes on once the cause is gone",
        )

"""systemd services: enabled, running, and running what is on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

from hardway.declare.resources.base import (
    Absent,
    Context,
    Difference,
    ManualStep,
    Observed,
    Present,
    Resource,
    Unknown,
    quote,
)
from hardway.declare.resources.group import Group

PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,MainPID,Result,NRestarts,"
    "ExecMainStartTimestamp,StateChangeTimestamp,Type"
)


@dataclass(frozen=True)
class Check:
    """A condition that a machine can ask itself.

    `script` is sh: status 0 means it holds; else what it printed says what is missing. It is
    asked every `every` seconds, for at most `limit` seconds.
    """

    what: str
    script: str
    limit: float = 60
    every: float = 0.25


def main_pid(unit: str) -> str:
    """The command that prints the unit's process; 0 where it has none."""
    return f"systemctl show -p MainPID --value {unit}"


def stays_up(unit: str) -> Check:
    """For units that say nothing themselves: a process that does not understand how it is started ends within a second,
    and systemd, which starts it again and again, calls it active in between.
    """
    pid = main_pid(unit)
    return Check(
        f"{unit.removesuffix('.service')} stays up",
        f'pid=$({pid}); systemctl is-active {unit} && sleep 1 && [ "$pid" = "$({pid})" ] && systemctl is-active {unit}',
        limit=30,
    )


@dataclass(frozen=True)
class Trial:
    """How a program tries what it is to be started with: `argv` has it read all of that, and serve nobody.

    It took all of it where it ends with status 0, or with an error that says `ends`, or where it goes on after it
    said `reaches`. Both are words of its output.
    """

    argv: tuple[str, ...]
    ends: str = ""
    reaches: str = ""


@dataclass(frozen=True)
class Running:
    """What `systemctl show` says of a unit. Times are seconds since the epoch, 0 when never."""

    active: str
    enabled: str
    pid: int
    started: float
    state_changed: float
    need_reload: bool
    restarts: int = 0

    @property
    def is_active(self) -> bool:
        return self.active in ("active", "reloading")


@dataclass(frozen=True)
class Service(Resource):
    """A unit that is enabled and active, and that runs what now is on disk.

    `inputs` are the paths whose change needs a restart (the unit file, its drop-in folder, its
    binary, configuration, certificates it does not read again); `reload_inputs` those that a reload
    takes up. Members of a `group` that serve are restarted one by one. `ready` must hold after a start.
    The first member of a group that is restarted makes its `trial` before.
    """

    kind: ClassVar[str] = "service"
    unit: str
    inputs: tuple[str, ...] = ()
    reload_inputs: tuple[str, ...] = ()
    group: Group | None = None
    ready: Check | None = None
    trial: Trial | None = None

    @property
    def name(self) -> str:
        return self.unit

    @property
    def check(self) -> Check:
        """What must hold after a start or a reload."""
        return self.ready or Check(f"{self.unit} runs", f"systemctl is-active {quote(self.unit)}")

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        # LC_ALL: the names of months and zones are parsed.
        units = quote(*(one.unit for one in wanted))
        return f"LC_ALL=C systemctl show --timestamp=us+utc -p {PROPERTIES} -- {units} || true"

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen: dict[str, Observed] = {}
        for paragraph in output.strip().split("\n\n"):
            fields = dict(line.partition("=")[::2] for line in paragraph.splitlines())
            if "Id" in fields:
                seen[f"service:{fields['Id']}"] = _read(fields)
        return {one.key: seen.get(one.key, Unknown("systemd did not answer")) for one in wanted}

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        """Only what the unit itself shows; `plan.py` adds what follows from its inputs."""
        if isinstance(observed, Unknown):
            return None
        if isinstance(observed, Absent):
            return Difference("start", "the unit is not there yet")
        running: Running = observed.value
        if not running.is_active:
            return Difference("start", f"is {running.active}")
        if running.need_reload:
            return Difference("restart", "its unit file changed after systemd read it", f"pid {running.pid}")
        if running.enabled != "enabled":
            return Difference("enable", f"is {running.enabled or 'not enabled'}: it would not come back after a reboot")
        return None

    def stale(self, running: Running, changed: Mapping[str, float]) -> Difference | None:
        """What follows when inputs have the given ctimes (seconds; infinity: changed in this plan)."""
        for path in self.inputs:
            if changed.get(path, 0) > running.started:
                return Difference("restart", f"{path} is newer than the process", f"pid {running.pid}")
        for path in self.reload_inputs:
            if changed.get(path, 0) > max(running.started, running.state_changed):
                return Difference("reload", f"{path} is newer than what the process read", f"pid {running.pid}")
        return None

    def steps(self, difference: Difference, context: Context) -> str:
        """All units of a chapter are enabled, and read by systemd, in one go before the first of these."""
        lines = []
        if difference.verb in ("start", "restart"):
            # A unit that gave up earlier must be allowed to start again.
            lines.append(f"systemctl reset-failed -- {quote(self.unit)} 2>/dev/null || true")
            lines.append(f"begin_unit restart {quote(self.unit)} {int(self.check.limit)}")
        elif difference.verb == "reload":
            lines.append(f"begin_unit reload {quote(self.unit)} {int(self.check.limit)}")
        return "\n".join(lines)

    def manual_steps(self) -> tuple[ManualStep, ...]:
        """Nobody waits at the first of several machines that start together: `ready` is asked afterwards."""
        return (ManualStep(quote("systemctl", "restart", "--no-block", self.unit)),)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        return {}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        unit = quote(name)
        return f"systemctl disable --now --quiet -- {unit} 2>/dev/null || systemctl stop -- {unit} 2>/dev/null || true"


def _read(fields: Mapping[str, str]) -> Observed:
    if fields.get("LoadState") == "not-found":
        return Absent()
    return Present(
        Running(
            active=fields.get("ActiveState", ""),
            enabled=fields.get("UnitFileState", ""),
            pid=int(fields.get("MainPID") or 0),
            started=seconds(fields.get("ExecMainStartTimestamp", "")),
            state_changed=seconds(fields.get("StateChangeTimestamp", "")),
            need_reload=fields.get("NeedDaemonReload") == "yes",
            restarts=int(fields.get("NRestarts") or 0),
        )
    )


def seconds(timestamp: str) -> float:
    """`Sat 2026-11-21 09:14:20.123456 UTC` as seconds since the epoch; 0 for an empty one."""
    parts = timestamp.split()
    if len(parts) != 4:
        return 0.0
    when = datetime.fromisoformat(f"{parts[1]} {parts[2]}").replace(tzinfo=UTC)
    return when.timestamp()

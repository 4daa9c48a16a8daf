"""What happens during a run, as values. The engine emits them; only `hardway/console/` prints them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["waiting", "running", "done", "unchanged", "failed"]


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class RunStarted(Event):
    command: str
    cluster: str
    machines: tuple[str, ...]
    phases: tuple[str, ...]


@dataclass(frozen=True)
class StepStarted(Event):
    """A part of the run that concerns all machines: `connect`, `observe`, `artifacts`, `upload`, a chapter."""

    step: str


@dataclass(frozen=True)
class StepFinished(Event):
    step: str
    seconds: float


@dataclass(frozen=True)
class MachineProgress(Event):
    """Where one machine is within a step or chapter."""

    machine: str
    step: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Transferred(Event):
    """Bytes of the step stream that one machine has taken."""

    machine: str
    sent: int
    total: int


@dataclass(frozen=True)
class ArtifactProgress(Event):
    """Getting one file: `done` and `total` are bytes (total 0: not known), or 0/1 for a build."""

    name: str
    action: Literal["download", "build", "copy", "compress", "ready"]
    done: int
    total: int


@dataclass(frozen=True)
class CommandRun(Event):
    """A script that ran on a machine, for `-v`."""

    machine: str
    what: str
    script: str
    seconds: float


@dataclass(frozen=True)
class Changed(Event):
    """One resource was made, changed, removed, started or restarted."""

    machine: str
    phase: str
    what: str
    verb: str
    why: str = ""


@dataclass(frozen=True)
class Proved(Event):
    """A proof or a trial with its evidence in one line; `why` says what it is good for."""

    machine: str
    phase: str
    what: str
    holds: bool
    evidence: str
    why: str = ""


@dataclass(frozen=True)
class Found(Event):
    """What preflight found on a machine; `rule` is the identifier of what was looked for, `fix` the next move."""

    machine: str
    rule: str
    level: Literal["warning", "error"]
    what: str
    fix: str


@dataclass(frozen=True)
class Failed(Event):
    """The error with which a command ended, whatever it was; nothing comes after it.

    `kind` is the error's class, `problems` an inventory's mistakes, `machines` each machine's part where several
    failed. `code` is the exit status.
    """

    kind: str
    what: str
    machine: str | None
    tried: str | None
    said: str | None
    hint: str | None
    code: int
    problems: tuple[str, ...] = ()
    machines: tuple["Failed", ...] = ()


@dataclass(frozen=True)
class Note(Event):
    """Something worth saying once."""

    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True)
class Told(Event):
    """A page that `walk` shows, as lines; `part` is which: `explain`, `plan`, `verify`, `hint`, `possible` …"""

    phase: str
    part: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Asked(Event):
    """`walk` waits for a line on standard input that begins with one of the answers, and may go on with words."""

    phase: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Walked(Event):
    """A chapter of a walk is behind: what was there already was `toured`."""

    phase: str
    how: Literal["applied", "typed", "skipped", "toured"]


@dataclass(frozen=True)
class RunFinished(Event):
    ok: bool
    changed: int
    restarted: int
    seconds: float
    next: tuple[str, ...] = field(default=())


Sink = Callable[[Event], None]


def discard(event: Event) -> None:
    """A sink for those who do not listen."""

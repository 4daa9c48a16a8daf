"""Units as systemd has them: their states, what their processes run with, and what they said last."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hardway.probe.script import Answers, Question

LINES = 40
"""Of a unit's journal."""
_PROPERTIES = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,MainPID,Job"


@dataclass(frozen=True)
class UnitState:
    """A unit as systemd has it. `args` are those of the running process, else those of its file.

    `status` is the exit status of its last process; `job` whether systemd is
    about to start or stop it; `journal` the last lines of its latest start.
    """

    load: str = ""
    active: str = ""
    sub: str = ""
    enabled: str = ""
    result: str = ""
    status: int = 0
    restarts: int = 0
    pid: int = 0
    job: bool = False
    args: tuple[str, ...] = ()
    journal: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        return self.active in ("active", "reloading")

    @property
    def is_up(self) -> bool:
        """Whether it runs, or is about to."""
        return self.runs or self.active == "activating"

    @property
    def stopped(self) -> bool:
        """Nobody wants it to run, or it is not there: systemd does not try."""
        return self.active == "inactive" and not self.job

    @property
    def state(self) -> str:
        """As `systemctl is-active` and more: `activating (auto-restart)`."""
        return f"{self.active} ({self.sub})" if self.sub and self.sub != self.active else self.active

    def flag(self, name: str) -> str | None:
        """The value of a flag; None where it is not given."""
        given = [arg.partition("=")[2] for arg in self.args if arg.startswith(f"--{name}=")]
        return given[-1] if given else None

    def said(self, *words: str) -> tuple[str, ...]:
        """The last two lines of its journal that hold one of these words."""
        sought = re.compile("|".join(map(re.escape, words)))
        return tuple(list(filter(sought.search, self.journal))[-2:])


def questions(units: Sequence[str]) -> tuple[Question, Question, Question]:
    """All about these units (names without `.service`)."""
    return states(units), _journals(units), args(units)


def states(units: Sequence[str]) -> Question:
    """What systemd has of them."""
    names = shlex.join([f"{unit}.service" for unit in units])
    return Question("units", f"systemctl show -p {_PROPERTIES} -- {names} 2>/dev/null")


def _journals(units: Sequence[str]) -> Question:
    return Question(
        "journal",
        f"for u in {shlex.join(units)}; do\n"
        "i=$(systemctl show -p InvocationID --value $u.service)\n"
        'echo "@$u"\n'
        f'[ -z "$i" ] || journalctl _SYSTEMD_INVOCATION_ID=$i + INVOCATION_ID=$i -n {LINES} -o cat --no-pager 2>&1\n'
        "done",
    )


def args(units: Sequence[str]) -> Question:
    """Of the process that runs; else of the unit's file, whose lines end in a backslash."""
    return Question(
        "args",
        f"for u in {shlex.join(units)}; do\n"
        "p=$(systemctl show -p MainPID --value $u.service)\n"
        'echo "@$u"\n'
        'if [ "${p:-0}" != 0 ] && [ -r /proc/$p/cmdline ]; then tr "\\0" "\\n" </proc/$p/cmdline\n'
        "else sed -n '/^ExecStart=/,/[^\\\\]$/p' /etc/systemd/system/$u.service 2>/dev/null "
        "| sed -e 's/^ExecStart=//' -e 's/ *\\\\$//' -e 's/^ *//'; fi\ndone",
    )


def parse_args(answers: Answers) -> dict[str, tuple[str, ...]]:
    """By unit, the program first. A unit's file has several on a line where somebody wrote them so."""
    return {name: tuple(" ".join(lines).split()) for name, lines in blocks(answers["args"].output)}


def parse(answers: Answers) -> dict[str, UnitState]:
    """The units that systemd told of, by name; also those that are not there."""
    journals = dict(blocks(answers["journal"].output))
    args = parse_args(answers)
    found = {}
    for block in answers["units"].output.split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        name = fields.get("Id", "").removesuffix(".service")
        if name:
            found[name] = UnitState(
                load=fields.get("LoadState", ""),
                active=fields.get("ActiveState", ""),
                sub=fields.get("SubState", ""),
                enabled=fields.get("UnitFileState", ""),
                result=fields.get("Result", ""),
                status=_number(fields, "ExecMainStatus"),
                restarts=_number(fields, "NRestarts"),
                pid=_number(fields, "MainPID"),
                job=_number(fields, "Job") != 0,
                args=args.get(name, ()),
                journal=tuple(line.rstrip() for line in journals.get(name, ()) if line.strip()),
            )
    return found


def blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Parts that begin with a line `@NAME`, and their other lines."""
    for block in f"\n{text}".split("\n@")[1:]:
        name, *rest = block.splitlines() or [""]
        yield name, rest


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    return int(text) if text.isdigit() else 0

"""What keeps a run from beginning, as values: `plan` prints them, and a run raises them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hardway.engine.pending import Pending, in_inventory, in_words
from hardway.errors import HardwayError
from hardway.inventory.model import Machine
from hardway.rules import Finding
from hardway.values import OPERATOR

LIFTED_BY_ADOPTING = frozenset({"conflict", "unmanaged-cluster"})
"""Kinds of blockers that `--adopt` answers."""


@dataclass(frozen=True)
class Blocker:
    """One obstacle. `kind` is fixed and short, for programs; `machine` is empty where it concerns none alone.

    `what` is the cause in one sentence, `said` what was seen, `hint` the next move; `command` does it, where one does.
    """

    kind: str
    what: str
    machine: str = ""
    said: str = ""
    hint: str = ""
    command: str = ""
    subjects: tuple[str, ...] = ()
    """Paths or keys, where it is about several."""


class Blocked(HardwayError):
    """A run may not begin, and nothing was changed."""

    def __init__(self, blockers: Sequence[Blocker]) -> None:
        self.blockers = tuple(blockers)
        merged = alike(blockers)
        if len(merged) == 1:
            [one] = merged
            super().__init__(one.what, machine=one.machine or None, said=one.said or None, hint=one.hint or None)
            return
        lines: list[str] = []
        for one in merged:
            lines.append(f"{one.machine}: {one.what}" if one.machine else one.what)
            lines += [f"  {line}" for line in (*one.said.splitlines(), *one.hint.splitlines())]
        super().__init__(
            f"{len(merged)} things block this run; nothing was changed", said="\n".join(lines), hint="hardway plan"
        )


def alike(blockers: Sequence[Blocker]) -> list[Blocker]:
    """Blockers that are the same but for their machine as one, with all machines' names."""
    machines: dict[Blocker, list[str]] = {}
    for one in blockers:
        machines.setdefault(replace(one, machine=""), []).append(one.machine)
    return [replace(one, machine=", ".join(filter(None, names))) for one, names in machines.items()]


def require(blockers: Sequence[Blocker]) -> None:
    """Raises Blocked where there is any."""
    if blockers:
        raise Blocked(blockers)


def of_error(kind: str, error: HardwayError) -> Blocker:
    return Blocker(kind, error.what, error.machine or "", error.said or "", error.hint or "")


def of_pending(one: Pending, inventory: str) -> Blocker:
    """`inventory` is its path: most wishes are taken back there."""
    what, back = in_words(one)
    machine = "" if in_inventory(one) else one.subject
    hint = f"Run: {one.command}" if one.command else f"{back} ({inventory})"
    if one.kind == "address":  # it may be a slip of the pen as well
        hint = f"{back} ({inventory})"
    if one.kind == "new-controller" and one.command:
        hint += f"; or take {one.subject} out of {inventory}"
    return Blocker(f"pending:{one.kind}", what, machine, hint=hint, command=one.command)


def of_finding(one: Finding) -> Blocker:
    """A rule across artifacts that found an error."""
    machine = "" if one.machine == OPERATOR else one.machine
    return Blocker(f"lint:{one.rule}", one.what, machine, one.why, one.fix)


def as_root(machine: Machine, command: str) -> str:
    """A command to be typed here that runs there: with sudo, unless the login user is known to be root."""
    return f"hardway ssh {machine.name} -- {command if machine.ssh.sudo == 'never' else f'sudo {command}'}"

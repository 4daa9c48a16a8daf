"""What verify found, as a person reads it: a line for each proof with its evidence, then what differs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from hardway.console.words import counted, duration, machines, typed, wrapped
from hardway.declare.phases import PHASE_NAMES
from hardway.events import Proved
from hardway.preview.page import command, counts, plan_page
from hardway.verify.verification import Verification

_DEEP = " " * 6


def verify_page(
    found: Verification, *, seconds: float, width: int = 80, verbose: bool = False, given: str = ""
) -> list[str]:
    """All of it, within the width but for commands. `given` is what commands repeat."""
    lines: list[str] = []
    for phase in PHASE_NAMES:
        mine = [one for one in found.proofs if one.phase == phase]
        if mine:
            lines += [*_phase(phase, mine, found.plan.machines, width, verbose), ""]
    plan = found.plan
    if plan.items or plan.unobserved or plan.unknown or plan.blockers or plan.findings:
        lines += plan_page(found.plan, seconds=seconds, width=width, following=False)
        lines.append("")
    return [*lines, *_end(found, seconds, width, given)]


def _phase(name: str, proofs: Sequence[Proved], everybody: Sequence[str], width: int, verbose: bool) -> list[str]:
    held = sum(one.holds for one in proofs)
    lines = [f"{name}  {held} of {len(proofs)}" if held < len(proofs) else f"{name}  {held}"]
    alike: dict[str, list[str]] = {}
    for one in proofs:
        if one.holds:
            text = one.what if one.evidence == "yes" else f"{one.what}: {one.evidence}"
            alike.setdefault(f"{one.machine}: {text}" if verbose else text, []).append(one.machine)
    for text, names in alike.items():
        line = f"  ok  {machines(names, everybody)}: {text}"
        lines += wrapped("  ok  ", text, width, _DEEP) if verbose else [_cut(line, width)]
    for one in proofs:
        if not one.holds:
            lines += wrapped("  NO  ", f"{one.machine}: {one.what}: {one.evidence}", width, _DEEP)
            lines += wrapped(_DEEP, f"why it matters: {one.why}", width, _DEEP) if one.why else []
    return lines


def _end(found: Verification, seconds: float, width: int, given: str) -> list[str]:
    plan = found.plan
    held, count = len(found.proofs) - len(found.failed), len(found.proofs)
    seen = len(plan.machines) - len(plan.unobserved)
    proofs = counted(held, "proof holds", "proofs hold") if held == count else f"{held} of {count} proofs hold"
    machines = f"{counted(seen, 'machine')} as declared"
    if plan.items:
        differing = len({one.machine for one in plan.items})
        machines = f"{differing} of {counted(seen, 'machine')} differing: {counts(plan).removesuffix('.')}"
    unasked = f" {counted(found.unasked, 'proof')} could not be asked." if found.unasked else ""
    head = f"{proofs}; {machines} ({duration(seconds)}).{unasked}"
    return [*textwrap.wrap(head, width), *_next(found, given)]


def _next(found: Verification, given: str) -> list[str]:
    if found.plan.unobserved:
        names = ",".join(one.machine for one in found.plan.unobserved)
        return ["", "Next", f"  {typed(f'hardway preflight -l {names}', given)}"]
    if found.plan.items:
        return ["", f"Put it right:  {typed(command(found.plan), given)}"]
    if found.failed:
        logs = typed(f"hardway logs {found.failed[0].machine}", given)
        return ["", f"Nothing differs, so look at what runs:  {logs}"]
    return []


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1] + "…"

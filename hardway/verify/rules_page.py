"""What the rules across artifacts found, as a person reads it: what is alike on several machines once."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from hardway.console.words import counted, duration, machines, typed, with_commands, wrapped
from hardway.rules import Finding
from hardway.values import OPERATOR
from hardway.verify.agreement import Agreement

_DEEP = " " * 9


def rules_page(
    found: Agreement, *, seconds: float, width: int = 80, verbose: bool = False, given: str = "", again: str = ""
) -> list[str]:
    """All of it, within the width but for commands; `verbose`: with what was looked at on each machine.

    `given` is what commands repeat; `again` the command that looks once more at what is by hand.
    """
    lines: list[str] = []
    alike: dict[Finding, list[str]] = {}
    for one in found.findings:
        alike.setdefault(_elsewhere(one), []).append(one.machine)
    for finding, names in alike.items():
        lines += [*_finding(finding, machines(names, (*found.machines, OPERATOR)), width), ""]
    for name, what in found.saw.items() if verbose or found.made == "by hand" else ():
        lines += wrapped("saw      ", f"{name}: {what or 'nothing of a cluster yet'}", width, _DEEP)
    for unknown in found.unknown:
        lines += wrapped("unknown   ", f"{unknown.machine}: {unknown.what}: {unknown.why}", width, _DEEP)
    for gone in found.unobserved:
        lines += wrapped("not seen ", f"{gone.machine}: {gone.what}", width, _DEEP)
        lines += wrapped(_DEEP, gone.hint, width, _DEEP) if gone.hint else []
    if lines and lines[-1]:
        lines.append("")
    return [*lines, *_end(found, seconds, width), *_next(found, given, again)]


def finding_lines(one: Finding, width: int) -> list[str]:
    """What preflight found, and its fix."""
    head = f"{one.level:<9}"
    return [
        *wrapped(head, f"{one.machine}: {one.what}", width, " " * len(head)),
        *with_commands(" " * len(head), one.fix, width),
    ]


def _elsewhere(one: Finding) -> Finding:
    """The finding without its machine, by which it is known on others."""
    return replace(one, machine="")


def _finding(one: Finding, who: str, width: int) -> list[str]:
    return [
        f"{one.level:<8} {one.rule}  {who}",
        *wrapped(_DEEP, one.what, width, _DEEP),
        *wrapped("  why    ", one.why, width, _DEEP),
        *(wrapped("  met in ", one.symptom, width, _DEEP) if one.symptom else []),
        *wrapped("  fix    ", one.fix, width, _DEEP),
    ]


def _end(found: Agreement, seconds: float, width: int) -> list[str]:
    rules = counted(len(found.rules), "rule")
    seen = counted(len(found.machines), "machine") if found.machines else "this computer"
    where = "before any contact" if found.made == "declared" else "as they are"
    head = f"{rules} across the artifacts of {seen}, {where} ({duration(seconds)}): {_counts(found)}."
    return textwrap.wrap(head, width)


def _counts(found: Agreement) -> str:
    errors, warnings = len(found.errors), len(found.findings) - len(found.errors)
    parts = [counted(count, noun) for count, noun in ((errors, "error"), (warnings, "warning")) if count]
    return ", ".join(parts) or "nothing found"


def _next(found: Agreement, given: str, again: str) -> list[str]:
    if found.unobserved:
        names = ",".join(one.machine for one in found.unobserved)
        return ["", "Next", f"  {typed(f'hardway preflight -l {names}', given)}"]
    if found.made == "by hand":
        return ["", f"Fixed?  {typed(again, given)}"] if found.findings else []
    if found.errors:
        return ["", "hardway init refuses to begin while there are errors."]
    return ["", f"What would it change?  {typed('hardway plan', given)}"]

"""A diagnosis as a person reads it: cause, evidence, fix; then what follows from it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from hardway.console.words import counted, duration, hanging, machines, typed
from hardway.doctor.diagnosis import Cause
from hardway.doctor.doctor import Diagnosis

_DEEP = " " * 4
_EVIDENCE = 12
"""Lines of evidence that are shown of one cause; all of them are in `-o json`."""


def doctor_page(found: Diagnosis, *, seconds: float, width: int = 80, given: str = "") -> list[str]:
    """All of it, within the width but for commands. `given` is what commands repeat."""
    lines: list[str] = []
    for number, cause in enumerate(found.causes):
        if number == 1:
            lines += ["Also wrong, for itself:", ""]
        lines += [*_cause(cause, found, width, given), ""]
    lines += _failed(found, width)
    return [*lines, *_end(found, seconds, width, given)]


def _cause(cause: Cause, found: Diagnosis, width: int, given: str) -> list[str]:
    who = machines(cause.machines, found.machines)
    lines = hanging(f"{who}: ", cause.what, width, "  ")
    lines += hanging(f"{_DEEP}why it matters  ", cause.why, width, " " * 20)
    for line in cause.evidence[:_EVIDENCE]:
        lines += hanging(f"{_DEEP}| ", line, width, f"{_DEEP}| ")
    if len(cause.evidence) > _EVIDENCE:
        lines.append(f"{_DEEP}| … {len(cause.evidence) - _EVIDENCE} more in -o json")
    if cause.follows:
        for number, one in enumerate(cause.follows):
            head = f"{_DEEP}follows from it " if number == 0 else " " * 20
            lines += hanging(head, f"{machines(one.machines, found.machines)}: {one.what}", width, " " * 20)
    lines += ["", "  Fix", *(f"{_DEEP}{typed(command, given)}" for command in cause.fix)]
    return lines


def _failed(found: Diagnosis, width: int) -> list[str]:
    if not found.failed:
        return []
    lines = ["No known cause; these proofs do not hold:", ""]
    for one in found.failed:
        lines += hanging(f"  {one.machine}: ", f"{one.what}: {one.evidence}", width, _DEEP)
    return [*lines, ""]


def _end(found: Diagnosis, seconds: float, width: int, given: str) -> list[str]:
    looked = f"{counted(len(found.looked), 'machine')} of {len(found.machines)}"
    head = f"{looked} checked for {found.rules} known causes in {duration(seconds)}, nothing changed."
    if found.causes:
        again = f"Then look again:  {typed('hardway doctor', given)}"
        return [*textwrap.wrap(head, width), again]
    asked = f"{found.asked - len(found.failed)} of {counted(found.asked, 'proof')} hold."
    if found.failed:
        logs = typed(f"hardway logs {found.failed[0].machine}", given)
        return [*textwrap.wrap(f"{head} {asked}", width), f"Logs:  {logs}"]
    where = (
        "Units, journals, ports, disks, clocks, swap, kernel settings, routes, firewalls, resolvers, names, "
        "certificates, keys, etcd, API servers, images, nodes and CoreDNS were checked."
    )
    return ["Nothing is wrong that is known to go wrong.", "", *textwrap.wrap(f"{head} {asked} {where}", width)]


def faults_page(faults: Sequence[tuple[str, str, str]], width: int = 80) -> list[str]:
    """Name, role and summary of each fault that a lab can be given."""
    lines = []
    for name, role, summary in faults:
        lines += hanging(f"{name:<21}{role:<14} ", summary, width, " " * 36)
    return [*lines, "", "Break it:  hardway lab break NAME   then find it:  hardway doctor"]

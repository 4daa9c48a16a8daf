"""From findings to a diagnosis: causes in the order in which they are to be fixed, each with what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from hardway.rules import LAYERS, Finding, Rule


@dataclass(frozen=True)
class Cause:
    """What is wrong on these machines. `evidence` is what they said, `fix` commands; both a line each.

    `follows` are findings that this one explains.
    """

    id: str
    machines: tuple[str, ...]
    what: str
    evidence: tuple[str, ...]
    fix: tuple[str, ...]
    why: str
    follows: tuple[Cause, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def diagnose(findings: Sequence[Finding], rules: Iterable[Rule]) -> tuple[Cause, ...]:
    """The causes, that of the lowest layer first; what another finding explains is listed with its root."""
    known = {rule.id: rule for rule in rules}
    order = {name: number for number, name in enumerate(known)}

    def rank(finding: Finding) -> tuple[int, int]:
        return LAYERS.index(known[finding.rule].layer), order[finding.rule]

    ranked = sorted(findings, key=rank)
    followers: dict[int, list[Finding]] = {}
    for number, finding in enumerate(ranked):
        root = _root(number, ranked, known)
        followers.setdefault(root, [])
        if root != number:
            followers[root].append(finding)
    groups: dict[tuple[str, str], list[int]] = {}
    for number in followers:
        groups.setdefault((ranked[number].rule, ranked[number].what), []).append(number)
    causes: list[Cause] = []
    for numbers in groups.values():
        roots = [ranked[number] for number in numbers]
        follows = [*chain.from_iterable(followers[number] for number in numbers)]
        causes.append(_cause(roots, _together(follows)))
    return tuple(causes)


def _root(number: int, findings: Sequence[Finding], rules: Mapping[str, Rule]) -> int:
    """The finding from which this one follows in the end; itself where none explains it."""
    trail = [number]
    while True:
        before = next(
            (other for other in range(len(findings))
             if other not in trail and _explains(findings[other], findings[trail[-1]], rules)),
            None,
        )  # fmt: skip
        if before is None:
            return trail[-1]
        trail.append(before)


_RUN = "hardway apply "


def _explains(one: Finding, other: Finding, rules: Mapping[str, Rule]) -> bool:
    rule = rules[one.rule]
    if one.rule == other.rule:
        return False
    if rule.refuses and all(line.startswith(_RUN) for line in other.fix.splitlines()):
        return True
    return other.rule in rule.reaches or (other.rule in rule.explains and one.machine == other.machine)


def _together(findings: Sequence[Finding]) -> tuple[Cause, ...]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.rule, one.what), []).append(one)
    return tuple(_cause(group) for group in groups.values())


def _cause(group: Sequence[Finding], follows: tuple[Cause, ...] = ()) -> Cause:
    machines = tuple(dict.fromkeys(one.machine for one in group))
    evidence: dict[str, None] = {}
    fix: dict[str, None] = {}
    for one in group:
        head = f"{one.machine}: " if len(machines) > 1 else ""
        evidence |= dict.fromkeys(f"{head}{line}" for line in one.evidence)
        fix |= dict.fromkeys(one.fix.splitlines())
    first = group[0]
    return Cause(first.rule, machines, first.what, tuple(evidence), tuple(fix), first.why, follows)

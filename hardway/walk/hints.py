"""What keeps a chapter from being done, as hints that say more each time: where, then what, then how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hardway.engine.plan import Plan
from hardway.events import Proved
from hardway.explain.shell import commands
from hardway.inventory.model import Cluster
from hardway.preview.items import Item
from hardway.values import OPERATOR
from hardway.verify.verification import Verification


@dataclass(frozen=True)
class Hint:
    """`about` is what two hints of the same thing have in common, however often it was looked at.

    `how` are lines as they are typed or read: a diff, commands, a question to the machine.
    """

    about: str
    machines: tuple[str, ...]
    where: str
    what: str
    how: tuple[str, ...]


def hints(found: Verification, seen: Plan, cluster: Cluster) -> tuple[Hint, ...]:
    """What to look at, in the order of doing; none when all is as declared and every proof holds."""
    return (
        *_unobserved(found),
        *_refused(found),
        *_differing(found, seen, cluster),
        *_unknown(found),
        *(_failing(one, seen) for one in found.failed),
    )


def _unobserved(found: Verification) -> Iterator[Hint]:
    for one in found.plan.unobserved:
        how = (one.hint,) if one.hint else ()
        yield Hint(f"machine {one.machine}", (one.machine,), "it could not be checked", f"{one.what} {one.why}", how)


def _refused(found: Verification) -> Iterator[Hint]:
    for one in found.plan.refusals:
        yield Hint(one.what, (one.machine,) if one.machine else (), one.what, one.said or one.what, (one.hint,))


def _differing(found: Verification, seen: Plan, cluster: Cluster) -> Iterator[Hint]:
    """What is simply not there is one hint for all machines that lack it."""
    alike: dict[tuple[str, ...], list[Item]] = {}
    for item in found.plan.items:
        mark: tuple[str, ...] = (
            (item.key, item.verb) if item.verb in ("create", "start") else (item.key, item.verb, item.machine)
        )
        alike.setdefault(mark, []).append(item)
    for mark, items in alike.items():
        first = items[0]
        names = tuple(item.machine for item in items)
        yield Hint(" ".join(mark), names, _named(first), _what(first), tuple(_how(first, names, seen, cluster)))


_KINDS = {
    "file": "", "operator-file": "", "binary": "", "directory": "", "service": "", "certificate": "", "key": "",
    "workspace-file": "", "public-key": "", "random": "", "objects": "objects of the API: ", "module": "kernel module ",
    "block": "a block in ",
}  # fmt: skip


def _named(item: Item) -> str:
    return f"{_KINDS.get(item.kind, f'{item.kind} ')}{item.name}"


def _what(item: Item) -> str:
    if item.evidence:
        return "; ".join(item.evidence)
    if item.diff:
        return f"its content is not what is declared: {_changed(item)} lines differ"
    return {
        "create": "it is not there",
        "start": "it does not run",
        "enable": "it would not come back after a reboot",
        "delete": "it is there, and nothing declares it any more",
    }.get(item.verb, f"{item.before or 'nothing'} is there, {item.after or 'something else'} is wanted")


def _changed(item: Item) -> int:
    return sum(line[:1] in ("+", "-") and line[:3] not in ("+++", "---") for line in item.diff)


def _how(item: Item, machines: Sequence[str], seen: Plan, cluster: Cluster) -> Iterator[str]:
    """A diff where there is one, else what a person types for that one thing."""
    if item.diff:
        yield from item.diff
        return
    if item.before and item.after and not item.before.startswith("sha256:"):
        yield f"is:      {item.before}"
        yield f"becomes: {item.after}"
    declared = seen.declaration
    local = [one for of, one in declared.local if of == item.phase and one.key == item.key]
    if item.machine == OPERATOR:
        yield from commands(cluster, declared, item.phase, [], local)
        return
    placed = [one for one in declared.placed if one.resource.key == item.key and one.machine in machines]
    yield from commands(cluster, declared, item.phase, placed, [])


def _unknown(found: Verification) -> Iterator[Hint]:
    for one in found.plan.unknown:
        yield Hint(
            f"unknown {one.machine} {one.what}", (one.machine,), one.what, f"it could not be checked: {one.why}", ()
        )


def _failing(one: Proved, seen: Plan) -> Hint:
    """The question itself, so that it can be asked by hand."""
    queries = [
        proof.query
        for phase, proof in seen.declaration.proofs
        if (phase, proof.machine, proof.name) == (one.phase, one.machine, one.what)
    ]
    why = f"; it matters since {one.why}" if one.why else ""
    how = ("# asked there, as root:", *queries[0].splitlines()) if queries else ()
    return Hint(
        f"proof {one.machine} {one.what}",
        (one.machine,),
        f"the proof «{one.what}»",
        f"came back: {one.evidence}{why}",
        how,
    )

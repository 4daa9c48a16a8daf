"""A plan as a person or a program reads it: its changes with evidence, what speaks against it, and its identifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hardway.artifacts.lock import Entry
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.resources import Binary, Block, File, Present, Resource, Service, Unknown
from hardway.engine.blockers import LIFTED_BY_ADOPTING, Blocker
from hardway.engine.changes import Change, by_machine
from hardway.engine.observe import View
from hardway.engine.plan import Plan, Roll
from hardway.engine.resolver import Delivery
from hardway.engine.session import Session
from hardway.errors import DIFFERS, FAILED, OK, HardwayError
from hardway.preview import evidence
from hardway.preview.evidence import Details
from hardway.preview.items import Item, Teller
from hardway.rules import Finding

_OURS = (File, Binary, Block, Service)
"""Kinds that nobody has by chance: a package or a kernel setting may have been there before."""


@dataclass(frozen=True)
class Unobserved:
    """A machine, or one thing on it, that could not be checked."""

    machine: str
    what: str
    why: str
    hint: str = ""


@dataclass(frozen=True)
class Preview:
    """`limited`: not all machines were asked for; `initialized`: there is a cluster already.

    `blockers` are what a run would stop at; `findings` only warn. By machine, `unmanaged` is what is as declared,
    though hardway did not put it there. `unknown` are single things and `unobserved` whole machines that could not be
    looked at; `to_get` names files of which no digest is accepted yet. `rolls` are groups whose members are restarted
    one after the other, in order. `deep`: every file was read, whatever the journals know.
    """

    cluster: str
    machines: tuple[str, ...]
    limited: bool
    phases: tuple[str, ...]
    initialized: bool
    items: tuple[Item, ...]
    blockers: tuple[Blocker, ...]
    unmanaged: Mapping[str, tuple[str, ...]]
    unknown: tuple[Unobserved, ...]
    unobserved: tuple[Unobserved, ...]
    to_get: tuple[str, ...]
    rolls: tuple[Roll, ...]
    identifier: str
    findings: tuple[Finding, ...] = ()
    deep: bool = False
    adopt: bool = False
    delivery: Delivery | None = None
    """How binaries get to the machines; None where none changes."""

    @property
    def whole(self) -> bool:
        """Whether it is of all that `init` does."""
        return not self.limited and set(self.phases) == set(PHASE_NAMES)

    @property
    def refusals(self) -> tuple[Blocker, ...]:
        """The blockers that `--adopt` does not lift."""
        return tuple(one for one in self.blockers if one.kind not in LIFTED_BY_ADOPTING)

    @property
    def conflicts(self) -> Mapping[str, tuple[str, ...]]:
        """Paths that would be overwritten though hardway did not put them there, by machine."""
        return {one.machine: one.subjects for one in self.blockers if one.kind == "conflict"}

    @property
    def touched(self) -> tuple[str, ...]:
        """The machines that would change, in the inventory's order."""
        having = {item.machine for item in self.items}
        return tuple(name for name in self.machines if name in having)

    @property
    def touched_phases(self) -> tuple[str, ...]:
        having = {item.phase for item in self.items}
        return tuple(name for name in PHASE_NAMES if name in having)

    @property
    def exit_code(self) -> int:
        """1 where something blocks, or could not be checked; 3 where all was seen and it differs."""
        if self.blockers or self.unobserved:
            return FAILED
        if self.items:
            return DIFFERS
        return FAILED if self.unknown else OK

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preview(session: Session, plan: Plan, machines: Sequence[str], lock: Sequence[Entry]) -> Preview:
    """Reads what shows that something differs, one script a machine that changes, and puts the plan into items.

    `machines` are all that were asked for, whether they were seen or not.
    """
    changes = by_machine(plan.changes)
    details = session.each(
        [name for name in plan.views if name in changes],
        lambda name: _details(session, name, changes[name], plan.views[name]),
    )
    return Preview(
        cluster=plan.cluster.name,
        machines=tuple(machines),
        limited=len(machines) < len(plan.cluster.machines),
        phases=plan.phases,
        initialized=plan.serves,
        items=tuple(Teller(plan, details, lock).items()),
        # Where nobody was seen, that is in the way, and nothing else.
        blockers=plan.blockers if plan.views else (),
        unmanaged=_unmanaged(plan),
        unknown=tuple(_unknown(plan)),
        unobserved=tuple(_unobserved(name, error) for name, error in plan.failures.items()),
        to_get=plan.to_get,
        rolls=plan.rolls,
        identifier=plan.identifier,
        findings=plan.findings,
        deep=session.deep,
        adopt=plan.selection.adopt,
        delivery=plan.delivery,
    )


def _details(session: Session, name: str, changes: Sequence[Change], view: View) -> Details:
    wanted = evidence.wanted(changes, view)
    if not wanted:
        return Details()
    try:
        return evidence.read(wanted, session.ask(name, evidence.questions(wanted), what="read what differs"))
    except HardwayError:
        return Details()  # It was lost in between: what differs is known, and is shown without its evidence.


def _unobserved(name: str, error: HardwayError) -> Unobserved:
    return Unobserved(name, error.what, error.said or "", error.hint or "")


def _unmanaged(plan: Plan) -> dict[str, tuple[str, ...]]:
    changing = {(change.machine, change.key) for change in plan.changes}
    found: dict[str, tuple[str, ...]] = {}
    for name, view in plan.views.items():
        keys: list[str] = []
        for placed in plan.declaration.on(name):
            key = placed.resource.key
            if placed.phase not in plan.phases or (name, key) in changing:
                continue
            if _is_unmanaged(placed.resource, view.journal.entries, view.observed):
                keys.append(key)
        if keys:
            found[name] = tuple(keys)
    return found


def _is_unmanaged(resource: Resource, entries: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    if not isinstance(resource, _OURS) or resource.key in entries:
        return False
    return isinstance(observed.get(resource.key), Present)


def _unknown(plan: Plan) -> Iterator[Unobserved]:
    for name, view in plan.views.items():
        for placed in plan.declaration.on(name):
            seen = view.observed.get(placed.resource.key)
            if placed.phase in plan.phases and isinstance(seen, Unknown):
                yield Unobserved(name, placed.resource.key, seen.why)

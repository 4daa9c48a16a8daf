"""One look at the machines that changes nothing, takes no lock, and puts up with machines that do not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases.base import Model
from hardway.declare.resources import Context
from hardway.engine.adopt import inferred
from hardway.engine.plan import Change, View, differences
from hardway.engine.resolver import Resolver
from hardway.engine.session import Session, new_nonce, observe
from hardway.errors import HardwayError
from hardway.preview import evidence
from hardway.preview.evidence import Details
from hardway.preview.foresight import ToMake, foreseen, judged, objections
from hardway.state import State, pending


@dataclass(frozen=True)
class Survey:
    """What was seen, and what a run of these chapters would change.

    `state` is the one known, or that of a cluster which lives there without anybody's note of it;
    `operator` is what lies in the workspace now; `failures` has the machines that were not seen.
    """

    declaration: Declaration
    state: State
    phases: tuple[str, ...]
    views: Mapping[str, View]
    contexts: Mapping[str, Context]
    changes: tuple[Change, ...]
    to_make: tuple[ToMake, ...]
    operator: Mapping[str, bytes]
    details: Mapping[str, Details]
    pending: tuple[str, ...]
    objections: tuple[HardwayError, ...]
    failures: Mapping[str, HardwayError]
    now: datetime


def survey(
    session: Session,
    state: State,
    phases: Sequence[str],
    resolver: Resolver,
    unreached: Mapping[str, HardwayError],
) -> Survey:
    """Looks at every machine of the session: one script, and a second one where something differs."""
    declaration = _declaration(session, state, phases, resolver)
    views, failures = _views(session, declaration)
    found = foresee(session, state, phases, resolver, views)
    details = session.each(
        [name for name in views if any(change.machine == name for change in found.changes)],
        lambda name: _details(session, name, found),
    )
    return replace(found, details=details, failures={**unreached, **failures})


def foresee(
    session: Session,
    state: State,
    phases: Sequence[str],
    resolver: Resolver,
    views: Mapping[str, View],
) -> Survey:
    """What follows from machines that were seen; they are asked more only where an unknown cluster lives on them."""
    state = inferred(session, state, views)
    declaration = _declaration(session, state, phases, resolver)
    now = datetime.now(UTC)
    there = session.workspace.values()
    operator = judged(declaration, there, phases, now)
    accepted = {arch: resolver.accepted(arch) for arch in {view.facts.arch for view in views.values()}}
    contexts = {
        name: Context(
            machine=name,
            values={**operator.values, **view.facts.placeholders},
            accepted=accepted[view.facts.arch],
            noted=view.journal.entries,
        )
        for name, view in views.items()
    }

    def chosen(change: Change) -> bool:
        return change.phase in phases

    changes = [
        change
        for name, view in views.items()
        for change in differences(declaration.on(name), view, contexts[name], chosen)
    ]
    return Survey(
        declaration=declaration,
        state=state,
        phases=tuple(phases),
        views=views,
        contexts=contexts,
        changes=tuple(changes),
        to_make=operator.to_make,
        operator=there,
        details={},
        pending=tuple(pending(session.cluster, state)),
        objections=tuple(objections(session, state, declaration, views, phases, operator.to_make)),
        failures={},
        now=now,
    )


def _declaration(session: Session, state: State, phases: Sequence[str], resolver: Resolver) -> Declaration:
    return declare(Model(session.cluster, foreseen(state, phases), resolver.versions))


def _views(session: Session, declaration: Declaration) -> tuple[dict[str, View], dict[str, HardwayError]]:
    def look(name: str) -> View | HardwayError:
        try:
            return observe(session, declaration, [name])[name]
        except HardwayError as error:
            return error

    # Connections come as they are made; what is shown has the inventory's order.
    looked = session.each([one.name for one in session.cluster.machines if one.name in session.machines], look)
    views = {name: one for name, one in looked.items() if isinstance(one, View)}
    return views, {name: one for name, one in looked.items() if isinstance(one, HardwayError)}


def _details(session: Session, name: str, found: Survey) -> Details:
    mine = [change for change in found.changes if change.machine == name]
    wanted = evidence.wanted(mine, found.views[name])
    if not wanted:
        return Details()
    nonce = new_nonce()
    try:
        answer = session.run(name, evidence.script(wanted, nonce), what="read what differs", check=False)
    except HardwayError:
        return Details()  # It was lost in between: what differs is known, and is told without its evidence.
    return evidence.parse(answer.stdout, nonce)

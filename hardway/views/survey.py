"""One look at the machines that changes nothing, takes no lock, and puts up with machines that do not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hardway.errors import HardwayError
from hardway.phases.base import Model
from hardway.plan import Change, Declaration, View, declare, differences
from hardway.resources import Context
from hardway.session import Session, new_nonce, observe
from hardway.state import State, pending
from hardway.supply import Supply
from hardway.takeover import inferred
from hardway.views import evidence
from hardway.views.evidence import Details
from hardway.views.foresight import ToMake, foreseen, judged, objections


@dataclass(frozen=True)
class Survey:
    """What was seen, and what a run of these chapters would change.

    `state` is the one known, or that of a cluster which lives there without anybody's note of it;
    `operator` is what lies in the workspace now; `failures` has the machines that were not seen.
    """

    declaration: Declaration
    state: State
    chapters: tuple[str, ...]
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
    chapters: Sequence[str],
    supply: Supply,
    unreached: Mapping[str, HardwayError],
) -> Survey:
    """Looks at every machine of the session: one script, and a second one where something differs."""
    declaration = _declaration(session, state, chapters, supply)
    views, failures = _views(session, declaration)
    found = foresee(session, state, chapters, supply, views)
    details = session.each(
        [name for name in views if any(change.machine == name for change in found.changes)],
        lambda name: _details(session, name, found),
    )
    return replace(found, details=details, failures={**unreached, **failures})


def foresee(
    session: Session,
    state: State,
    chapters: Sequence[str],
    supply: Supply,
    views: Mapping[str, View],
) -> Survey:
    """What follows from machines that were seen; they are asked more only where an unknown cluster lives on them."""
    state = inferred(session, state, views)
    declaration = _declaration(session, state, chapters, supply)
    now = datetime.now(UTC)
    there = session.workspace.values()
    operator = judged(declaration, there, chapters, now)
    accepted = {arch: supply.accepted(arch) for arch in {view.facts.arch for view in views.values()}}
    contexts = {
        name: Context(
            machine=name,
            values={**operator.values, **view.facts.holes},
            accepted=accepted[view.facts.arch],
            noted=view.ledger.entries,
        )
        for name, view in views.items()
    }

    def chosen(change: Change) -> bool:
        return change.chapter in chapters

    changes = [
        change
        for name, view in views.items()
        for change in differences(declaration.on(name), view, contexts[name], chosen)
    ]
    return Survey(
        declaration=declaration,
        state=state,
        chapters=tuple(chapters),
        views=views,
        contexts=contexts,
        changes=tuple(changes),
        to_make=operator.to_make,
        operator=there,
        details={},
        pending=tuple(pending(session.cluster, state)),
        objections=tuple(objections(session, state, declaration, views, chapters, operator.to_make)),
        failures={},
        now=now,
    )


def _declaration(session: Session, state: State, chapters: Sequence[str], supply: Supply) -> Declaration:
    return declare(Model(session.cluster, foreseen(state, chapters), supply.versions))


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

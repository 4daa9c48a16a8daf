"""What a run notes, on the machines and in the workspace, before it acts and after."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import hardway
from hardway import journal as journal_room
from hardway.declare.declaration import Declaration, digest
from hardway.declare.resources import KINDS, Context, Present
from hardway.declare.resources.files import Stat
from hardway.declare.undo import is_ours
from hardway.engine.changes import by_machine, differences
from hardway.engine.observe import View
from hardway.engine.plan import Plan
from hardway.engine.scripts import begin, write_journal, write_state
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.inventory.model import Cluster
from hardway.journal import DIGITS, Declared, Journal
from hardway.state import State


def record_intents(session: Session, plan: Plan) -> None:
    """The State and all intents go to the workspace and to the machines before anything acts upon them."""
    session.workspace.save_state(plan.state)
    changes = by_machine(plan.changes)
    text = plan.state.to_json()

    def record(name: str) -> None:
        script = begin(text, changes[name], plan.declaration.on(name), plan.views[name], plan.contexts[name])
        session.run(name, script, what="record the intents")

    session.each(changes, record)


def redeclare(
    cluster: Cluster, declaration: Declaration, views: Mapping[str, View], contexts: Mapping[str, Context]
) -> dict[str, View]:
    """The machines on which all is as declared, and whose journals do not say so yet; now they do.

    The smoke test's images may be missing: a run may leave it out.
    """
    told = {}
    for name, view in views.items():
        wanted = declaration.on(name)
        digests = {one.resource.key: digest(one.resource)[:DIGITS] for one in wanted}
        now = Declared(hardway.__version__, cluster.written, digests)
        left = differences(wanted, view, contexts[name], lambda change: change.phase != "smoke-test")
        if now != view.journal.declared and not left:
            told[name] = replace(view, journal=replace(view.journal, declared=now))
    return told


def commit(session: Session, state: State, views: Mapping[str, View], touched: set[str]) -> None:
    """Rewrites journal and State where something was touched or what is there is out of date."""
    text = state.to_json()
    session.workspace.save_state(state)

    def keep(name: str) -> None:
        view = views[name]
        session.run(
            name,
            write_journal(journal_room.written(_settled(view.journal), _stats(view)), text),
            what="write the journal",
        )

    stale = {
        name
        for name, view in views.items()
        if view.hashed or view.journal.open or view.journal.damage or not _is_current(view.state_text, state)
    }
    session.each([name for name in views if name in touched | stale], keep)


def commit_state(session: Session, state: State) -> None:
    """State alone goes to the workspace and to the machines that answer; on others it is older until the next run."""
    session.workspace.save_state(state)
    script = write_state(state.to_json())

    def keep(name: str) -> None:
        with suppress(HardwayError):
            session.run(name, script, what="write the State")

    session.each(session.machines, keep)


def _is_current(text: str, state: State) -> bool:
    # When the smoke test passed is the operator's note: it is no reason to write to a machine.
    return bool(text) and replace(State.from_json(text, "state.json"), smoke_tested=state.smoke_tested) == state


def _settled(journal: Journal) -> Journal:
    # Everything was observed to be as declared, so nothing is half done any more. What no hardway puts anywhere goes;
    # a kind that this one does not know is a newer one's, unless the journal is damaged.
    entries = {
        key: entry
        for key, entry in journal.entries.items()
        if is_ours(key) and (key.partition(":")[0] in KINDS or not journal.damage)
    }
    return replace(journal, entries=entries, open=frozenset(), damage="")


def _stats(view: View) -> list[tuple[str, list[object], str]]:
    return [
        (key.partition(":")[2], seen.value.identity, seen.value.digest)
        for key, seen in view.observed.items()
        if isinstance(seen, Present) and isinstance(seen.value, Stat) and seen.value.digest
    ]

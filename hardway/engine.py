"""Carries out what the chapters declare: observe, diff, stage, activate chapter by chapter, observe again.

`converge` reads as the table of contents of a run. It goes round until nothing differs any more: a
second time round is ordinary where a first one made something visible (an API that answers now) or
changed the State (an etcd that has formed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hardway import staging
from hardway.artifacts.store import Store
from hardway.books import declared_anew, formed, keep_books, note_intents
from hardway.deciding import decided, guard, refuse_lost_keys
from hardway.errors import NotConverged
from hardway.events import Changed, MachineProgress, Note
from hardway.phases import CHAPTER_NAMES
from hardway.phases.base import Model
from hardway.plan import Change, Declaration, View, by_machine, declare, differences, foreign
from hardway.resources import Context, Local, Unseen
from hardway.rolling import activate
from hardway.session import Session, observe, stage
from hardway.state import State
from hardway.supply import Goods, Supply
from hardway.takeover import adopted, inferred, refuse_unadopted

ROUNDS = 4


@dataclass(frozen=True)
class Choice:
    """What of a run was asked for: changes are filtered by it, declarations never."""

    chapters: tuple[str, ...] = CHAPTER_NAMES
    machines: frozenset[str] = frozenset()
    adopt: bool = False

    def has(self, change: Change) -> bool:
        return change.chapter in self.chapters and change.machine in self.machines


@dataclass
class Outcome:
    """What a run did, and what it saw last."""

    state: State
    views: dict[str, View]
    declaration: Declaration
    changes: list[Change] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    adopted: int = 0

    @property
    def restarts(self) -> int:
        return sum(change.restarts for change in self.changes)

    @property
    def chapters(self) -> set[str]:
        return {change.chapter for change in self.changes}


def converge(
    session: Session,
    state: State,
    choice: Choice,
    supply: Supply,
    store: Store,
    *,
    check: Callable[[Mapping[str, View]], None] = lambda views: None,
    confirm: Callable[[Sequence[Change]], None] = lambda changes: None,
) -> Outcome:
    """Makes what is chosen as it is declared. The session holds all locks.

    `check` sees the machines before anything changes, `confirm` the changes to a cluster that
    serves; either stops the run by raising. Raises NotConverged when something still differs after
    it was changed, with both values.
    """
    given, serves = state, state.etcd == "formed"
    state = decided(state, session.cluster, choice.chapters, choice.machines)
    versions = supply.versions
    declaration = declare(Model(session.cluster, state, versions))
    with stage("observe", session.events):
        views = observe(session, declaration, session.machines)
    if (living := inferred(session, given, views)) is not given:
        state, serves = decided(living, session.cluster, choice.chapters, choice.machines), True
    check(views)
    # A run that was cut may have left an etcd that formed, and that nobody noted.
    state = formed(session, guard(session, state, views), declaration, views, ())
    if not choice.adopt:
        refuse_unadopted(session, views, state)
    declaration = declare(Model(session.cluster, state, versions))
    outcome = Outcome(state, views, declaration)
    with stage("artifacts", session.events):
        supply.prepare(declaration, {name: view.facts.arch for name, view in views.items()})
    outcome.made = _make_local(session, declaration, views, choice)
    before: dict[tuple[str, str], Change] = {}
    for _ in range(ROUNDS):
        contexts = _contexts(session, views, supply)
        changes = _chosen(declaration, views, contexts, choice)
        if not changes:
            break
        _refuse_repetition(changes, before)
        _refuse_foreign(changes, views, contexts, choice)
        if serves and not before:
            confirm(changes)
        before = {(change.machine, change.key): change for change in changes}
        # What cannot be had is refused while the ledgers still say nothing of this run.
        goods = supply.goods(changes, {name: view.facts for name, view in views.items()})
        note_intents(session, state, changes, declaration, views, contexts)
        checked = _stage(session, changes, views, contexts, goods, store)
        state = _activate(session, state, changes, declaration, views, contexts)
        outcome.changes += changes
        declaration = declare(Model(session.cluster, state, versions))
        with stage("observe again", session.events):
            touched = {change.machine for change in changes}
            views = {**views, **observe(session, declaration, touched, checked, views)}
    else:
        raise NotConverged(f"still not as declared after {ROUNDS} rounds: {changes[0].key}", machine=changes[0].machine)
    _refuse_unseen(declaration, views, choice)
    taken = _adopted(session, declaration, views, supply, choice)
    outcome.adopted = sum(len(view.ledger.entries) - len(views[name].ledger.entries) for name, view in taken.items())
    views = {**views, **taken}
    mine = {name: view for name, view in views.items() if name in choice.machines}
    told = declared_anew(session.cluster, declaration, mine, _contexts(session, mine, supply))
    views = {**views, **told}
    outcome.state, outcome.views, outcome.declaration = state, views, declaration
    keep_books(session, state, views, {change.machine for change in outcome.changes} | taken.keys() | told.keys())
    return outcome


def _adopted(
    session: Session, declaration: Declaration, views: Mapping[str, View], supply: Supply, choice: Choice
) -> dict[str, View]:
    """What was there as declared, and was nobody's, is in the ledgers from now on, where that was asked for."""
    if not choice.adopt:
        return {}
    contexts = _contexts(session, views, supply)
    taken = adopted(declaration, views, contexts, lambda one: one.chapter in choice.chapters)
    for name, view in taken.items():
        count = len(view.ledger.entries) - len(views[name].ledger.entries)
        session.events(Note(f"{name}: took over {count} things that hardway did not put there"))
    return taken


def _activate(
    session: Session,
    state: State,
    changes: Sequence[Change],
    declaration: Declaration,
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
) -> State:
    """Chapter by chapter, what has been staged; the State in which that leaves the cluster."""
    for chapter, mine in _steps(changes):
        with stage(chapter, session.events):
            activate(session, chapter, mine, declaration, views, contexts)
        if chapter == "etcd":
            state = formed(session, state, declaration, views, mine)
    return state


def _make_local(session: Session, declaration: Declaration, views: Mapping[str, View], choice: Choice) -> list[str]:
    """Keys, certificates and kubeconfigs in the operator's workspace, dependencies first."""
    values = session.workspace.values()
    now = datetime.now(UTC)
    made: list[str] = []
    for chapter, local in declaration.local:
        if chapter not in choice.chapters:
            continue
        why = local.differences(values, now)
        if not why:
            continue
        refuse_lost_keys(local, declaration, views, session.workspace.root)
        values[local.path] = _made(local, values, now)
        session.workspace.write(local.path, values[local.path], local.mode)
        session.events(Changed("operator", chapter, local.path, "make", "; ".join(why)))
        made.append(local.path)
    return made


def _made(local: Local, values: Mapping[str, bytes], now: datetime) -> bytes:
    try:
        return local.make(values, now)
    except (KeyError, ValueError) as error:
        raise NotConverged(
            f"{local.path} cannot be made yet: {error}", hint="run the chapters before this one first, or hardway init"
        ) from error


def _contexts(session: Session, views: Mapping[str, View], supply: Supply) -> dict[str, Context]:
    values = session.workspace.values()
    return {
        name: Context(
            machine=name,
            values={**values, **view.facts.holes},
            accepted=supply.accepted(view.facts.arch),
            noted=view.ledger.entries,
        )
        for name, view in views.items()
    }


def _chosen(
    declaration: Declaration, views: Mapping[str, View], contexts: Mapping[str, Context], choice: Choice
) -> list[Change]:
    found = []
    for name, view in views.items():
        found += differences(declaration.on(name), view, contexts[name], choice.has)
    return found


def _steps(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    """The chapters in their order; before the first, from the last to the first, what is no longer declared and runs.

    A unit stops before its files go, and they may be another chapter's.
    """
    stopping = [one for one in changes if one.resource is None and one.key.startswith("service:")]
    rest = [one for one in changes if one not in stopping]
    order = [(name, stopping) for name in reversed(CHAPTER_NAMES)] + [(name, rest) for name in CHAPTER_NAMES]
    found = ((name, [one for one in some if one.chapter == name]) for name, some in order)
    return [(name, mine) for name, mine in found if mine]


def _stage(
    session: Session,
    changes: Sequence[Change],
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
    goods: Goods,
    store: Store,
) -> dict[str, dict[tuple[int, int], str]]:
    """Everything that all chosen chapters need goes to every machine before anything there changes."""
    mine = by_machine(changes)

    def send(name: str) -> dict[tuple[int, int], str]:
        session.events(MachineProgress(name, "stage", "running"))
        of, view, context = mine[name], views[name], contexts[name]
        checked = staging.stage(session, name, of, view, context, goods.blobs, store, goods.repositories[name])
        session.events(MachineProgress(name, "stage", "done"))
        return checked

    with stage("stage", session.events):
        sent: dict[str, dict[tuple[int, int], str]] = session.each(mine, send)
    return sent


def _refuse_repetition(changes: Sequence[Change], before: Mapping[tuple[str, str], Change]) -> None:
    """What was made good a moment ago and differs again will not become better by trying on."""
    for change in changes:
        earlier = before.get((change.machine, change.key))
        if earlier and earlier.difference == change.difference:
            difference = change.difference
            raise NotConverged(
                f"{change.key} still differs after it was changed: {difference.why}",
                machine=change.machine,
                said=f"there: {difference.before or '(nothing)'}\nwanted: {difference.after or '(as declared)'}",
                hint="something else on that machine changes it too; find it, then run this again",
            )


def _refuse_foreign(
    changes: Sequence[Change], views: Mapping[str, View], contexts: Mapping[str, Context], choice: Choice
) -> None:
    if choice.adopt:
        return
    for name in {change.machine for change in changes}:
        paths = foreign([change for change in changes if change.machine == name], views[name], contexts[name])
        if paths:
            raise NotConverged(
                "files that hardway did not put there are in the way",
                machine=name,
                said="\n".join(paths),
                hint="move them away, or let hardway take them over: --adopt",
            )


def _refuse_unseen(declaration: Declaration, views: Mapping[str, View], choice: Choice) -> None:
    for one in declaration.placed:
        if one.machine not in choice.machines or one.chapter not in choice.chapters or one.machine not in views:
            continue
        seen = views[one.machine].observed.get(one.resource.key)
        if isinstance(seen, Unseen):
            raise NotConverged(
                f"{one.resource.key} could not be looked at",
                machine=one.machine,
                said=seen.why,
                hint=f"hardway {one.chapter}",
            )

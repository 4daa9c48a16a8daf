"""Carries out what the chapters declare: observe, diff, stage, activate chapter by chapter, observe again.

`converge` reads as the table of contents of a run. It goes round until nothing differs any more: a
second time round is ordinary where a first one made something visible (an API that answers now) or
changed the State (an etcd that has formed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hardway.artifacts.store import Store
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model
from hardway.declare.resources import Context, Local, Unknown
from hardway.engine import upload
from hardway.engine.adopt import adopted, inferred, refuse_unmanaged_cluster
from hardway.engine.commit import commit, declared_anew, formed, record_intents
from hardway.engine.guards import decided, guard, refuse_lost_keys
from hardway.engine.plan import Change, View, by_machine, conflicts, differences
from hardway.engine.resolver import Payload, Resolver
from hardway.engine.rollout import activate
from hardway.engine.session import Session, observe, timed
from hardway.errors import NotConverged
from hardway.events import Changed, MachineProgress, Note
from hardway.state import State

ROUNDS = 4


@dataclass(frozen=True)
class Selection:
    """What of a run was asked for: changes are filtered by it, declarations never."""

    phases: tuple[str, ...] = PHASE_NAMES
    machines: frozenset[str] = frozenset()
    adopt: bool = False

    def has(self, change: Change) -> bool:
        return change.phase in self.phases and change.machine in self.machines


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
    def phases(self) -> set[str]:
        return {change.phase for change in self.changes}


def converge(
    session: Session,
    state: State,
    selection: Selection,
    resolver: Resolver,
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
    state = decided(state, session.cluster, selection.phases, selection.machines)
    versions = resolver.versions
    declaration = declare(Model(session.cluster, state, versions))
    with timed("observe", session.events):
        views = observe(session, declaration, session.machines)
    if (living := inferred(session, given, views)) is not given:
        state, serves = decided(living, session.cluster, selection.phases, selection.machines), True
    check(views)
    # A run that was cut may have left an etcd that formed, and that nobody noted.
    state = formed(session, guard(session, state, views), declaration, views, ())
    if not selection.adopt:
        refuse_unmanaged_cluster(session, views, state)
    declaration = declare(Model(session.cluster, state, versions))
    outcome = Outcome(state, views, declaration)
    with timed("artifacts", session.events):
        resolver.prepare(declaration, {name: view.facts.arch for name, view in views.items()})
    outcome.made = _make_local(session, declaration, views, selection)
    before: dict[tuple[str, str], Change] = {}
    for _ in range(ROUNDS):
        contexts = _contexts(session, views, resolver)
        changes = _chosen(declaration, views, contexts, selection)
        if not changes:
            break
        _refuse_repetition(changes, before)
        _refuse_conflicts(changes, views, contexts, selection)
        if serves and not before:
            confirm(changes)
        before = {(change.machine, change.key): change for change in changes}
        # What cannot be had is refused while the journals still say nothing of this run.
        payload = resolver.payload(changes, {name: view.facts for name, view in views.items()})
        record_intents(session, state, changes, declaration, views, contexts)
        checked = _stage(session, changes, views, contexts, payload, store)
        state = _activate(session, state, changes, declaration, views, contexts)
        outcome.changes += changes
        declaration = declare(Model(session.cluster, state, versions))
        with timed("observe again", session.events):
            touched = {change.machine for change in changes}
            views = {**views, **observe(session, declaration, touched, checked, views)}
    else:
        raise NotConverged(f"still not as declared after {ROUNDS} rounds: {changes[0].key}", machine=changes[0].machine)
    _refuse_unknown(declaration, views, selection)
    taken = _adopted(session, declaration, views, resolver, selection)
    outcome.adopted = sum(len(view.journal.entries) - len(views[name].journal.entries) for name, view in taken.items())
    views = {**views, **taken}
    mine = {name: view for name, view in views.items() if name in selection.machines}
    told = declared_anew(session.cluster, declaration, mine, _contexts(session, mine, resolver))
    views = {**views, **told}
    outcome.state, outcome.views, outcome.declaration = state, views, declaration
    commit(session, state, views, {change.machine for change in outcome.changes} | taken.keys() | told.keys())
    return outcome


def _adopted(
    session: Session, declaration: Declaration, views: Mapping[str, View], resolver: Resolver, selection: Selection
) -> dict[str, View]:
    """What was there as declared, and was nobody's, is in the journals from now on, where that was asked for."""
    if not selection.adopt:
        return {}
    contexts = _contexts(session, views, resolver)
    taken = adopted(declaration, views, contexts, lambda one: one.phase in selection.phases)
    for name, view in taken.items():
        count = len(view.journal.entries) - len(views[name].journal.entries)
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
    for phase, mine in _steps(changes):
        with timed(phase, session.events):
            activate(session, phase, mine, declaration, views, contexts)
        if phase == "etcd":
            state = formed(session, state, declaration, views, mine)
    return state


def _make_local(
    session: Session, declaration: Declaration, views: Mapping[str, View], selection: Selection
) -> list[str]:
    """Keys, certificates and kubeconfigs in the operator's workspace, dependencies first."""
    values = session.workspace.values()
    now = datetime.now(UTC)
    made: list[str] = []
    for phase, local in declaration.local:
        if phase not in selection.phases:
            continue
        why = local.differences(values, now)
        if not why:
            continue
        refuse_lost_keys(local, declaration, views, session.workspace.root)
        values[local.path] = _made(local, values, now)
        session.workspace.write(local.path, values[local.path], local.mode)
        session.events(Changed("operator", phase, local.path, "create", "; ".join(why)))
        made.append(local.path)
    return made


def _made(local: Local, values: Mapping[str, bytes], now: datetime) -> bytes:
    try:
        return local.make(values, now)
    except (KeyError, ValueError) as error:
        raise NotConverged(
            f"{local.path} cannot be made yet: {error}", hint="run the chapters before this one first, or hardway init"
        ) from error


def _contexts(session: Session, views: Mapping[str, View], resolver: Resolver) -> dict[str, Context]:
    values = session.workspace.values()
    return {
        name: Context(
            machine=name,
            values={**values, **view.facts.placeholders},
            accepted=resolver.accepted(view.facts.arch),
            noted=view.journal.entries,
        )
        for name, view in views.items()
    }


def _chosen(
    declaration: Declaration, views: Mapping[str, View], contexts: Mapping[str, Context], selection: Selection
) -> list[Change]:
    found = []
    for name, view in views.items():
        found += differences(declaration.on(name), view, contexts[name], selection.has)
    return found


def _steps(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    """The chapters in their order; before the first, from the last to the first, what is no longer declared and runs.

    A unit stops before its files go, and they may be another chapter's.
    """
    stopping = [one for one in changes if one.resource is None and one.key.startswith("service:")]
    rest = [one for one in changes if one not in stopping]
    order = [(name, stopping) for name in reversed(PHASE_NAMES)] + [(name, rest) for name in PHASE_NAMES]
    found = ((name, [one for one in some if one.phase == name]) for name, some in order)
    return [(name, mine) for name, mine in found if mine]


def _stage(
    session: Session,
    changes: Sequence[Change],
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
    payload: Payload,
    store: Store,
) -> dict[str, dict[tuple[int, int], str]]:
    """Everything that all chosen chapters need goes to every machine before anything there changes."""
    mine = by_machine(changes)

    def send(name: str) -> dict[tuple[int, int], str]:
        session.events(MachineProgress(name, "upload", "running"))
        of, view, context = mine[name], views[name], contexts[name]
        checked = upload.upload(session, name, of, view, context, payload.blobs, store, payload.repositories[name])
        session.events(MachineProgress(name, "upload", "done"))
        return checked

    with timed("upload", session.events):
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


def _refuse_conflicts(
    changes: Sequence[Change], views: Mapping[str, View], contexts: Mapping[str, Context], selection: Selection
) -> None:
    if selection.adopt:
        return
    for name in {change.machine for change in changes}:
        paths = conflicts([change for change in changes if change.machine == name], views[name], contexts[name])
        if paths:
            raise NotConverged(
                "files that hardway did not put there are in the way",
                machine=name,
                said="\n".join(paths),
                hint="move them away, or let hardway take them over: --adopt",
            )


def _refuse_unknown(declaration: Declaration, views: Mapping[str, View], selection: Selection) -> None:
    for one in declaration.placed:
        if one.machine not in selection.machines or one.phase not in selection.phases or one.machine not in views:
            continue
        seen = views[one.machine].observed.get(one.resource.key)
        if isinstance(seen, Unknown):
            raise NotConverged(
                f"{one.resource.key} could not be looked at",
                machine=one.machine,
                said=seen.why,
                hint=f"hardway {one.phase}",
            )

"""Executes a plan: make the workspace's files, upload, activate phase by phase, observe again.

It goes round until nothing differs any more: a second round is ordinary where a first one made something visible (an
API that answers now) or changed the State (an etcd that is initialized).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hardway.artifacts.store import Store
from hardway.declare.declaration import Declaration
from hardway.declare.resources import Certificate, Key, RandomKey, Unknown
from hardway.engine import blockers, fetch, guards, upload
from hardway.engine.adopt import adopted
from hardway.engine.changes import Change, by_machine
from hardway.engine.commit import commit, record_intents, redeclare
from hardway.engine.observe import View, observe, observe_each
from hardway.engine.ordering import in_order
from hardway.engine.plan import Plan, WorkspaceChange, first_declaration, make_contexts, make_plan
from hardway.engine.resolver import FileKey, Payload, Resolver
from hardway.engine.rollout import activate, hold_peers
from hardway.engine.selection import Selection
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError, NotConverged, WorkspaceError
from hardway.events import Changed, MachineProgress, Note
from hardway.state import State, advanced, converged_on

ROUNDS = 4


@dataclass
class Outcome:
    """What a run did, and what it saw last. `skipped` are machines that were left out because they did not answer."""

    state: State
    views: dict[str, View]
    declaration: Declaration
    changes: list[Change] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    adopted: int = 0
    skipped: Mapping[str, HardwayError] = field(default_factory=dict)

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
    skipped: Mapping[str, HardwayError] | None = None,
    review: Callable[[Plan], None] = lambda plan: None,
) -> Outcome:
    """Makes what is selected as it is declared. The session holds all locks.

    `review` sees the plan before anything changes, and stops the run by raising. `skipped` are machines that could not
    be reached, where that is to be put up with. Raises Blocked where something speaks against the plan, and
    NotConverged when something still differs after it was changed, with both values.
    """
    _, waiting = guards.resolve_state(session.cluster, state, selection)
    blockers.require(waiting)
    with timed("observe", session.events):
        declaration = first_declaration(session, state, selection, resolver)
        views, failures = observe_each(session, declaration)
        failures = _put_up_with(session, failures, skipped)
    plan = make_plan(session, state, selection, resolver, views, failures)
    blockers.require(plan.blockers)
    review(plan)
    outcome = Outcome(plan.state, dict(views), plan.declaration, skipped=failures)
    plan, selection = _prepared(session, plan, resolver, outcome), selection.settled
    before: dict[tuple[str, str], Change] = {}
    for _ in range(ROUNDS):
        if not plan.changes:
            break
        _refuse_repetition(plan.changes, before)
        before = {(change.machine, change.key): change for change in plan.changes}
        state, views = _carried_out(session, plan, resolver, store)
        outcome.changes += plan.changes
        plan = make_plan(session, state, selection, resolver, views, failures)
        blockers.require(plan.blockers)
    else:
        change = plan.changes[0]
        raise NotConverged(f"still not as declared after {ROUNDS} rounds: {change.key}", machine=change.machine)
    _finish(session, plan, resolver, outcome)
    return outcome


def _put_up_with(
    session: Session, failures: Mapping[str, HardwayError], skipped: Mapping[str, HardwayError] | None
) -> dict[str, HardwayError]:
    """Machines that answered SSH and could not be checked, too, are left alone where that was asked for."""
    if skipped is None and failures:
        raise next(iter(failures.values()))
    for name in failures:
        del session.machines[name]
    return {**(skipped or {}), **failures}


def _prepared(session: Session, plan: Plan, resolver: Resolver, outcome: Outcome) -> Plan:
    """The same plan once all that is made or got on this computer is there: what was known after it is known now."""
    state = plan.selection.bootstrap.begin(plan.state, session.cluster, plan.phases)
    with timed("artifacts", session.events):
        if resolver.by_machines:
            fetch.prepare(session, plan.declaration, plan.changes, plan.views, resolver)
        else:
            resolver.prepare(plan.declaration, {name: view.facts.arch for name, view in plan.views.items()})
    made = _local_values(plan)
    if any(isinstance(one.local, Key | RandomKey | Certificate) for one in plan.to_make):
        # An older copy of this workspace must be known by its State, which is written first: whatever is found in the
        # workspace after a kill is in it.
        remembered = guards.fingerprints(state.fingerprints, plan.declaration, made)
        state = replace(state, generation=state.generation + 1, fingerprints=remembered)
        session.workspace.save_state(state)
    for one in plan.to_make:
        session.workspace.write(one.local.path, made[one.local.path], one.local.mode)
        session.events(Changed("operator", one.phase, one.local.path, "create", "; ".join(one.why)))
    outcome.made = [one.local.path for one in plan.to_make]
    if state is plan.state and not (plan.to_make or plan.to_get):
        return plan
    prepared = make_plan(session, state, plan.selection.settled, resolver, plan.views, plan.failures)
    blockers.require(prepared.blockers)
    return prepared


def _local_values(plan: Plan) -> dict[str, bytes]:
    """The operator's workspace with the keys, certificates and kubeconfigs that are to be made; nothing is written."""
    values = dict(plan.operator)
    for one in plan.to_make:
        values[one.local.path] = _made(one, values, plan)
    return values


def _made(one: WorkspaceChange, values: Mapping[str, bytes], plan: Plan) -> bytes:
    try:
        return one.local.make(values, plan.now)
    except KeyError as error:
        raise NotConverged(
            f"{one.local.path} cannot be made yet: {error}",
            hint="run the chapters before this one first, or hardway init",
        ) from error
    except ValueError as error:
        raise WorkspaceError(
            f"{one.local.path} cannot be made: {error}",
            hint="restore the key that it is made from out of a backup of the workspace",
        ) from error


def _carried_out(session: Session, plan: Plan, resolver: Resolver, store: Store) -> tuple[State, dict[str, View]]:
    """Does all that the plan has for the machines; the State and the machines as that leaves them."""
    hold_peers(session, plan.changes, plan.declaration)
    # What cannot be had is refused while the journals still say nothing of this run.
    fetched = _fetch(session, plan, resolver) if resolver.by_machines else {}
    payload = resolver.payload(plan.changes, {name: view.facts for name, view in plan.views.items()}, fetched)
    record_intents(session, plan)
    checked = _upload(session, plan, payload, store, fetched)
    state = _activate(session, plan)
    with timed("observe again", session.events):
        touched = {change.machine for change in plan.changes}
        declaration = first_declaration(session, state, plan.selection, resolver)
        seen = observe(session, declaration, touched, checked, plan.views)
    return state, {**plan.views, **seen}


def _activate(session: Session, plan: Plan) -> State:
    """Phase by phase, what has been uploaded; the State in which that leaves the cluster."""
    state = plan.state
    for phase, changes in in_order(plan.changes):
        with timed(phase, session.events):
            activate(session, phase, changes, plan.declaration, plan.views, plan.contexts)
        after = plan.selection.bootstrap.advance(state, plan.declaration, plan.views, changes)
        if after is not state:
            state = after
            session.workspace.save_state(state)
    return state


def _fetch(session: Session, plan: Plan, resolver: Resolver) -> dict[str, dict[FileKey, str]]:
    with timed("download", session.events):
        return fetch.fetch(session, plan.changes, plan.views, resolver)


def _upload(
    session: Session,
    plan: Plan,
    payload: Payload,
    store: Store,
    fetched: Mapping[str, Mapping[FileKey, str]],
) -> dict[str, dict[tuple[int, int], str]]:
    """Everything that all selected phases need goes to every machine before anything there changes."""
    changes = by_machine(plan.changes)

    def send(name: str) -> dict[tuple[int, int], str]:
        session.events(MachineProgress(name, "upload", "running"))
        view, context = plan.views[name], plan.contexts[name]
        packages = payload.repositories[name]
        own = fetched.get(name, {})
        checked = upload.upload(session, name, changes[name], view, context, payload.blobs, store, packages, own)
        session.events(MachineProgress(name, "upload", "done"))
        return checked

    with timed("upload", session.events):
        return session.each(changes, send)


def _refuse_repetition(changes: Sequence[Change], before: Mapping[tuple[str, str], Change]) -> None:
    """What was changed a moment ago and differs again will not become better by another try."""
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


def _finish(session: Session, plan: Plan, resolver: Resolver, outcome: Outcome) -> None:
    """Everything selected is as declared: the journals say so from now on."""
    _refuse_unknown(plan)
    views = dict(plan.views)
    taken = _adopted(session, plan)
    outcome.adopted = sum(len(view.journal.entries) - len(views[name].journal.entries) for name, view in taken.items())
    views.update(taken)
    selected = {name: view for name, view in views.items() if name in plan.selection.machines}
    contexts = make_contexts(plan.operator, selected, resolver)
    redeclared = redeclare(session.cluster, plan.declaration, selected, contexts)
    views.update(redeclared)
    touched = {change.machine for change in outcome.changes} | taken.keys() | redeclared.keys()
    state = converged_on(plan.state, session.cluster.kubernetes, redeclared)
    remembered = guards.fingerprints(state.fingerprints, plan.declaration, plan.operator)
    state = advanced(state, fingerprints=remembered)
    commit(session, state, views, touched)
    outcome.state, outcome.views, outcome.declaration = state, views, plan.declaration


def _adopted(session: Session, plan: Plan) -> dict[str, View]:
    """What was there as declared, and was nobody's, is in the journals from now on, where that was asked for.

    A damaged journal no longer says what is hardway's, on a machine that is; so there nobody needs to ask.
    """
    views = {name: view for name, view in plan.views.items() if plan.selection.adopt or view.journal.damage}
    taken = adopted(plan.declaration, views, plan.contexts, lambda one: one.phase in plan.phases)
    for name, view in taken.items():
        count = len(view.journal.entries) - len(plan.views[name].journal.entries)
        session.events(Note(f"{name}: took over {count} things that hardway did not put there"))
    return taken


def _refuse_unknown(plan: Plan) -> None:
    for one in plan.declaration.placed:
        if one.machine not in plan.selection.machines or one.phase not in plan.phases or one.machine not in plan.views:
            continue
        seen = plan.views[one.machine].observed.get(one.resource.key)
        if isinstance(seen, Unknown):
            raise NotConverged(
                f"{one.resource.key} could not be checked",
                machine=one.machine,
                said=seen.why,
                hint=f"hardway {one.phase}",
            )

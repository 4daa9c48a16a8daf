"""Executes any operation: each stage edits State, is converged by the engine, and passes its gate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from hardway.artifacts.store import Store
from hardway.declare.phases.base import Model
from hardway.engine import blockers, guards, prove
from hardway.engine.commit import commit
from hardway.engine.converge import Outcome, converge
from hardway.engine.plan import Plan
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError, ProofFailed, WorkspaceError
from hardway.events import Note
from hardway.operations.stage import Operation, Stage
from hardway.state import OperationState, State, advanced

NEXT = "\n    "
GATE_LIMIT = 300.0
"""Seconds after which a proof of a gate that does not hold stops the operation."""


def run_operation(
    session: Session,
    state: State,
    operation: Operation,
    selection: Selection,
    resolver: Resolver,
    store: Store,
    *,
    by: str,
    take_over: bool = False,
    review: Callable[[Plan], None] = lambda plan: None,
) -> State:
    """Executes an operation, from the stage at which it was cut if it was. The session holds all locks.

    The stage under way is in the State of the workspace before anything acts, and in that of the machines with their
    journals; one whose plan `review` declines was never begun. `by` says who began it; what somebody else began goes
    on with `take_over` only. `review` sees the plan of each stage, and stops the operation by raising. Raises Blocked
    while another operation is open, ProofFailed for a gate, and what `converge` raises. Then the same command goes on.
    """
    underway = taken_up(state, operation.name, operation.arguments, by=by, take_over=take_over)
    selection = replace(selection, operation=underway.command)
    outcome: Outcome | None = None
    model = Model(session.cluster, state, resolver.versions)
    if underway.stage:
        underway = replace(underway, stage=operation.resume(session, model, underway.stage))
    else:
        operation.check(session, model)
    for stage in _left(operation, underway, state):
        state = advanced(stage.edit(state), operation=replace(underway, stage=stage.name))
        begin = _beginning(session, state, review)
        session.events(Note(f"stage {stage.name}{f': {stage.why}' if stage.why else ''}"))
        with timed(stage.name, session.events), _resumed_by(underway.command, operation.back):
            outcome = converge(session, state, selection, resolver, store, review=begin)
            model = Model(session.cluster, outcome.state, resolver.versions)
            stage.act(session, model)
            _pass_gate(session, stage, model)
        state = outcome.state
    state = advanced(state, operation=None)
    commit(session, state, outcome.views if outcome else {}, set())
    return state


def taken_up(
    state: State, name: str, arguments: tuple[str, ...], *, by: str, take_over: bool = False
) -> OperationState:
    """What is under way from now on; it has no stage unless it was begun before.

    Raises Blocked while another operation is open, and HardwayError where somebody else began it.
    """
    underway = state.operation or OperationState(name, arguments, "", by, _now())
    blockers.require(tuple(guards.open_operation(state, OperationState.command_of(name, arguments))))
    return taken(underway, by, take_over)


def taken(underway: OperationState, by: str, take_over: bool) -> OperationState:
    """The operation as this user goes on with it. Raises HardwayError for somebody else's without `take_over`."""
    if underway.by != by and not take_over:
        raise HardwayError(
            f"{underway.command} was started by {underway.by} on {underway.since}, and stopped at {underway.stage}",
            said="nothing was changed",
            hint=f"ask {underway.by} whether that run has ended; then:\n    {underway.command} --take-over",
        )
    return replace(underway, by=by)


@contextlib.contextmanager
def _resumed_by(command: str, back: str) -> Iterator[None]:
    """A gate that does not hold is passed by the operation's own command, and not by that of a chapter."""
    try:
        yield
    except HardwayError as error:
        if isinstance(error, ProofFailed):
            error.hint = f"hardway doctor looks for the cause; then this goes on:\n    {command}"
        if back:
            error.hint = f"{error.hint or f'to go on:{NEXT}{command}'}\n  or, to go back:{NEXT}{back}"
        raise


def _beginning(session: Session, state: State, review: Callable[[Plan], None]) -> Callable[[Plan], None]:
    """The stage is open from the moment at which its plan was agreed to: one that was declined leaves none behind."""

    def begin(plan: Plan) -> None:
        review(plan)
        session.workspace.save_state(state)

    return begin


def _left(operation: Operation, underway: OperationState, state: State) -> tuple[Stage, ...]:
    """The stages that are not over. Raises WorkspaceError where the one under way is not among them."""
    names = [stage.name for stage in operation.stages]
    if not underway.stage:
        return operation.stages
    if underway.stage not in names:
        raise WorkspaceError(
            f"{underway.command} is at a stage that this hardway does not have: {underway.stage}",
            hint=f"use the hardway that began it, on {underway.since}",
        )
    at = names.index(underway.stage)
    return (*(stage for stage in operation.stages[:at] if stage.is_due(state)), *operation.stages[at:])


def _pass_gate(session: Session, stage: Stage, model: Model) -> None:
    proofs = [(stage.name, proof) for proof in stage.gate(model)]
    prove.require(prove.prove(session, proofs, wait=GATE_LIMIT))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

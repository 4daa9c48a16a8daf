"""What an operation is: a name, and stages, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hardway.declare.phases.base import Model, Proof
from hardway.engine.session import Session
from hardway.state import State


def nothing_to_prove(model: Model) -> Iterable[Proof]:
    """The gate of a stage that is over as soon as everything is as declared."""
    return ()


def nothing_to_do(session: Session, model: Model) -> None:
    """The act of a stage that has all it needs in its declaration."""


def unchanged(state: State) -> State:
    """The edit of a stage that only acts."""
    return state


def same_stage(session: Session, model: Model, stage: str) -> str:
    """Where an operation goes on that is sure of the stages before."""
    return stage


def not_due(state: State) -> bool:
    """Of a stage that is over once a later one has begun."""
    return False


@dataclass(frozen=True)
class Stage:
    """One step after which the cluster serves as before; `why` is one line for who watches.

    `edit` is pure and idempotent, and `act` is idempotent: a stage that was cut is begun again. `act` does what no
    declaration can say, once the machines are as declared. Then all proofs of `gate` must hold before the next
    stage; their machines must be among those of the run. `is_due` says of a State whether the stage is still to be done
    though a later one was under way: what is left may depend on an inventory that has changed meanwhile.
    """

    name: str
    edit: Callable[[State], State]
    gate: Callable[[Model], Iterable[Proof]] = nothing_to_prove
    act: Callable[[Session, Model], None] = nothing_to_do
    why: str = ""
    is_due: Callable[[State], bool] = not_due


@dataclass(frozen=True)
class Operation:
    """`name` and `arguments` are the command (`certs rotate-ca`, `etcd`); the same command resumes it.

    The stages and their names must not depend on how far it has come. `price` says what fails meanwhile; empty where
    nothing does. `back` is the command that undoes it while it is under way, where there is one. `check` raises where
    it must not begin; it is asked before anything changes, and not again when it goes on. Then `resume` says, of the
    name of the stage at which it was cut, the one from which it goes on: what an earlier one did may be lost again.
    """

    name: str
    arguments: tuple[str, ...]
    stages: tuple[Stage, ...]
    price: str = ""
    back: str = ""
    check: Callable[[Session, Model], None] = nothing_to_do
    resume: Callable[[Session, Model, str], str] = same_stage

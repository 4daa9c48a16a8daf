"""What an operation is: a name, and stages, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hardway.declare.phases.base import Model, Proof
from hardway.state import State


def nothing_to_prove(model: Model) -> Iterable[Proof]:
    """The gate of a stage that is over as soon as everything is as declared."""
    return ()


@dataclass(frozen=True)
class Stage:
    """One step after which the cluster serves as before.

    `edit` is pure and idempotent: a stage that was cut is begun again. All proofs of `gate` must hold before the next
    stage; their machines must be among those of the run.
    """

    name: str
    edit: Callable[[State], State]
    gate: Callable[[Model], Iterable[Proof]] = nothing_to_prove


@dataclass(frozen=True)
class Operation:
    """`name` and `arguments` are the command (`certs rotate-ca`, `etcd`); the same command resumes it.

    The stages and their names must not depend on how far it has come.
    """

    name: str
    arguments: tuple[str, ...]
    stages: tuple[Stage, ...]

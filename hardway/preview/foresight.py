"""What a run would decide and make on the operator's side, foreseen: nothing is decided, made or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import Declaration, declare
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.base import Model
from hardway.declare.resources import Local
from hardway.engine.guards import decided, guard, refuse_lost_keys
from hardway.engine.plan import View
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.inventory.model import Cluster
from hardway.state import State, pending
from hardway.values import Placeholder

TOKEN = str(Placeholder("etcd/initial-cluster-token"))
"""Stands for what is drawn by lot when etcd begins: so two plans of the same cluster are alike."""


def foreseen(state: State, phases: Sequence[str]) -> State:
    """The State under which a run of these chapters would declare."""
    if state.etcd == "absent" and "etcd" in phases:
        return replace(state, etcd="begun", etcd_token=TOKEN)
    return state


def unbegun(state: State) -> State:
    """The same cluster with its etcd still to come, as it is for somebody who types it on empty machines."""
    return replace(state, etcd="absent", etcd_token="")


def declared(cluster: Cluster, state: State) -> tuple[Model, Declaration]:
    """What a run of all chapters would declare. Raises ArtifactError for a Kubernetes that is not in the catalogue."""
    releases = releases_for(cluster.kubernetes, cluster.artifacts.versions)
    versions = {name: release.version for name, release in releases.items()}
    model = Model(cluster, foreseen(state, PHASE_NAMES), versions)
    return model, declare(model)


@dataclass(frozen=True)
class ToMake:
    """A file of the workspace that a run would make, and why."""

    phase: str
    local: Local
    why: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """The operator's side: `values` has what stays as it is; what is to be made is not among them."""

    values: Mapping[str, bytes]
    to_make: tuple[ToMake, ...]


def judged(declaration: Declaration, values: Mapping[str, bytes], phases: Sequence[str], now: datetime) -> Judged:
    """Holds the workspace against the declaration, dependencies first."""
    kept = dict(values)
    to_make = []
    for phase, local in declaration.local:
        if phase not in phases:
            continue
        try:
            why = local.differences(kept, now)
        except ValueError as error:
            why = [str(error)]
        if why:
            to_make.append(ToMake(phase, local, tuple(why)))
            kept.pop(local.path, None)
    return Judged(kept, tuple(to_make))


def objections(
    session: Session,
    state: State,
    declaration: Declaration,
    views: Mapping[str, View],
    phases: Sequence[str],
    to_make: Sequence[ToMake],
) -> Iterator[HardwayError]:
    """What would make a run refuse to begin; what is pending is told apart from it."""
    if not pending(session.cluster, state):
        try:
            decided(state, session.cluster, phases, views.keys())
        except HardwayError as error:
            yield error
    if not views:
        return
    try:
        guard(session, state, views)
    except HardwayError as error:
        yield error
        return
    for one in to_make:
        try:
            refuse_lost_keys(one.local, declaration, views, session.workspace.root)
        except HardwayError as error:
            yield error

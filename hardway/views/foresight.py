"""What a run would decide and make on the operator's side, foreseen: nothing is decided, made or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hardway.artifacts.catalogue import releases_for
from hardway.deciding import decided, guard, refuse_lost_keys
from hardway.errors import HardwayError
from hardway.inventory.model import Cluster
from hardway.phases import CHAPTER_NAMES
from hardway.phases.base import Model
from hardway.plan import Declaration, View, declare
from hardway.resources import Local
from hardway.session import Session
from hardway.state import State, pending
from hardway.values import Hole

TOKEN = str(Hole("etcd/initial-cluster-token"))
"""Stands for what is drawn by lot when etcd begins: so two plans of the same cluster are alike."""


def foreseen(state: State, chapters: Sequence[str]) -> State:
    """The State under which a run of these chapters would declare."""
    if state.etcd == "absent" and "etcd" in chapters:
        return replace(state, etcd="begun", etcd_token=TOKEN)
    return state


def unbegun(state: State) -> State:
    """The same cluster with its etcd still to come, as it is for somebody who types it on empty machines."""
    return replace(state, etcd="absent", etcd_token="")


def declared(cluster: Cluster, state: State) -> tuple[Model, Declaration]:
    """What a run of all chapters would declare. Raises ArtifactError for a Kubernetes that is not in the catalogue."""
    releases = releases_for(cluster.kubernetes, cluster.artifacts.versions)
    versions = {name: release.version for name, release in releases.items()}
    model = Model(cluster, foreseen(state, CHAPTER_NAMES), versions)
    return model, declare(model)


@dataclass(frozen=True)
class ToMake:
    """A file of the workspace that a run would make, and why."""

    chapter: str
    local: Local
    why: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """The operator's side: `values` fills holes with what stays as it is; what is to be made is not among them."""

    values: Mapping[str, bytes]
    to_make: tuple[ToMake, ...]


def judged(declaration: Declaration, values: Mapping[str, bytes], chapters: Sequence[str], now: datetime) -> Judged:
    """Holds the workspace against the declaration, dependencies first."""
    kept = dict(values)
    to_make = []
    for chapter, local in declaration.local:
        if chapter not in chapters:
            continue
        try:
            why = local.differences(kept, now)
        except ValueError as error:
            why = [str(error)]
        if why:
            to_make.append(ToMake(chapter, local, tuple(why)))
            kept.pop(local.path, None)
    return Judged(kept, tuple(to_make))


def objections(
    session: Session,
    state: State,
    declaration: Declaration,
    views: Mapping[str, View],
    chapters: Sequence[str],
    to_make: Sequence[ToMake],
) -> Iterator[HardwayError]:
    """What would make a run refuse to begin; what is pending is told apart from it."""
    if not pending(session.cluster, state):
        try:
            decided(state, session.cluster, chapters, views.keys())
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

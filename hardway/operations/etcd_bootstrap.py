"""The first operation of a cluster: etcd is absent, then bootstrapping, then initialized, and never absent again.

It takes no stages of its own, since `init` and the chapter etcd are its command: cut anywhere, they go on with it. Only
while it is bootstrapping do the members get what their first start needs.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence

from hardway.declare.declaration import Declaration
from hardway.declare.phases.etcd import PHASE, UNIT
from hardway.declare.resources import Present
from hardway.engine.blockers import Blocker
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.engine.selection import Bootstrap
from hardway.inventory.model import Cluster
from hardway.state import State, advanced


def blockers(cluster: Cluster, state: State, phases: Collection[str], machines: Collection[str]) -> Iterator[Blocker]:
    """All members start together for the first time, or none."""
    left_out = [machine.name for machine in cluster.controllers if machine.name not in machines]
    if state.etcd != "initialized" and PHASE.name in phases and left_out:
        yield Blocker(
            "etcd-left-out",
            f"etcd forms with all of its members at once, and {', '.join(left_out)} would be left out",
            hint="leave out --limit until the cluster stands, or choose chapters before etcd",
        )


def begin(state: State, cluster: Cluster, phases: Collection[str]) -> State:
    """The State in which a run of these phases acts: where etcd is absent, it begins with a token of its own."""
    if state.etcd != "absent" or PHASE.name not in phases:
        return state
    return advanced(state, etcd="bootstrapping", etcd_token=f"{cluster.name}-{secrets.token_hex(8)}")


def advance(state: State, declaration: Declaration, views: Mapping[str, View], changes: Sequence[Change]) -> State:
    """The State in which etcd is never initialized again, as soon as every member has been seen ready.

    A run that was cut may have left an etcd that is initialized, and that nobody recorded: then it is seen in `views`.
    """
    if state.etcd != "bootstrapping":
        return state
    key = f"service:{UNIT}"
    ready = {change.machine for change in changes if change.key == key and change.restarts}
    for name, view in views.items():
        seen = view.observed.get(key)
        if isinstance(seen, Present) and seen.value.is_active:
            ready.add(name)
    members = {placed.machine for placed in declaration.placed if placed.resource.key == key}
    return advanced(state, etcd="initialized") if members <= ready else state


BOOTSTRAP = Bootstrap(blockers, begin, advance)

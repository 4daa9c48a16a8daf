"""`node remove`: a worker leaves the cluster. It is drained, its Node deleted, the machine reset; nobody routes to it.

Each step finds what is done already, so the same command goes on with one that was cut.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from functools import partial

from hardway.artifacts.store import Store
from hardway.engine import blockers, guards
from hardway.engine.commit import commit
from hardway.engine.converge import Outcome, converge
from hardway.engine.plan import Plan, declared, observe_and_plan
from hardway.engine.reset import reset
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session
from hardway.errors import HardwayError, PlanChanged, UsageError
from hardway.events import Note
from hardway.inventory.model import Cluster
from hardway.operations import drain
from hardway.operations.drain import How
from hardway.state import State, advanced

NODE_UNITS = "kubelet.service kube-proxy.service"


def refuse(cluster: Cluster, state: State, name: str, *, gone: bool) -> None:
    """Raises UsageError for what is not a worker that can leave."""
    listed = cluster.by_name.get(name)
    node = state.nodes.get(name)
    if listed is None and node is None:
        raise UsageError(f"there is no machine {name}", hint="hardway status")
    roles = set(listed.roles) if listed else set(node.roles if node else ())
    if roles != {"worker"}:
        raise UsageError(
            f"{name} is {' and '.join(sorted(roles))}; workers and controllers alone can be removed so",
            hint="docs/operate/nodes.md says what can be done",
        )
    if listed is None and not gone:
        raise UsageError(
            f"{name} is not in the inventory any more, so it cannot be drained and reset",
            hint=f"put it back and run the same command; where the machine is gone: hardway node remove {name} --gone",
        )
    if len([one for one in cluster.workers if one.name != name]) == 0:
        raise UsageError(f"{name} is the only worker; its pods could go nowhere", hint="hardway reset takes all away")


def remove(
    session: Session,
    state: State,
    name: str,
    selection: Selection,
    resolver: Resolver,
    store: Store,
    how: How,
    *,
    gone: bool = False,
    review: Callable[[Session, Plan], None] = lambda session, plan: None,
) -> Outcome:
    """Takes a worker out of the cluster. The session holds the locks of all machines but one that is `gone`.

    `review` sees what changes on the other machines before anything is done, and stops it by raising. Raises Blocked
    then, too, where something speaks against that plan. Raises NotSettled, with the node as it was, where it cannot be
    drained, and what `reset` and `converge` raise.
    """
    rest, after = _rest(session, name), _after(state, name)
    plan = _plan(rest, after, selection, resolver)
    review(rest, plan)
    if gone:
        refuse_reporting(session, name)
    else:
        empty(session, name, how)
    drain.delete_node(session, name)
    if not gone:
        reset_alone(session, state, name)
    session.cluster = rest.cluster
    session.machines.pop(name, None)
    session.workspace.save_state(after)
    outcome = converge(rest, after, selection, resolver, store, review=partial(_require_agreed, plan, name))
    commit(rest, outcome.state, outcome.views, set())
    return outcome


def empty(session: Session, name: str, how: How, machine: Session | None = None) -> None:
    """Drains a node, unless it is gone already, and stops what would bring it back.

    `machine` is the session of the one that is meant, where another one has the name in this session.
    """
    if drain.exists(session, name):
        drain.drain(session, [name], how)
        (machine or session).run(name, f"systemctl stop {NODE_UNITS}", what="stop the kubelet")


def _rest(session: Session, name: str) -> Session:
    """The session as it is without the machine."""
    rest = copy(session)
    rest.cluster = session.cluster.without(name)
    rest.machines = {one: io for one, io in session.machines.items() if one != name}
    return rest


def _after(state: State, name: str) -> State:
    nodes = {one: node for one, node in state.nodes.items() if one != name}
    return advanced(state, nodes=nodes, removed={**state.removed, name: f"{datetime.now(UTC):%Y-%m-%d}"})


def _plan(session: Session, state: State, selection: Selection, resolver: Resolver) -> Plan:
    """What changes on the machines that stay. Raises Blocked where something speaks against it."""
    _, waiting = guards.resolve_state(session.cluster, state, selection)
    blockers.require(waiting)
    plan = observe_and_plan(session, state, selection, resolver, {})
    for error in plan.failures.values():
        raise error
    blockers.require(plan.blockers)
    return plan


def _require_agreed(agreed: Plan, name: str, plan: Plan) -> None:
    """Raises PlanChanged where more is to be changed than was shown before the machine left."""
    known = {(one.machine, one.key) for one in agreed.changes}
    more = sorted({f"{one.machine}: {one.key}" for one in plan.changes if (one.machine, one.key) not in known})
    if more:
        raise PlanChanged(
            f"{name} has left, and something has changed on the other machines since that was agreed to",
            said="\n".join(more),
            hint="hardway plan",
        )


def refuse_reporting(session: Session, name: str) -> None:
    """Raises HardwayError where the kubelet of a machine that is said to be gone reports."""
    if drain.exists(session, name) and drain.is_ready(session, name):
        raise HardwayError(
            f"{name} is not gone: its kubelet still reports to the API; nothing was changed",
            hint="put it into the inventory and leave out --gone: then it is drained and reset; or switch it off first",
        )


def reset_alone(session: Session, state: State, name: str) -> None:
    """Resets one machine of the session, or one beside it."""
    session.events(Note(f"{name}: resetting the machine"))
    alone = copy(session)
    alone.machines = {name: session.machines.get(name) or session.peers[name]}
    reset(alone, declared(session.cluster, state)[1])

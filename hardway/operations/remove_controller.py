"""`node remove` of a controller: whatever it does is done by others before it stops, and a majority stands without it.

The machine itself is not converged any more, it only stops: first nobody asks its etcd, then what leads on it hands
over and its API server ends, then it leaves the balancers and etcd, and is reset. The first controller is one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from hardway.declare.declaration import declare
from hardway.declare.phases import etcd
from hardway.declare.phases.base import Model
from hardway.engine.rollout import hand_over, step_aside
from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError
from hardway.events import Note
from hardway.inventory.model import Cluster, Machine
from hardway.operations import add_controller, drain, members
from hardway.operations.add_controller import serves
from hardway.operations.drain import How
from hardway.operations.members import answering, helper_of, listed, member_of, serving, takes_part
from hardway.operations.remove_node import empty, refuse_reporting, reset_alone
from hardway.operations.stage import Operation, Stage
from hardway.state import OperationState, State, advanced
from hardway.values import majority

NAME = "node remove"
GONE = "--gone"
STOP_LIMIT = 300.0
"""Seconds: an API server answers what it has begun first."""
# One that was being added may have none of them yet.
_STOP = """\
for unit in kube-controller-manager kube-scheduler kube-apiserver; do
  ! systemctl is-active --quiet $unit.service || systemctl stop $unit.service
done
"""


def refuse(cluster: Cluster, name: str) -> None:
    """Raises UsageError for a controller that cannot leave. `cluster` has those that are part of it, and this one."""
    machine = cluster.by_name.get(name)
    if machine is None:
        raise UsageError(
            f"{name} is a controller, and not in the inventory any more",
            hint=f"put it back, and run hardway node remove {name}, with --gone if the machine is lost",
        )
    if len(cluster.controllers) == 1:
        raise UsageError(f"{name} is the only controller", hint="hardway reset takes all away")
    if machine.is_load_balancer:
        raise UsageError(
            f"{name} is a load balancer, too, which is not removed so",
            hint="give another machine that role, and run hardway init first",
        )
    if machine.is_worker and len(cluster.workers) == 1:
        raise UsageError(f"{name} is the only worker; its pods could go nowhere", hint="hardway reset takes all away")


def taken_back(state: State, name: str, *, gone: bool) -> State:
    """The State in which the addition of this controller, which was cut, is given up, and a removal that was cut goes
    on without the machine, where that is `gone` by now.
    """
    unfinished = state.operation
    if unfinished is None:
        return state
    if unfinished.command == OperationState.command_of(add_controller.NAME, (name,)):
        return advanced(state, operation=None)
    if gone and unfinished.command == OperationState.command_of(NAME, (name,)):
        return advanced(state, operation=replace(unfinished, arguments=(name, GONE)))
    return state


def operation(machine: Machine, how: How, *, gone: bool = False) -> Operation:
    """The session has the machine among its peers, unless it is `gone`."""
    name = machine.name
    return Operation(
        NAME,
        (name, GONE) if gone else (name,),
        (
            Stage(
                "withdraw",
                _withdrawn(machine, gone),
                act=partial(_step_down, machine, gone),
                why=f"no API server asks etcd on {name} any more; what leads there leads elsewhere",
            ),
            Stage(
                "leave",
                takes_part(machine, "prepared"),
                serves,
                act=partial(_leave, machine, how, gone),
                why=f"{name} leaves the load balancers and etcd" + ("" if gone else ", and is reset"),
            ),
            Stage("forget", _without(name), serves, why=f"no certificate and no machine names {name} any more"),
        ),
        check=partial(_refuse, machine, how, gone),
    )


def _withdrawn(machine: Machine, gone: bool) -> Callable[[State], State]:
    def edit(state: State) -> State:
        # One whose addition was given up may have come less far.
        further = state.nodes[machine.name].control == ""
        return takes_part(machine, "serving")(state) if further else state

    return takes_part(machine, "prepared") if gone else edit


def _without(name: str) -> Callable[[State], State]:
    def edit(state: State) -> State:
        return replace(state, nodes={one: node for one, node in state.nodes.items() if one != name})

    return edit


def _refuse(machine: Machine, how: How, gone: bool, session: Session, model: Model) -> None:
    """Raises HardwayError where etcd would lose its majority. A worker's pods go first: where they cannot, nothing has
    changed.
    """
    name = machine.name
    others = [one.name for one in model.members if one.name != name]
    there = serving(session, others)
    if gone and name in answering(session, there[:1], [*model.members, machine]):
        raise HardwayError(
            f"{name} is not gone: its etcd answers the other members; nothing was changed",
            hint="leave out --gone: then it hands over and is reset; or switch it off first",
        )
    _require_majority(name, others, there)
    # A majority of today's members must agree to it.
    listed(session, there[0])
    if not machine.is_worker:
        return
    if gone:
        refuse_reporting(session, name)
    elif drain.exists(session, name):
        drain.drain(session, [name], how)


def _require_majority(name: str, others: list[str], there: list[str]) -> None:
    """Raises HardwayError unless a majority serves of those that are left."""
    needed = majority(len(others))
    if len(there) >= needed:
        return
    missing = [one for one in others if one not in there]
    raise HardwayError(
        f"{len(there)} of the {len(others)} other etcd members serve, and without {name} {needed} must",
        said=f"does not serve: {', '.join(missing)}; nothing was changed",
        hint=f"bring it back first: hardway doctor; where {name} is lost for good, and no majority is left: "
        f"hardway etcd recover --gone {name}",
    )


def _step_down(machine: Machine, gone: bool, session: Session, model: Model) -> None:
    if gone:
        return
    step_aside(session, machine.name, declare(model))
    session.run(machine.name, _STOP, what="stop the control plane", timeout=STOP_LIMIT)


def _leave(machine: Machine, how: How, gone: bool, session: Session, model: Model) -> None:
    """What stopped this half-way finds what is done."""
    name = machine.name
    others = [one.name for one in model.members]
    if machine.is_worker and not gone:
        empty(session, name, how)
    if machine.is_worker:
        drain.delete_node(session, name)
    if not gone and members.runs(session, name):
        # It may lead again by now, and who removes the leader loses what is written meanwhile.
        hand_over(session, name, etcd.group([*model.members, machine]))
    helper = helper_of(session, others)
    if member := member_of(listed(session, helper), machine):
        members.remove(session, helper, member)
    count = len(others)
    if count % 2 == 0:
        session.events(Note(f"etcd has {count} members now, of which {members.spare(count)}", "warning"))
    if not gone:
        session.run(name, f"systemctl disable --now --quiet {etcd.UNIT} || true", what="stop etcd", timeout=STOP_LIMIT)
        reset_alone(session, model.state, name)
        session.peers.pop(name)
    session.cluster = session.cluster.without(name)

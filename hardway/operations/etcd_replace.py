"""`etcd replace`: the member of a machine that lost its data joins again, as a learner first.

The old member is taken off the list before the new one is on it, so that no two of them count for a majority. Until it
may vote, the new one answers on its own machine only: API servers know its address, and would lose what they send it.
"""

from __future__ import annotations

from functools import partial

from hardway.declare.phases import etcd
from hardway.declare.phases.base import Model
from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError
from hardway.inventory.model import Cluster, Machine
from hardway.operations.members import DATA, helper_of, join, listed, member_of, remove, serving, statuses, takes_part
from hardway.operations.stage import Operation, Stage

NAME = "etcd replace"


def operation(cluster: Cluster, name: str) -> Operation:
    """Raises UsageError for a machine that is no controller."""
    machine = cluster.machine(name)
    if not machine.is_controller:
        names = ", ".join(one.name for one in cluster.controllers)
        raise UsageError(f"{name} is no controller, so no member of etcd", hint=f"one of: {names}")
    return Operation(
        NAME,
        (name,),
        (
            Stage(
                "join",
                takes_part(machine, "replacing"),
                act=partial(_replace, machine),
                why=f"{name} gets what it lacks, and joins etcd again as a learner, then as a voter",
            ),
            Stage("serve", takes_part(machine, ""), etcd.proofs, why=f"etcd on {name} serves the API servers again"),
        ),
        check=partial(_refuse_unless_lost, machine),
    )


def _others(model: Model, machine: Machine) -> list[Machine]:
    return [one for one in model.members if one.name != machine.name]


def _replace(machine: Machine, session: Session, model: Model) -> None:
    others = _others(model, machine)
    helper = helper_of(session, [one.name for one in others])
    member = member_of(listed(session, helper), machine)
    if member and not member.learner and machine.name not in statuses(session, [machine.name]):
        _require_others(session, others)
        remove(session, helper, member)
    join(session, machine, others)


def _refuse_unless_lost(machine: Machine, session: Session, model: Model) -> None:
    """Raises HardwayError unless just this member is lost."""
    if serving(session, [machine.name]):
        raise HardwayError(
            "its etcd member serves: there is nothing to replace",
            machine=machine.name,
            said="nothing was changed",
            hint="hardway etcd status",
        )
    _require_others(session, _others(model, machine))
    stopped = f'[ -d {DATA} ] && [ "$(systemctl is-active {etcd.UNIT})" = inactive ]'
    if session.run(machine.name, stopped, what="look for its data", check=False).code == 0:
        raise HardwayError(
            "its etcd has data, and is only stopped",
            machine=machine.name,
            said="nothing was changed",
            hint=f"hardway apply etcd -l {machine.name} starts it; if it fails then, give this command again",
        )


def _require_others(session: Session, others: list[Machine]) -> None:
    there = serving(session, [one.name for one in others])
    missing = [one.name for one in others if one.name not in there]
    if missing or not others:
        raise HardwayError(
            f"more than this member is lost: {', '.join(missing)} does not serve either"
            if others
            else "it is the only member of etcd",
            said="one member is replaced only while all others serve; nothing was changed",
            hint="bring the others back first: hardway doctor",
        )

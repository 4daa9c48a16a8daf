"""`etcd replace`: members of machines that lost their data join again, each as a learner first.

Old members are taken off the list before a new one is on it, so that they count for no majority any more. Until it
may vote, a new one answers on its own machine only: API servers know its address, and would lose what they send it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from hardway.declare.phases import etcd
from hardway.declare.phases.base import Model
from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError
from hardway.inventory.model import Cluster, Machine
from hardway.operations.members import (
    DATA,
    has_data,
    helper_of,
    join,
    listed,
    member_of,
    put_aside,
    remove,
    serving,
    statuses,
    takes_part,
)
from hardway.operations.stage import Operation, Stage
from hardway.state import ControlState, OperationState, State
from hardway.values import majority

NAME = "etcd replace"


def operation(cluster: Cluster, *names: str) -> Operation:
    """Raises UsageError for a machine that is no controller."""
    machines = tuple(cluster.machine(name) for name in dict.fromkeys(names))
    for machine in machines:
        if not machine.is_controller:
            controllers = ", ".join(one.name for one in cluster.controllers)
            raise UsageError(f"{machine.name} is no controller, so no member of etcd", hint=f"one of: {controllers}")
    these = ", ".join(machine.name for machine in machines)
    return Operation(
        NAME,
        tuple(machine.name for machine in machines),
        (
            Stage(
                "join",
                partial(_all_take_part, machines, "replacing"),
                act=partial(_replace, machines),
                why=f"what {these} lacks is installed; etcd there joins again as a learner, then as a voter",
            ),
            Stage(
                "serve",
                partial(_all_take_part, machines, ""),
                etcd.proofs,
                why=f"etcd on {these} serves the API servers again",
            ),
        ),
        check=partial(_refuse_unless_lost, machines),
        resume=partial(_from, machines),
    )


def _from(machines: Iterable[Machine], session: Session, model: Model, stage: str) -> str:
    """Data that was lost again must be copied again, however far it had come. One that is only stopped has it.

    An etcd that was started on an empty disk has made files of its own there, and fails.
    """
    lost = any(_is_lost(session, machine) and not _has_data(session, machine) for machine in machines)
    return "join" if lost else stage


def majority_serves(voters: int, serving: int) -> bool:
    """Whether so many of the voting members on the list are enough to exchange one that does not serve.

    They must agree to its removal; then etcd takes a learner while they would be a majority with one voter more on the
    list (`isConnectedToQuorumAfterAddingNewMemberSince` of etcd 3.6.14), which is the same number.
    """
    return serving >= majority(voters)


def _all_take_part(machines: Iterable[Machine], how: ControlState, state: State) -> State:
    for machine in machines:
        state = takes_part(machine, how)(state)
    return state


def _others(model: Model, machines: Iterable[Machine]) -> list[Machine]:
    names = {machine.name for machine in machines}
    return [one for one in model.members if one.name not in names]


def _replace(machines: Sequence[Machine], session: Session, model: Model) -> None:
    """All that are lost leave the list before the first joins: while it copies, the list is as short as it can be."""
    others = _others(model, machines)
    helper = helper_of(session, [one.name for one in others])
    for machine in machines:
        member = member_of(listed(session, helper), machine)
        if member and not member.learner and _is_lost(session, machine):
            _require_majority(session, model.members)
            put_aside(session, machine)
            remove(session, helper, member)
    for machine in machines:
        join(session, machine, others)


def _is_lost(session: Session, machine: Machine) -> bool:
    """One that still runs serves what it has open, and nothing after its next start."""
    return machine.name not in statuses(session, [machine.name]) or not has_data(session, machine)


def _refuse_unless_lost(machines: Sequence[Machine], session: Session, model: Model) -> None:
    """Raises HardwayError unless these members, and no others, lost their data, and a majority serves."""
    for machine in machines:
        _refuse_if_there(session, machine)
    others = _others(model, machines)
    if not others:
        raise HardwayError(
            "no member of etcd would be left to copy from",
            said="nothing was changed",
            hint="hardway etcd restore FILE, from a snapshot",
        )
    there = _require_majority(session, others)
    lost = [one.name for one in others if one.name not in there and not _has_data(session, one)]
    if lost:
        names = (*(machine.name for machine in machines), *lost)
        raise HardwayError(
            f"{', '.join(lost)} lost its data, too",
            said="nothing was changed",
            hint=f"name them all: {OperationState.command_of(NAME, names)}",
        )


def _refuse_if_there(session: Session, machine: Machine) -> None:
    if serving(session, [machine.name]):
        raise HardwayError(
            "its etcd member serves: there is nothing to replace",
            machine=machine.name,
            said="nothing was changed",
            hint="hardway etcd status",
        )
    if _has_data(session, machine):
        raise HardwayError(
            "its etcd has data, and is only stopped",
            machine=machine.name,
            said="nothing was changed",
            hint=f"hardway apply etcd -l {machine.name} starts it; if it fails then, give this command again",
        )


def _has_data(session: Session, machine: Machine) -> bool:
    """Whether the data of a member is there that nobody tries to start; one that fails to start may be damaged."""
    stopped = f'[ -d {DATA} ] && [ "$(systemctl is-active {etcd.UNIT})" = inactive ]'
    return session.run(machine.name, stopped, what="look for its data", check=False).code == 0


def _require_majority(session: Session, machines: Iterable[Machine]) -> list[str]:
    """The machines of these whose members serve."""
    there = serving(session, [machine.name for machine in machines])
    # Without a majority no member knows a leader, so none serves, and none can list the members.
    voters = sum(not member.learner for member in listed(session, there[0])) if there else 0
    if not majority_serves(voters, len(there)):
        raise HardwayError(
            f"{len(there)} of {voters} members of etcd serve, no majority" if there else "no majority of etcd serves",
            said="a lost member is replaced only while more than half of all members serve; nothing more was changed",
            hint="start what is only stopped (hardway doctor); if the data of a majority is lost: hardway etcd recover",
        )
    return there

"""`node add`: a controller joins a cluster that serves.

It gets files and certificates first, and nothing starts. Its etcd joins as a learner, and votes once it has the data of
the others; until then it counts for no majority. Its API server asks that etcd, and is taken by the balancers; the
other API servers ask the new member last, one after another.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from hardway.declare.declaration import declare
from hardway.declare.phases import control_plane, etcd, load_balancer, workers
from hardway.declare.phases.base import Model, Proof
from hardway.engine.observe import observe
from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError
from hardway.events import Note
from hardway.inventory.model import Cluster, Machine
from hardway.operations.members import DATA, has_data, join, serving, spare, takes_part
from hardway.operations.stage import Operation, Stage
from hardway.preflight.preflight import preflight, refuse, warn
from hardway.state import OperationState, State

NAME = "node add"


def operation(cluster: Cluster, state: State, name: str) -> Operation:
    """Raises UsageError for what is no controller, and for one that is part of the cluster already."""
    machine = cluster.machine(name)
    if not machine.is_controller:
        raise UsageError(f"{name} is no controller; other machines need no command of their own", hint="hardway init")
    node, unfinished = state.nodes.get(name), state.operation
    begun = unfinished is not None and unfinished.command == OperationState.command_of(NAME, (name,))
    if node is not None and not begun:
        if "controller" in node.roles:
            raise UsageError(f"{name} is part of the cluster already", hint="hardway status")
        raise UsageError(
            f"{name} is part of the cluster as {', '.join(node.roles)}, and cannot become a controller there",
            hint=f"give it its former role again; hardway node remove {name}; then its new roles, and the same command",
        )
    return Operation(
        NAME,
        (name,),
        (
            Stage(
                "join",
                takes_part(machine, "prepared"),
                act=partial(_join, machine),
                why=f"{name} gets files and certificates, and joins etcd as a learner, then as a voter",
            ),
            Stage(
                "serve",
                takes_part(machine, "serving"),
                serves,
                why=f"the API is served on {name}, too, and the load balancers use it",
            ),
            Stage(
                "ask",
                takes_part(machine, ""),
                partial(_all_there, machine),
                why=f"the other API servers ask etcd on {name}, too; they restart one after another",
            ),
        ),
        back=f"hardway node remove {name}",
        check=partial(_refuse, machine),
    )


def serves(model: Model) -> Iterator[Proof]:
    """etcd, the control plane and the way to it."""
    yield from etcd.proofs(model)
    yield from control_plane.proofs(model)
    yield from load_balancer.proofs(model)


def _all_there(machine: Machine, model: Model) -> Iterator[Proof]:
    yield from serves(model)
    if machine.is_worker:
        yield from workers.proofs(model)


def _join(machine: Machine, session: Session, model: Model) -> None:
    join(session, machine, model.members)
    count = len(model.members) + 1
    if count % 2 == 0:
        lost = spare(count) + ("" if count == 2 else ", as before")
        session.events(Note(f"etcd has {count} members now, of which {lost}: add the next controller soon", "warning"))


def _refuse(machine: Machine, session: Session, model: Model) -> None:
    """Raises HardwayError unless all members serve, and the machine is fit and has no etcd of its own."""
    others = [one.name for one in session.cluster.controllers if one.name != machine.name]
    there = serving(session, others)
    missing = [name for name in others if name not in there]
    if missing:
        raise HardwayError(
            f"etcd does not serve on {', '.join(missing)}: one member more would need a larger majority",
            said="nothing was changed",
            hint="bring it back first: hardway doctor; one that is lost for good: "
            f"hardway node remove {missing[0]} --gone",
        )
    if has_data(session, machine):
        raise HardwayError(
            f"holds data of another etcd in {DATA}",
            machine=machine.name,
            said="nothing was changed",
            hint=f"if nobody needs it: hardway ssh {machine.name} -- sudo mv {DATA} {DATA}.old; then the same command",
        )
    views = observe(session, declare(model), session.machines)
    findings = preflight(session, views, session.cluster)
    warn(session, findings)
    refuse(findings)

"""`node replace`: a worker's name goes to another machine. The old one is drained and reset, or is gone; its Node and
its kubelet's key pair go, and the new machine is built.

The new machine is looked at before anything happens to the old one. Until the old one has left, the same command begins
again and finds what is done; from then on State has the operation, and the same command builds on after a kill. Where
the building fails, the operation ends: it is what `init` does, and what is wrong may need any other command.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from dataclasses import replace

from hardway.artifacts.store import Store
from hardway.declare.phases.base import Proof
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.pki import PemError, read
from hardway.declare.resources.base import quote
from hardway.engine import prove
from hardway.engine.commit import commit, commit_state
from hardway.engine.converge import Outcome, converge
from hardway.engine.observe import observe
from hardway.engine.plan import declared
from hardway.engine.reset import reset
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError, UsageError
from hardway.events import Note
from hardway.inventory.model import Cluster, Machine
from hardway.operations import drain
from hardway.operations.drain import How
from hardway.operations.remove_node import empty
from hardway.operations.run import taken_up
from hardway.preflight.preflight import preflight, refuse, warn
from hardway.remote import MachineIO
from hardway.state import State, advanced, node_of

NAME = "node replace"
READY_LIMIT = 180.0
"""Seconds until the new machine's node is Ready, once everything there runs."""


def refuse_others(cluster: Cluster, state: State, name: str) -> None:
    """Raises UsageError for what is no worker of the cluster and of the inventory."""
    machine = cluster.machine(name)
    if machine.is_controller:
        raise UsageError(
            f"{name} is a controller: its etcd joins again by another command, which builds the rest as well",
            hint=f"hardway etcd replace {name}",
        )
    if not machine.is_worker:
        raise UsageError(f"{name} is no worker, and has no Node", hint=f"hardway init builds it again on {machine.ip}")
    if name not in state.nodes:
        raise UsageError(f"{name} is not part of the cluster yet", hint="hardway init adds it")


def before(cluster: Cluster, state: State, name: str) -> Machine | None:
    """The machine that has the name now, where it has another address; None where it has none of its own any more."""
    machine, node = cluster.machine(name), state.nodes[name]
    if state.operation is not None or node.address == str(machine.ip):
        return None
    at = type(machine.ip)(node.address)
    return replace(machine, name=f"{name}-before", address=at, ssh=replace(machine.ssh, host=None))


def run(
    session: Session,
    state: State,
    name: str,
    old: MachineIO | None,
    selection: Selection,
    resolver: Resolver,
    store: Store,
    how: How,
    *,
    by: str,
    gone: bool = False,
    take_over: bool = False,
) -> Outcome:
    """Gives the name to the machine of the session. `old` is the connection to the one before, where it answers.

    The session holds all locks. Raises HardwayError where the machine is the old one or cannot be used, and where the
    old one neither can be drained nor is gone; nothing is changed then. Raises what `converge` raises.
    """
    underway = taken_up(state, NAME, (name,), by=by, take_over=take_over)
    selection = replace(selection, operation=underway.command)
    if not underway.stage:
        _look(session, _with_new(session.cluster, state, name), name)
        with timed(f"retire the old {name}", session.events):
            _retire(session, state, name, old, how, gone=gone)
        _retire_keys(session, name, is_reset=old is not None and not gone)
    state = advanced(_with_new(session.cluster, state, name), operation=replace(underway, stage="build"))
    commit_state(session, state)
    try:
        outcome = converge(session, state, selection, resolver, store)
        prove.require(prove.prove(session, list(_is_ready(session.cluster, name)), wait=READY_LIMIT))
    except HardwayError as error:
        end(session)
        error.hint = f"{error.hint or 'hardway doctor'}\nthen this builds on:\n    hardway init"
        raise
    outcome.state = advanced(outcome.state, operation=None)
    commit(session, outcome.state, outcome.views, set())
    return outcome


def end(session: Session) -> None:
    """What is left is the building of a worker: where that fails, any other command may be needed, and init does it."""
    state = session.workspace.load_state()
    if state is not None and state.operation is not None and state.operation.name == NAME:
        commit_state(session, advanced(state, operation=None))


def _with_new(cluster: Cluster, state: State, name: str) -> State:
    """The node keeps its pod range; all else is the new machine's."""
    node = state.nodes[name]
    new = replace(node_of(cluster.machine(name)), pod_cidr=node.pod_cidr, pod_cidr6=node.pod_cidr6)
    return replace(state, nodes={**state.nodes, name: new})


def _look(session: Session, state: State, name: str) -> None:
    """Raises HardwayError where the machine is part of the cluster already, or preflight finds what is in the way."""
    view = observe(session, declared(session.cluster, state)[1], [name])[name]
    if view.journal.entries or view.state_text:
        raise HardwayError(
            f"the machine at {session.cluster.machine(name).ip} is not new: hardway has set it up",
            machine=name,
            said="nothing was changed",
            hint=f"exchange it first (hardway node drain {name} before), or write the new machine's address into "
            f"{session.cluster.path}; what an exchange left undone: hardway init",
        )
    findings = preflight(session, {name: view}, session.cluster)
    warn(session, findings)
    refuse(findings)


def _retire(session: Session, state: State, name: str, old: MachineIO | None, how: How, *, gone: bool) -> None:
    if old is not None and not gone:
        alone = copy(session)
        alone.machines = {name: old}
        empty(session, name, how, alone)
        drain.delete_node(session, name)
        session.events(Note(f"{name}: resetting the old machine"))
        reset(alone, declared(session.cluster, _with_new(session.cluster, state, name))[1])
        return
    if drain.exists(session, name):
        _refuse_reporting(session, state, name, gone=gone)
    drain.delete_node(session, name)


def _refuse_reporting(session: Session, state: State, name: str, *, gone: bool) -> None:
    """Raises HardwayError unless the old machine is certainly gone: another one is at its address, or somebody says so,
    and nobody reports for it."""
    node = state.nodes[name]
    if drain.is_ready(session, name):
        raise HardwayError(
            f"the old {name} is not gone: its kubelet reported to the API within the last minute",
            said="nothing was changed",
            hint="switch it off and wait a minute; or leave out --gone, where it has another address: then it is "
            "drained and reset",
        )
    if node.address != str(session.cluster.machine(name).ip) and not gone:
        raise HardwayError(
            f"the old {name} does not answer at {node.address}, so it can be neither drained nor reset",
            said="nothing was changed",
            hint=f"switch it on, or where it is lost: hardway {NAME} {name} --gone",
        )


def _retire_keys(session: Session, name: str, *, is_reset: bool) -> None:
    """The new machine gets a key of its own. What the old one had is good until it ends."""
    path = f"pki/kubelet-{name}"
    ends = ""
    with suppress(KeyError, PemError):
        ends = f"{read(session.workspace.values()[f'{path}.crt']).not_after:%Y-%m-%d}"
    for ending in ("key", "crt"):
        session.workspace.retire(f"{path}.{ending}")
    if ends and not is_reset:
        session.events(
            Note(
                f"the old {name} was not reset: its kubelet's certificate is accepted until {ends}, or until the CA is "
                "exchanged (hardway certs rotate-ca kubernetes); do not connect it again",
                "warning",
            )
        )


def _is_ready(cluster: Cluster, name: str) -> Iterator[tuple[str, Proof]]:
    script = f"{KUBECTL} get node {quote(name)} -o jsonpath='{{.status.conditions[?(@.type==\"Ready\")].status}}'"
    why = "until its kubelet reports itself no pod starts there"
    home = cluster.controllers[0].name
    yield "workers", Proof(home, f"node {name} is Ready", script, why, "equals", "True", within=READY_LIMIT)

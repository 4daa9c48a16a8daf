"""What a run decides before it acts, and what makes it refuse. The rules about losing nothing live here."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hardway.declare.declaration import Declaration
from hardway.declare.phases.etcd import ETCDCTL
from hardway.declare.resources import Key, Local, Present, RandomKey
from hardway.declare.resources.files import File
from hardway.engine.adopt import is_of
from hardway.engine.plan import View
from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError, WorkspaceError
from hardway.inventory.model import Cluster, Machine
from hardway.state import State, advanced, fixed_values, nodes_of, pending
from hardway.values import placeholders


def first_state(cluster: Cluster) -> State:
    """The State of a cluster that does not exist yet."""
    return State(cluster=cluster.name, cluster_id=secrets.token_hex(8))


def refuse_pending(state: State, cluster: Cluster) -> None:
    """Raises HardwayError where the inventory asks a living cluster for what an ordinary run must not do."""
    problems = pending(cluster, state)
    if problems:
        raise HardwayError(
            "the inventory and the living cluster disagree", said="\n".join(problems), hint=f"edit {cluster.path}"
        )


def decided(state: State, cluster: Cluster, phases: Sequence[str], machines: Collection[str]) -> State:
    """The State as this run would have it: the roster, the fixed values, an etcd that may begin.

    Raises HardwayError where the inventory asks a living cluster for what an ordinary run must not do.
    """
    refuse_pending(state, cluster)
    state = advanced(
        state, nodes=nodes_of(cluster, state, {}), fixed=fixed_values(cluster), kubernetes=cluster.kubernetes
    )
    left_out = [machine.name for machine in cluster.controllers if machine.name not in machines]
    if state.etcd != "formed" and "etcd" in phases and left_out:
        raise UsageError(
            f"etcd forms with all of its members at once, and {', '.join(left_out)} would be left out",
            hint="leave out --limit until the cluster stands, or choose chapters before etcd",
        )
    if state.etcd == "absent" and "etcd" in phases:
        state = advanced(state, etcd="begun", etcd_token=f"{cluster.name}-{secrets.token_hex(8)}")
    return state


def guard(session: Session, state: State, views: Mapping[str, View]) -> State:
    """Compares what the workspace knows with what the machines say of themselves.

    Raises WorkspaceError for a lost or older workspace, HardwayError for machines that belong to
    another cluster or hold an etcd nobody here knows. Returns the State with the machine ids seen.
    """
    known = session.workspace.load_state()
    for name, view in views.items():
        if not view.state_text:
            continue
        theirs = State.from_json(view.state_text, f"{name}:/var/lib/hardway/state.json")
        if theirs.cluster_id == state.cluster_id:
            # The workspace is written before the machines, so its own copy is never behind by accident.
            if known is not None and theirs.generation > known.generation:
                raise _older(session.workspace.root, name, theirs, known)
            continue
        if known is None and theirs.cluster == state.cluster:
            raise _lost(session.workspace.root, name)
        raise HardwayError(
            f"belongs to another cluster, {theirs.cluster} ({theirs.cluster_id})",
            machine=name,
            hint=f"hardway reset -l {name} with that cluster's inventory, or take it out of this one",
        )
    _refuse_etcd_surprises(session, state, views, unseen=known is not None and known.etcd == "formed")
    ids = {name: view.facts.machine_id for name, view in views.items()}
    return advanced(state, nodes=nodes_of(session.cluster, state, ids))


def _refuse_etcd_surprises(session: Session, state: State, views: Mapping[str, View], *, unseen: bool) -> None:
    """`unseen`: a cluster that the workspace knows must be found on its machines."""
    controllers = [one for one in session.cluster.controllers if one.name in views]
    formed = state.etcd == "formed"
    # Workers may be new, or reset; who holds the cluster's data may not.
    known_here = any(view.state_text or is_of(session, view) for view in views.values())
    if unseen and controllers and not known_here:
        raise HardwayError(
            f"{session.workspace.root} knows a living cluster, but none of these machines has ever seen it",
            said=f"machines: {', '.join(views)}",
            hint="if they were installed anew and the cluster is given up: hardway reset, then hardway init",
        )
    for machine in controllers:
        view = views[machine.name]
        if view.facts.etcd_data and not view.state_text and not formed:
            raise HardwayError(
                "holds an etcd in /var/lib/etcd that hardway did not make",
                machine=machine.name,
                hint="if its CA is this workspace's, start all of its members: then hardway plan knows it; "
                "if nobody needs it: move /var/lib/etcd away on that machine, then run this again",
            )
        if formed and not view.facts.etcd_data and not _awaited(session, machine):
            raise HardwayError(
                "its etcd data is gone, and a wiped member must not be initialised again",
                machine=machine.name,
                said="the other members still hold the cluster's data; nothing was changed",
                hint="on another controller: etcdctl member remove the old one, member add "
                f"{machine.name} --peer-urls=https://{machine.ip}:2380 (docs/operate/etcd-member.md); "
                "then run this again",
            )


def _awaited(session: Session, machine: Machine) -> bool:
    """Whether the living members were told (`member add`) to expect this one anew: etcd calls it unstarted."""
    others = [one.name for one in session.cluster.controllers if one is not machine and one.name in session.machines]
    for name in others:
        answer = session.run(
            name,
            f"{ETCDCTL} --endpoints=https://127.0.0.1:2379 member list",
            what="ask etcd for its members",
            check=False,
        )
        for line in answer.text.splitlines() if answer.code == 0 else ():
            fields = [field.strip() for field in line.split(",")]
            if "unstarted" in fields and f"https://{machine.ip}:2380" in fields:
                return True
    return False


def _older(root: Path, name: str, theirs: State, known: State) -> WorkspaceError:
    return WorkspaceError(
        f"{root} is older than the cluster: generation {known.generation}, the machine has {theirs.generation}",
        machine=name,
        hint="use the workspace of whoever ran hardway last (state.json, pki/, secrets/)",
    )


def _lost(root: Path, name: str) -> WorkspaceError:
    return WorkspaceError(
        f"{root} is empty, but this machine is part of a living cluster: its keys were lost, or are elsewhere",
        machine=name,
        hint="restore the workspace from a backup, or give the right --workspace; to give it up: hardway reset",
    )


def refuse_lost_keys(local: Local, declaration: Declaration, views: Mapping[str, View], root: Path) -> None:
    """A key that lies on a machine and is lost in the workspace is never made anew."""
    if not isinstance(local, Key | RandomKey):
        return
    for one in declaration.placed:
        resource = one.resource
        if one.machine not in views or not isinstance(resource, File):
            continue
        if local.path not in {placeholder.name for placeholder in placeholders(resource.text)}:
            continue
        if isinstance(views[one.machine].observed.get(resource.key), Present):
            raise WorkspaceError(
                f"{root / local.path} is lost, but {resource.path} on this machine was made from it",
                machine=one.machine,
                hint=f"restore {local.path} from a backup of the workspace; a new key would break the cluster",
            )

"""What a run may begin with: State as it would have it, and everything that speaks against it.

The rules about losing nothing live here. Nothing here raises; what is found is a Blocker.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hardway.declare.declaration import Declaration
from hardway.declare.phases.etcd import ETCDCTL
from hardway.declare.resources import Certificate, Service
from hardway.declare.resources.files import Binary, File
from hardway.engine.adopt import HINT, is_of
from hardway.engine.blockers import Blocker, of_pending
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.engine.pending import pending
from hardway.engine.rolls import rolls_of
from hardway.engine.selection import Selection
from hardway.engine.session import Session
from hardway.errors import WorkspaceError
from hardway.inventory.model import Cluster, Machine
from hardway.journal import STATE_PATH
from hardway.state import State, advanced, fixed_values, nodes_of
from hardway.values import sha256


def first_state(cluster: Cluster) -> State:
    """The State of a cluster that does not exist yet."""
    return State(cluster=cluster.name, cluster_id=secrets.token_hex(8))


def resolve_state(cluster: Cluster, state: State, selection: Selection) -> tuple[State, tuple[Blocker, ...]]:
    """The State as a run of this selection would have it, and what speaks against it. Pure.

    What waits for another command leaves the State as it is.
    """
    unfinished = tuple(open_operation(state, selection.operation))
    if unfinished:
        return state, unfinished
    waiting = pending(cluster, state)
    if waiting:
        return state, tuple(of_pending(one, str(cluster.path)) for one in waiting)
    blockers = tuple(selection.bootstrap.blockers(cluster, state, selection.phases, selection.machines))
    resolved = advanced(
        state, nodes=nodes_of(cluster, state, {}), fixed=fixed_values(cluster), kubernetes=cluster.kubernetes
    )
    return resolved, blockers


def open_operation(state: State, command: str) -> Iterator[Blocker]:
    """An operation that has begun and not ended, unless it is the one that `command` goes on with."""
    unfinished = state.operation
    if unfinished and unfinished.command != command:
        yield Blocker(
            "open-operation",
            f"{unfinished.name} was started and is not finished: it stopped at {unfinished.stage}",
            said=f"started by {unfinished.by} on {unfinished.since}",
            hint=f"resume: {unfinished.command}",
            command=unfinished.command,
        )


def check_identity(session: Session, state: State, views: Mapping[str, View]) -> tuple[State, tuple[Blocker, ...]]:
    """Compares what the workspace knows with what the machines say of themselves.

    Found are a lost or older workspace, machines of another cluster, and an etcd that nobody here knows. Returns the
    State with the machine ids seen.
    """
    blockers = (*_other_states(session, state, views), *_etcd_surprises(session, state, views))
    ids = {name: view.facts.machine_id for name, view in views.items()}
    return advanced(state, nodes=nodes_of(session.cluster, state, ids)), blockers


def _other_states(session: Session, state: State, views: Mapping[str, View]) -> Iterator[Blocker]:
    known = session.workspace.load_state()
    root = session.workspace.root
    copies: dict[str, State] = {}
    for name, view in views.items():
        try:
            if view.state_text:
                copies[name] = State.from_json(view.state_text, f"{name}:/var/lib/hardway/state.json")
        except WorkspaceError as error:
            yield Blocker("unreadable-state", error.what, name, error.said or "", error.hint or "")
    strangers = [name for name, theirs in copies.items() if theirs.cluster_id != state.cluster_id]
    own = {name: theirs for name, theirs in copies.items() if name not in strangers}
    if known is not None:
        yield from _other_copies(session, known, own)
    kin = {name: copies[name] for name in strangers if copies[name].cluster == state.cluster}
    if known is None and kin and (root / "pki").exists():
        yield _lost_state(root, kin)
        return
    for name in strangers:
        if known is None and name in kin:
            yield _lost_workspace(root, name)
        else:
            theirs = copies[name]
            yield Blocker(
                "other-cluster",
                f"belongs to another cluster, {theirs.cluster} ({theirs.cluster_id})",
                name,
                hint=f"hardway reset -l {name} with that cluster's inventory, or take it out of this one",
            )


def _other_copies(session: Session, known: State, copies: Mapping[str, State]) -> Iterator[Blocker]:
    """Machines that were last changed with another copy of this workspace: its State or its CAs are not these.

    The workspace is written before the machines, so its own copy is never behind by accident.
    """
    root = session.workspace.root
    values = session.workspace.values()
    for name, theirs in copies.items():
        others = [path for path, digits in theirs.fingerprints.items() if path in values
                  and fingerprint(values[path]) != digits]  # fmt: skip
        if theirs.generation > known.generation:
            yield _older_workspace(root, name, known, copies)
        elif others:
            yield Blocker(
                "other-authority",
                f"{', '.join(others)} in {root} is not what this machine was set up with: there is another copy of "
                "this workspace, and a run with it made new CAs",
                name,
                hint="use that copy (state.json, pki/, secrets/)",
                subjects=tuple(others),
            )
        elif theirs.generation == known.generation and replace(theirs, smoke_tested=known.smoke_tested) != known:
            yield Blocker(
                "other-workspace",
                f"was last changed with another copy of {root}: both are at generation {known.generation}, and differ",
                name,
                hint="use the copy of the last run (state.json, pki/, secrets/)",
            )


FINGERPRINT_DIGITS = 16


def fingerprint(certificate: bytes) -> str:
    """As State keeps it."""
    return sha256(certificate)[:FINGERPRINT_DIGITS]


def fingerprints(declaration: Declaration, values: Mapping[str, bytes]) -> dict[str, str]:
    """Of the CA certificates that are in the workspace, by path."""
    found: dict[str, str] = {}
    for _, local in declaration.local:
        if isinstance(local, Certificate) and local.ca is None and local.path in values:
            found[local.path] = fingerprint(values[local.path])
    return found


def _etcd_surprises(session: Session, state: State, views: Mapping[str, View]) -> Iterator[Blocker]:
    known = session.workspace.load_state()
    controllers = [machine for machine in session.cluster.controllers if machine.name in views]
    initialized = state.etcd == "initialized"
    # Workers may be new, or reset; who holds the cluster's data may not.
    known_here = any(view.state_text or is_of(session, view) for view in views.values())
    if known is not None and known.etcd == "initialized" and controllers and not known_here:
        yield Blocker(
            "unknown-machines",
            f"{session.workspace.root} knows a running cluster, but none of these machines has ever seen it",
            said=f"machines: {', '.join(views)}",
            hint="if they were installed again and the cluster is given up: hardway reset, then hardway init",
        )
        return
    for machine in controllers:
        view = views[machine.name]
        if view.facts.etcd_data and not view.state_text and not initialized:
            yield Blocker(
                "unknown-etcd",
                "holds an etcd in /var/lib/etcd that hardway did not make",
                machine.name,
                hint="if its CA is this workspace's, start all of its members: then hardway plan knows it; "
                "if nobody needs it: move /var/lib/etcd away on that machine, then run this again",
            )
        if initialized and not view.facts.etcd_data and not _awaited(session, machine):
            yield Blocker(
                "etcd-data-gone",
                "its etcd data is gone, and a wiped member must not be initialised again",
                machine.name,
                said="the other members still hold the cluster's data; nothing was changed",
                hint="on another controller: etcdctl member remove the old one, member add "
                f"{machine.name} --peer-urls=https://{machine.ip}:2380 (docs/operate/etcd-member.md); "
                "then run this again",
            )


def _awaited(session: Session, machine: Machine) -> bool:
    """Whether the running members were told (`member add`) to expect this one: etcd calls it unstarted."""
    for other in session.cluster.controllers:
        if other is machine or other.name not in session.machines:
            continue
        answer = session.run(
            other.name,
            f"{ETCDCTL} --endpoints=https://127.0.0.1:2379 member list",
            what="ask etcd for its members",
            check=False,
        )
        for line in answer.text.splitlines() if answer.code == 0 else ():
            fields = [field.strip() for field in line.split(",")]
            if "unstarted" in fields and f"https://{machine.ip}:2380" in fields:
                return True
    return False


def _older_workspace(root: Path, name: str, known: State, copies: Mapping[str, State]) -> Blocker:
    behind = [other for other, theirs in copies.items() if theirs.generation <= known.generation]
    hint = "use the workspace of the last run (state.json, pki/, secrets/)"
    if behind:
        hint += f"; if it is this one, that machine's copy is wrong:\n    hardway ssh {name} -- rm {STATE_PATH}"
    return Blocker(
        "older-workspace",
        f"{root} is older than the cluster: generation {known.generation}, the machine has {copies[name].generation}",
        name,
        said=f"{', '.join(behind)}: not newer than this workspace" if behind else "",
        hint=hint,
    )


def _lost_state(root: Path, copies: Mapping[str, State]) -> Blocker:
    newest = max(copies, key=lambda name: copies[name].generation)
    target = shlex.quote(str(root / "state.json"))
    return Blocker(
        "lost-state",
        f"{root / 'state.json'} is lost; the keys and certificates beside it are there, and {newest} has a copy",
        newest,
        hint=f"hardway ssh {newest} -- cat {STATE_PATH} >{target}",
    )


def _lost_workspace(root: Path, name: str) -> Blocker:
    return Blocker(
        "lost-workspace",
        f"{root} is empty, but this machine is part of a running cluster: its keys were lost, or are elsewhere",
        name,
        hint="restore the workspace from a backup, or give the right --workspace; to give it up: hardway reset",
    )


def unmanaged_cluster(session: Session, views: Mapping[str, View], state: State) -> Iterator[Blocker]:
    """A cluster that runs on machines without a journal of hardway's."""
    if state.etcd != "initialized" or any(view.state_text or view.journal.entries for view in views.values()):
        return
    if not any(view.facts.etcd_data for view in views.values()):
        return
    names = [machine.name for machine in session.cluster.machines if machine.name in views]
    yield Blocker(
        "unmanaged-cluster",
        f"a cluster runs on {', '.join(names)} that hardway did not make there, or whose journals were lost",
        said="its certificates are of this workspace's CA; nothing was changed",
        hint=HINT,
    )


def quorum(
    cluster: Cluster, changes: Sequence[Change], declaration: Declaration, unreached: Collection[str]
) -> Iterator[Blocker]:
    """Members that would be restarted while others, which could not be reached, are needed for a majority."""
    restarts = [change for change in changes if change.difference.verb == "restart"]
    for roll in rolls_of(restarts, declaration):
        group, machines = roll.name, roll.restarted
        members = roll.members.keys()
        missing = members & set(unreached)
        needed = roll.any.keep
        if missing and len(members) - 1 >= needed > len(members) - len(missing) - 1:
            names = [machine.name for machine in cluster.machines if machine.name in missing]
            yield Blocker(
                "quorum",
                f"restarting {group} on {', '.join(machines)} would leave fewer than the {needed} of {len(members)} "
                f"members that it needs: {', '.join(names)} cannot be reached",
                hint=f"bring {', '.join(names)} back first, or choose chapters that do not restart {group}",
            )


def missing_inputs(changes: Sequence[Change], declaration: Declaration, views: Mapping[str, View]) -> Iterator[Blocker]:
    """Units that would be started without a file that another phase brings, and that was not selected."""
    for change in changes:
        if not (isinstance(change.resource, Service) and change.restarts):
            continue
        there = {one.key.partition(":")[2] for one in changes if one.machine == change.machine}
        for one in declaration.on(change.machine):
            path = one.resource.name
            if path in change.resource.inputs and path not in there and views[change.machine].stat(path) is None:
                what = f"{change.resource.unit} would start without {path}"
                if isinstance(one.resource, File | Binary):
                    yield Blocker("missing-input", what, change.machine, hint=f"hardway {one.phase}", subjects=(path,))

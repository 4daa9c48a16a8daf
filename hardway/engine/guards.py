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
from hardway.declare.generations import CAS
from hardway.declare.phases.etcd import ETCDCTL, peer_url
from hardway.declare.resources import Certificate, Service
from hardway.declare.resources.files import Binary, File
from hardway.engine.adopt import HINT, is_of
from hardway.engine.blockers import Blocker, as_root, of_pending
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.engine.pending import BESIDE, pending
from hardway.engine.rolls import rolls_of
from hardway.engine.selection import Selection
from hardway.engine.session import Session
from hardway.errors import WorkspaceError
from hardway.inventory.model import Cluster, Machine
from hardway.journal import STATE_PATH
from hardway.state import DamagedState, State, advanced, fixed_values, nodes_of, own_authorities
from hardway.values import majority, sha256


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
    others = [one for one in waiting if not (selection.operation and one.kind in BESIDE)]
    if others:
        return state, tuple(of_pending(one, str(cluster.path)) for one in others)
    blockers = tuple(selection.bootstrap.blockers(cluster, state, selection.phases, selection.machines))
    # What the operation under way changes is changed by its stages.
    fixed = fixed_values(cluster) | {one.subject: one.have for one in waiting if one.subject in state.fixed}
    back = cluster.by_name.keys() & selection.machines
    resolved = advanced(
        state,
        nodes=nodes_of(cluster, state, {}),
        removed={name: day for name, day in state.removed.items() if name not in back},
        fixed=fixed,
        own_authorities=_own_authorities(cluster, state),
        kubernetes=cluster.kubernetes,
    )
    return resolved, blockers


def _own_authorities(cluster: Cluster, state: State) -> dict[str, bool]:
    """As State has them, with what the inventory says today of the keys of those that sign."""
    own = dict(own_authorities(cluster, state))
    for ca in CAS:
        given = cluster.certs.authorities.get(ca.name)
        if given is not None and ca.signer(state) in own:
            own[ca.signer(state)] = given.key is not None
    return own


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
                copies[name] = State.from_json(view.state_text, f"{name}:{STATE_PATH}")
        except DamagedState as error:
            hint = error.hint or ""
            if known is not None:
                there = as_root(session.cluster.machine(name), f"rm {STATE_PATH}")
                hint = (
                    f"{root} has the State, too; take the damaged one away, the next run writes it again:\n    {there}"
                )
            yield Blocker("unreadable-state", error.what, name, hint=hint)
        except WorkspaceError as error:
            yield Blocker("unreadable-state", error.what, name, error.said or "", error.hint or "")
    strangers = [name for name, theirs in copies.items() if theirs.cluster_id != state.cluster_id]
    own = {name: theirs for name, theirs in copies.items() if name not in strangers}
    if known is not None:
        yield from _other_copies(session, known, own)
    kin = {name: copies[name] for name in strangers if copies[name].cluster == state.cluster}
    if known is None and kin and (root / "pki").exists():
        yield _lost_state(session, kin)
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

    The workspace is written before the machines, so its own copy is never behind by accident. Where most machines
    agree with it, the others may be what is wrong, and the way on with this workspace is named, too.
    """
    values = session.workspace.values()
    differing: list[Blocker] = []
    for name, theirs in copies.items():
        differing += _other_copy(session.workspace.root, known, name, theirs, values)
    others = len({one.machine for one in differing})
    agreeing = len(copies) - others
    for one in differing:
        if agreeing >= others:
            agree = "one other machine agrees" if agreeing == 1 else f"{agreeing} other machines agree"
            there = as_root(session.cluster.machine(one.machine), f"rm {STATE_PATH}")
            hint = f"{one.hint}; if it is this one, take that machine's copy of the State away:\n    {there}"
            yield replace(one, said=f"{agree} with this workspace", hint=hint)
        else:
            yield one


def _other_copy(
    root: Path, known: State, name: str, theirs: State, values: Mapping[str, bytes]
) -> Iterator[Blocker]:  # fmt: skip
    others: list[str] = []
    if theirs.etcd != "absent":  # before there is a cluster, CAs may be exchanged
        others = [path for path in theirs.fingerprints if not _follows(path, known, theirs, values)]
    if theirs.generation > known.generation:
        yield Blocker(
            "older-workspace",
            f"{root} is older than the cluster: generation {known.generation}, the machine has {theirs.generation}",
            name,
            hint=LAST_RUN,
        )
    elif others:
        yield Blocker(
            "other-authority",
            f"{', '.join(others)} in {root} is not what this machine was set up with, nor made later with this "
            "workspace: it is from another copy of it",
            name,
            hint=LAST_RUN,
            subjects=tuple(others),
        )
    elif theirs.generation == known.generation and replace(theirs, smoke_tested=known.smoke_tested) != known:
        yield Blocker(
            "other-workspace",
            f"was last changed with another copy of {root}: both are at generation {known.generation}, and differ",
            name,
            hint=LAST_RUN,
        )


def _follows(path: str, known: State, theirs: State, values: Mapping[str, bytes]) -> bool:
    """Whether the CA certificate of the workspace is the one that a machine remembers, or was made here after it."""
    history, remembered = known.fingerprints.get(path, ()), theirs.fingerprints[path]
    if history[: len(remembered)] != remembered:
        return False
    return path not in values or fingerprint(values[path]) in history[len(remembered) - 1 :]


LAST_RUN = "use the workspace of the last run (state.json, pki/, secrets/)"
FINGERPRINT_DIGITS = 16


def fingerprint(certificate: bytes) -> str:
    """As State keeps it."""
    return sha256(certificate)[:FINGERPRINT_DIGITS]


def fingerprints(
    before: Mapping[str, tuple[str, ...]], declaration: Declaration, values: Mapping[str, bytes]
) -> dict[str, tuple[str, ...]]:
    """Those of State, and after them those of the CA certificates that are in the workspace and not the last there."""
    found = dict(before)
    for _, local in declaration.local:
        if isinstance(local, Certificate) and local.ca is None and local.path in values:
            history, today = found.get(local.path, ()), fingerprint(values[local.path])
            if history[-1:] != (today,):
                found[local.path] = (*history, today)
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
    lost = [one for one in controllers if initialized and _lost_its_data(session, state, one, views[one.name])]
    # The names of all: one alone would be refused.
    command = " ".join(["hardway etcd replace", *(one.name for one in lost)])
    said = "the other members still hold the cluster's data; nothing was changed"
    hint = f"have it join again: {command}"
    members = len(session.cluster.controllers)
    if members - len(lost) < majority(members):
        command = "hardway etcd recover"
        said = "so is that of a majority, and nothing can be written; nothing was changed"
        hint = f"where one still has data, all get it by: {command}; else, from a snapshot: hardway etcd restore FILE"
    for machine in lost:
        yield Blocker(
            "etcd-data-gone",
            "its etcd data is gone, and a wiped member must not be initialised again",
            machine.name,
            said=said,
            hint=hint,
            command=command,
        )


def _lost_its_data(session: Session, state: State, machine: Machine, view: View) -> bool:
    node = state.nodes.get(machine.name)
    joins = node is not None and node.control in ("prepared", "replacing")
    return not view.facts.etcd_data and not joins and not _awaited(session, machine)


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
            if "unstarted" in fields and peer_url(machine) in fields:
                return True
    return False


def _lost_state(session: Session, copies: Mapping[str, State]) -> Blocker:
    path = session.workspace.root / "state.json"
    newest = max(copies, key=lambda name: copies[name].generation)
    cat = as_root(session.cluster.machine(newest), f"cat {STATE_PATH}")
    target, beside = shlex.quote(str(path)), shlex.quote(f"{path}.new")
    # Not straight into its place: the shell makes the file first, and hardway would read an empty State.
    return Blocker(
        "lost-state",
        f"{path} is lost; the keys and certificates beside it are there, and {newest} has a copy",
        newest,
        said=f"nothing was changed; its copy is of generation {copies[newest].generation}, the newest of all",
        hint=f"restore it from a backup, or from that machine:\n    {cat} >{beside} && mv {beside} {target}",
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

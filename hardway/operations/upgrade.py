"""`upgrade apply` and `upgrade rollback`: to another Kubernetes, part by part, and back while nothing forbids it.

API servers go first and what runs on workers last, since no component may be newer than the API server that it asks;
the way back is the same in reverse. Until `upgrade apply --finish` servers of a new minor release behave as the one
before, so what they have stored can be read by both: docs/decisions/upgrade.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hardway.declare.phases.base import Model, Proof
from hardway.declare.phases.control_plane import COMPONENTS
from hardway.declare.phases.paths import KUBECTL
from hardway.engine import prove
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.events import Note
from hardway.inventory.model import Cluster
from hardway.operations import drain, hooks
from hardway.operations.drain import How
from hardway.operations.etcd_snapshot import snapshot
from hardway.operations.stage import Operation, Stage
from hardway.state import API_SERVERS, CONTROLLERS, State, Upgrade
from hardway.values import minor
from hardway.workspace import SNAPSHOTS

APPLY, ROLLBACK, FINISH = "upgrade apply", "upgrade rollback", "--finish"
BACK = f"hardway {ROLLBACK}"
DRAINED = How(limit=600, empty_dirs=True)
"""An emptyDir lasts no longer than its pod anyway, and a node that is exchanged cannot keep it."""
DRAIN, BEFORE = "drain ", "before "
NOT_OF_WORKERS = frozenset({"", "snapshot", "api-servers", "controllers", "end", "finish"})
"""Names of stages; all others are those of workers."""
NODE_LIMIT = 120.0
"""Seconds until a kubelet that was exchanged has reported itself."""

Edit = Callable[[State], State]


def apply(cluster: Cluster, state: State, at_once: int, how: How = DRAINED) -> Operation:
    """From the Kubernetes of the cluster to that of the inventory; `at_once` workers at a time are drained."""
    upgrade = state.upgrade or Upgrade(state.kubernetes, cluster.kubernetes)
    stages = [
        Stage("snapshot", _begun(cluster), act=_take_snapshot, why="all of etcd, into the workspace"),
        Stage(
            "api-servers",
            _moved(API_SERVERS),
            _servers_run,
            why=f"one at a time{_emulating(upgrade)}",
        ),
        Stage("controllers", _moved(CONTROLLERS), _managers_run, why="controller managers and schedulers"),
    ]
    for names in _batches(cluster, state, at_once, APPLY):
        stages += _batch(cluster, names, _moved(*names), upgrade, replace(how, operation=APPLY))
    end = _once_none_is_behind(cluster, _over_for_patches)
    stages.append(Stage("end", end, _all_run, why="everything runs what it should"))
    return Operation(APPLY, _arguments(at_once), tuple(stages), back=BACK)


def finish(cluster: Cluster) -> Operation:
    """The point of no return: what servers store from then on the release before may not be able to read."""
    stage = Stage(
        "finish",
        _once_none_is_behind(cluster, lambda state: replace(state, upgrade=None)),
        _all_run,
        why="servers behave as the new release, and there is no way back from here",
    )
    return Operation(APPLY, (FINISH,), (stage,))


def rollback(cluster: Cluster, state: State, at_once: int, how: How = DRAINED) -> Operation:
    """Back to the Kubernetes before; the cluster must be declared on that already."""
    upgrade = state.upgrade or Upgrade(state.kubernetes, state.kubernetes)
    stages: list[Stage] = []
    for names in _batches(cluster, state, at_once, ROLLBACK):
        stages += _batch(cluster, names, _gone_back(*names), upgrade, replace(how, operation=ROLLBACK))
    controllers = _once_workers_are_back(cluster, _gone_back(CONTROLLERS))
    stages += [
        Stage("controllers", controllers, _managers_run, why="controller managers and schedulers"),
        Stage("api-servers", _gone_back(API_SERVERS), _servers_run, why="one at a time"),
        Stage("end", lambda state: replace(state, upgrade=None), _all_run, why="everything runs what it should"),
    ]
    return Operation(ROLLBACK, _arguments(at_once), tuple(stages))


def _batches(cluster: Cluster, state: State, at_once: int, operation: str) -> list[tuple[str, ...]]:
    """The names of the workers that are taken together: those that are done, those at which it was cut, and the others.

    Who is left is known from State: the inventory may have another order than when this began.
    """
    current = _cut_at(state, operation)
    others = [machine.name for machine in cluster.workers if machine.name not in current]
    done = [name for name in others if not _is_left(state, name, operation)]
    left = [name for name in others if _is_left(state, name, operation)]
    return [*_of_size(at_once, done), *([current] if current else []), *_of_size(at_once, left)]


def _of_size(count: int, names: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(names[first : first + count]) for first in range(0, len(names), count)]


def _cut_at(state: State, operation: str) -> tuple[str, ...]:
    """The workers that were being taken when the operation was cut."""
    if state.operation is None or state.operation.name != operation or state.operation.stage in NOT_OF_WORKERS:
        return ()
    return tuple(state.operation.stage.removeprefix(DRAIN).removeprefix(BEFORE).split(", "))


def _is_left(state: State, name: str, operation: str) -> bool:
    """Whether a worker is still on the release that the operation leaves."""
    return state.upgrade is not None and (name in state.upgrade.behind) == (operation == APPLY)


def behind(cluster: Cluster, state: State) -> tuple[str, ...]:
    """The parts of the cluster that an upgrade has not moved yet."""
    parts = {API_SERVERS, CONTROLLERS, *(machine.name for machine in cluster.workers)}
    return tuple(part for part in state.upgrade.behind if part in parts) if state.upgrade else ()


def _arguments(at_once: int) -> tuple[str, ...]:
    return ("--max-unavailable", str(at_once)) if at_once > 1 else ()


def is_patch(upgrade: Upgrade) -> bool:
    """Whether both releases behave alike: nothing is emulated, and running pods are left alone."""
    return minor(upgrade.before) == minor(upgrade.to)


def _emulating(upgrade: Upgrade) -> str:
    return "" if is_patch(upgrade) else f"; they go on behaving as {minor(upgrade.before)}"


def _batch(cluster: Cluster, names: Sequence[str], edit: Edit, upgrade: Upgrade, how: How) -> Iterator[Stage]:
    """A kubelet of another minor release may only start on a node without pods."""
    title, operation = ", ".join(names), how.operation

    def is_due(state: State) -> bool:
        return any(_is_left(state, name, operation) for name in names)

    if not is_patch(upgrade):
        yield Stage(
            f"{DRAIN}{title}",
            _declared_on(edit),
            act=lambda session, model: _drain(session, model, names, edit, how),
            why="its pods are Ready elsewhere before anything there is changed"
            if how.elsewhere
            else "its pods are evicted",
            is_due=is_due,
        )
    elif "before_upgrade" in cluster.hooks:
        yield Stage(
            f"{BEFORE}{title}",
            _declared_on(edit),
            act=lambda session, model: hooks.run(session, "before_upgrade", _left(model, names, edit), operation),
            why="your hooks",
            is_due=is_due,
        )
    yield Stage(
        title,
        edit,
        lambda model: _nodes_run(model, names),
        lambda session, model: _return(session, model, names, operation),
        why="kubelet and kube-proxy",
        is_due=is_due,
    )


def _begun(cluster: Cluster) -> Edit:
    """Everything is on the release before, and may move."""

    def edit(state: State) -> State:
        if state.upgrade is not None:
            return state
        parts = (API_SERVERS, CONTROLLERS, *(machine.name for machine in cluster.workers))
        return replace(
            state,
            kubernetes=cluster.kubernetes,
            upgrade=Upgrade(state.kubernetes, cluster.kubernetes, parts),
        )

    return edit


def _moved(*parts: str) -> Edit:
    def edit(state: State) -> State:
        upgrade = state.upgrade
        if upgrade is None:
            return state
        behind = tuple(part for part in upgrade.behind if part not in parts)
        return replace(state, upgrade=replace(upgrade, behind=behind))

    return edit


def _gone_back(*parts: str) -> Edit:
    def edit(state: State) -> State:
        upgrade = state.upgrade
        if upgrade is None:
            return state
        behind = (*upgrade.behind, *(part for part in parts if part not in upgrade.behind))
        return replace(state, kubernetes=upgrade.before, upgrade=replace(upgrade, behind=behind))

    return edit


def _declared_on(edit: Edit) -> Edit:
    """The release that an edit gives the cluster, while no part of it moves yet."""
    return lambda state: replace(state, kubernetes=edit(state).kubernetes)


def _once_none_is_behind(cluster: Cluster, edit: Edit) -> Edit:
    """A node whose kubelet is still to be exchanged must be drained first: raises while there is one."""

    def checked(state: State) -> State:
        require_none_behind(cluster, state)
        return edit(state)

    return checked


def require_none_behind(cluster: Cluster, state: State) -> None:
    """Raises HardwayError while a part of the cluster is on the release before."""
    left = behind(cluster, state)
    if state.upgrade and left:
        raise HardwayError(
            f"not everything is on Kubernetes {state.upgrade.to}: {', '.join(left)} runs {state.upgrade.before}",
            hint=f"hardway {APPLY}",
        )


def _once_workers_are_back(cluster: Cluster, edit: Edit) -> Edit:
    """No kubelet may be newer than the API servers that it asks: raises while there is one that would be."""

    def checked(state: State) -> State:
        ahead = [machine.name for machine in cluster.workers if _is_left(state, machine.name, ROLLBACK)]
        if state.upgrade and ahead:
            raise HardwayError(
                f"{', '.join(ahead)} runs Kubernetes {state.upgrade.to}: kubelets go back before API servers do",
                hint=BACK,
            )
        return edit(state)

    return checked


def _over_for_patches(state: State) -> State:
    return replace(state, upgrade=None) if state.upgrade and is_patch(state.upgrade) else state


def _take_snapshot(session: Session, model: Model) -> None:
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    before = model.state.upgrade.before if model.state.upgrade else model.state.kubernetes
    path = session.workspace.root / SNAPSHOTS / f"kubernetes-{before}-{at}.db"
    snapshot(session, model.state, model.versions, path)
    session.events(Note(f"snapshot of etcd: {path}"))


def _left(model: Model, names: Sequence[str], edit: Edit) -> list[str]:
    """Those that an edit moves."""
    return [name for name in names if edit(model.state).kubernetes_of(name, "") != model.kubernetes(name)]


def _drain(session: Session, model: Model, names: Sequence[str], edit: Edit, how: How) -> None:
    """What was taken already when this was cut needs no second drain."""
    left = _left(model, names, edit)
    if left:
        hooks.run(session, "before_upgrade", left, how.operation)
        drain.drain(session, left, how, lent=True)


def _return(session: Session, model: Model, names: Sequence[str], operation: str) -> None:
    """Pods come back once the node reports the kubelet that it should have, and its hooks agree."""
    ready = [("upgrade", proof) for proof in _nodes_run(model, names)]
    prove.require(prove.prove(session, ready, wait=NODE_LIMIT))
    hooks.run(session, "after_upgrade", names, operation)
    drain.give_back(session, names)


def _all_run(model: Model) -> Iterator[Proof]:
    yield from _servers_run(model)
    yield from _managers_run(model)
    yield from _nodes_run(model, [machine.name for machine in model.cluster.workers])


def _servers_run(model: Model) -> Iterator[Proof]:
    version = model.kubernetes(API_SERVERS)
    behaves = (model.emulated(API_SERVERS) or minor(version)).rpartition(".")[2]
    for machine in model.cluster.controllers:
        yield Proof(
            machine.name,
            f"its API server is {version} and behaves as 1.{behaves}",
            f'{KUBECTL} get --raw=/version | sed -n \'s/.*"\\(emulationMinor\\|gitVersion\\)": "\\([^"]*\\)".*/\\2/p\' '
            "| tr '\\n' ' '",
            "an old process goes on after its file was replaced",
            "equals",
            f"{behaves} v{version}",
            within=60,
        )


def _managers_run(model: Model) -> Iterator[Proof]:
    version = model.kubernetes(CONTROLLERS)
    for machine in model.cluster.controllers:
        for component in COMPONENTS[1:]:
            yield Proof(
                machine.name,
                f"{component} is {version}",
                f'"/proc/$(systemctl show -p MainPID --value {component}.service)/exe" --version',
                "an old process goes on after its file was replaced",
                "equals",
                f"Kubernetes v{version}",
                within=30,
            )


def _nodes_run(model: Model, names: Sequence[str]) -> Iterator[Proof]:
    for name in names:
        yield Proof(
            model.cluster.controllers[0].name,
            f"node {name} is Ready with {model.kubernetes(name)}",
            f"{KUBECTL} get node {name} -o jsonpath='{{.status.nodeInfo.kubeletVersion}} "
            '{.status.conditions[?(@.type=="Ready")].status}\'',
            "until its kubelet reports itself no pod starts there",
            "equals",
            f"v{model.kubernetes(name)} True",
            within=NODE_LIMIT,
        )
        yield Proof(
            name,
            "kube-proxy runs",
            "systemctl is-active kube-proxy.service",
            "without it no Service answers from this node",
            "equals",
            "active",
            within=30,
        )


def superseded(state: State, by: Operation) -> State:
    """The State from which a rollback begins: an upgrade that is under way ends with it."""
    if state.operation is None or state.operation.name != APPLY or FINISH in state.operation.arguments:
        return state
    return replace(state, operation=replace(state.operation, name=by.name, arguments=by.arguments, stage=""))


def declared_as(cluster: Cluster, state: State, operation: Operation) -> Cluster:
    """The inventory's cluster on the Kubernetes to which the operation leads, also where it says another one."""
    if operation.name != ROLLBACK:
        return cluster
    return replace(cluster, kubernetes=state.upgrade.before if state.upgrade else state.kubernetes)

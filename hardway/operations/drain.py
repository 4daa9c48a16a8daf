"""A node is emptied before it is taken away: cordoned, its pods evicted as their budgets allow, Ready elsewhere.

What does not succeed within its limit, or is interrupted, leaves the node as it was. Pods go by the eviction API only,
so a budget is never overridden.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hardway.console.words import counted
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import HardwayError, NotSettled
from hardway.events import Note
from hardway.operations import hooks
from hardway.probe import control
from hardway.remote.model import last_lines

ELSEWHERE_LIMIT = 300.0
"""Seconds until evicted pods are Ready on other nodes."""
PAUSE = 1.0
QUERY_LIMIT = 60.0
SLICE = 10.0
"""Seconds of one call of kubectl drain: one that nobody waits for any more goes on evicting until it ends."""
MARK = "hardway/cordoned"
"""Annotation of a Node that hardway cordoned, until a drain succeeded or the machine is given back. A run that was
killed meanwhile leaves it, and so the next one knows that nobody else cordoned the node."""
_REPLACED = {
    "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets",
    "ReplicationController": "replicationcontrollers",
}
"""Owners that start another pod for one that was evicted, and whose status says how many are Ready."""


@dataclass(frozen=True)
class How:
    """`limit`: seconds for the evictions. `force`: also pods that nobody starts again. `empty_dirs`: also pods whose
    emptyDir volumes lose what is in them. `elsewhere`: until those that were evicted are Ready on other nodes; where no
    other node can take them they are down until this one is back. `operation` is the command that drains, for hooks.

    Each command that drains has flags for all of them: errors name these.
    """

    limit: float = 300.0
    force: bool = False
    empty_dirs: bool = False
    elsewhere: bool = True
    operation: str = "node drain"


def drain(session: Session, nodes: Sequence[str], how: How, *, lent: bool = False) -> tuple[str, ...]:
    """Empties nodes, which stay cordoned; their pods that were evicted, as namespace/name.

    With `lent` it stays noted on those that nobody else had cordoned before, and `give_back` has them take pods again,
    also after hardway was killed meanwhile. Raises NotSettled, with the nodes as they were before, where it fails; an
    interrupt leaves them so, too. Hooks of before run while nothing is changed yet.
    """
    home = home_of(session)
    hooks.run(session, "before_drain", nodes, how.operation)
    ours = [node for node in nodes if not _cordoned_by_others(_node(session, home, node))]
    pods = []
    for node in nodes:
        pods += [one for one in _pods(session, home, node) if _is_evicted(one)]
    wanted = _ready_of_owners(session, home, pods)
    session.events(Note(f"{', '.join(nodes)}: draining {counted(len(pods), 'pod')}"))
    try:
        # All of them first: what leaves one must not come to the next.
        for node in ours:
            _cordon(session, home, node)
        for node in nodes:
            _evict(session, home, node, how)
        if how.elsewhere:
            _await_elsewhere(session, home, wanted)
        hooks.run(session, "after_drain", nodes, how.operation)
    except (HardwayError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt):
            session.events(Note(f"interrupted: {', '.join(nodes)} takes pods again, within {SLICE:.0f} s"))
        _as_before(session, ours)
        raise
    if not lent:
        for node in ours:
            session.run(home, _unmark(node), what=f"leave {node} cordoned")
    return tuple(_name(one) for one in pods)


def give_back(session: Session, nodes: Sequence[str]) -> None:
    """Nodes that were lent take pods again; one that somebody else had cordoned stays so."""
    home = home_of(session)
    for node in nodes:
        if MARK in _node(session, home, node)["metadata"].get("annotations", {}):
            _uncordon(session, home, node)


def uncordon(session: Session, node: str) -> None:
    """New pods may come to it again. Raises HardwayError where there is no such node."""
    home = home_of(session)
    _node(session, home, node)
    _uncordon(session, home, node)


def _cordoned_by_others(node: Mapping[str, Any]) -> bool:
    is_marked = MARK in node["metadata"].get("annotations", {})
    return bool(node.get("spec", {}).get("unschedulable")) and not is_marked


def _cordon(session: Session, home: str, node: str) -> None:
    mark = f"{KUBECTL} annotate --overwrite node {quote(node)} {MARK}=yes"
    session.run(home, f"{mark} && {KUBECTL} cordon {quote(node)}", what=f"cordon {node}")


def _unmark(node: str) -> str:
    return f"{KUBECTL} annotate node {quote(node)} {MARK}-"


def _uncordon(session: Session, home: str, node: str) -> None:
    words = f"{KUBECTL} uncordon {quote(node)} && {_unmark(node)}"
    session.run(home, words, what=f"uncordon {node}")


def give_back_after_failure(session: Session, nodes: Sequence[str]) -> None:
    """Nodes that were lent for something that did not begin take pods again; one that cannot now is named."""
    for node in nodes:
        try:
            give_back(session, [node])
        except HardwayError as error:
            _say_cordoned(session, node, error)


def _as_before(session: Session, nodes: Sequence[str]) -> None:
    """Nodes of a drain that did not succeed take pods again. Where no API answers they keep the mark, by which the next
    run knows them."""
    for node in nodes:
        try:
            _uncordon(session, home_of(session), node)
        except HardwayError as error:
            _say_cordoned(session, node, error)


def _say_cordoned(session: Session, node: str, error: HardwayError) -> None:
    session.events(Note(f"{node} stays cordoned: {error.what}; later: hardway node uncordon {node}", "warning"))


def delete_node(session: Session, node: str) -> None:
    """The Node object goes, and with it what is left of its pods. Nothing happens where it is gone."""
    words = f"{KUBECTL} delete node {quote(node)} --ignore-not-found --timeout=60s"
    session.run(home_of(session), words, what=f"delete Node {node}", timeout=QUERY_LIMIT + 30)


def exists(session: Session, node: str) -> bool:
    """Whether there is a Node of that name."""
    words = f"{KUBECTL} get node {quote(node)} --ignore-not-found -o name"
    return bool(session.run(home_of(session), words, what=f"look for Node {node}").text.strip())


def is_ready(session: Session, node: str) -> bool:
    """Whether the node's kubelet reports."""
    return control.is_ready(_node(session, home_of(session), node)["status"].get("conditions", ()))


def home_of(session: Session) -> str:
    """A controller whose API server is ready. Raises NotSettled where there is none."""
    names = [machine.name for machine in session.cluster.controllers if machine.name in session.machines]
    asked = session.each(names, lambda name: session.ask(name, (control.READY,), what="is the API server ready"))
    for name, answers in asked.items():
        if answers[control.READY.name].text == "ok":
            return name
    raise NotSettled("no API server is ready", said="nothing was changed", hint="hardway doctor")


def _evict(session: Session, home: str, node: str, how: How) -> None:
    deadline = time.monotonic() + how.limit
    while True:
        seconds = max(1.0, min(SLICE, deadline - time.monotonic()))
        words = [KUBECTL, "drain", quote(node), "--ignore-daemonsets", f"--timeout={seconds:.0f}s"]
        words += ["--force"] if how.force else []
        words += ["--delete-emptydir-data"] if how.empty_dirs else []
        result = session.run(home, " ".join(words), what=f"drain {node}", timeout=seconds + 60, check=False)
        if result.code == 0:
            return
        # One that ended before its time is refused for another reason.
        if result.seconds < seconds or time.monotonic() >= deadline:
            break
    blocking = _blocking(session, home, node)
    said = "\n".join(blocking) or last_lines(result.stderr, 8)
    raise NotSettled(
        f"{node} could not be drained within {how.limit:.0f} s; it is as it was before, what has moved stays moved",
        said=said,
        hint=_way_on(blocking, last_lines(result.stderr, 20)),
    )


def _way_on(blocking: Sequence[str], said: str) -> str:
    if blocking:
        return "have more replicas Ready, or loosen that budget; then run the same command"
    if "emptyDir" in said or "local storage" in said:
        return "the same command with --delete-emptydir-data, if what is in these volumes may be lost"
    if "declare no controller" in said:
        return "the same command with --force, if these pods may be lost: nobody starts them again"
    return "the same command tries again, with more time by --timeout SECONDS"


def _blocking(session: Session, home: str, node: str) -> list[str]:
    """The budgets that allow no disruption now and hold pods of the node, each in a line."""
    budgets = _items(session, home, "poddisruptionbudgets -A", "which budgets there are")
    pods = [one for one in _pods(session, home, node) if _is_evicted(one)]
    lines = []
    for budget in budgets:
        if budget["status"].get("disruptionsAllowed", 0) > 0:
            continue
        selector = budget["spec"].get("selector")
        held = [_name(pod) for pod in pods if _same_namespace(budget, pod) and _selects(selector, pod)]
        if held:
            since = [one["lastTransitionTime"] for one in budget["status"].get("conditions", ())]
            ready = f"{budget['status'].get('currentHealthy', 0)} of {budget['status'].get('desiredHealthy', 0)} wanted"
            lines.append(
                f"budget {_name(budget)} allows no eviction since {max(since, default='?')} ({ready} are healthy): "
                f"{', '.join(held)}"
            )
    return lines


def _same_namespace(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["metadata"]["namespace"] == other["metadata"]["namespace"])


def _selects(selector: Mapping[str, Any] | None, pod: Mapping[str, Any]) -> bool:
    """As the API reads a selector: all of its labels and all of its expressions. None selects nothing, {} everything.

    Source: PodDisruptionBudgetSpec.selector in k8s.io/api/policy/v1.
    """
    if selector is None:
        return False
    labels = pod["metadata"].get("labels", {})
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions", ()))


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", ())
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _is_evicted(pod: Mapping[str, Any]) -> bool:
    """Whether a drain takes it: not what a DaemonSet keeps there, nor a file on the node, nor what has ended."""
    kinds = {owner["kind"] for owner in pod["metadata"].get("ownerReferences", ())}
    is_static = "kubernetes.io/config.mirror" in pod["metadata"].get("annotations", {})
    return "DaemonSet" not in kinds and not is_static and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _ready_of_owners(session: Session, home: str, pods: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], int]:
    """How many pods are Ready of each owner that loses one, by kind, namespace and name."""
    owners: dict[tuple[str, str, str], int] = {}
    for pod in pods:
        for owner in pod["metadata"].get("ownerReferences", ()):
            if owner["kind"] in _REPLACED:
                owners[owner["kind"], pod["metadata"]["namespace"], owner["name"]] = 0
    return {key: min(ready, replicas) for key, (ready, replicas) in _counted(session, home, owners)}


def _counted(
    session: Session, home: str, owners: Mapping[tuple[str, str, str], int]
) -> Iterator[tuple[tuple[str, str, str], tuple[int, int]]]:
    """How many of each are Ready now, and how many it wants; one that is gone wants none, and is left out."""
    for kind in sorted({kind for kind, _, _ in owners}):
        for one in _items(session, home, f"{_REPLACED[kind]} -A", f"which {kind}s there are"):
            key = (kind, one["metadata"]["namespace"], one["metadata"]["name"])
            if key in owners:
                yield key, (one["status"].get("readyReplicas", 0), one["spec"].get("replicas", 1))


def _not_elsewhere(session: Session, home: str, wanted: Mapping[tuple[str, str, str], int]) -> list[str]:
    """The owners with fewer Ready pods than before, each in a line. One that was scaled down meanwhile wants no more
    than it says now: an autoscaler or the next rollout of a Deployment must not fail a drain."""
    lines = []
    for (kind, space, name), (ready, replicas) in _counted(session, home, wanted):
        before = wanted[kind, space, name]
        if ready < min(before, replicas):
            lines.append(f"{kind} {space}/{name}: {ready} Ready, {before} before")
    return lines


def _await_elsewhere(session: Session, home: str, wanted: Mapping[tuple[str, str, str], int]) -> None:
    deadline = time.monotonic() + ELSEWHERE_LIMIT
    while lines := _not_elsewhere(session, home, wanted):
        if time.monotonic() > deadline:
            break
        time.sleep(PAUSE)
    else:
        return
    raise NotSettled(
        f"evicted pods are not Ready elsewhere after {ELSEWHERE_LIMIT:.0f} s; the node is as it was before",
        said="\n".join([*lines, *_unschedulable(session, home, wanted)]),
        hint="hardway kubectl get events -A says why (too little room, a volume, an image); then run the same command, "
        "or with --no-wait-elsewhere, where these pods may be down until a node takes them again",
    )


def _unschedulable(session: Session, home: str, owners: Mapping[tuple[str, str, str], int]) -> list[str]:
    """Pods of these owners for which the scheduler has no node, with its reason, each in a line."""
    lines = []
    for pod in _items(session, home, "pods -A --field-selector=status.phase=Pending", "which pods wait"):
        space = pod["metadata"]["namespace"]
        of = [(owner["kind"], space, owner["name"]) for owner in pod["metadata"].get("ownerReferences", ())]
        for condition in pod["status"].get("conditions", ()):
            if condition.get("reason") == "Unschedulable" and any(owner in owners for owner in of):
                lines.append(f"{_name(pod)}: {condition.get('message', 'no node can take it')}")
    return lines


def _node(session: Session, home: str, node: str) -> dict[str, Any]:
    result = session.run(
        home, f"{KUBECTL} get node {quote(node)} -o json", what=f"ask for Node {node}", timeout=QUERY_LIMIT, check=False
    )
    if result.code != 0:
        raise HardwayError(
            f"there is no answer about Node {node}; nothing was changed",
            said=last_lines(result.stderr, 2),
            hint="hardway kubectl get nodes",
        )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def _pods(session: Session, home: str, node: str) -> list[dict[str, Any]]:
    return _items(session, home, f"pods -A --field-selector=spec.nodeName={quote(node)}", f"which pods are on {node}")


def _items(session: Session, home: str, words: str, what: str) -> list[dict[str, Any]]:
    said = session.run(home, f"{KUBECTL} get {words} -o json", what=what, timeout=QUERY_LIMIT)
    found: list[dict[str, Any]] = json.loads(said.stdout)["items"]
    return found


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['metadata']['namespace']}/{one['metadata']['name']}"

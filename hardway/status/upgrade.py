"""`upgrade plan`: where a cluster is, the way to another Kubernetes, and what is in that way. It changes nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from packaging.version import InvalidVersion, Version

from hardway.artifacts.catalogue import releases_for
from hardway.declare import pki
from hardway.declare.phases.paths import KUBECTL
from hardway.engine.session import Session
from hardway.errors import ArtifactError, HardwayError
from hardway.inventory.model import Cluster
from hardway.inventory.settings import settings_problems
from hardway.probe import control
from hardway.probe.script import Answers, Question
from hardway.state import State
from hardway.values import minor
from hardway.workspace import SNAPSHOTS

ROOM = 2048
"""MiB free that a machine must have: binaries lie there twice while they are exchanged."""
ENDING = timedelta(days=7)
FRESH = timedelta(hours=1)
KUBELETS_BEHIND = 3
"""Minor releases: kubernetes.io/releases/version-skew-policy."""
STOPPING = frozenset({"*", "pods", "nodes", "leases", "nodes/*", "pods/*", "*/*"})
"""Resources without which no node and no pod comes back: a webhook that refuses them stops an upgrade."""

VERSION = Question("version", f"{KUBECTL} get --raw=/version", limit=control.LIMIT, together=True)
DISK = Question("disk", "df -Pm /usr/local/bin /var/lib | tail -n +2", limit=control.LIMIT)
DEPRECATED = Question(
    "deprecated",
    f"{KUBECTL} get --raw=/metrics | grep '^apiserver_requested_deprecated_apis{{' || true",
    limit=10,
    together=True,
)
OBJECTS = Question(
    "objects",
    f"{KUBECTL} get poddisruptionbudgets,endpointslices,validatingwebhookconfigurations,mutatingwebhookconfigurations "
    "-A -o json",
    limit=10,
    most=control.API_MOST,
)
WORKLOADS = Question(
    "workloads",
    f"{KUBECTL} get deployments,statefulsets,persistentvolumes -A -o json",
    limit=10,
    most=control.API_MOST,
)
HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True)
class Obstacle:
    """One thing in the way. `kind` is fixed, for programs; `machine` is empty where it concerns none alone."""

    kind: str
    level: Literal["blocker", "warning"]
    what: str
    fix: str
    machine: str = ""


@dataclass(frozen=True)
class UpgradePlan:
    """`have` and `to` are versions of Kubernetes; `servers` and `nodes` what API servers and kubelets say they are.

    `behaves` is the minor release as which API servers behave, empty where they did not answer. `snapshot` is when the
    newest snapshot in the workspace was taken, empty where there is none.
    """

    cluster: str
    have: str
    to: str
    behaves: str
    servers: Mapping[str, str]
    nodes: Mapping[str, str]
    changes: Mapping[str, tuple[str, str]]
    snapshot: str
    obstacles: tuple[Obstacle, ...]

    @property
    def blockers(self) -> tuple[Obstacle, ...]:
        return tuple(one for one in self.obstacles if one.level == "blocker")

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "possible": not self.blockers}


def plan_upgrade(session: Session, state: State, to: str, unreached: Mapping[str, HardwayError]) -> UpgradePlan:
    """Asks every machine of the session; `unreached` did not answer."""
    cluster = session.cluster
    answers = session.each(session.machines, lambda name: _ask(session, name))
    servers, behaves = _servers(cluster, answers)
    nodes = _nodes(session, answers)
    snapshot = _newest_snapshot(session)
    obstacles = [
        *_of_path(state, to),
        *(Obstacle("unreached", "blocker", error.what, "bring it back", name) for name, error in unreached.items()),
        *_of_settings(cluster, to),
        *_of_servers(cluster, answers, servers),
        *_of_nodes(nodes, to),
        *_of_disks(answers),
        *_of_deprecated(answers, to),
        *_of_objects(_items(session, cluster, answers, OBJECTS, "ask for budgets and webhooks")),
        *_of_certificates(session.workspace.values()),
    ]
    if minor(state.kubernetes) != minor(to):
        workloads = _items(session, cluster, answers, WORKLOADS, "ask for workloads and volumes")
        obstacles += _of_one_node(cluster, workloads)
    if not snapshot or datetime.now(UTC) - datetime.fromisoformat(snapshot) > FRESH:
        obstacles.append(
            Obstacle("snapshot", "warning", "no snapshot of etcd is younger than an hour", "apply takes one first")
        )
    return UpgradePlan(
        cluster=cluster.name,
        have=state.kubernetes,
        to=to,
        behaves=behaves,
        servers=servers,
        nodes={name: node.version.removeprefix("v") for name, node in (nodes or {}).items()},
        changes=_companions(state.kubernetes, to, cluster.artifacts.versions),
        snapshot=snapshot,
        obstacles=tuple(obstacles),
    )


def refusal(have: str, to: str) -> str:
    """Why there is no way from one version to the other; empty where there is one."""
    try:
        here, there = Version(have), Version(to)
    except InvalidVersion as error:
        return str(error)
    if there.major != here.major or there.minor > here.minor + 1:
        return f"{have} → {to} skips a minor release: {here.major}.{here.minor + 1} comes first"
    if there.minor < here.minor:
        return f"{have} → {to} goes back a minor release, and that is finished: what is stored may need {minor(have)}"
    return ""


def _ask(session: Session, name: str) -> Answers:
    questions = [DISK]
    if session.cluster.machine(name).is_controller:
        questions += [VERSION, control.STATUS, control.READY, DEPRECATED]
    return session.ask(name, questions, what="ask what an upgrade would meet")


def _servers(cluster: Cluster, answers: Mapping[str, Answers]) -> tuple[dict[str, str], str]:
    versions: dict[str, str] = {}
    behaves = ""
    for machine in cluster.controllers:
        text = answers[machine.name][VERSION.name].text if machine.name in answers else ""
        if text:
            said = json.loads(text)
            versions[machine.name] = said["gitVersion"].removeprefix("v")
            behaves = f"{said.get('emulationMajor', said['major'])}.{said.get('emulationMinor', said['minor'])}"
    return versions, behaves


def _ready(cluster: Cluster, answers: Mapping[str, Answers]) -> str:
    """A controller whose API server is ready; empty where none is."""
    names = (machine.name for machine in cluster.controllers if machine.name in answers)
    return next((name for name in names if answers[name][control.READY.name].text == "ok"), "")


def _nodes(session: Session, answers: Mapping[str, Answers]) -> Mapping[str, control.Node] | None:
    name = _ready(session.cluster, answers)
    return control.nodes(session.ask(name, [control.NODES], what="ask for nodes")) if name else None


def _items(
    session: Session, cluster: Cluster, answers: Mapping[str, Answers], question: Question, what: str
) -> list[Mapping[str, Any]] | None:
    """What an API server that is ready lists; None where there is none, or it gave no answer."""
    name = _ready(cluster, answers)
    said = session.ask(name, [question], what=what)[question.name].text if name else ""
    return json.loads(said)["items"] if said else None


def _companions(have: str, to: str, others: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The other components whose version changes with it: before and after."""
    try:
        before, after = releases_for(have, others), releases_for(to, others)
    except ArtifactError:
        return {}
    found = {}
    for name, release in after.items():
        if name != "kubernetes" and before[name].version != release.version:
            found[name] = (before[name].version, release.version)
    return found


def _of_path(state: State, to: str) -> Iterator[Obstacle]:
    have = state.kubernetes
    if state.operation is not None:
        one = state.operation
        yield Obstacle("operation", "blocker", f"{one.command} is under way, at {one.stage}", f"resume: {one.command}")
    if state.upgrade is not None and to != have and to != state.upgrade.before:
        yield Obstacle(
            "unfinished",
            "blocker",
            f"the upgrade {state.upgrade.before} → {state.upgrade.to} is not finished",
            "hardway upgrade apply --finish, or hardway upgrade rollback",
        )
    elif state.upgrade is not None and to == state.upgrade.before:
        yield Obstacle("rollback", "blocker", f"{to} is what this cluster was on before", "hardway upgrade rollback")
    elif why := refusal(have, to):
        yield Obstacle("path", "blocker", why, f"in the inventory, or with --to: a patch release of {minor(have)}, or "
                       "the next minor release")  # fmt: skip
    try:
        releases_for(to)
    except ArtifactError as error:
        yield Obstacle("catalogue", "blocker", error.what, error.hint or "")


def _of_settings(cluster: Cluster, to: str) -> Iterator[Obstacle]:
    """Flags, fields and feature gates of the operator's that the release does not have any more."""
    for problem in settings_problems(replace(cluster, kubernetes=to)):
        path = ".".join(map(str, problem.loc))
        yield Obstacle("settings", "blocker", f"{path}: {problem.text}", f"take it out of the inventory: {path}")


def _of_servers(cluster: Cluster, answers: Mapping[str, Answers], servers: Mapping[str, str]) -> Iterator[Obstacle]:
    for machine in cluster.controllers:
        if machine.name in answers and machine.name not in servers:
            yield Obstacle("api-server", "blocker", "its API server does not answer", "hardway doctor", machine.name)
        if machine.name in answers and control.member_status(answers[machine.name]) is None:
            yield Obstacle("etcd", "blocker", "its etcd member does not answer", "hardway doctor", machine.name)
    minors = {minor(version) for version in servers.values()}
    if len(minors) > 1:
        yield Obstacle("skew", "blocker", f"API servers are {' and '.join(sorted(minors))}", "hardway doctor")


def _of_nodes(nodes: Mapping[str, control.Node] | None, to: str) -> Iterator[Obstacle]:
    for name, node in (nodes or {}).items():
        if not node.ready:
            yield Obstacle("node", "blocker", "its node is not Ready", "hardway doctor", name)
        elif node.unschedulable:
            yield Obstacle("cordoned", "warning", "its node takes no pods, and will not after it", "uncordon it", name)
        have, wanted = _number(node.version), _number(to)
        if have and wanted and not 0 <= wanted - have <= KUBELETS_BEHIND:
            what = f"its kubelet is {node.version}, which API servers of {to} do not support"
            yield Obstacle("skew", "blocker", what, "bring its kubelet to the cluster's version first", name)


def _number(version: str) -> int | None:
    found = re.match(r"v?\d+\.(\d+)", version)
    return int(found[1]) if found else None


def _of_disks(answers: Mapping[str, Answers]) -> Iterator[Obstacle]:
    for name, said in answers.items():
        for line in said[DISK.name].lines:
            free, mounted = line.split()[3], line.split()[5]
            if int(free) < ROOM:
                what = f"{mounted} has {free} MiB free, and {ROOM} are needed"
                yield Obstacle("disk", "blocker", what, "make room there", name)
                break


def _of_deprecated(answers: Mapping[str, Answers], to: str) -> Iterator[Obstacle]:
    """What callers have asked for since the API servers started."""
    found: dict[str, str] = {}
    for said in answers.values():
        for line in said[DEPRECATED.name].lines:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            name = "/".join(filter(None, (labels.get("group"), labels.get("version"), labels.get("resource"))))
            found[name] = labels.get("removed_release", "")
    for name, removed in sorted(found.items()):
        gone = _number(removed) is not None and (_number(removed) or 0) <= (_number(to) or 0)
        when = f"removed in {removed}" if removed else "deprecated"
        yield Obstacle(
            "deprecated-api", "blocker" if gone else "warning", f"{name} is in use, and {when}",
            "the audit log names who asks for it (annotation k8s.io/deprecated)",
        )  # fmt: skip


def _of_objects(items: Sequence[Mapping[str, Any]] | None) -> Iterator[Obstacle]:
    if items is None:
        yield Obstacle("unknown", "warning", "budgets and webhooks could not be asked for", "hardway doctor")
        return
    yield from _of_budgets(items)
    served = set(_served(items))
    for one in items:
        for webhook in one.get("webhooks", ()):
            yield from _of_webhook(one["metadata"]["name"], webhook, served)


def _of_budgets(items: Iterable[Mapping[str, Any]]) -> Iterator[Obstacle]:
    for one in items:
        status = one.get("status", {})
        if one["kind"] == "PodDisruptionBudget" and status.get("expectedPods") and not status.get("disruptionsAllowed"):
            name = f"{one['metadata']['namespace']}/{one['metadata']['name']}"
            what = f"the budget {name} allows no pod to go now; a drain waits for it, and gives up in the end"
            yield Obstacle("budget", "warning", what, "one more pod, or a budget that leaves one to be moved")


def _of_one_node(cluster: Cluster, items: Sequence[Mapping[str, Any]] | None) -> Iterator[Obstacle]:
    """Pods that no other node can take while theirs is drained. The drain would wait for them in vain."""
    fix = "where they may be down until their node is back: hardway upgrade apply --no-wait-elsewhere"
    workers = [machine.name for machine in cluster.workers]
    if len(workers) == 1:
        what = f"{workers[0]} is the only worker: pods that are drained from it run nowhere until it is back"
        yield Obstacle("elsewhere", "warning", what, fix, workers[0])
        return
    if items is None:
        yield Obstacle("unknown", "warning", "workloads and volumes could not be asked for", "hardway doctor")
        return
    for one in items:
        replicas = one.get("spec", {}).get("replicas", 0)
        if replicas >= len(workers) and _wants_nodes_of_their_own(one):
            name = f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}"
            what = f"{name} wants a node for each of its {replicas} pods, and there are {len(workers)} workers"
            yield Obstacle("elsewhere", "warning", what, fix)
    claims = [_claim(one) for one in items if one["kind"] == "PersistentVolume" and _is_on_one_node(one)]
    if claims:
        what = (
            f"volumes that only one node has: their pods cannot run while it is drained ({', '.join(sorted(claims))})"
        )
        yield Obstacle("elsewhere", "warning", what, fix)


def _wants_nodes_of_their_own(workload: Mapping[str, Any]) -> bool:
    """Whether its pods keep each other, by their own labels, off the node of each."""
    template = workload["spec"].get("template", {})
    labels = template.get("metadata", {}).get("labels", {})
    rules = template.get("spec", {}).get("affinity", {}).get("podAntiAffinity", {})
    for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution", ()):
        wanted = term.get("labelSelector", {}).get("matchLabels", {})
        if term.get("topologyKey") == HOSTNAME and all(labels.get(key) == value for key, value in wanted.items()):
            return True
    return False


def _is_on_one_node(volume: Mapping[str, Any]) -> bool:
    """Whether a volume that is in use can be had on one node alone."""
    if volume["status"].get("phase") != "Bound":
        return False
    for term in volume["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", ()):
        for rule in term.get("matchExpressions", ()):
            if rule["key"] == HOSTNAME and rule["operator"] == "In" and len(rule.get("values", ())) == 1:
                return True
    return False


def _claim(volume: Mapping[str, Any]) -> str:
    claim = volume["spec"].get("claimRef", {})
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}"


def _served(items: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Namespace and name of Services behind which something is ready."""
    for one in items:
        if one["kind"] == "EndpointSlice":
            ready = any(each.get("conditions", {}).get("ready", True) for each in one.get("endpoints") or ())
            if ready:
                metadata = one["metadata"]
                yield metadata["namespace"], metadata.get("labels", {}).get("kubernetes.io/service-name", "")


def _of_webhook(configuration: str, webhook: Mapping[str, Any], served: set[tuple[str, str]]) -> Iterator[Obstacle]:
    """One that nobody answers refuses all that it is asked about, unless it may be ignored."""
    service = webhook.get("clientConfig", {}).get("service")
    if webhook.get("failurePolicy", "Fail") != "Fail" or not service:
        return
    if (service["namespace"], service["name"]) in served:
        return
    resources: set[str] = set()
    for rule in webhook.get("rules", ()):
        resources |= set(rule.get("resources", ()))
    yield Obstacle(
        "webhook",
        "blocker" if resources & STOPPING else "warning",
        f"the webhook {webhook['name']} ({configuration}) has nobody behind it, and refuses "
        f"{', '.join(sorted(resources)) or 'what it is asked about'}",
        f"bring the Service {service['namespace']}/{service['name']} back, or delete the configuration",
    )


def _of_certificates(values: Mapping[str, bytes]) -> Iterator[Obstacle]:
    now = datetime.now(UTC)
    for path, pem in sorted(values.items()):
        if not (path.startswith("pki/") and path.endswith(".crt")):
            continue
        end = pki.read(pem).not_after
        if end <= now:
            yield Obstacle("certificate", "blocker", f"{path} has expired", "hardway certs renew")
        elif end - now < ENDING:
            what = f"{path} ends on {end:%Y-%m-%d %H:%M} UTC"
            yield Obstacle("certificate", "warning", what, "hardway certs renew")


def _newest_snapshot(session: Session) -> str:
    """When the newest was taken; what is no snapshot's note is passed over."""
    taken = [""]
    for path in (session.workspace.root / SNAPSHOTS).glob("*.json"):
        try:
            note = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if note.get("cluster_id") and path.with_suffix("").exists():
            taken.append(str(note["taken"]))
    return max(taken)

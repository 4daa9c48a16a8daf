"""What a controller says of etcd and of its API server, and the API of its nodes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hardway.declare.phases.etcd import ETCDCTL
from hardway.declare.phases.paths import KUBECTL
from hardway.probe.script import Answers, Question

LIMIT = 4
"""Seconds for each question; etcdctl itself gives up after three."""
API_MOST = 48 * 1024 * 1024
"""Bytes; a Node has some ten thousand. Less than what a command may write at all, so that the answer is the one cut."""
HEALTHY_CONDITIONS = {"Ready": "True"}
"""Of a Node; every other condition should be False."""


def etcdctl(words: str) -> str:
    """Asks the member on the machine itself."""
    return f"{ETCDCTL} --endpoints=https://127.0.0.1:2379 --command-timeout=3s {words}"


STATUS = Question("etcd", etcdctl("endpoint status -w json"), limit=LIMIT, together=True)
MEMBERS = Question("members", etcdctl("member list --consistency=s"), limit=LIMIT, together=True)
AGREED_MEMBERS = Question("members", etcdctl("member list"), limit=LIMIT)
"""As a quorum has them: no member answers this for itself."""
READY = Question("ready", f"{KUBECTL} get --raw=/readyz", limit=LIMIT, together=True)
UNREADY = Question("readyz", f"{KUBECTL} get --raw='/readyz?verbose' 2>&1 | grep -v ' ok$'", limit=LIMIT, together=True)
"""Which of its checks fail: what is well is left out."""
NODES = Question("nodes", f"{KUBECTL} get nodes -o json", limit=6, most=API_MOST)


@dataclass(frozen=True)
class MemberStatus:
    """What an etcd member says of itself; identifiers are hexadecimal, as etcdctl takes them. `size` and
    `in_use` are in bytes."""

    identity: str
    leader: str
    errors: tuple[str, ...] = ()
    revision: int = 0
    version: str = ""
    size: int = 0
    learner: bool = False
    in_use: int = 0


@dataclass(frozen=True)
class Member:
    """A member as the list has it. `name` is empty until it has started; `peer` and `client` are its first URLs."""

    identity: str
    started: bool
    name: str
    peer: str
    client: str
    learner: bool


@dataclass(frozen=True)
class Node:
    """A Node object. `conditions` are those that are not as they should be, in words."""

    name: str
    ready: bool
    unschedulable: bool = False
    conditions: tuple[str, ...] = ()
    version: str = ""
    """The kubelet's: `v1.36.4`."""


def member_status(answers: Answers) -> MemberStatus | None:
    """The answer to STATUS; None where the member gave none."""
    try:
        [answer] = json.loads(answers["etcd"].output)
        status = answer["Status"]
        header = status["header"]
        # A message of protobuf in JSON leaves out what is 0.
        return MemberStatus(
            identity=f"{header['member_id']:x}",
            leader=f"{status.get('leader', 0):x}",
            errors=tuple(status.get("errors", ())),
            revision=header.get("revision", 0),
            version=status.get("version", ""),
            size=status.get("dbSize", 0),
            learner=status.get("isLearner", False),
            in_use=status.get("dbSizeInUse", 0),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def alarms(statuses: Iterable[MemberStatus]) -> dict[str, tuple[str, ...]]:
    """By the identity of the member that raised each; every member reports all."""
    found: dict[str, tuple[str, ...]] = {}
    for status in statuses:
        for identity, alarm in re.findall(r"memberID:(\d+) alarm:(\w+)", " ".join(status.errors)):
            before = found.get(f"{int(identity):x}", ())
            found[f"{int(identity):x}"] = tuple(dict.fromkeys((*before, alarm)))
    return found


def members(answers: Answers) -> tuple[Member, ...]:
    """The answer to MEMBERS; none where it could not be asked."""
    found = []
    for line in answers["members"].lines:
        fields = [field.strip() for field in line.split(", ")]
        if len(fields) == 6:
            identity, state, name, peers, clients, learner = fields
            peer, client = peers.partition(",")[0], clients.partition(",")[0]
            found.append(Member(identity, state == "started", name, peer, client, learner == "true"))
    return tuple(found)


def is_ready(conditions: Iterable[Mapping[str, Any]]) -> bool:
    """Of a node or a pod."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def nodes(answers: Answers) -> dict[str, Node] | None:
    """The answer to NODES, by name; None where the API gave none."""
    try:
        items = json.loads(answers["nodes"].text)["items"]
        return {item["metadata"]["name"]: _node(item) for item in items}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _node(item: Mapping[str, Any]) -> Node:
    status = item.get("status", {})
    conditions = status.get("conditions", ())
    wrong = []
    for condition in conditions:
        if condition["status"] != HEALTHY_CONDITIONS.get(condition["type"], "False"):
            message = " ".join(condition.get("message", "").split())
            wrong.append(f"{condition['type']} {condition['status']}: {message}")
    return Node(
        item["metadata"]["name"],
        is_ready(conditions),
        bool(item.get("spec", {}).get("unschedulable")),
        tuple(wrong),
        status.get("nodeInfo", {}).get("kubeletVersion", ""),
    )

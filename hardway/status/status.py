"""How is it? One screen's worth of a running cluster, from one observation."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hardway.declare import pki
from hardway.declare.phases.control_plane import KUBECTL
from hardway.declare.phases.etcd import ETCDCTL
from hardway.engine.planner import Plan
from hardway.engine.session import Session
from hardway.inventory.model import Machine
from hardway.preview.plan import Preview

NONCE = "hardway-status"
LIMIT = 3
"""Seconds for each question."""


@dataclass(frozen=True)
class MachineStatus:
    """`api`, `etcd` and `node` are empty where the machine has none of it; `up` is in seconds."""

    name: str
    roles: tuple[str, ...]
    reachable: bool
    os: str = ""
    up: float = 0
    etcd: str = ""
    api: str = ""
    node: str = ""
    version: str = ""


@dataclass(frozen=True)
class Status:
    """`expires` is the nearest end of a certificate's life; `differing` counts what is not as declared."""

    cluster: str
    endpoint: str
    kubernetes: str
    etcd: str
    machines: tuple[MachineStatus, ...]
    certificate: str
    expires: datetime | None
    differing: int
    complete: bool

    @property
    def well(self) -> bool:
        return self.complete and all(
            one.reachable and "not" not in f"{one.etcd} {one.api} {one.node}".lower() for one in self.machines
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "expires": self.expires.isoformat() if self.expires else None, "well": self.well}


def status(session: Session, found: Plan, plan: Preview) -> Status:
    """Asks each machine one more thing: how its own part does."""
    cluster = session.cluster
    answers = session.each(found.views, lambda name: _ask(session, cluster.machine(name)))
    ready = next((name for name, answer in answers.items() if answer.get("api") == "ok"), None)
    nodes = _json(_told(session, ready, {"nodes": f"{KUBECTL} get nodes -o json"})["nodes"]) if ready else {}
    members = {name: _member(answer.get("etcd", "")) for name, answer in answers.items()}
    certificate, expires = _nearest(found.operator)
    return Status(
        cluster=cluster.name,
        endpoint=cluster.api_url,
        kubernetes=cluster.kubernetes,
        etcd=_quorum(len(cluster.controllers), members),
        machines=tuple(
            _machine(cluster.machine(name), found, answers.get(name), members.get(name), nodes)
            for name in plan.machines
        ),
        certificate=certificate,
        expires=expires,
        differing=len(plan.items),
        complete=not plan.unobserved,
    )


def _ask(session: Session, machine: Machine) -> dict[str, str]:
    questions = {"up": "echo $(( $(date +%s) - $(stat -c %Y /proc/1) ))"}
    if machine.is_controller:
        questions["etcd"] = f"{ETCDCTL} --endpoints=https://127.0.0.1:2379 endpoint status -w json"
        questions["api"] = f"{KUBECTL} get --raw=/readyz"
    return _told(session, machine.name, questions)


def _told(session: Session, machine: str, questions: Mapping[str, str]) -> dict[str, str]:
    lines = [
        f"printf '\\n{NONCE} {name}\\n'; timeout {LIMIT} sh -c {shlex.join([query])} 2>/dev/null"
        for name, query in questions.items()
    ]
    said = session.run(machine, "\n".join(lines) + "\ntrue", what="ask how it is", check=False).stdout.decode()
    parts = (part.partition("\n") for part in said.split(f"\n{NONCE} ")[1:])
    return {name: text.strip() for name, _, text in parts}


def _machine(
    machine: Machine,
    found: Plan,
    answer: Mapping[str, str] | None,
    member: Mapping[str, Any] | None,
    nodes: Mapping[str, Any],
) -> MachineStatus:
    roles = tuple(sorted(machine.roles))
    view = found.views.get(machine.name)
    if view is None or answer is None:
        return MachineStatus(machine.name, roles, False)
    node, version = _node(machine, nodes)
    return MachineStatus(
        machine.name,
        roles,
        True,
        os=f"{view.facts.os} {view.facts.os_version}".strip(),
        up=float(answer.get("up") or 0),
        etcd=_etcd(member or {}) if machine.is_controller else "",
        api=("ready" if answer.get("api") == "ok" else "not ready") if machine.is_controller else "",
        node=node,
        version=version,
    )


def _member(text: str) -> dict[str, Any]:
    answer = _json(text)
    found: dict[str, Any] = answer[0].get("Status", {}) if isinstance(answer, list) and answer else {}
    return found


def _etcd(member: Mapping[str, Any]) -> str:
    if not member:
        return "not up"
    leads = member.get("leader") == member.get("header", {}).get("member_id")
    return "leader" if leads else "follows"


def _quorum(size: int, members: Mapping[str, Mapping[str, Any]]) -> str:
    """`3 of 3 members, 3.6.14, controller-1 leads`."""
    serving = {name: one for name, one in members.items() if one}
    leader = next((name for name, one in serving.items() if _etcd(one) == "leader"), "")
    versions = sorted({str(one.get("version", "")) for one in serving.values()})
    lead = f"{leader} leads" if leader else "no leader seen"
    return ", ".join(filter(None, (f"{len(serving)} of {size} serving", " ".join(versions), lead)))


def _node(machine: Machine, nodes: Mapping[str, Any]) -> tuple[str, str]:
    if not machine.is_worker:
        return "", ""
    for one in nodes.get("items", ()):
        if one["metadata"]["name"] == machine.name:
            ready = {"type": "Ready", "status": "True"}.items()
            is_ready = any(ready <= condition.items() for condition in one["status"].get("conditions", ()))
            words = "Ready" if is_ready else "NotReady"
            if one.get("spec", {}).get("unschedulable"):
                words += ", cordoned"
            return words, one["status"]["nodeInfo"]["kubeletVersion"]
    return ("not registered" if nodes else "not known"), ""


def _nearest(values: Mapping[str, bytes]) -> tuple[str, datetime | None]:
    ends = {name: pki.read(pem).not_after for name, pem in values.items() if name.endswith(".crt")}
    if not ends:
        return "", None
    first = min(ends, key=lambda name: (ends[name], name))
    return first, ends[first]


def _json(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return {}

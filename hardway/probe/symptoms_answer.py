"""From what a machine answered to the probe of `symptoms_probe` to values."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from hardway import yaml_text
from hardway.declare import pki
from hardway.probe.sections import answered
from hardway.probe.symptoms import (
    Answered,
    Chain,
    Filter,
    Holder,
    Member,
    Node,
    Objects,
    Pod,
    Space,
    Symptoms,
    UnitState,
)

HEALTHY_CONDITIONS = {"Ready": "True"}
"""Of a Node; every other condition should be False."""
_ANSWERS: dict[str, Answered] = {"0": "open", "124": "silent"}


def parse(output: str, nonce: str) -> Symptoms:
    """One machine's answer. What it did not answer, or in another form than was expected, stays empty."""
    parts = answered(output, nonce)

    def lines(name: str) -> list[str]:
        return [line.rstrip() for line in parts.get(name, "").splitlines() if line.strip()]

    holders = tuple(_holders(lines("ports")))
    filters, dropping = _firewall(lines("firewall"))
    return Symptoms(
        hostname="".join(lines("hostname")),
        addresses=tuple(re.findall(r"\sinet ([0-9.]+)", parts.get("addresses", ""))),
        units=_units(parts),
        listening=holders,
        spaces=tuple(_spaces(lines("disk"))),
        swap=tuple(lines("swap")),
        sysctls=dict(line.partition("=")[::2] for line in lines("sysctls")),
        routes=tuple(lines("routes")),
        dropping=dropping,
        filters=filters,
        accepts=tuple(line.strip() for line in lines("firewall") if re.search(r"\baccept\b(?!;)", line)),
        iptables=tuple(lines("iptables")),
        nameservers=_nameservers(lines("resolver")),
        names={name: address for line in lines("names") for name, _, address in [line.partition(" ")]},
        reach={
            (host, int(port)): _ANSWERS.get(code, "refused")
            for host, port, code in (line.split() for line in lines("reach") if line.count(" ") == 2)
        },
        certificates=dict(_certificates(parts.get("certificates", ""))),
        keys=dict(line.split() for line in lines("keys") if line.count(" ") == 1),
        encryption="".join(lines("encryption")).partition(" ")[0],
        servers=dict(re.findall(r"^(/[^:]+): *server: (\S+)$", parts.get("servers", ""), re.MULTILINE)),
        backends=tuple(lines("backends")),
        kubelet=_mapping(yaml_text.document, parts.get("kubelet", "")),
        containerd=_mapping(tomllib.loads, parts.get("containerd", "")),
        images=frozenset(lines("images")) if "@all" in lines("images") else None,
        cni=tuple(lines("cni")),
        etcd_data=bool(lines("etcd-data")),
        etcd=_member(parts.get("etcd", "")),
        members=dict(_members(lines("members"))),
        readyz=tuple(lines("readyz")),
        dns_log=tuple(lines("dns-log")),
    )


def objects(output: str, server: str) -> Objects | None:
    """The API's answer to `symptoms_probe.OBJECTS`; None where it gave none."""
    try:
        # Of what is not there kubectl says nothing at all.
        nodes, pods, others = (json.loads(text.strip() or '{"items": []}') for text in f"{output}\n".split("\n@\n"))
    except ValueError:
        return None
    if any("failed" in one for one in (nodes, pods, others)) or "items" not in nodes:
        return None
    named = {(one["kind"], one["metadata"]["name"]): one for one in others.get("items", [others])}
    deployment = named.get(("Deployment", "coredns"))
    service = named.get(("Service", "kube-dns"))
    return Objects(
        server,
        {one["metadata"]["name"]: _node(one) for one in nodes["items"]},
        frozenset(name for kind, name in named if kind == "ClusterRoleBinding"),
        (deployment["spec"].get("replicas", 1), deployment.get("status", {}).get("availableReplicas", 0))
        if deployment
        else None,
        service["spec"].get("clusterIP", "") if service else None,
        tuple(_pod(one) for one in pods.get("items", ())),
    )


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Parts that begin with a line `@NAME`."""
    for block in f"\n{text}".split("\n@")[1:]:
        name, *rest = block.splitlines() or [""]
        yield name, rest


def _units(parts: Mapping[str, str]) -> dict[str, UnitState]:
    journals = {name: tuple(rest) for name, rest in _blocks(parts.get("journal", ""))}
    # A unit's file has several flags on a line where somebody wrote them so.
    args = {name: tuple(" ".join(rest).split()) for name, rest in _blocks(parts.get("args", ""))}
    found = {}
    for block in parts.get("units", "").split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines())
        name = said.get("Id", "").removesuffix(".service")
        if name:
            found[name] = UnitState(
                load=said.get("LoadState", ""),
                active=said.get("ActiveState", ""),
                sub=said.get("SubState", ""),
                enabled=said.get("UnitFileState", ""),
                result=said.get("Result", ""),
                status=_number(said.get("ExecMainStatus")),
                restarts=_number(said.get("NRestarts")),
                pid=_number(said.get("MainPID")),
                job=bool(_number(said.get("Job"))),
                args=args.get(name, ()),
                journal=tuple(line.rstrip() for line in journals.get(name, ()) if line.strip()),
            )
    return found


def _holders(lines: Sequence[str]) -> Iterator[Holder]:
    units = dict(line[1:].partition(" ")[::2] for line in lines if line.startswith("@"))
    for line in lines:
        words = line.split()
        if line.startswith("@") or len(words) < 4:
            continue
        address, _, port = words[3].rpartition(":")
        who = re.search(r'\("([^"]+)",pid=(\d+)', line)
        name, pid = (who[1], who[2]) if who else ("", "0")
        yield Holder(int(port), address, name, int(pid), units.get(pid, ""))


def _spaces(lines: Sequence[str]) -> Iterator[Space]:
    last: Space | None = None
    for line in lines:
        if line.startswith("@") and last:
            size, _, path = line[1:].partition(" ")
            last = replace(last, holder=(path, int(size)))
            continue
        if last:
            yield last
        path, size, free, inodes = line.split()
        last = Space(path, int(size), int(free), int(inodes))
    if last:
        yield last


def _firewall(lines: Sequence[str]) -> tuple[tuple[Filter, ...], tuple[Chain, ...]]:
    filters, chains = [], []
    family = table = chain = ""
    for line in lines:
        if line.startswith("@"):
            family, _, table = line[1:].partition(" ")
        elif named := re.match(r"\s*chain (\S+) \{", line):
            chain = named[1]
        elif dropped := re.search(r"hook (input|forward)\b.*policy drop", line):
            chains.append(Chain(family, table, chain, dropped[1]))
        elif rule := re.match(r"\s*(.*\b(?:drop|reject)\b.*?) # handle (\d+)$", line):
            filters.append(Filter(family, table, chain, int(rule[2]), rule[1]))
    return tuple(filters), tuple(chains)


def _nameservers(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in lines:
        path, _, server = line.partition(" ")
        found[path] = (*(one for one in found.get(path, ()) if one != server), server)
    return found


def _certificates(text: str) -> Iterator[tuple[str, pki.Certificate | None]]:
    for path, rest in _blocks(text):
        pem = "\n".join(rest).strip()
        if not pem and "#" in path:
            continue
        try:
            yield path, pki.read(f"{pem}\n".encode())
        except pki.PemError:
            yield path, None


def _member(text: str) -> Member | None:
    try:
        [answer] = json.loads(text)
        status = answer["Status"]
        header = status["header"]
        # A message of protobuf in JSON leaves out what is 0.
        return Member(
            f"{header['member_id']:x}",
            f"{status.get('leader', 0):x}",
            tuple(status.get("errors", ())),
            header.get("revision", 0),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _members(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        words = line.split(", ")
        if re.fullmatch("[0-9a-f]{6,16}", words[0]) and len(words) >= 4:
            # One that was announced and has not begun has no name yet, but its address.
            yield words[2] or words[3], words[0]


def _node(node: Mapping[str, Any]) -> Node:
    conditions = node.get("status", {}).get("conditions", ())
    wrong = [
        f"{one['type']} {one['status']}: {' '.join(one.get('message', '').split())}"
        for one in conditions
        if one["status"] != HEALTHY_CONDITIONS.get(one["type"], "False")
    ]
    return Node(
        node["metadata"]["name"],
        _is_ready(conditions),
        bool(node.get("spec", {}).get("unschedulable")),
        tuple(wrong),
    )


def _is_ready(conditions: Iterable[Mapping[str, Any]]) -> bool:
    """Of a node or a pod."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _pod(pod: Mapping[str, Any]) -> Pod:
    status = pod.get("status", {})
    ready = _is_ready(status.get("conditions", ()))
    return Pod(
        pod["metadata"]["name"], pod["spec"].get("nodeName", ""), ready, "" if ready else "; ".join(_troubles(status))
    )


def _troubles(status: Mapping[str, Any]) -> Iterable[str]:
    for container in status.get("containerStatuses", ()):
        for state in ("waiting", "terminated"):
            why = container.get("state", {}).get(state)
            if why:
                yield f"{why.get('reason', state)}: {' '.join(why.get('message', '').split())}".removesuffix(": ")
    for one in status.get("conditions", ()):
        if one["type"] == "PodScheduled" and one["status"] != "True":
            yield f"{one.get('reason', 'not scheduled')}: {one.get('message', '')}"


def _mapping(load: Any, text: str) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError, yaml.YAMLError):
        found = load(text)
        if isinstance(found, dict):
            return found
    return {}


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0

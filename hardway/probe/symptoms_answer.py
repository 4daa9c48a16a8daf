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
from hardway.probe import certificates, control, network, units
from hardway.probe.control import is_ready
from hardway.probe.script import Answer, Answers
from hardway.probe.symptoms import (
    Chain,
    Filter,
    Objects,
    Pod,
    Space,
    Symptoms,
)


def parse(said: Answers) -> Symptoms:
    """One machine's answers. What it did not answer, or in another form than was expected, stays empty."""

    def lines(name: str) -> list[str]:
        return said[name].lines

    filters, dropping = _firewall(lines("firewall"))
    return Symptoms(
        hostname="".join(lines("hostname")),
        units=units.parse(said),
        listening=network.listeners(said),
        spaces=tuple(_spaces(lines("disk"))),
        swap=tuple(lines("swap")),
        sysctls=dict(line.partition("=")[::2] for line in lines("sysctls")),
        routes=network.routes(said),
        dropping=dropping,
        filters=filters,
        accepts=tuple(line.strip() for line in lines("firewall") if re.search(r"\baccept\b(?!;)", line)),
        iptables=tuple(lines("iptables")),
        nameservers=_nameservers(lines("resolver")),
        names=network.resolved(said),
        reach=network.reached(said),
        certificates=certificates.parse(said),
        keys=dict(line.split() for line in lines("keys") if line.count(" ") == 1),
        encryption="".join(lines("encryption")).partition(" ")[0],
        servers=dict(re.findall(r"^(/[^:]+): *server: (\S+)$", said["servers"].output, re.MULTILINE)),
        backends=tuple(lines("backends")),
        holds={"yes": True, "no": False}.get("".join(lines("holds"))),
        kubelet=_mapping(yaml_text.document, said["kubelet"].output),
        containerd=_mapping(tomllib.loads, said["containerd"].output),
        images=frozenset(lines("images")) if "@all" in lines("images") else None,
        cni=tuple(lines("cni")),
        etcd_data=bool(lines("etcd-data")),
        etcd=control.member_status(said),
        # One that was announced and has not begun has no name yet, but its address.
        members={one.name or one.peer: one.identity for one in control.members(said)},
        readyz=tuple(lines("readyz")),
        dns_log=tuple(lines("dns-log")),
    )


def objects(answers: Answers, server: str) -> Objects | None:
    """The API's answers to `symptoms_probe.OBJECTS`; None where it gave none."""
    nodes, pods, others = control.nodes(answers), _items(answers["pods"]), _items(answers["others"])
    if nodes is None or pods is None or others is None:
        return None
    named = {(one["kind"], one["metadata"]["name"]): one for one in others}
    deployment = named.get(("Deployment", "coredns"))
    service = named.get(("Service", "kube-dns"))
    replicas = None
    if deployment:
        replicas = (deployment["spec"].get("replicas", 1), deployment.get("status", {}).get("availableReplicas", 0))
    return Objects(
        server,
        nodes,
        frozenset(name for kind, name in named if kind == "ClusterRoleBinding"),
        replicas,
        service["spec"].get("clusterIP", "") if service else None,
        tuple(_pod(one) for one in pods),
    )


def _items(answer: Answer) -> list[Any] | None:
    """Of what is not there kubectl says nothing at all; of one object it says just that."""
    try:
        document = json.loads(answer.text or '{"items": []}') if answer.code == 0 else None
    except ValueError:
        return None
    return document.get("items", [document]) if isinstance(document, dict) else None


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


def _pod(pod: Mapping[str, Any]) -> Pod:
    status = pod.get("status", {})
    ready = is_ready(status.get("conditions", ()))
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

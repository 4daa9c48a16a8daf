"""One value in a paragraph: what it is, where the inventory says it, who gives it to whom, where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from hardway.declare.phases.paths import ETCD_PKI, HAPROXY_CFG, PKI
from hardway.declare.phases.workers import CONTAINERD_CONFIG, KUBELET_CONFIG, PROXY_CONFIG
from hardway.explain.book import Book, pattern
from hardway.explain.chapter import Cited, Next, explain_next
from hardway.explain.facts import Fact
from hardway.explain.prose import Known
from hardway.explain.thing import cited, label
from hardway.explain.vocabulary import place
from hardway.inventory.model import API_PORT, Cluster
from hardway.state import fixed_values
from hardway.values import OPERATOR

_COMPONENTS = {
    KUBELET_CONFIG: "kubelet", PROXY_CONFIG: "kube-proxy", CONTAINERD_CONFIG: "containerd", HAPROXY_CFG: "haproxy",
    "etcd": "etcd", "kube-apiserver": "kube-apiserver", "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
}  # fmt: skip
"""What `settings:` of the inventory is laid over, by who says it."""


_OTHERS = "(machines of role controller: all of them are named there)"
_PORT = f"(endpoint, for the port that people dial; machines dial each other at {API_PORT})"
DERIVED: Mapping[tuple[str, str], str] = {
    ("kube-apiserver", "service-cluster-ip-range"): "network.service_cidr",
    ("kube-apiserver", "advertise-address"): "machines.{machine}.address",
    ("kube-apiserver", "etcd-servers"): _OTHERS,
    ("kube-apiserver", "encryption-provider-config"): "encryption.provider",
    ("kube-apiserver", "secure-port"): _PORT,
    ("kube-controller-manager", "service-cluster-ip-range"): "network.service_cidr",
    ("kube-controller-manager", "cluster-cidr"): "network.pod_cidr",
    ("kube-controller-manager", "cluster-name"): "cluster",
    ("etcd", "name"): "machines.{machine}",
    ("etcd", "data-dir"): "(no setting: mount another disk at /var/lib/etcd)",
    ("etcd", "listen-client-urls"): "machines.{machine}.address",
    ("etcd", "advertise-client-urls"): "machines.{machine}.address",
    ("etcd", "listen-peer-urls"): "machines.{machine}.address",
    ("etcd", "initial-advertise-peer-urls"): "machines.{machine}.address",
    ("haproxy", "frontend.bind"): "endpoint",
    ("haproxy", "backend.server"): _OTHERS,
    ("kubelet", "clusterDNS"): "network.dns_address",
    ("kubelet", "clusterDomain"): "network.cluster_domain",
    ("kubelet", "podCIDR"): "machines.{machine}.pod_cidr",
    ("kubelet", "containerRuntimeEndpoint"): "(no setting: containerd and crictl have the same socket)",
    ("kubelet", "hostname-override"): "machines.{machine}",
    ("kubelet", "node-ip"): "machines.{machine}.address",
    ("kube-proxy", "clusterCIDR"): "network.pod_cidr",
    ("kube-proxy", "mode"): "network.proxy_mode",
    ("kube-proxy", "hostnameOverride"): "machines.{machine}",
}  # fmt: skip
"""Settings that are made of the inventory, and of which key: others have the same value from there, and a `settings`
override changes it in one place only."""


@dataclass(frozen=True)
class Stated:
    """A setting of that name: who has it, its value and why; `change` is what to write into the inventory."""

    by: str
    thing: str
    value: str
    on: str
    why: str
    change: str


@dataclass(frozen=True)
class Use:
    """A place in which the value stands; `value` is all that stands there, where that is more."""

    by: str
    thing: str
    value: str
    on: str
    why: str


@dataclass(frozen=True)
class ValuePage:
    """`place` is where the inventory states it. All but `asked` may be empty."""

    asked: str
    title: str
    place: str
    text: str
    steps: tuple[str, ...]
    stated: tuple[Stated, ...]
    uses: tuple[Use, ...]
    not_used: str
    without: str
    fault: str
    proofs: tuple[Cited, ...]
    more: tuple[Next, ...]


def value_page(book: Book, asked: str) -> ValuePage | None:
    """The page of a value or of a setting's name; None where nothing here is called so."""
    known = find_known(book, asked)
    sought = known.value if known and known.value else asked
    stated = tuple(_alike(_stated(book, asked)))
    uses = tuple(_uses(book, sought))
    if not known and not stated and not uses:
        return _within(book, asked)
    known = known or Known(asked, "")
    where = list(dict.fromkeys([one.thing for one in stated] + [one.thing for one in uses]))
    phases = [name.partition("/")[0] for name in where[:1]]
    see = book.there(known.see or where[:2])
    return ValuePage(
        asked=asked if asked == sought or not known.value else f"{asked}: {sought}",
        title=known.title,
        place=place(book.model.cluster, known.key or known.at) if known.key or known.at else "",
        text=known.text,
        steps=known.steps,
        stated=stated,
        uses=uses,
        not_used=known.not_used,
        without=known.without,
        fault=known.fault if book.model.cluster.lab else "",
        proofs=tuple(cited(book, [pattern(sought)])),
        more=explain_next(dict.fromkeys((*see, *phases))),
    )


def find_known(book: Book, asked: str) -> Known | None:
    """What is written about it: by its value, by the inventory's key or its last word, by another word for it."""
    for one in book.known:
        if one.value == asked:
            return one
    for one in book.known:
        if asked in (*one.keys, one.key, one.key.rpartition(".")[2]):
            return one
    return None


def _stated(book: Book, asked: str) -> Iterator[Stated]:
    """Settings of that name: a flag, a directive, a path or its end."""
    name = asked.lstrip("-").removesuffix("=")
    grouped: dict[tuple[str, str, str, str], list[Fact]] = {}
    for fact in book.facts:
        if fact.kind in ("flag", "directive", "key") and _is_named(fact.name, name):
            grouped.setdefault((label(fact), fact.thing, fact.value, fact.why), []).append(fact)
    for (by, thing, value, why), found in grouped.items():
        yield Stated(by, thing, value, book.on(one.where for one in found), why, _change(found[0], book.model.cluster))


def _alike(stated: Iterable[Stated]) -> Iterator[Stated]:
    """Directives of the same value in several units are told once, with all their units."""
    grouped: dict[tuple[str, str], list[Stated]] = {}
    for one in stated:
        name = one.by.rpartition(" ")[2] if one.by.endswith("=") else one.by
        grouped.setdefault((name, one.value), []).append(one)
    for (name, _), found in grouped.items():
        units = ", ".join(one.by.rpartition(" ")[0] for one in found)
        yield replace(found[0], by=name, on=units) if len(found) > 1 and name.endswith("=") else found[0]


def _is_named(full: str, name: str) -> bool:
    plain = full.replace('"', "")
    return name != "" and (plain == name or plain.endswith(f".{name}"))


def _change(fact: Fact, cluster: Cluster) -> str:
    """`settings: {kubelet: {authentication: {anonymous: {enabled: …}}}}`, or what it is derived from."""
    component = _COMPONENTS.get(fact.of)
    if derived := DERIVED.get((component or fact.of, fact.name)):
        return _derived(derived, fact.where, cluster)
    if fact.value.startswith((f"{PKI}/", f"{ETCD_PKI}/")):
        return "certs, which says how hardway makes the file that it names"
    if component is None or fact.kind == "directive" or '"' in fact.name:
        return ""
    names = [fact.name] if fact.kind == "flag" else fact.name.split(".")
    return f"settings: {{{component}: {{{': {'.join(names)}: …{'}' * (len(names) + 1)}"


def _derived(key: str, machine: str, cluster: Cluster) -> str:
    """The inventory's key, where that is said, and whether it may still change."""
    key = key.format(machine=machine)
    if key.startswith("("):
        return key.strip("()")
    if key in fixed_values(cluster):
        return f"{key}, {place(cluster, key)}; fixed once the cluster exists"
    return f"{key}, {place(cluster, key)}"


def _uses(book: Book, value: str) -> Iterator[Use]:
    """Where it stands: on machines first. Keys of one file are told together, copies in the workspace not at all."""
    sought = pattern(value)
    found = [fact for fact in book.facts if sought.search(fact.value) or _is_in_name(fact, sought, value)]
    on_machines = {(fact.thing, fact.name, fact.value) for fact in found if fact.where != OPERATOR}
    grouped: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in sorted(found, key=lambda one: one.where == OPERATOR):
        if fact.where == OPERATOR and (fact.thing, fact.name, fact.value) in on_machines:
            continue
        name = "" if fact.kind == "key" else _use(fact)
        of = "" if fact.kind == "certificate" else fact.of
        grouped.setdefault((fact.thing, of, name), []).append(fact)
    for (thing, of, name), facts in grouped.items():
        values = list(dict.fromkeys(one.value for one in facts))
        more = values[0] if len(values) == 1 and values[0] != value else ""
        by = name or f"{_listed(dict.fromkeys(one.name for one in facts))} in {of}"
        yield Use(by, thing, more, book.on(one.where for one in facts), facts[0].why)


def _use(fact: Fact) -> str:
    """As `label` has it; certificates that are alike by the name of their thing, which can be asked further."""
    return f"{fact.name} of {fact.thing}" if fact.kind == "certificate" else label(fact)


def _is_in_name(fact: Fact, sought: re.Pattern[str], value: str) -> bool:
    """A route's range, an object's name, or a key on the way to others; one that is the setting itself is told so."""
    return (
        fact.kind in ("resource", "object", "key")
        and not _is_named(fact.name, value)
        and bool(sought.search(fact.name))
    )


def _listed(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more" if others else first


def _within(book: Book, asked: str) -> ValuePage | None:
    """An address that nobody states, in the smallest range that holds it."""
    try:
        address = ip_address(asked)
    except ValueError:
        return None
    ranges = {ip_network(one.value): one for one in book.known if re.fullmatch(r"[\da-f.:]+/\d+", one.value)}
    holding = [network for network in ranges if address in network and network.prefixlen]
    if not holding:
        return None
    nearest = ranges[max(holding, key=lambda network: network.prefixlen)]
    found = value_page(book, nearest.value)
    if found is None:
        return None
    return replace(found, asked=asked, title=f"an address of {nearest.value}: {nearest.title}")


def setting_names(book: Book) -> Iterable[str]:
    """Flags, directives and the last words of keys, for completion and for the nearest name."""
    for fact in book.facts:
        if fact.kind in ("flag", "directive", "key"):
            yield fact.name.replace('"', "")
            if '"' not in fact.name:
                yield fact.name.rpartition(".")[2]

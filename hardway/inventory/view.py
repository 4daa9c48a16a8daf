"""An inventory as it was understood: a summary, and all of its values with where each comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import yaml

from hardway.inventory.model import Cluster, Dns, LabSpec, Machine, Network, OperatorFile
from hardway.inventory.problems import dotted
from hardway.values import host_port

DEFAULT, DECIDED = "default", "decided"


@dataclass(frozen=True)
class Checked:
    """What `inventory check` says of an inventory that is right; the machines' names by role."""

    path: str
    cluster: str
    kubernetes: str
    machines: tuple[str, ...]
    controllers: tuple[str, ...]
    workers: tuple[str, ...]
    load_balancers: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """`inventory` says every value and is itself an inventory. `origins` has by path where a value comes from:
    `FILE:LINE:COLUMN`, `default`, or `decided` where a name was looked up or a range allotted."""

    inventory: Mapping[str, Any]
    origins: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def checked(cluster: Cluster) -> Checked:
    return Checked(
        str(cluster.path),
        cluster.name,
        cluster.kubernetes,
        _names(cluster.machines),
        _names(cluster.controllers),
        _names(cluster.workers),
        _names(cluster.load_balancers),
    )


def _names(group: tuple[Machine, ...]) -> tuple[str, ...]:
    return tuple(one.name for one in group)


def shown(cluster: Cluster) -> Shown:
    """Of a cluster whose addresses and pod ranges are known."""
    document = _document(cluster)
    leaves = (path for path, _ in _leaves(document, ()))
    return Shown(document, {dotted(path): _origin(cluster, path) for path in leaves})


def shown_lines(found: Shown, *, origins: bool) -> list[str]:
    """The inventory as YAML; with `origins` each value says where it comes from."""
    return list(_lines(found, found.inventory, (), origins))


def _document(cluster: Cluster) -> dict[str, Any]:
    endpoint = cluster.endpoint
    whole = {
        "hardway": cluster.hardway,
        "cluster": cluster.name,
        "kubernetes": cluster.kubernetes,
        "domain": cluster.domain,
        "endpoint": host_port(endpoint.host, endpoint.port) if endpoint else None,
        "network": _plain(_both(cluster.network, "service_cidr", "pod_cidr")),
        "dns": _dns(cluster.dns),
        "hosts": asdict(cluster.hosts),
        "certs": _plain(asdict(cluster.certs)),
        "encryption": asdict(cluster.encryption),
        "artifacts": asdict(cluster.artifacts),
        "proxy": cluster.proxy,
        "settings": _plain(cluster.settings),
        "roles": {role: {"settings": _plain(settings)} for role, settings in cluster.role_settings.items()},
        "files": {file.path: _file(file) for file in cluster.files},
        "hooks": {name: _plain(asdict(hook)) for name, hook in cluster.hooks.items()},
        "lab": _plain(_both(cluster.lab, "network")) if cluster.lab else None,
        "machines": {machine.name: _machine(machine) for machine in cluster.machines},
    }
    kept: dict[str, Any] = _without_nothing(whole)
    return kept


def _machine(machine: Machine) -> dict[str, Any]:
    roles = sorted(machine.roles)
    return {
        "role": roles[0] if len(roles) == 1 else roles,
        "address": _plain(_one_or_list(machine.addresses)),
        "ssh": _plain(asdict(machine.ssh)),
        "pod_cidr": _plain(_one_or_list(machine.pod_cidrs)) if machine.is_worker else None,
        "labels": dict(machine.labels),
        "settings": _plain(machine.settings),
        "image": machine.image,
    }


def _both(of: Network | LabSpec, *names: str) -> dict[str, Any]:
    """The fields of a value, where what it has for IPv6 stands beside what it has for IPv4, as in an inventory."""
    found = asdict(of)
    for name in names:
        if (second := found.pop(f"{name}6")) is not None:
            found[name] = [found[name], second]
    if isinstance(of, Network):
        for version, key in ((4, "pod_prefix"), (6, "pod_prefix6")):
            if version not in of.families:
                del found[key]
    return found


def _one_or_list(values: Sequence[Any]) -> Any:
    return list(values) if len(values) > 1 else values[0]


def _dns(dns: Dns) -> dict[str, Any]:
    return {"stub_domains": _plain(dns.stub_domains), "upstream": [*dns.upstream], "corefile": dns.corefile}


def _file(file: OperatorFile) -> dict[str, Any]:
    return {
        "source": file.source,
        "owner": f"{file.owner}:{file.group}",
        "mode": f"{file.mode:04o}",
        "machines": list(file.machines),
        "restart": list(file.restart),
    }


def _plain(value: Any) -> Any:
    """Addresses and paths as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _without_nothing(value: Any) -> Any:
    """Without keys that say nothing; a setting that takes a flag away says something with its null."""
    if not isinstance(value, Mapping):
        return value
    kept: dict[Any, Any] = {}
    for key, one in value.items():
        inner = one if key == "settings" else _without_nothing(one)
        if inner is not None and inner != {} and inner != []:
            kept[key] = inner
    return kept


def _leaves(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            yield from _leaves(value, (*path, key))
    else:
        yield path, node


def _origin(cluster: Cluster, path: tuple[str, ...]) -> str:
    """Where a value stands in the file; of a machine's ssh it may be the cluster's, of `NAME: ROLE` the role."""
    others = [path[2:]] if path[0] == "machines" and path[2] == "ssh" else []
    if path[-1] == "role":
        others.append(path[:-1])
    for one in (path, *others):
        place = cluster.places.get(dotted(one))
        if place is not None:
            return f"{cluster.path}:{place}"
    return DECIDED if path[0] == "machines" and path[-1] in ("address", "pod_cidr") else DEFAULT


def _lines(found: Shown, node: Mapping[str, Any], path: tuple[str, ...], origins: bool) -> Iterator[str]:
    indent = "  " * len(path)
    for key, value in node.items():
        here = (*path, key)
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_scalar(key)}:"
            yield from _lines(found, value, here, origins)
            continue
        line = f"{indent}{_scalar(key)}: {_scalar(value)}"
        yield f"{line:<45}  # {found.origins[dotted(here)]}" if origins else line


class _Dumper(yaml.SafeDumper):
    """Quotes texts that a reader of YAML could take for numbers: PyYAML does not for `08`."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if re.fullmatch(r"[-+]?[\d_]+(\.\d*)?([eE][-+]?\d+)?", value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text)


def _scalar(value: Any) -> str:
    dumped = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=10**6, allow_unicode=True)
    return dumped.strip().removesuffix("\n...")

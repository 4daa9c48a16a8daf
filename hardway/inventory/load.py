"""An inventory file to the model of the cluster that is wanted."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hardway.inventory import complaints, document, rules
from hardway.inventory.model import (
    Artifacts,
    AuthorityName,
    Certs,
    Cluster,
    Dns,
    Encryption,
    Endpoint,
    Hook,
    Hosts,
    LabSpec,
    Machine,
    Network,
    OperatorFile,
    OwnAuthority,
    Settings,
    Ssh,
)
from hardway.inventory.problems import Document, Loc, Problem, dotted, report
from hardway.inventory.shape import (
    ArtifactsShape,
    CertsShape,
    DnsShape,
    InventoryShape,
    LabShape,
    MachineShape,
    MachineSshShape,
    NetworkShape,
    Overlay,
)
from hardway.values import sha256

FILE_LIMIT = 32 << 20
"""Bytes of a file that machines get: room for a kubelet's credential provider, and none for an image."""


def load(path: Path, further: Iterable[rules.Rule] = ()) -> Cluster:
    """The cluster of an inventory file.

    Raises InventoryError with everything that is wrong, by `further` rules also, in the file's order. Nothing is looked
    up: a machine without an address keeps None until `allot.resolve`.
    """
    read = document.read(path)
    shape, problems, unknown = _shaped(read)
    problems = read.problems + problems
    if shape is not None:
        files, unreadable = _files(shape, path)
        dns, problem = _dns(shape.dns, path)
        cluster = _cluster(shape, read, path, files, dns)
        problems += unreadable + problem + rules.check(cluster, unknown, further)
    if problems or shape is None:
        raise report(path, read, problems)
    return cluster


def _shaped(read: Document) -> tuple[InventoryShape | None, list[Problem], set[Loc]]:
    """The shape, what was wrong with it, and the paths that had to be left out to get one.

    What is wrong is left out and the rest read again, so that the rules across fields can judge it in
    the same run. A second reading may lose what depended on the first loss: a machine without a role.
    """
    data: Any = read.data
    problems: list[Problem] = []
    unknown: set[Loc] = {problem.loc for problem in read.problems}
    for attempt in range(4):
        try:
            return InventoryShape.model_validate(data), problems, unknown
        except ValidationError as error:
            errors = error.errors(include_url=False)
        if attempt == 0:
            problems = complaints.problems(errors, read)
            unknown |= {near for e in errors if (near := complaints.meant(e)) is not None}
        lost = {_removable(e["loc"], e["type"]) for e in errors}
        unknown |= lost
        data = _without(data, lost, ())
    return None, problems, unknown


def _removable(loc: Loc, kind: str) -> Loc:
    """What to leave out for an error: no key alone, no list's item, no mapping that lacks a key."""
    if kind == "missing":
        return loc if len(loc) == 1 else loc[:-1]
    while loc and (loc[-1] == "[key]" or isinstance(loc[-1], int)):
        loc = loc[:-1]
    return loc


def _without(data: Any, lost: set[Loc], at: Loc) -> Any:
    """The values without some; what a cluster cannot be without is replaced by a stand-in."""
    if not isinstance(data, dict):
        return data
    kept = {
        key: _without(value, lost, (*at, key))
        for key, value in data.items()
        if (*at, key) not in lost and not _is_short_form(value, (*at, key), lost)
    }
    if at == () and ("cluster",) in lost:
        kept["cluster"] = "unnamed"
    return kept


def _is_short_form(value: object, loc: Loc, lost: set[Loc]) -> bool:
    return (*loc, "role") in lost and not isinstance(value, dict)


def _cluster(shape: InventoryShape, read: Document, path: Path, files: tuple[OperatorFile, ...], dns: Dns) -> Cluster:
    machines = tuple(_machine(name, of, shape, path) for name, of in shape.machines.items())
    return Cluster(
        name=shape.cluster,
        machines=machines,
        kubernetes=shape.kubernetes,
        domain=shape.domain,
        endpoint=shape.endpoint or _only_balancer(machines),
        network=_network(shape.network),
        dns=dns,
        hosts=Hosts(**shape.hosts.model_dump()),
        certs=_certs(shape.certs, path),
        encryption=Encryption(shape.encryption.provider, tuple(shape.encryption.resources)),
        artifacts=_artifacts(shape.artifacts, path),
        proxy=shape.proxy,
        settings=_overlays(shape.settings),
        role_settings={role: _overlays(of.settings) for role, of in shape.roles.items()},
        files=files,
        hooks={name: Hook(**hook.model_dump()) for name, hook in shape.hooks.items()},
        lab=_lab(shape.lab) if shape.lab else None,
        path=path,
        hardway=shape.hardway,
        places={dotted(loc): place for loc, place in read.places.items()},
        written=_digest(read),
    )


def _files(shape: InventoryShape, inventory: Path) -> tuple[tuple[OperatorFile, ...], list[Problem]]:
    """The operator's files with what is in them, and those that cannot be read."""
    files: list[OperatorFile] = []
    problems: list[Problem] = []
    for target, of in shape.files.items():
        source = _beside(inventory, of.source)
        try:
            content = _content(source)
        except OSError as error:
            problems.append(Problem(("files", target, "source"), f"{source}: {error.strerror or error}"))
            continue
        owner, _, group = of.owner.partition(":")
        files.append(OperatorFile(target, of.source, content, owner, group or owner, of.mode, of.machines, of.restart))
    return tuple(files), problems


def _dns(shape: DnsShape, inventory: Path) -> tuple[Dns, list[Problem]]:
    """With the operator's Corefile, and why that cannot be read."""
    dns = Dns(shape.stub_domains, shape.upstream)
    if shape.corefile is None:
        return dns, []
    source = _beside(inventory, shape.corefile)
    try:
        text = _content(source).decode("utf-8-sig")
    except OSError as error:
        return dns, [Problem(("dns", "corefile"), f"{source}: {error.strerror or error}")]
    except UnicodeDecodeError:
        return dns, [Problem(("dns", "corefile"), f"{source}: is not UTF-8; save the file in that encoding")]
    return replace(dns, corefile=shape.corefile, text=text), []


def _content(path: Path) -> bytes:
    """A regular file's, and no endless one's. Raises OSError."""
    if path.exists() and not path.is_file():
        raise OSError("is not a file")
    with path.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise OSError(f"is larger than {FILE_LIMIT >> 20} MiB")
    return content


def _digest(read: Document) -> str:
    """The same for the same values, however they are written down; a new version's defaults are none of it."""
    said = {key: value for key, value in read.data.items() if key != "hardway"}
    return sha256(json.dumps(said, sort_keys=True, default=str).encode())


def _network(shape: NetworkShape) -> Network:
    services, services6 = _families(shape.service_cidr)
    pods, pods6 = _families(shape.pod_cidr)
    return Network(
        **shape.model_dump(exclude={"dns_address", "service_cidr", "pod_cidr"}),
        dns_address=shape.dns_address or services.network_address + 10,
        service_cidr=services,
        service_cidr6=services6,
        pod_cidr=pods,
        pod_cidr6=pods6,
    )


def _lab(shape: LabShape) -> LabSpec:
    network, network6 = _families(shape.network)
    return LabSpec(network, shape.image, network6)


def _families(values: tuple[Any, ...] | None) -> tuple[Any, Any]:
    """What is IPv4 and what is IPv6 in a value of the shape, in which IPv4 comes first."""
    first, second, *_ = (*(values or ()), None, None)
    return first, second


def _certs(shape: CertsShape, path: Path) -> Certs:
    authorities: dict[AuthorityName, OwnAuthority] = {}
    for name, one in shape.authorities.items():
        key = None if one.key is None else _beside(path, one.key)
        authorities[name] = OwnAuthority(_beside(path, one.certificate), key)
    return Certs(**shape.model_dump(exclude={"authorities"}), authorities=authorities)


def _only_balancer(machines: tuple[Machine, ...]) -> Endpoint | None:
    balancers = [machine for machine in machines if machine.is_load_balancer]
    return Endpoint(balancers[0].name) if len(balancers) == 1 else None


def _machine(name: str, shape: MachineShape, whole: InventoryShape, path: Path) -> Machine:
    address, address6 = _families(shape.address)
    pods, pods6 = _families(shape.pod_cidr)
    return Machine(
        name=name,
        roles=frozenset(shape.role),
        address=address,
        address6=address6,
        ssh=_ssh(shape.ssh, whole, path),
        pod_cidr=pods,
        pod_cidr6=pods6,
        labels=dict(shape.labels),
        taints=shape.taints,
        settings=_overlays(shape.settings),
        image=shape.image,
    )


def _overlays(shape: Overlay) -> dict[str, Settings]:
    return {str(component): settings for component, settings in shape.items()}


def _ssh(own: MachineSshShape, whole: InventoryShape, path: Path) -> Ssh:
    """The machine's own over the cluster's; lab machines know root only."""
    merged: dict[str, Any] = {"user": "root"} if whole.lab else {}
    for layer in (whole.ssh, own):
        merged |= layer.model_dump(exclude_none=True)
    for given in ("key", "config"):
        if given in merged:
            merged[given] = _beside(path, merged[given])
    return Ssh(**merged)


def _artifacts(shape: ArtifactsShape, path: Path) -> Artifacts:
    versions = {str(component): version for component, version in shape.versions.items()}
    return Artifacts(shape.source, _mirror(shape.mirror, path), shape.fetch, versions)


def _mirror(text: str | None, path: Path) -> str | None:
    return text if text is None or "://" in text else str(_beside(path, text))


def _beside(inventory: Path, text: str) -> Path:
    """A path of the inventory's: `~` is home, and what is relative is beside the inventory."""
    return inventory.parent.absolute() / Path(text).expanduser()

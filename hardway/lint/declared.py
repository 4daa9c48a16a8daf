"""The setup that a declaration comes to, before any machine is contacted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from ipaddress import ip_network
from itertools import chain

from hardway import yaml_text
from hardway.declare import pki
from hardway.declare.declaration import Declaration
from hardway.declare.resources import ApiObjects, Binary, File, Key, PublicKey, RandomKey, Routes, WorkspaceFile
from hardway.declare.resources import Certificate as LocalCertificate
from hardway.inventory.model import Cluster, Range
from hardway.probe.setup.commands import environment, exec_start
from hardway.probe.setup.material import Book, Command, Material, interpret, parsed
from hardway.probe.setup.model import COMPONENTS, Certificate, MachineSetup, Setup
from hardway.values import OPERATOR, placeholders, sha256

network = cache(ip_network)
"""Each range is in the routes of all other machines."""

DNS_NAMES = ("kube-dns", "coredns")
KUBELET_API = "system:kubelet-api-admin"


def declared_setup(cluster: Cluster, declaration: Declaration, values: Mapping[str, bytes], now: datetime) -> Setup:
    """The setup of all machines, the operator's among them.

    `values` are the workspace's files that stay as they are; where a certificate is not among them, its
    specification stands for it. An unreadable file counts as one that is to be made.
    """
    book = Book(*_contents(declaration, values), bundles=dict(_bundles(declaration)))
    machines = {
        machine.name: _declared(_material(declaration, machine.name, _hostname(cluster, machine.name)), book)
        for machine in cluster.machines
    }
    machines[OPERATOR] = interpret(Material(OPERATOR, _operators(declaration), {}), book)
    objects = [one.resource for one in declaration.placed if isinstance(one.resource, ApiObjects)]
    documents = [*chain.from_iterable(yaml_text.documents(one.manifest) for one in objects)]
    made = [one for _, one in declaration.local if isinstance(one, LocalCertificate) and not one.copied]
    roots = (one.path for one in made if one.ca is None)
    authorities = tuple(book.certificates[path] for path in roots)
    return Setup(machines, now, "declared", dns_service(documents), kubelet_users(documents), authorities)


def _declared(material: Material, book: Book) -> MachineSetup:
    return replace(interpret(material, book), files=material.files)


def _operators(declaration: Declaration) -> dict[str, str]:
    """What stays with the operator: most files of the workspace are there on their way to a machine."""
    sent = {one.resource.text for one in declaration.placed if isinstance(one.resource, File)}
    return {
        one.path: one.text for _, one in declaration.local if isinstance(one, WorkspaceFile) and one.text not in sent
    }


def _hostname(cluster: Cluster, machine: str) -> str:
    """Only where hardway sets it is it known beforehand."""
    return machine if cluster.hosts.hostname == "set" else ""


def _material(declaration: Declaration, machine: str, hostname: str) -> Material:
    files: dict[str, str] = {}
    commands: dict[str, Command] = {}
    versions: dict[str, str] = {}
    routes: dict[Range, str] = {}
    for one in declaration.on(machine):
        match one.resource:
            case File() as file:
                files[file.path] = file.text
            case Binary() as binary:
                versions[binary.file] = binary.version
            case Routes() as table:
                routes = {network(to): via for to, via in table.table}
    for path in files:
        if path.endswith(".service"):
            commands |= command_of(path, files)
    return Material(machine, files, commands, hostname, versions, routes)


def command_of(path: str, files: Mapping[str, str]) -> dict[str, Command]:
    """The component that the unit at a path starts, with its command; nothing where it starts something else."""
    argv = exec_start(files[path])
    name = argv[0].rpartition("/")[2] if argv else ""
    return {name: Command(tuple(argv), path, environment(files[path], files))} if name in COMPONENTS else {}


Contents = tuple[dict[str, Certificate], dict[str, str], dict[str, tuple[str, int]]]


def _contents(declaration: Declaration, values: Mapping[str, bytes]) -> Contents:
    certificates: dict[str, Certificate] = {}
    keys: dict[str, str] = {}
    secrets: dict[str, tuple[str, int]] = {}
    for _, local in declaration.local:
        match local:
            case Key():
                keys[local.path] = _key(local.path, values)
            case PublicKey():
                keys[local.path] = _public_key(local, values)
            case RandomKey():
                content = values.get(local.path)
                secrets[local.path] = (sha256(content), len(content)) if content else (local.path, local.size)
            case LocalCertificate():
                certificates[local.path] = _certificate(local, values)
    return certificates, keys, secrets


def _bundles(declaration: Declaration) -> Iterator[tuple[str, tuple[str, ...]]]:
    for _, local in declaration.local:
        if isinstance(local, WorkspaceFile) and local.path.endswith(".crt"):
            yield local.path, tuple(placeholder.name for placeholder in placeholders(local.text))


def _key(path: str, values: Mapping[str, bytes]) -> str:
    try:
        return pki.public_key_digest(pki.public_key_pem(values[path]))
    except (KeyError, pki.PemError):
        return path


def _public_key(local: PublicKey, values: Mapping[str, bytes]) -> str:
    try:
        return pki.public_key_digest(values[local.path])
    except (KeyError, pki.PemError):
        return _key(local.of, values)


def _certificate(local: LocalCertificate, values: Mapping[str, bytes]) -> Certificate:
    try:
        return parsed(values[local.path], local.path)
    except (KeyError, pki.PemError):
        pass
    spec, ca = local.spec, local.ca or local.path.removesuffix(".crt")
    return Certificate(
        local.path, spec.common_name, spec.organizations, spec.dns_names, spec.addresses, frozenset(spec.usages),
        spec.is_ca, key=_key(local.key_path, values), signer=_signer(ca, values), issuer=ca,
    )  # fmt: skip


def _signer(ca: str, values: Mapping[str, bytes]) -> str:
    """The identity of a CA's key, which need not be here where its certificate is."""
    try:
        return pki.read(values[f"{ca}.crt"]).public_key_digest
    except (KeyError, pki.PemError):
        return _key(f"{ca}.key", values)


def dns_service(documents: list[Mapping[str, object]]) -> str:
    """The cluster IP of the DNS Service among API objects; empty where there is none."""
    for one in documents:
        metadata, spec = one.get("metadata"), one.get("spec")
        if one.get("kind") == "Service" and isinstance(metadata, Mapping) and metadata.get("name") in DNS_NAMES:
            return str(spec.get("clusterIP", "")) if isinstance(spec, Mapping) else ""
    return ""


def kubelet_users(documents: list[Mapping[str, object]]) -> frozenset[str]:
    """Users and groups that are bound to a role which allows kubelets' API.

    That is Kubernetes' own, or one among the objects, such as the tutorial's.
    """
    roles = {KUBELET_API, "cluster-admin"} | {_name(one) for one in documents if _allows_kubelets(one)}
    names: set[str] = set()
    for one in documents:
        if one.get("kind") == "ClusterRoleBinding" and _role(one) in roles:
            names |= {str(subject.get("name")) for subject in _subjects(one)}
    return frozenset(names)


def _name(document: Mapping[str, object]) -> object:
    metadata = document.get("metadata")
    return metadata.get("name") if isinstance(metadata, Mapping) else None


def _allows_kubelets(role: Mapping[str, object]) -> bool:
    rules = role.get("rules")
    if role.get("kind") != "ClusterRole" or not isinstance(rules, list):
        return False
    return any(
        {"nodes/proxy", "nodes/*", "*"} & {*(rule.get("resources") or ())} and {"*", "get"} & {*rule["verbs"]}
        for rule in rules
    )


def _role(binding: Mapping[str, object]) -> object:
    role = binding.get("roleRef")
    return role.get("name") if isinstance(role, Mapping) else None


def _subjects(binding: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    subjects = binding.get("subjects")
    yield from (one for one in subjects if isinstance(one, Mapping)) if isinstance(subjects, list) else ()

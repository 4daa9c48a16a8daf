"""From the files and processes of machines to a Setup. Pure: texts in, values out.

Texts have placeholders where something is secret or still to be made, and a `Book` says what each stands for.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import ip_network
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import yaml

from hardway import yaml_text
from hardway.declare import pki
from hardway.inventory.model import Range
from hardway.probe.setup.commands import flags as flags_of
from hardway.probe.setup.model import Certificate, Component, Kubeconfig, MachineSetup, Provider
from hardway.values import placeholders

CERTIFICATES = {
    "kube-apiserver": {"tls-cert-file": "server", "kubelet-client-certificate": "kubelet-client",
                       "etcd-certfile": "etcd-client", "proxy-client-cert-file": "proxy-client"},
    "kube-controller-manager": {"cluster-signing-cert-file": "signer"},
    "kubelet": {"tls-cert-file": "server"},
    "etcd": {"cert-file": "server", "peer-cert-file": "peer"},
}  # fmt: skip
"""Flags that name a certificate which a component presents, and for what."""

KEYS = {
    "kube-apiserver": {"tls-private-key-file": "server", "kubelet-client-key": "kubelet-client",
                       "etcd-keyfile": "etcd-client", "proxy-client-key-file": "proxy-client",
                       "service-account-key-file": "token-verifier",
                       "service-account-signing-key-file": "token-signer"},
    "kube-controller-manager": {"cluster-signing-key-file": "signer",
                                "service-account-private-key-file": "token-signer"},
    "kubelet": {"tls-private-key-file": "server"},
    "etcd": {"key-file": "server", "peer-key-file": "peer"},
}  # fmt: skip
"""Flags that name a key file; what belongs to a certificate has its purpose."""

AUTHORITIES = {
    "kube-apiserver": {"client-ca-file": "clients", "etcd-cafile": "etcd", "kubelet-certificate-authority": "kubelets",
                       "requestheader-client-ca-file": "proxies"},
    "kube-controller-manager": {"root-ca-file": "root"},
    "kubelet": {"client-ca-file": "clients"},
    "etcd": {"trusted-ca-file": "clients", "peer-trusted-ca-file": "peers"},
}  # fmt: skip
"""Flags that name CA certificates, and whom they are for."""

KUBELET_FIELDS = {
    "tlsCertFile": "tls-cert-file", "tlsPrivateKeyFile": "tls-private-key-file",
    "authentication.x509.clientCAFile": "client-ca-file", "podCIDR": "pod-cidr", "resolvConf": "resolv-conf",
}  # fmt: skip
"""Fields of the kubelet's configuration that are flags too; a flag goes before its field."""

OTHER_FILES = {
    "kube-apiserver": ("encryption-provider-config",), "kubelet": ("config", "resolv-conf"), "kube-proxy": ("config",),
    "kube-scheduler": ("config",), "haproxy": ("f",),
}  # fmt: skip
"""Flags that name other files which rules look into."""
KUBECONFIG_FILES = ("certificate-authority", "client-certificate", "client-key")
CONFIGURATIONS = {"kubelet": "config", "kube-proxy": "config", "kube-scheduler": "config"}
NO_KEY = "-"
"""Identity of a key file that holds no key."""


@dataclass(frozen=True)
class Book:
    """What placeholders stand for: certificates to be made, identities of key pairs, digest and size of secrets.

    `bundles` has the names of the certificates in a file that holds several.
    """

    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    bundles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Command:
    """A command line, where it was read, and what its environment says."""

    argv: tuple[str, ...]
    source: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """Files and processes of one machine, by path and by component; `unknown` says why a path could not be read."""

    machine: str
    files: Mapping[str, str]
    commands: Mapping[str, Command]
    hostname: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    routes: Mapping[Range, str] | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


def interpret(material: Material, book: Book) -> MachineSetup:
    """The setup of one machine."""
    return _Reader(material, book).setup()


@dataclass(frozen=True)
class _Reader:
    material: Material
    book: Book

    def setup(self) -> MachineSetup:
        components = {name: self.component(name, one) for name, one in self.material.commands.items()}
        presents, trusts = {}, {}
        keys: dict[str, str] = {}
        for name, one in components.items():
            paths = _settings(one)
            for flag, purpose in CERTIFICATES.get(name, {}).items():
                if found := self.certificates(paths.get(flag, "")):
                    presents[f"{name}/{purpose}"] = found[0]
            for flag, purpose in KEYS.get(name, {}).items():
                keys |= self.keys(f"{name}/{purpose}", paths.get(flag, ""))
            for flag, purpose in AUTHORITIES.get(name, {}).items():
                if found := self.certificates(paths.get(flag, "")):
                    trusts[f"{name}/{purpose}"] = found
        kubeconfigs = dict(self.used_kubeconfigs(components))
        used = self.named(components)
        return MachineSetup(
            name=self.material.machine,
            hostname=self.material.hostname,
            components=components,
            versions=self.material.versions,
            presents=presents,
            trusts=trusts,
            keys=keys,
            kubeconfigs=kubeconfigs,
            loose=tuple(self.loose(used)),
            loose_kubeconfigs=tuple(self.loose_kubeconfigs(used)),
            loose_keys={path: key for path, text in self.material.files.items() if (key := self.key_in(text))},
            encryption=self.encryption(components.get("kube-apiserver")),
            pod_range=self.pod_range(),
            routes=self.material.routes,
            balanced=tuple(self.balanced(components.get("haproxy"))),
            nameservers=self.nameservers(components.get("kubelet")),
            unknown=self.material.unknown,
        )

    def component(self, name: str, command: Command) -> Component:
        given = flags_of(command.argv[1:])
        if name == "etcd":
            inherited = {
                variable.removeprefix("ETCD_").lower().replace("_", "-"): value
                for variable, value in command.environment.items()
                if variable.startswith("ETCD_") and variable != "ETCD_UNSUPPORTED_ARCH"
            }
            given = inherited | given
        path = given.get(CONFIGURATIONS.get(name, ""), "")
        config = _document(self.material.files.get(path, ""))
        return Component(name, command.source, given, config)

    def certificates(self, path: str) -> tuple[Certificate, ...]:
        """All certificates of a file; empty where there is none."""
        return self.certificates_in(self.material.files.get(path, ""), path)

    def certificates_in(self, text: str, where: str) -> tuple[Certificate, ...]:
        found: list[Certificate] = []
        for placeholder in placeholders(text):
            for part in self.book.bundles.get(placeholder.name, (placeholder.name,)):
                if part in self.book.certificates:
                    found.append(replace(self.book.certificates[part], where=where))
        for pem in pki.split(text.encode()):
            try:
                found.append(parsed(pem, where))
            except pki.PemError:
                continue
        return tuple(found)

    def keys(self, purpose: str, paths: str) -> dict[str, str]:
        """The keys of a flag by their purpose; of several the second is `PURPOSE-2`."""
        found = [key for path in paths.split(",") if path and (key := self.key(path))]
        return {purpose if number == 1 else f"{purpose}-{number}": key for number, key in enumerate(found, 1)}

    def key(self, path: str) -> str:
        """The identity of the key pair in a file, also of a certificate's; empty where the file is not known."""
        text = self.material.files.get(path)
        if text is None:
            return ""
        certificate = self.certificates_in(text, path)
        return self.key_in(text) or (certificate[0].key if certificate else NO_KEY)

    def key_in(self, text: str) -> str:
        return next(
            (
                self.book.keys[placeholder.name]
                for placeholder in placeholders(text)
                if placeholder.name in self.book.keys
            ),
            "",
        )

    def used_kubeconfigs(self, components: Mapping[str, Component]) -> Iterator[tuple[str, Kubeconfig]]:
        for name, one in components.items():
            path = _kubeconfig_path(one)
            if path and (found := self.kubeconfig(path)):
                yield name, found

    def kubeconfig(self, path: str) -> Kubeconfig | None:
        document = _document(self.material.files.get(path, ""))
        if document.get("kind") != "Config":
            return None
        context = _named(document.get("contexts"), document.get("current-context"), "context")
        cluster = _named(document.get("clusters"), context.get("cluster"), "cluster")
        user = _named(document.get("users"), context.get("user"), "user")
        client = self.certificates_of(user, "client-certificate", path)
        key = self.key_in(str(user.get("client-key-data", ""))) or self.key(str(user.get("client-key", "")))
        return Kubeconfig(
            path,
            str(cluster.get("server", "")),
            self.certificates_of(cluster, "certificate-authority", path),
            client[0] if client else None,
            key if key != NO_KEY else "",
        )

    def certificates_of(self, entry: Mapping[str, Any], name: str, path: str) -> tuple[Certificate, ...]:
        inside = str(entry.get(f"{name}-data") or "")
        if not inside:
            return self.certificates(str(entry.get(name, "")))
        text = inside if next(placeholders(inside), None) else _decoded(inside)
        return self.certificates_in(text, f"{path} ({name})")

    def named(self, components: Mapping[str, Component]) -> set[str]:
        """Every path that a component names."""
        paths: set[str] = set()
        for one in components.values():
            paths.update(_settings(one).values(), (_kubeconfig_path(one),))
        return paths

    def loose(self, used: set[str]) -> Iterator[Certificate]:
        for path, text in self.material.files.items():
            if path not in used and PurePosixPath(path).suffix in (".pem", ".crt", ".cert"):
                yield from self.certificates_in(text, path)

    def loose_kubeconfigs(self, used: set[str]) -> Iterator[Kubeconfig]:
        for path in self.material.files:
            place = PurePosixPath(path)
            if path not in used and (
                place.suffix in (".kubeconfig", ".conf") or place.name in ("kubeconfig", "config")
            ):
                found = self.kubeconfig(path)
                if found:
                    yield found

    def encryption(self, server: Component | None) -> tuple[Provider, ...] | None:
        named = server.flags.get("encryption-provider-config", "") if server else ""
        for path in (named, *self.material.files):
            document = _document(self.material.files.get(path, "")) if path == named or _is_yaml(path) else {}
            if document.get("kind") in ("EncryptionConfiguration", "EncryptionConfig"):
                return tuple(self.providers(document))
        return None

    def providers(self, document: Mapping[str, Any]) -> Iterator[Provider]:
        for entry in _mappings(document.get("resources")):
            for provider in _mappings(entry.get("providers")):
                for name, body in provider.items():
                    keys = _mappings(body.get("keys")) if isinstance(body, Mapping) else ()
                    found = chain.from_iterable(placeholders(str(key.get("secret", ""))) for key in keys)
                    secrets = [self.book.secrets.get(placeholder.name) for placeholder in found]
                    yield Provider(name, tuple(secret for secret in secrets if secret is not None))

    def pod_range(self) -> Range | None:
        """What the CNI bridge gives to pods."""
        for path in sorted(self.material.files):
            if PurePosixPath(path).parent == PurePosixPath("/etc/cni/net.d"):
                document = _document(self.material.files[path])
                for plugin in (document, *_mappings(document.get("plugins"))):
                    for subnet in _subnets(plugin.get("ipam")):
                        return subnet
        return None

    def balanced(self, haproxy: Component | None) -> Iterator[str]:
        """ADDRESS:PORT of each server behind the balancer."""
        if haproxy is None:
            return
        for line in self.material.files.get(haproxy.flags.get("f", ""), "").splitlines():
            words = line.split()
            if len(words) >= 3 and words[0] == "server":
                yield words[2]

    def nameservers(self, kubelet: Component | None) -> tuple[str, ...] | None:
        path = _settings(kubelet).get("resolv-conf", "/etc/resolv.conf") if kubelet else ""
        if path not in self.material.files:
            return None
        lines = (line.split() for line in self.material.files[path].splitlines())
        return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


def named_paths(found: Material) -> set[str]:
    """Every file that command lines, configurations and kubeconfigs name, as far as they were read."""
    reader = _Reader(found, Book())
    paths: set[str] = set()
    for name, command in found.commands.items():
        one = reader.component(name, command)
        settings = _settings(one)
        flags = {
            *CERTIFICATES.get(name, ()),
            *KEYS.get(name, ()),
            *AUTHORITIES.get(name, ()),
            *OTHER_FILES.get(name, ()),
        }
        for flag in flags:
            paths.update(settings.get(flag, "").split(","))
        paths.add(_kubeconfig_path(one))
    for text in found.files.values():
        document = _document(text) if "kind: Config" in text else {}
        for kind in ("cluster", "user"):
            for entry in _mappings(document.get(f"{kind}s")):
                body = entry.get(kind)
                if isinstance(body, Mapping):
                    paths |= {str(body.get(field, "")) for field in KUBECONFIG_FILES}
    return {path for path in paths if path.startswith("/")}


def parsed(pem: bytes, where: str) -> Certificate:
    """A certificate that there is. Raises PemError."""
    read = pki.read(pem)
    return Certificate(
        where, read.common_name, read.organizations, read.dns_names, read.addresses, read.usages, read.is_ca,
        key=read.public_key_digest, issuer=read.issuer, not_before=read.not_before, not_after=read.not_after, pem=pem,
    )  # fmt: skip


def _settings(component: Component) -> dict[str, str]:
    """A component's flags, with the fields of its configuration that are flags too."""
    found: dict[str, str] = {}
    if component.name == "kubelet":
        for path, flag in KUBELET_FIELDS.items():
            value: Any = component.config
            for part in path.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None:
                found[flag] = str(value)
    return found | dict(component.flags)


def _kubeconfig_path(component: Component) -> str:
    connection = component.config.get("clientConnection")
    inside = connection.get("kubeconfig") if isinstance(connection, Mapping) else None
    return str(inside or component.flags.get("kubeconfig", ""))


@lru_cache(maxsize=8192)
def _document(text: str) -> Mapping[str, Any]:
    """A YAML or JSON mapping; empty for anything else."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else yaml_text.document(text)
    except (ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode(errors="replace")
    except binascii.Error:
        return ""


def _named(entries: Any, name: Any, kind: str) -> Mapping[str, Any]:
    for entry in _mappings(entries):
        if entry.get("name") == name and isinstance(entry.get(kind), Mapping):
            return dict(entry[kind])
    return {}


def _mappings(value: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(one for one in value if isinstance(one, Mapping)) if isinstance(value, list) else ()


def _subnets(ipam: Any) -> Iterator[Range]:
    if not isinstance(ipam, Mapping):
        return
    ranges = chain.from_iterable(_mappings(group) for group in ipam.get("ranges") or ())
    for one in (*ranges, ipam):
        try:
            yield ip_network(str(one.get("subnet")))
        except ValueError:
            continue


def _is_yaml(path: str) -> bool:
    return PurePosixPath(path).suffix in (".yaml", ".yml")

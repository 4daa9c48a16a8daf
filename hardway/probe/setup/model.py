"""A cluster's setup as values: flags, configurations, who presents which certificate and trusts which CA.

Nothing in it is a path that hardway would have chosen: a cluster set up by hand, with the tutorial's
names or any others, comes to the same values. Private keys are not in it; a key pair is known by the
SHA-256 of its public half, or, while it is still to be made, by a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from hardway.declare import pki
from hardway.inventory.model import Range

COMPONENTS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "containerd",
    "haproxy",
)  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """A certificate that is somewhere, or that is to be made.

    `usages` is empty where it is good for any use. `key` and `signer` identify key pairs; `signer` is
    empty where only the signature identifies it. `not_after` is None for what is to be made.
    """

    where: str
    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    usages: frozenset[str] = frozenset()
    is_ca: bool = False
    key: str = ""
    signer: str = ""
    issuer: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    pem: bytes = field(default=b"", repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The names and addresses under which its holder may be dialled."""
        return (*self.dns_names, *self.addresses)

    def covers(self, host: str) -> bool:
        """Whether a client that dials this host accepts the certificate; `*.x` covers one label."""
        host = host.lower().rstrip(".")
        wildcard = f"*.{host.partition('.')[2]}" if "." in host else ""
        return host in self.addresses or any(name.lower() in (host, wildcard) for name in self.dns_names)

    def issued_by(self, authority: Certificate) -> bool:
        """Whether its signature is the authority's, as far as both are made."""
        if self.pem and authority.pem:
            return pki.is_issued_by(self.pem, authority.pem)
        return bool(self.signer) and self.signer == authority.key

    def issued_by_any(self, authorities: Iterable[Certificate]) -> bool:
        return any(map(self.issued_by, authorities))


@dataclass(frozen=True)
class Kubeconfig:
    """Whom a component dials and as whom; `key` identifies the client's key pair, empty where it is unknown."""

    where: str
    server: str
    authorities: tuple[Certificate, ...] = ()
    client: Certificate | None = None
    key: str = ""


@dataclass(frozen=True)
class Provider:
    """One provider of an encryption configuration: the digest and size in bytes of each of its keys, in order."""

    name: str
    keys: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Component:
    """One program on one machine: the flags that it has or will have, and its parsed configuration file.

    `source` says where the flags were read: a unit's path, or a process.
    """

    name: str
    source: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def items(self, flag: str) -> tuple[str, ...]:
        """A flag's comma-separated values."""
        return tuple(part.strip() for part in self.flags.get(flag, "").split(",") if part.strip())


@dataclass(frozen=True)
class MachineSetup:
    """One machine. `presents`, `trusts` and `keys` go by component and purpose, such as `etcd/peer`.

    `kubeconfigs` goes by the component that uses it. `loose` are certificates that no
    component is known to use, and `loose_kubeconfigs` likewise; `loose_keys` identifies key files by path.
    `versions` goes by binary. `unknown` says by path why something that is named could not be read. None
    stands for what nobody looked at. `files` has what is declared, by path; nothing of a setup that is seen.
    """

    name: str
    hostname: str = ""
    components: Mapping[str, Component] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    presents: Mapping[str, Certificate] = field(default_factory=dict)
    trusts: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    kubeconfigs: Mapping[str, Kubeconfig] = field(default_factory=dict)
    loose: tuple[Certificate, ...] = ()
    loose_kubeconfigs: tuple[Kubeconfig, ...] = ()
    loose_keys: Mapping[str, str] = field(default_factory=dict)
    encryption: tuple[Provider, ...] | None = None
    pod_range: Range | None = None
    routes: Mapping[Range, str] | None = None
    balanced: tuple[str, ...] = ()
    nameservers: tuple[str, ...] | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Setup:
    """All machines by name, at a time. `dns_service` is the cluster IP of the DNS Service, empty where unknown;
    `kubelet_users` who may use kubelets' API, None where nobody asked; `authorities` the operator's own CAs."""

    machines: Mapping[str, MachineSetup]
    now: datetime
    made: Literal["declared", "by hand"] = "declared"
    dns_service: str = ""
    kubelet_users: frozenset[str] | None = None
    authorities: tuple[Certificate, ...] = ()

    def each(self, component: str) -> Iterator[tuple[MachineSetup, Component]]:
        """The machines that have a component."""
        for machine in self.machines.values():
            if component in machine.components:
                yield machine, machine.components[component]

    def presented(self, purpose: str) -> Iterator[tuple[MachineSetup, Certificate]]:
        for machine in self.machines.values():
            if purpose in machine.presents:
                yield machine, machine.presents[purpose]

    def trusted(self, purpose: str) -> Iterator[tuple[MachineSetup, tuple[Certificate, ...]]]:
        for machine in self.machines.values():
            if purpose in machine.trusts:
                yield machine, machine.trusts[purpose]

    def all_kubeconfigs(self) -> Iterator[tuple[MachineSetup, str, Kubeconfig]]:
        """Every kubeconfig with the component that uses it; loose ones with an empty name."""
        for machine in self.machines.values():
            yield from ((machine, user, one) for user, one in machine.kubeconfigs.items())
            yield from ((machine, "", one) for one in machine.loose_kubeconfigs)

    def certificates(self) -> Iterator[tuple[MachineSetup, Certificate]]:
        """Every certificate there is, each place once."""
        for machine in self.machines.values():
            seen: dict[str, Certificate] = {}
            for one in (*machine.presents.values(), *machine.loose):
                seen.setdefault(one.where, one)
            for authorities in machine.trusts.values():
                for one in authorities:
                    seen.setdefault(one.where, one)
            for config in (*machine.kubeconfigs.values(), *machine.loose_kubeconfigs):
                for one in (*config.authorities, *((config.client,) if config.client else ())):
                    seen.setdefault(one.where, one)
            yield from ((machine, one) for one in seen.values())

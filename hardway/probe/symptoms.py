"""What doctor sees of a cluster that does not work: frozen values, each with what a machine really said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hardway.declare.pki import Certificate
from hardway.probe.control import MemberStatus, Node
from hardway.probe.network import Listener, Reached, Route
from hardway.probe.units import UnitState


@dataclass(frozen=True)
class Space:
    """A file system, in KiB. `holder` is the largest file on it that no component keeps, and its size."""

    path: str
    size: int
    free: int
    free_inodes: int = 100
    holder: tuple[str, int] | None = None


@dataclass(frozen=True)
class Chain:
    """A base chain of nftables whose packets are dropped unless a rule accepts them."""

    family: str
    table: str
    name: str
    hook: str


@dataclass(frozen=True)
class Filter:
    """A rule of nftables that drops or rejects."""

    family: str
    table: str
    chain: str
    handle: int
    text: str


@dataclass(frozen=True)
class Symptoms:
    """One machine. What could not be asked is empty, `images` None."""

    hostname: str = ""
    units: Mapping[str, UnitState] = field(default_factory=dict)
    listening: tuple[Listener, ...] = ()
    spaces: tuple[Space, ...] = ()
    swap: tuple[str, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    dropping: tuple[Chain, ...] = ()
    filters: tuple[Filter, ...] = ()
    accepts: tuple[str, ...] = ()
    """Rules of nftables that accept, but kube-proxy's."""
    iptables: tuple[str, ...] = ()
    nameservers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    reach: Mapping[tuple[str, int], Reached] = field(default_factory=dict)
    certificates: Mapping[str, Certificate | None] = field(default_factory=dict)
    """By path; of kubeconfigs `PATH#ca` and `PATH#client`. None: it cannot be read."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the public half (DER) of each private key, and of sa.pub."""
    encryption: str = ""
    """SHA-256 of the encryption keys, in their order."""
    servers: Mapping[str, str] = field(default_factory=dict)
    backends: tuple[str, ...] = ()
    holds: bool | None = None
    """Whether this load balancer has the virtual address; None where there is none to have."""
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    containerd: Mapping[str, Any] = field(default_factory=dict)
    images: frozenset[str] | None = None
    cni: tuple[str, ...] = ()
    etcd_data: bool = False
    etcd: MemberStatus | None = None
    members: Mapping[str, str] = field(default_factory=dict)
    """Identity by name, of the members that this one knows."""
    readyz: tuple[str, ...] = ()
    """What the API server here said of its health; empty where it said nothing."""
    dns_log: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pod:
    """A pod of CoreDNS. `trouble` is why its container does not run, as the kubelet says it."""

    name: str
    node: str
    ready: bool
    trouble: str = ""


@dataclass(frozen=True)
class Objects:
    """What an API server says. `replicas` (wanted, available) of CoreDNS; None: there is no such Deployment."""

    server: str
    nodes: Mapping[str, Node] = field(default_factory=dict)
    bindings: frozenset[str] = frozenset()
    replicas: tuple[int, int] | None = None
    dns_address: str | None = None
    pods: tuple[Pod, ...] = ()


@dataclass(frozen=True)
class Drift:
    """A difference between what is declared and what was seen, as `plan` has it.

    `as_written`: hardway wrote what is there; it is declared otherwise since.
    """

    machine: str
    phase: str
    key: str
    verb: str
    why: str
    diff: tuple[str, ...] = ()
    as_written: bool = False

    @property
    def path(self) -> str:
        return self.key.partition(":")[2]


@dataclass(frozen=True)
class Mismatch:
    """What the inventory wants of the running cluster and no run does: runs are refused until `fix` is done.

    `machine` is empty where it is about none alone; `seen` has both sides.
    """

    machine: str
    what: str
    seen: str
    fix: str


@dataclass(frozen=True)
class Snapshot:
    """A cluster that does not work: its machines that answered, what those that did not said, and the API's view.

    `objects` is None where no API server answered. `trusted` are the workspace's CAs, all generations of each, by the
    name under which they are in /etc/kubernetes/pki (`ca.crt`, `etcd/ca.crt` …). `off` are machines of a lab that are
    switched off, `absent` those of them that were never made. `now` is the machines' own time, in seconds since the
    epoch. `mismatches` are those of the inventory.
    """

    machines: Mapping[str, Symptoms]
    unreached: Mapping[str, str] = field(default_factory=dict)
    off: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    drift: tuple[Drift, ...] = ()
    objects: Objects | None = None
    trusted: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    now: float = 0
    mismatches: tuple[Mismatch, ...] = ()

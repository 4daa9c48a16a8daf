"""What is on the map, as values."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Mark = Literal["", "holds", "differs", "fails", "unknown"]
"""What verify found; empty where nobody was asked."""

Protocol = Literal["https", "tls", "http", "tcp", "ssh"]


@dataclass(frozen=True)
class Port:
    """A port that a component listens on; `local`: on 127.0.0.1 only.

    `certificate` is what it shows, `client_ca` what it checks a caller's certificate against: both workspace
    paths without their ending (`pki/etcd/ca`), empty where there is none.
    """

    number: int
    protocol: Protocol
    use: str
    local: bool = False
    certificate: str = ""
    client_ca: str = ""


@dataclass(frozen=True)
class Component:
    """A process, or the pods, of one machine. `reads` has the declared files that it reads; `unit` is empty where
    it is none of hardway's."""

    name: str
    ports: tuple[Port, ...] = ()
    socket: str = ""
    reads: tuple[str, ...] = ()
    unit: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class MachineOnMap:
    """`pods` is a worker's pod range; `address` is empty for an endpoint that hardway only knows by name."""

    name: str
    roles: tuple[str, ...]
    address: str
    components: tuple[Component, ...]
    pods: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class End:
    machine: str
    component: str


@dataclass(frozen=True)
class Connection:
    """Who calls whom. Connections of one kind share their `number`.

    `shows` is the caller's certificate (or the key pair that signs its token), `checked_by` what the server checks
    it against; `answers_with` and `trusted_by` are the same the other way round. `port` 0: any.
    """

    number: int
    caller: End
    server: End
    port: int
    protocol: Protocol
    why: str
    shows: str = ""
    checked_by: str = ""
    answers_with: str = ""
    trusted_by: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class Leaf:
    """A certificate: whom it identifies, for what use, and which machines have it."""

    name: str
    common_name: str
    organizations: tuple[str, ...]
    usages: tuple[str, ...]
    names: tuple[str, ...]
    days: int
    on: tuple[str, ...]


@dataclass(frozen=True)
class Authority:
    """A certificate authority and what it signs."""

    name: str
    common_name: str
    days: int
    signs: tuple[Leaf, ...]


@dataclass(frozen=True)
class Map:
    """A cluster as it is declared; the machines are in the inventory's order, the operator's computer first."""

    cluster: str
    kubernetes: str
    endpoint: str
    service_cidr: str
    api_address: str
    dns_address: str
    machines: tuple[MachineOnMap, ...]
    connections: tuple[Connection, ...]
    authorities: tuple[Authority, ...]

    def leaf(self, name: str) -> Leaf | None:
        """The certificate of that name; None for a key pair without one."""
        for authority in self.authorities:
            for leaf in authority.signs:
                if leaf.name == name:
                    return leaf
        return None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

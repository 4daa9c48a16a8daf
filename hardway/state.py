"""State: what was decided and begun. It lies between the inventory (what is wanted) and the phases.

It is kept in the workspace and beside every machine's journal. The generation grows with each
change, so that an operator whose workspace is older than a machine's copy is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from hardway.errors import WorkspaceError
from hardway.inventory.model import Cluster

EtcdState = Literal["absent", "begun", "formed"]
FORMAT = 1


@dataclass(frozen=True)
class Node:
    """A machine's place in the cluster. `machine_id` is empty before it was first seen."""

    roles: tuple[str, ...]
    address: str
    machine_id: str = ""
    pod_cidr: str | None = None


@dataclass(frozen=True)
class Authority:
    """The generations of a CA: those that are trusted, in order, and the one that signs."""

    trusted: tuple[int, ...] = (1,)
    signing: int = 1


@dataclass(frozen=True)
class KeyGenerations:
    """The generations of a key pair: those whose signatures are believed, in order, and the one that signs."""

    trusted: tuple[int, ...] = (1,)
    signing: int = 1


@dataclass(frozen=True)
class State:
    """Values that must not change by the way.

    `fixed` holds settings that a living cluster cannot change by an ordinary run (ranges, domain).
    `proved` is the generation at which the smoke test last passed. `authorities` goes by the name of a CA
    (`kubernetes`, `etcd`, `front-proxy`) and holds only what was rotated; `encryption_keys` are names, and the first
    one writes.
    """

    cluster: str
    cluster_id: str
    generation: int = 0
    nodes: Mapping[str, Node] = field(default_factory=dict)
    etcd: EtcdState = "absent"
    etcd_token: str = ""
    kubernetes: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)
    proved: int = -1
    authorities: Mapping[str, Authority] = field(default_factory=dict)
    service_account_keys: KeyGenerations = KeyGenerations()
    encryption_keys: tuple[str, ...] = ("key1",)

    def authority(self, name: str) -> Authority:
        return self.authorities.get(name, Authority())

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> State:
        """Raises WorkspaceError where the text is damaged or of a newer hardway."""
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.pop("format") > FORMAT:
                raise WorkspaceError(f"{where} was written by a newer hardway", hint="use that version, or a newer one")
            nodes = {name: Node(**{**node, "roles": tuple(node["roles"])}) for name, node in raw.pop("nodes").items()}
            rotated = {name: Authority(**_tuples(one)) for name, one in raw.pop("authorities", {}).items()}
            tokens = KeyGenerations(**_tuples(raw.pop("service_account_keys", {})))
            keys = tuple(raw.pop("encryption_keys", ("key1",)))
            return cls(nodes=nodes, authorities=rotated, service_account_keys=tokens, encryption_keys=keys, **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WorkspaceError(f"{where} is damaged: {error}", hint="restore it from a backup") from error

    def pinned_addresses(self) -> dict[str, IPv4Address]:
        return {name: IPv4Address(node.address) for name, node in self.nodes.items() if node.address}

    def pinned_pod_cidrs(self) -> dict[str, IPv4Network]:
        return {name: IPv4Network(node.pod_cidr) for name, node in self.nodes.items() if node.pod_cidr}


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()}


def fixed_values(cluster: Cluster) -> dict[str, str]:
    """What a cluster is born with."""
    return {
        "network.service_cidr": str(cluster.network.service_cidr),
        "network.pod_cidr": str(cluster.network.pod_cidr),
        "network.cluster_domain": cluster.network.cluster_domain,
        "encryption.provider": cluster.encryption.provider,
    }


def nodes_of(cluster: Cluster, state: State, machine_ids: Mapping[str, str]) -> dict[str, Node]:
    """The roster that follows from the inventory and from what was seen of the machines."""
    nodes = {}
    for machine in cluster.machines:
        before = state.nodes.get(machine.name)
        nodes[machine.name] = Node(
            roles=tuple(sorted(machine.roles)),
            address=str(machine.address),
            machine_id=machine_ids.get(machine.name) or (before.machine_id if before else ""),
            pod_cidr=str(machine.pod_cidr) if machine.pod_cidr else None,
        )
    return nodes


def advanced(state: State, **changes: Any) -> State:
    """The state with changes and the next generation; the same state when nothing changes."""
    after = replace(state, **changes)
    return state if after == state else replace(after, generation=state.generation + 1)

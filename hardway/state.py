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
class State:
    """Values that must not change by the way.

    `fixed` holds settings that a living cluster cannot change by an ordinary run (ranges, domain).
    `proved` is the generation at which the smoke test last passed.
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
            return cls(nodes=nodes, **raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise WorkspaceError(f"{where} is damaged: {error}", hint="restore it from a backup") from error

    def pinned_addresses(self) -> dict[str, IPv4Address]:
        return {name: IPv4Address(node.address) for name, node in self.nodes.items() if node.address}

    def pinned_pod_cidrs(self) -> dict[str, IPv4Network]:
        return {name: IPv4Network(node.pod_cidr) for name, node in self.nodes.items() if node.pod_cidr}


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


def pending(cluster: Cluster, state: State) -> list[str]:
    """Where inventory and State disagree on what an ordinary run must not change, each in one sentence."""
    found: list[str] = []
    if state.etcd == "absent":
        return found
    for name, value in fixed_values(cluster).items():
        before = state.fixed.get(name, value)
        if before != value:
            found.append(f"{name} is {before} in the living cluster and cannot become {value}: put {before} back")
    if state.kubernetes and state.kubernetes != cluster.kubernetes:
        found.append(
            f"kubernetes is {state.kubernetes} in the living cluster; {cluster.kubernetes} would be an upgrade, "
            f"which init does not do: put {state.kubernetes} back"
        )
    now = {machine.name: machine for machine in cluster.machines}
    for name, node in state.nodes.items():
        if name not in now:
            found.append(f"{name} ({', '.join(node.roles)}) is part of the living cluster and not in the inventory: "
                         f"put it back, or reset the cluster")  # fmt: skip
            continue
        if str(now[name].address) != node.address:
            found.append(
                f"{name} has address {node.address} in the living cluster, the inventory says {now[name].address}"
            )
        if ("controller" in node.roles) != now[name].is_controller:
            found.append(f"{name} {'was' if 'controller' in node.roles else 'was not'} a controller: the members of a "
                         "living etcd do not change by the way")  # fmt: skip
        if node.pod_cidr and now[name].pod_cidr and node.pod_cidr != str(now[name].pod_cidr):
            found.append(f"{name} has pod range {node.pod_cidr}; a node's range cannot become {now[name].pod_cidr}")
    found += [
        f"{machine.name} is new among the controllers: a living etcd does not take up members by the way"
        for machine in cluster.controllers
        if machine.name not in state.nodes
    ]
    return found


def advanced(state: State, **changes: Any) -> State:
    """The state with changes and the next generation; the same state when nothing changes."""
    after = replace(state, **changes)
    return state if after == state else replace(after, generation=state.generation + 1)

"""State: what was decided and has begun. It is between the inventory (what is wanted) and the phases.

It is kept in the workspace and beside every machine's journal. The generation grows with each
change, so that an operator whose workspace is older than a machine's copy is refused.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any, Literal, TypeVar, get_args

import hardway
from hardway.errors import WorkspaceError
from hardway.inventory.model import Address, AuthorityName, Cluster, Machine, Range, listed
from hardway.values import ROLES

ENCRYPTION_PROVIDER, ENCRYPTED_RESOURCES = "encryption.provider", "encryption.resources"
"""What of `State.fixed` `encryption rotate` changes."""
FIRST_GENERATION: Mapping[AuthorityName, str] = {
    "kubernetes": "pki/ca",
    "etcd": "pki/etcd/ca",
    "front-proxy": "pki/front-proxy-ca",
}
"""The workspace paths of CAs, without ending."""
EtcdState = Literal["absent", "bootstrapping", "initialized"]
ControlState = Literal["", "prepared", "member", "serving", "replacing"]
"""How far a controller takes part, while it comes or goes; empty for all of it, and for machines that are none.

`prepared` has files and certificates, and runs nothing. A `member` runs etcd alone. One that is `serving` has an API
server, too, and balancers use it, but the other API servers do not ask its etcd. One that is `replacing` takes part,
but its etcd lost its data and joins again: until it may vote, it answers nobody.
"""
FORMAT = 4
API_SERVERS = "API servers"
CONTROLLERS = "controllers"
"""What an upgrade moves at once; each worker is another part, by its name. No machine can be named so."""
T = TypeVar("T")


@dataclass(frozen=True)
class Node:
    """A machine's place in the cluster.

    `machine_id` is empty before it was first seen, `kubernetes` (a version) before everything there was as declared.
    `leaving`: it is being removed. `control`: how far a controller takes part while it comes or goes.
    """

    roles: tuple[str, ...]
    address: str
    machine_id: str = ""
    pod_cidr: str | None = None
    kubernetes: str = ""
    leaving: bool = False
    control: ControlState = ""
    address6: str = ""
    pod_cidr6: str | None = None

    @property
    def addresses(self) -> str:
        """As an inventory has them."""
        return listed(filter(None, (self.address, self.address6)))

    @property
    def pod_cidrs(self) -> str:
        """As an inventory has them; empty for what is no worker."""
        return listed(filter(None, (self.pod_cidr, self.pod_cidr6))) if self.pod_cidr else ""


@dataclass(frozen=True)
class Generations:
    """The generations of a CA or a key pair: those that are trusted, in order, and the one that signs.

    A rotation goes from one to the next by `with_next`, `signing_newest` and `newest_alone`; each of them changes
    nothing where it was done already.
    """

    trusted: tuple[int, ...] = (1,)
    signing: int = 1

    def with_next(self) -> Generations:
        """The next one is trusted, too."""
        return self if len(self.trusted) > 1 else replace(self, trusted=(*self.trusted, self.signing + 1))

    def signing_newest(self) -> Generations:
        return replace(self, signing=max(self.trusted))

    def newest_alone(self) -> Generations:
        return Generations((self.signing,), self.signing)


@dataclass(frozen=True)
class Upgrade:
    """The way from one Kubernetes to another, as long as it can be gone back.

    `behind` are the parts that are on `before`: API_SERVERS, CONTROLLERS (what runs beside them), workers by name. All
    others are on `to`.
    """

    before: str
    to: str
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class OperationState:
    """An operation that has begun and not ended: the stage under way, who began it, and when (ISO 8601, UTC).

    `boots` has the machines that restart in it, with the boot that each had when it began.
    """

    name: str
    arguments: tuple[str, ...]
    stage: str
    by: str
    since: str
    boots: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What resumes it."""
        return self.command_of(self.name, self.arguments)

    @staticmethod
    def command_of(name: str, arguments: Sequence[str]) -> str:
        return shlex.join(["hardway", *name.split(), *arguments])


@dataclass(frozen=True)
class State:
    """Values that change by a command made for that, and never as a side effect.

    `fixed` holds settings that a running cluster cannot change by an ordinary run (ranges, domain). `authorities` holds
    the CAs that were rotated, by name (`kubernetes`, `etcd`, `front-proxy`); `encryption_keys` are names, the first of
    which writes; `encryption_providers` has their providers while a rotation exchanges the provider, and
    `encryption_changing` the resources that it encrypts for the first time, or decrypts. `own_authorities` has the CAs
    of the operator's by their paths in the workspace without ending (`pki/ca-2`), and whether their keys are here;
    None: not noted yet. `operation` is the one under way, `interrupted` one that goes on when etcd was restored.
    `smoke_tested` is the generation at which the smoke test last passed. `upgrade` is there until it is finished
    or gone back. `removed` has the days (ISO 8601, UTC) on which machines were taken out of the cluster, until they are
    part of it again. `fingerprints` has the beginning of the SHA-256 of each CA certificate, by its path in the
    workspace: all that there ever were, the one of today last.
    """

    cluster: str
    cluster_id: str
    generation: int = 0
    nodes: Mapping[str, Node] = field(default_factory=dict)
    etcd: EtcdState = "absent"
    etcd_token: str = ""
    kubernetes: str = ""
    upgrade: Upgrade | None = None
    fixed: Mapping[str, str] = field(default_factory=dict)
    authorities: Mapping[str, Generations] = field(default_factory=dict)
    service_account_keys: Generations = Generations()
    encryption_keys: tuple[str, ...] = ("key1",)
    encryption_providers: Mapping[str, str] = field(default_factory=dict)
    encryption_changing: tuple[str, ...] = ()
    own_authorities: Mapping[str, bool] | None = None
    operation: OperationState | None = None
    interrupted: OperationState | None = None
    smoke_tested: int = -1
    removed: Mapping[str, str] = field(default_factory=dict)
    fingerprints: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def authority(self, name: str) -> Generations:
        """The generations of a CA, also of one that was never rotated."""
        return self.authorities.get(name, Generations())

    def kubernetes_of(self, part: str, current: str) -> str:
        """The Kubernetes of a part of the cluster, as Upgrade names them: `current` where no upgrade is under way."""
        if self.upgrade is None:
            return current
        return self.upgrade.before if part in self.upgrade.behind else self.upgrade.to

    def to_json(self) -> str:
        raw = {"format": FORMAT, "hardway": hardway.__version__, **asdict(self)}
        return json.dumps(raw, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> State:
        """Reads this format and every earlier one. `where` names the file in errors.

        Raises DamagedState, and WorkspaceError where the text has what only a newer hardway can have written.
        """
        version = ""
        try:
            raw: dict[str, Any] = json.loads(text)
            number, version = raw.pop("format"), raw.pop("hardway", "")
            if number > FORMAT:
                raise _Newer(f"format {number}, and this one reads up to format {FORMAT}")
            for earlier in range(number, FORMAT):
                raw = MIGRATIONS[earlier](raw)
            return _state(raw)
        except _Newer as error:
            raise WorkspaceError(
                f"{where} was written by a newer hardway{f' ({version})' if version else ''}: {error}",
                hint=f"use hardway {version}, or a newer one" if version else "use that version, or a newer one",
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedState(f"{where} is damaged: {error}", hint="restore it from a backup") from error

    def pinned_addresses(self) -> dict[str, Address]:
        return {name: ip_address(node.address) for name, node in self.nodes.items() if node.address}

    def pinned_pod_cidrs(self) -> dict[str, Range]:
        return {name: ip_network(node.pod_cidr) for name, node in self.nodes.items() if node.pod_cidr}

    def pinned_pod_cidrs6(self) -> dict[str, IPv6Network]:
        return {name: IPv6Network(node.pod_cidr6) for name, node in self.nodes.items() if node.pod_cidr6}


class DamagedState(WorkspaceError):
    """A text that no hardway can have written."""


class _Newer(Exception):
    """Something that this hardway does not know."""


def _to_2(raw: Mapping[str, Any]) -> dict[str, Any]:
    names = {"roster": "nodes", "proved": "smoke_tested"}
    migrated = {names.get(name, name): value for name, value in raw.items()}
    stages = {"begun": "bootstrapping", "formed": "initialized"}
    migrated["etcd"] = stages.get(raw["etcd"], raw["etcd"])
    return migrated


def _to_3(raw: Mapping[str, Any]) -> dict[str, Any]:
    # Format 2 had no fingerprints at first, and then one of each CA.
    fingerprints = {path: [digits] for path, digits in raw.get("fingerprints", {}).items()}
    return {**raw, "fingerprints": fingerprints}


def _to_4(raw: Mapping[str, Any]) -> dict[str, Any]:
    # Up to format 3 Secrets were all that could be encrypted.
    fixed = raw.get("fixed", {})
    if fixed:
        fixed = {**fixed, ENCRYPTED_RESOURCES: "secrets"}
    return {**raw, "fixed": fixed, "upgrade": None, "removed": {}}


MIGRATIONS: Mapping[int, Callable[[Mapping[str, Any]], dict[str, Any]]] = {1: _to_2, 2: _to_3, 3: _to_4}
"""By format, what makes of its dictionary that of the next format. Pure; docs/decisions/0004-journal-and-state.md."""


def _state(raw: Mapping[str, Any]) -> State:
    found = dict(raw)
    found["nodes"] = {name: _node(name, node) for name, node in raw["nodes"].items()}
    found["fingerprints"] = {path: tuple(digits) for path, digits in raw.get("fingerprints", {}).items()}
    rotated = raw.get("authorities", {})
    found["authorities"] = {name: _known(Generations, one, f"authorities.{name}") for name, one in rotated.items()}
    found["service_account_keys"] = _known(Generations, raw.get("service_account_keys", {}), "service_account_keys")
    if raw.get("upgrade") is not None:
        found["upgrade"] = _known(Upgrade, raw["upgrade"], "upgrade")
    for name in ("operation", "interrupted"):
        if raw.get(name) is not None:
            found[name] = _known(OperationState, raw[name], name)
    state = _known(State, found)
    if str(state.etcd) not in get_args(EtcdState):
        raise _Newer(f"etcd: {state.etcd}")
    return state


def _node(name: str, raw: Mapping[str, Any]) -> Node:
    node = _known(Node, raw, f"nodes.{name}")
    unknown = sorted(set(node.roles) - set(ROLES))
    if unknown:
        raise _Newer(f"nodes.{name}.roles: {', '.join(unknown)}")
    if node.control not in get_args(ControlState):
        raise _Newer(f"nodes.{name}.control: {node.control}")
    return node


def _known(kind: Callable[..., T], raw: Mapping[str, Any], where: str = "") -> T:
    """The value of a dictionary that must not hold more than `kind` has fields; JSON's lists become tuples."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    unknown = [f"{where}.{name}".lstrip(".") for name in sorted(raw.keys() - names)]
    if unknown:
        raise _Newer(f"unknown field {', '.join(unknown)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()})


def fixed_values(cluster: Cluster) -> dict[str, str]:
    """What a cluster is born with."""
    return {
        "network.service_cidr": listed(cluster.network.service_cidrs),
        "network.pod_cidr": listed(cluster.network.pod_cidrs),
        "network.cluster_domain": cluster.network.cluster_domain,
        ENCRYPTION_PROVIDER: cluster.encryption.provider,
        ENCRYPTED_RESOURCES: ", ".join(cluster.encryption.resources),
    }


def own_authorities(cluster: Cluster, state: State) -> Mapping[str, bool]:
    """As in State; before that was noted, the first generation of each CA that the inventory names."""
    if state.own_authorities is not None and state.etcd != "absent":
        return state.own_authorities
    return {FIRST_GENERATION[name]: one.key is not None for name, one in cluster.certs.authorities.items()}


def node_of(machine: Machine) -> Node:
    """What the inventory says of a machine."""
    return Node(
        roles=tuple(sorted(machine.roles)),
        address=str(machine.address),
        address6=str(machine.address6 or ""),
        pod_cidr=str(machine.pod_cidr) if machine.pod_cidr else None,
        pod_cidr6=str(machine.pod_cidr6) if machine.pod_cidr6 else None,
    )


def nodes_of(cluster: Cluster, state: State, machine_ids: Mapping[str, str]) -> dict[str, Node]:
    """The nodes that follow from the inventory and from what was seen of the machines."""
    nodes = {}
    for machine in cluster.machines:
        node = node_of(machine)
        before = state.nodes.get(machine.name, node)
        nodes[machine.name] = replace(
            node,
            machine_id=machine_ids.get(machine.name) or before.machine_id,
            kubernetes=before.kubernetes,
            leaving=before.leaving,
            control=before.control,
        )
    return nodes


def as_built(cluster: Cluster, state: State, joining: str = "") -> Cluster:
    """The cluster without controllers that were not added yet: those are `awaited`, and nothing is declared for them.

    They are asked, served and told as little as if the inventory had no line of them. `joining` is being added.
    """
    if state.etcd != "initialized":
        return cluster
    awaited = tuple(one for one in cluster.controllers if one.name not in state.nodes and one.name != joining)
    machines = tuple(one for one in cluster.machines if one not in awaited)
    return replace(cluster, machines=machines, awaited=awaited) if awaited else cluster


def converged_on(state: State, kubernetes: str, machines: Iterable[str]) -> State:
    """The State that notes on which Kubernetes all of these machines' declaration was last found in place."""
    nodes = dict(state.nodes)
    for name in machines:
        part = API_SERVERS if "controller" in nodes[name].roles else name
        nodes[name] = replace(nodes[name], kubernetes=state.kubernetes_of(part, kubernetes))
    return advanced(state, nodes=nodes)


def advanced(state: State, **changes: Any) -> State:
    """The state with changes and the next generation; the same state when nothing changes."""
    after = replace(state, **changes)
    return state if after == state else replace(after, generation=state.generation + 1)

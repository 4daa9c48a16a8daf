"""Where the inventory asks a running cluster for something that an ordinary run does not do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.version import InvalidVersion, Version

from hardway.declare.generations import generation
from hardway.inventory.model import Cluster, Machine, listed
from hardway.state import (
    ENCRYPTED_RESOURCES,
    ENCRYPTION_PROVIDER,
    FIRST_GENERATION,
    Node,
    State,
    fixed_values,
    own_authorities,
)
from hardway.values import minor

Kind = Literal[
    "fixed",
    "encryption",
    "authority",
    "upgrade",
    "downgrade",
    "removed",
    "address",
    "became-controller",
    "was-controller",
    "new-controller",
    "pod-cidr",
]


@dataclass(frozen=True)
class Pending:
    """One wish that waits. `subject` is a machine, or a key of the inventory; `have` is what the cluster has, `want`
    what the inventory says. `command` does it; it is empty where no command does yet, and the inventory must go back.
    """

    kind: Kind
    subject: str
    have: str
    want: str
    command: str = ""


def pending(cluster: Cluster, state: State) -> tuple[Pending, ...]:
    """Everything that waits, in a fixed order; nothing before etcd exists."""
    if state.etcd == "absent":
        return ()
    return tuple(_pending(cluster, state))


def _pending(cluster: Cluster, state: State) -> Iterator[Pending]:
    for name, want in fixed_values(cluster).items():
        have = state.fixed.get(name, want)
        if name == ENCRYPTED_RESOURCES and {*have.split(", ")} == {*want.split(", ")}:
            continue  # their order means nothing, and a rotation does not keep it
        if have != want and name in (ENCRYPTION_PROVIDER, ENCRYPTED_RESOURCES):
            yield Pending("encryption", name, have, want, "hardway encryption rotate")
        elif have != want:
            yield Pending("fixed", name, have, want)
    own = own_authorities(cluster, state)
    for authority, path in FIRST_GENERATION.items():
        have = "your own" if generation(path, state.authority(authority).signing) in own else "hardway's"
        want = "your own" if authority in cluster.certs.authorities else "hardway's"
        if have != want:
            command = f"hardway certs rotate-ca {authority}"
            yield Pending("authority", f"certs.authorities.{authority}", have, want, command)
    if state.kubernetes and state.kubernetes != cluster.kubernetes:
        kind: Kind = "downgrade" if _is_older(cluster.kubernetes, state.kubernetes) else "upgrade"
        yield Pending(kind, "kubernetes", state.kubernetes, cluster.kubernetes, _moving(kind, cluster, state))
    machines = {machine.name: machine for machine in cluster.machines}
    for name, node in state.nodes.items():
        if name in machines:
            yield from _moved(machines[name], node)
        else:
            # Its address, which etcd's members know it by, is in the inventory alone.
            command = "" if "controller" in node.roles else f"hardway node remove {name} --gone"
            yield Pending("removed", name, ", ".join(node.roles), "", command)
    for machine in (*cluster.controllers, *cluster.awaited):
        if machine.name not in state.nodes:
            command = f"hardway node add {machine.name}" if state.etcd == "initialized" else ""
            yield Pending("new-controller", machine.name, "", "controller", command)


def _moving(kind: Kind, cluster: Cluster, state: State) -> str:
    """The command that takes a cluster to another Kubernetes; nothing goes back a minor release that is in use."""
    if state.upgrade is not None and state.upgrade.before == cluster.kubernetes:
        return "hardway upgrade rollback"
    across = minor(state.kubernetes) != minor(cluster.kubernetes)
    return "" if kind == "downgrade" and across else "hardway upgrade apply"


def _moved(machine: Machine, node: Node) -> Iterator[Pending]:
    """What differs between a machine of the inventory and the node that it is in the cluster."""
    if listed(machine.addresses) != node.addresses:
        is_worker = node.roles == ("worker",) and machine.roles == {"worker"}
        command = f"hardway node replace {machine.name}" if is_worker else ""
        yield Pending("address", machine.name, node.addresses, listed(machine.addresses), command)
    if machine.is_controller and "controller" not in node.roles:
        yield Pending("became-controller", machine.name, ", ".join(node.roles), "controller")
    if not machine.is_controller and "controller" in node.roles:
        yield Pending("was-controller", machine.name, "controller", ", ".join(sorted(machine.roles)))
    if node.pod_cidr and machine.pod_cidr and node.pod_cidrs != listed(machine.pod_cidrs):
        yield Pending("pod-cidr", machine.name, node.pod_cidrs, listed(machine.pod_cidrs))


def in_inventory(one: Pending) -> bool:
    """Whether the subject is a key of the inventory, and no machine."""
    return one.kind in ("fixed", "encryption", "authority", "upgrade", "downgrade")


BESIDE: tuple[Kind, ...] = ("encryption", "authority", "new-controller")
"""What is declared as State has it, and changed by the stages of an operation; others may go on beside it."""


def _is_older(want: str, have: str) -> bool:
    try:
        return Version(want) < Version(have)
    except InvalidVersion:
        return False


def in_words(one: Pending) -> tuple[str, str]:
    """What waits, and what to do about it. Where it is about a machine, the sentence goes on after its name."""
    have, want, name = one.have, one.want, one.subject
    match one.kind:
        case "fixed":
            return f"{name} is {have} in the running cluster and cannot become {want}", f"Set `{name}: {have}` again."
        case "encryption":
            return f"{name} is {have} in the running cluster, the inventory says {want}", _back(name, have)
        case "authority":
            return f"{name}: the running cluster's CA is {have}, the inventory wants {want}", "Put it back as it was."
        case "upgrade":
            return f"Kubernetes {have} → {want} is an upgrade; init and apply do not upgrade", _back(name, have)
        case "downgrade":
            return f"Kubernetes {have} → {want} is a downgrade; {_no_way(one)}", _back(name, have)
        case "removed":
            what = f"is part of the running cluster ({have}) and not in the inventory"
            back = f"Put {name} back into the inventory"
            if one.command:
                return what, f"{back}, or where it is gone for good: {one.command}"
            return what, f"{back}; to take it out of the cluster, then: hardway node remove {name}"
        case "address":
            other = f", or where {want} is another machine: {one.command}" if one.command else "."
            return f"has address {have} in the running cluster, the inventory says {want}", f"Set {have} again{other}"
        case "became-controller":
            return "was not a controller, and becomes none while it is part of the cluster", "Set its role again."
        case "was-controller":
            return "was a controller, and remains one while it is part of the cluster", "Set its role again."
        case "new-controller":
            return (
                "is a controller that is not part of the running cluster; init and apply add none",
                f"Take {name} out of the inventory.",
            )
        case "pod-cidr":
            return f"has pod range {have}, which cannot become {want}", f"Set `pod_cidr: {have}` again."


def _no_way(one: Pending) -> str:
    return "init and apply do not go back" if one.command else "not supported"


def _back(name: str, have: str) -> str:
    return f"Set `{name}: {have}` again."

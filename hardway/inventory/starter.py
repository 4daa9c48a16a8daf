"""A first inventory to fill in: commented, and accepted as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import chain
from typing import Literal

from hardway import data
from hardway.errors import UsageError

Shape = Literal["seven", "small", "single", "stacked", "five", "lab", "lab-small", "lab-single", "vagrant"]
READY: dict[Shape, str] = {
    "lab": "inventories/lab.yaml",
    "lab-small": "inventories/lab-small.yaml",
    "lab-single": "inventories/single.yaml",
    "vagrant": "inventories/vagrant.yaml",
}
"""Inventories that are complete: their machines are made on this computer."""
_ROLES: dict[str, tuple[str, str, int]] = {
    "load-balancer": ("load-balancer", "lb", 30),
    "controller": ("controller", "controller", 10),
    "worker": ("worker", "worker", 20),
    "both": ("[controller, worker]", "machine", 10),
}
"""Role as it is written, names, and the last number of the first example address."""
_COUNTS: dict[str, dict[str, int]] = {
    "seven": {"load-balancer": 1, "controller": 3, "worker": 3},
    "small": {"controller": 1, "worker": 2},
    "single": {"both": 1},
    "stacked": {"load-balancer": 1, "both": 3},
    "five": {"load-balancer": 1, "controller": 5, "worker": 3},
}
_SAID = {
    "seven": "three controllers, three workers and a load balancer: one controller may be lost.",
    "small": "one controller and two workers: while the controller is down nothing can be changed.",
    "single": "one machine that is everything.",
    "stacked": "three machines that are controllers and workers both, and a load balancer.",
    "five": "five controllers, three workers and a load balancer: two controllers may be lost.",
}
_COMMENTS = {
    "load-balancer": "A single point of failure; with a balancer of your own: `endpoint: HOST` and no such machine.",
    "controller": "etcd needs a majority of them, so their number is odd: of three one may be lost, of five two.",
    "worker": "Pods run here; each gets a share of network.pod_cidr, kept from then on.",
    "both": "Control plane and pods on the same machine.",
}
_EXAMPLE = IPv4Address("192.0.2.0")
"""A network for documentation: nobody's machines are there."""


@dataclass(frozen=True)
class Given:
    """`ADDRESS` or `NAME=ADDRESS` of each machine, by role."""

    controllers: Sequence[str] = ()
    workers: Sequence[str] = ()
    load_balancers: Sequence[str] = ()


@dataclass(frozen=True)
class Started:
    """What `inventory new` wrote; without a file it went to standard output."""

    file: str | None
    text: str


def starter(shape: Shape, cluster: str, given: Given, user: str | None = None) -> str:
    """The text of an inventory. Raises UsageError for an address that is none, and for machines of a role that
    the shape has not."""
    if shape in READY:
        if user or given != Given():
            raise UsageError(f"{shape} is complete as it is", hint="another --shape takes addresses and --user")
        return data.read(READY[shape])
    wanted = _machines(shape, given)
    examples = any(address is None for _, address in chain.from_iterable(wanted.values()))
    return "\n".join([*_head(shape, cluster, user, examples=examples), *_listed(wanted)]) + "\n"


def _machines(shape: Shape, given: Given) -> dict[str, list[tuple[str, str | None]]]:
    """By role of the shape: names, and addresses where they were given."""
    counts = _COUNTS[shape]
    said = {"controller": given.controllers, "worker": given.workers, "load-balancer": given.load_balancers}
    if "both" in counts:
        said["both"] = said.pop("controller")
    for role, machines in said.items():
        if machines and role not in counts:
            raise UsageError(f"the shape {shape} has no {role}", hint="--shape seven has every role")
    found: dict[str, list[tuple[str, str | None]]] = {}
    for role, count in counts.items():
        found[role] = [_named(role, number, word) for number, word in enumerate(said[role] or [""] * count)]
    return found


def _named(role: str, number: int, word: str) -> tuple[str, str | None]:
    name, _, address = word.rpartition("=")
    if word:
        try:
            IPv4Address(address)
        except ValueError as error:
            raise UsageError(f"{address} is not an IPv4 address", hint="ADDRESS or NAME=ADDRESS") from error
    return name or f"{_ROLES[role][1]}-{number}", address or None


def _head(shape: Shape, cluster: str, user: str | None, *, examples: bool) -> Iterator[str]:
    yield f"# {cluster}: {_SAID[shape]}"
    yield "# What is left out has the tutorial's value: `hardway inventory show` says all of them, and"
    yield "# docs/inventory.md or `hardway inventory schema` what may be said."
    yield "#"
    yield "#   hardway inventory check                       is it right?"
    yield "#   hardway preflight --accept-new-host-keys      may I start? (changes nothing)"
    yield "#   hardway init                                  builds the cluster"
    if examples:
        yield "#"
        yield "# The addresses are examples: put your machines' own, or leave `address` out where DNS knows the names."
    yield from ("", f"cluster: {cluster}", "")
    yield "# How machines are reached. Who is not root uses sudo; keys and all else are as your ~/.ssh/config says."
    yield f"ssh: {{user: {user}}}" if user else "# ssh: {user: ops, key: ~/.ssh/id_ed25519}"
    yield from ("", "# Ranges that must not overlap each other, nor anything that the machines reach.")
    yield "network:"
    yield "  service_cidr: 10.32.0.0/24     # Services; the first address is the API's, the tenth DNS"
    yield "  pod_cidr: 10.200.0.0/16        # pods: a /24 for each worker"
    yield ""


def _listed(wanted: dict[str, list[tuple[str, str | None]]]) -> Iterator[str]:
    yield "machines:"
    for place, (role, machines) in enumerate(wanted.items()):
        written, _, first = _ROLES[role]
        if place:
            yield ""
        yield f"  # {_COMMENTS[role]}"
        for number, (name, address) in enumerate(machines):
            yield f"  {name}: {{role: {written}, address: {address or _EXAMPLE + first + number}}}"

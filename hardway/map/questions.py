"""Whom a proof asks: by the unit, the file, the address or the API object that its question names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hardway.declare.phases.base import Proof
from hardway.map.values import End, MachineOnMap

_CA = re.compile(r"(?:-CAfile |--cacert=)\S+")
"""By what others are judged: it is not in question itself."""
_DIALLED = re.compile(r"\[?([\w.-]+|(?<=\[)[\da-f:]+)\]?:(\d+)(?!\d)")
_OBJECT = re.compile(r" get (node|lease) (\S+)")
_OF_CHAPTER = {"etcd": "etcd", "control-plane": "kube-apiserver", "load-balancer": "haproxy"}
"""Who is meant by a question that names nobody."""


def asks_of(phase: str, proof: Proof, machines: Sequence[MachineOnMap]) -> set[End]:
    """The components that a proof is about; none where it is about the machine, or about several together."""
    query = _CA.sub("", proof.query)
    here = [one for one in machines if one.name == proof.machine]
    if units := set(_units(query, here)):
        return units
    if found := _OBJECT.search(query):
        kind, name = found.groups()
        return {End(name, "kubelet") if kind == "node" else End(proof.machine, name)}
    if listening := set(_listeners(query, proof.machine, machines)):
        return listening if len(listening) == 1 else set()
    meant = _OF_CHAPTER.get(phase)
    return set(_readers(query, here)) or ({End(proof.machine, meant)} if meant else set())


def _units(query: str, here: Sequence[MachineOnMap]) -> Iterator[End]:
    words = set(query.split())
    for machine in here:
        yield from (End(machine.name, one.name) for one in machine.components if one.unit in words)


def _readers(query: str, here: Sequence[MachineOnMap]) -> Iterator[End]:
    paths = set(re.findall(r"/[\w./-]+", query))
    for machine in here:
        yield from (End(machine.name, one.name) for one in machine.components if paths & set(one.reads))


def _listeners(query: str, asked: str, machines: Sequence[MachineOnMap]) -> Iterator[End]:
    for host, number in _DIALLED.findall(query):
        for machine in machines:
            if host in (machine.address, machine.name) or (host.startswith("127.") and machine.name == asked):
                for one in machine.components:
                    if int(number) in [port.number for port in one.ports]:
                        yield End(machine.name, one.name)

"""Every fact that the declaration states: which thing says what, where, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from typing import Literal

from hardway.declare.resources import (
    ApiObjects,
    Binary,
    Block,
    Certificate,
    File,
    Hostname,
    Image,
    Module,
    OwnCertificate,
    Package,
    Routes,
    User,
    WorkspaceFile,
)
from hardway.explain.prose import sidecar
from hardway.explain.settings import documents, settings, shown
from hardway.explain.things import Thing
from hardway.values import OPERATOR, placeholders

FactKind = Literal["flag", "directive", "key", "line", "certificate", "object", "resource"]


@dataclass(frozen=True)
class Fact:
    """`of` is who says it (a unit, a path, a certificate), `name` what it is called there, `where` a machine.

    A fact of the workspace has `operator` for a machine; `why` is empty where nothing is written about it.
    """

    thing: str
    kind: FactKind
    of: str
    name: str
    value: str
    where: str
    why: str = ""


def facts(thing: Thing) -> Iterator[Fact]:
    """What all resources and files of a thing state, in the order in which they are declared."""
    for one in thing.placed:
        yield from _of(one.resource, thing, one.machine)
    for local in thing.local:
        yield from _of(local, thing, OPERATOR)


@singledispatch
def _of(resource: object, thing: Thing, where: str) -> Iterable[Fact]:
    return ()


@_of.register
def _(resource: File, thing: Thing, where: str) -> Iterator[Fact]:
    yield from _said(thing, resource.path, resource.text, where)


@_of.register
def _(resource: WorkspaceFile, thing: Thing, where: str) -> Iterator[Fact]:
    yield from _said(thing, resource.path, resource.text, where)


def _said(thing: Thing, path: str, text: str, where: str) -> Iterator[Fact]:
    if not text.replace("".join(map(str, placeholders(text))), "").strip():
        # A copy of a workspace file: what that says is told there.
        return
    of = path.rpartition("/")[2].removesuffix(".service") if path.endswith(".service") else path
    for one in settings(path, text):
        yield Fact(thing.name, one.kind, of, one.name, shown(one.value), where, why(thing, path, one.name))


def why(thing: Thing, path: str, name: str) -> str:
    """What a sidecar says of a setting: the thing's own, then that of all units."""
    names = [thing.entry.sidecar] if thing.entry.sidecar else []
    names += ["units/systemd"] if path.endswith(".service") else []
    names.append("prose/units")
    for one in names:
        if found := sidecar(one).get(name):
            return found
    return ""


@_of.register
def _(resource: Block, thing: Thing, where: str) -> Iterator[Fact]:
    for line in resource.text.splitlines():
        yield Fact(thing.name, "line", resource.path, "", line, where)


@_of.register
def _(resource: ApiObjects, thing: Thing, where: str) -> Iterator[Fact]:
    for title, keys in documents(resource.manifest):
        yield Fact(thing.name, "object", resource.title, title, "", where, why(thing, "", title))
        for one in keys:
            yield Fact(thing.name, "key", title, one.name, shown(one.value), where, why(thing, "", one.name))


@_of.register
def _(resource: Certificate, thing: Thing, where: str) -> Iterator[Fact]:
    spec = resource.spec
    said = [("CN", spec.common_name), *(("O", one) for one in spec.organizations)]
    said.append(("signed by", f"{resource.ca}.crt" if resource.ca else "itself"))
    said += [("usage", ", ".join(sorted(spec.usages, reverse=True)))] if spec.usages else []
    said += [("days", str(spec.days)), ("key", resource.algorithm)]
    said += [("SAN", one) for one in (*spec.dns_names, *spec.addresses)]
    for machine in _holders(thing, resource.path) or (where,):
        for name, value in said:
            yield Fact(thing.name, "certificate", resource.path, name, value, machine)


@_of.register
def _(resource: OwnCertificate, thing: Thing, where: str) -> Iterator[Fact]:
    """What it says is in the operator's file."""
    yield Fact(thing.name, "certificate", resource.path, "the first in", resource.file, where)


def _holders(thing: Thing, path: str) -> tuple[str, ...]:
    """Machines that have a copy of a workspace file: each once, also where it has two, as of the CA that signs."""
    machines: dict[str, None] = {}
    for one in thing.placed:
        if isinstance(one.resource, File) and path in {part.name for part in placeholders(one.resource.text)}:
            machines[one.machine] = None
    return tuple(machines)


@_of.register
def _(resource: Routes, thing: Thing, where: str) -> Iterator[Fact]:
    for destination, via in resource.table:
        yield Fact(thing.name, "resource", "route", destination, f"via {via}", where)


@_of.register
def _(resource: Package, thing: Thing, where: str) -> Iterator[Fact]:
    yield _resource(thing, "package", resource.package, f"there when {resource.command} is", where)


@_of.register
def _(resource: Module, thing: Thing, where: str) -> Iterator[Fact]:
    yield _resource(thing, "kernel module", resource.module, f"there when {resource.sign} is", where)


@_of.register
def _(resource: User, thing: Thing, where: str) -> Iterator[Fact]:
    yield _resource(thing, "user", resource.user, f"home {resource.home}, no login", where)


@_of.register
def _(resource: Hostname, thing: Thing, where: str) -> Iterator[Fact]:
    yield _resource(thing, "host name", "hostname", resource.hostname, where)


@_of.register
def _(resource: Image, thing: Thing, where: str) -> Iterator[Fact]:
    yield _resource(thing, "image", resource.reference, "", where)


@_of.register
def _(resource: Binary, thing: Thing, where: str) -> Iterator[Fact]:
    yield _resource(thing, "binary", resource.path, f"version {resource.version}", where)


def _resource(thing: Thing, of: str, name: str, value: str, where: str) -> Fact:
    return Fact(thing.name, "resource", of, name, value, where, why(thing, "", name))

"""A thing on one page: what it is, what it says, where it is, who reads it, what breaks without it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from re import Pattern

from hardway.declare.phases.base import Proof
from hardway.declare.resources import Directory, File, Resource, Service
from hardway.declare.resources.files import Binary
from hardway.explain.book import Book, pattern
from hardway.explain.chapter import Cited, Next, Wrong, shown_wrong, told_once
from hardway.explain.facts import Fact, FactKind, facts
from hardway.explain.prose import chapter_prose
from hardway.explain.things import Thing, names_of
from hardway.values import OPERATOR


@dataclass(frozen=True)
class Field:
    """One thing that it says. `own`: each machine (or certificate) has another value; this is the first one's."""

    kind: FactKind
    of: str
    name: str
    value: str
    why: str
    own: bool


@dataclass(frozen=True)
class Place:
    """A path and how it is kept; `mode` and `owner` are empty where the kind has none."""

    path: str
    kind: str
    on: str
    mode: str
    owner: str


@dataclass(frozen=True)
class Reader:
    """Who refers to it, by which flag or key, and what a change of it needs: restart, reload, nothing."""

    by: str
    on: str
    needs: str
    why: str


@dataclass(frozen=True)
class ThingPage:
    """`of` is which one of several alike is shown; `alike` are the others."""

    name: str
    phase: str
    cluster: str
    what: str
    of: str
    alike: tuple[str, ...]
    fields: tuple[Field, ...]
    places: tuple[Place, ...]
    readers: tuple[Reader, ...]
    without: str
    wrong: tuple[Wrong, ...]
    proofs: tuple[Cited, ...]
    more: tuple[Next, ...]


def thing_page(book: Book, thing: Thing, instance: str = "", also: Iterable[str] = ()) -> ThingPage:
    """The page of a thing; `instance` is the machine or workspace file that is asked about, where there are several."""
    stated = list(facts(thing))
    instances = _instances(stated)
    chosen = instance if instance in instances else (instances[0] if instances else "")
    cluster = book.model.cluster
    prose = chapter_prose(book.model, thing.phase)
    wrong = [one for one in prose.wrong if one.of == thing.entry.name]
    return ThingPage(
        name=thing.name,
        phase=thing.phase,
        cluster=cluster.name,
        what=thing.entry.what,
        of=chosen if len(instances) > 1 else "",
        alike=tuple(one for one in instances if one != chosen),
        fields=tuple(_fields(book, stated, chosen)),
        places=tuple(_places(book, thing)),
        readers=tuple(_readers(book, thing)),
        without=thing.entry.without,
        wrong=tuple(shown_wrong(cluster, wrong)),
        proofs=tuple(cited(book, map(pattern, _marks(thing)))),
        more=(
            *(Next(f"hardway explain {name}", "the other one of that name") for name in also),
            Next(f"hardway explain {thing.phase}", "its chapter"),
            Next(f"hardway verify {thing.phase}", "is it as declared, and does it hold?"),
        ),
    )


def _instance(fact: Fact) -> str:
    """What makes several alike: the machine on machines, the file in the workspace."""
    return fact.of if fact.where == OPERATOR else fact.where


def _instances(stated: Iterable[Fact]) -> list[str]:
    """Machines before the workspace, whose files are copies where both say the same."""
    machines: dict[str, None] = {}
    files: dict[str, None] = {}
    for fact in stated:
        (files if fact.where == OPERATOR else machines)[_instance(fact)] = None
    return list(machines or files)


def _fields(book: Book, stated: list[Fact], chosen: str) -> Iterator[Field]:
    mine = [fact for fact in stated if _instance(fact) == chosen]
    others = set(_instances(stated)) - {chosen}
    holders: dict[tuple[str, str], set[str]] = {}
    for fact in stated:
        holders.setdefault((fact.name, fact.value), set()).add(_instance(fact))
    has_objects = any(fact.kind == "object" for fact in mine)
    for fact in mine:
        if fact.kind == "key" and "/" in fact.of and has_objects:
            # An object is listed by its title; all of it is in `hardway render`.
            continue
        own = not others <= holders[fact.name, fact.value]
        said = fact.why or (book.titles.get(fact.value, "") if fact.kind == "certificate" else book.about(fact.name))
        yield Field(fact.kind, fact.of, fact.name, fact.value, said, own)
    names = {fact.name for fact in mine}
    for fact in stated:
        if _instance(fact) in others and fact.name not in names:
            names.add(fact.name)
            yield Field(fact.kind, fact.of, fact.name, fact.value, fact.why or f"on {fact.where} only", True)


def _places(book: Book, thing: Thing) -> Iterator[Place]:
    where: dict[tuple[str, str, str, str], list[str]] = {}
    for one in thing.placed:
        where.setdefault(_kept(one.resource), []).append(one.machine)
    for (path, kind, mode, owner), machines in where.items():
        yield Place(path, kind, book.on(machines), mode, owner)
    for local in thing.local:
        yield Place(local.path, local.kind, "workspace", f"{local.mode:04o}", "")


def _kept(resource: Resource) -> tuple[str, str, str, str]:
    match resource:
        case File() | Directory():
            return resource.path, resource.kind, f"{resource.mode:04o}", f"{resource.owner}:{resource.group}"
        case Binary():
            return resource.path, resource.kind, f"{resource.mode:04o}", "root:root"
    return resource.name, resource.kind, "", ""


def _readers(book: Book, thing: Thing) -> Iterator[Reader]:
    paths: dict[str, None] = {}
    units: set[str] = set()
    for one in thing.placed:
        if isinstance(one.resource, File | Binary):
            paths[one.resource.name] = None
        if isinstance(one.resource, Service):
            units.add(one.resource.unit)
    for path in paths:
        yield from _readers_of(book, thing, path, units)


def _readers_of(book: Book, thing: Thing, path: str, own_units: Collection[str]) -> Iterator[Reader]:
    """Who names the path in a setting, then the units that only have it among their inputs."""
    needs: dict[str, str] = {}
    machines: dict[str, list[str]] = {}
    for _, machine, service in book.services(path):
        needs[service.unit] = "reload" if path in service.reload_inputs else "restart"
        machines.setdefault(service.unit, []).append(machine)
    named: set[str] = set()
    for (by, why), found in _referring(book, thing, path).items():
        unit = f"{found[0].of}.service"
        named.add(unit)
        yield Reader(by, book.on(one.where for one in found), needs.get(unit, "nothing"), why)
    for unit, need in needs.items():
        if unit not in own_units and unit not in named:
            yield Reader(unit, book.on(machines[unit]), need, "")


def _referring(book: Book, thing: Thing, path: str) -> dict[tuple[str, str], list[Fact]]:
    """Facts of other things that name the path, by their label and why."""
    found: dict[tuple[str, str], list[Fact]] = {}
    sought = pattern(path)
    for fact in book.facts:
        if fact.thing != thing.name and fact.kind != "certificate" and sought.search(fact.value):
            found.setdefault((label(fact), fact.why), []).append(fact)
    return found


def label(fact: Fact) -> str:
    """`kube-apiserver --tls-cert-file`, `tlsCertFile in /var/lib/kubelet/config.yaml`."""
    match fact.kind:
        case "flag":
            return f"{fact.of} --{fact.name}"
        case "directive":
            return f"{fact.of}.service {fact.name}="
        case "key":
            return f"{fact.name} in {fact.of}"
        case "line":
            return f"a line of {fact.of}"
        case "certificate":
            return f"{fact.name} of {fact.of}"
    return f"{fact.of} {fact.name}"


def cited(book: Book, sought: Iterable[Pattern[str]]) -> Iterator[Cited]:
    """Proofs whose question or answer has one of these in it; what is asked of several machines once."""
    marks = list(sought)
    citing: list[Proof] = []
    for _, proof in book.proofs:
        text = _asked(proof)
        if any(mark.search(text) for mark in marks):
            citing.append(proof)
    yield from told_once(book.model.cluster, citing)


def _asked(proof: Proof) -> str:
    """Question and answer, dots as they are meant: a number is no whole word where grep has `10[.]240[.]0[.]22`."""
    return f"{proof.query} {proof.expected}".replace("[.]", ".")


def _marks(thing: Thing) -> Iterator[str]:
    """By what a proof would name it."""
    for one in thing.placed:
        if isinstance(one.resource, File | Service | Directory) and not one.resource.name.endswith("/pki"):
            yield one.resource.name


def instance_of(thing: Thing, what: str) -> str:
    """Which of several alike `what` names: `certs/kubelet-worker-1` is the one on worker-1, or a workspace file."""
    for local in thing.local:
        if what in names_of(local):
            path = local.path.removesuffix(".key")
            return _stating(thing, (path, f"{path}.crt", what))
    return ""


def _stating(thing: Thing, files: Collection[str]) -> str:
    for fact in facts(thing):
        if fact.of in files:
            return _instance(fact)
    return ""

"""A chapter as one screen: why, what is where and who reads it, what is easy to get wrong, what to ask next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from hardway.declare.declaration import Declaration
from hardway.declare.phases import PHASE_NAMES, PHASES
from hardway.declare.phases import phase as chapter_named
from hardway.declare.phases.base import Model, Proof
from hardway.declare.resources import Certificate, Key, Local, Resource, Routes
from hardway.explain.prose import ChapterProse, Pitfall, chapter_prose
from hardway.explain.things import Thing, things
from hardway.explain.vocabulary import who
from hardway.inventory.model import Cluster


@dataclass(frozen=True)
class Row:
    """One thing in a chapter's table; `on` is where in words; `machines` is empty for what is in the workspace."""

    name: str
    group: str
    what: str
    on: str
    machines: tuple[str, ...]
    reader: str
    detail: bool


@dataclass(frozen=True)
class Wrong:
    """A pitfall: the thing that it is about, the chapter where it shows, and what breaks it in a lab."""

    of: str
    text: str
    shows: str
    fault: str


@dataclass(frozen=True)
class Next:
    """A command to type, and what it gives."""

    command: str
    gives: str


@dataclass(frozen=True)
class Cited:
    """A proof, where it is asked, and what it is good for."""

    name: str
    on: str
    why: str


@dataclass(frozen=True)
class ChapterPage:
    """`counts` maps a kind (`certificates`) to how many different ones there are; `grouping` heads the groups of rows.

    `proofs` is how many questions are asked, `proving` where, `proved` what they are about.
    """

    name: str
    title: str
    number: int
    of: int
    cluster: str
    inventory: str
    counts: tuple[tuple[str, int], ...]
    why: str
    grouping: str
    rows: tuple[Row, ...]
    wrong: tuple[Wrong, ...]
    more: tuple[Next, ...]
    proofs: int
    proving: str
    proved: tuple[Cited, ...]


@dataclass(frozen=True)
class Contents:
    """All chapters, one line each, and how to ask further."""

    cluster: str
    inventory: str
    phases: tuple[tuple[str, str], ...]
    more: tuple[Next, ...]


def explain_next(asks: Iterable[str]) -> tuple[Next, ...]:
    """Further questions, whose answers need no words."""
    return tuple(Next(f"hardway explain {one}", "") for one in asks)


def shown_wrong(cluster: Cluster, pitfalls: Iterable[Pitfall]) -> Iterator[Wrong]:
    """Pitfalls as this cluster can show them: only a lab has faults to make."""
    for one in pitfalls:
        yield Wrong(one.of, one.text, one.shows, one.fault if cluster.lab else "")


def chapter_page(model: Model, declaration: Declaration, name: str) -> ChapterPage:
    """The page of a chapter; raises UsageError for a name that is none."""
    phase = chapter_named(name)
    prose = chapter_prose(model, name)
    here = things(model, declaration, name)
    names = {one.entry.name for one in here}
    proofs = [proof for _, proof in declaration.of(name).proofs]
    cluster = model.cluster
    return ChapterPage(
        name=name,
        title=phase.title,
        number=PHASE_NAMES.index(name) + 1,
        of=len(PHASES),
        cluster=cluster.name,
        inventory=cluster.path.name,
        counts=tuple(_counts(here)),
        why=prose.why,
        grouping=prose.grouping,
        rows=tuple(_row(cluster, one) for one in here),
        wrong=tuple(shown_wrong(cluster, (one for one in prose.wrong if one.of in names))),
        more=tuple(_more(phase.name, prose, names)),
        proofs=len(proofs),
        proving=who(cluster, [proof.machine for proof in proofs]),
        proved=tuple(told_once(cluster, proofs)),
    )


def contents(model: Model) -> Contents:
    """What there is to ask about."""
    cluster = model.cluster
    return Contents(
        cluster.name,
        cluster.path.name,
        tuple((one.name, one.why) for one in PHASES),
        (
            Next("hardway explain certs", "a chapter: one screen"),
            Next("hardway explain certs/kube-apiserver", "a thing: one page"),
            Next("hardway explain /etc/kubernetes/admin.conf", "by its path, unit or user"),
            Next(f"hardway explain {cluster.first_service_address}", "any value, port or name"),
            Next("hardway explain anonymous-auth", "any flag or setting"),
            Next("hardway explain 'connection refused'", "an error message, as it was printed"),
        ),
    )


def told_once(cluster: Cluster, proofs: Iterable[Proof]) -> Iterator[Cited]:
    """What is asked of several machines, or in several purposes for one reason, is told once."""
    told: dict[tuple[str, str], list[Proof]] = {}
    for proof in proofs:
        told.setdefault((proof.name, proof.why), []).append(proof)
    for (name, why), found in told.items():
        yield Cited(name, who(cluster, [proof.machine for proof in found]), why)


def _more(phase: str, prose: ChapterProse, names: Collection[str]) -> Iterator[Next]:
    """What to ask next, but for things that this cluster does not have."""
    absent = {one.name for one in prose.things}.difference(names)
    for one in prose.more:
        if one.what.removeprefix(f"{phase}/") not in absent:
            yield Next(f"hardway explain {one.what}", one.gives)


def _row(cluster: Cluster, thing: Thing) -> Row:
    entry, on = thing.entry, thing.machines
    return Row(entry.name, entry.group, entry.what, who(cluster, on) or "workspace", on, entry.reader, entry.detail)


_PLURAL = {
    "binary": "binaries", "directory": "folders", "objects": "sets of API objects", "module": "kernel modules",
    "sysctl": "sysctls", "workspace-file": "workspace files", "block": "blocks in files", "random": "random keys",
    "operator-file": "files of your own", "public-key": "public keys", "hostname": "host names", "CA": "CAs",
}  # fmt: skip
_COUNTED = ("CA", "certificate", "key", "random", "package", "sysctl", "binary", "file", "operator-file",
            "workspace-file", "route", "service", "image", "objects")  # fmt: skip
_MANY = 4
"""So many counts stand in a heading."""


def _counts(here: tuple[Thing, ...]) -> list[tuple[str, int]]:
    """How many different things of a kind there are; the same file on three machines is one."""
    local = list(chain.from_iterable(thing.local for thing in here))
    keys = {("CA" if _is_ca(one) else one.kind, one.path) for one in local}
    with_keys = any(isinstance(one, Key) for one in local)
    for placed in chain.from_iterable(thing.placed for thing in here):
        # Where keys are made, a file on a machine is a copy of what was counted already.
        if not (with_keys and placed.resource.kind == "file"):
            keys.update(_names(placed.resource))
    counts = Counter(kind for kind, _ in keys)
    counted = [(_named(kind, counts[kind]), counts[kind]) for kind in _COUNTED if counts[kind]]
    return counted[:_MANY]


def _is_ca(one: Local) -> bool:
    return isinstance(one, Certificate) and one.spec.is_ca


def _names(resource: Resource) -> Iterable[tuple[str, str]]:
    if isinstance(resource, Routes):
        return [("route", destination) for destination, _ in resource.table]
    return [(resource.kind, resource.name)]


def _named(kind: str, count: int) -> str:
    singular = {"objects": "set of API objects", "workspace-file": "workspace file", "random": "random key"}
    return singular.get(kind, kind) if count == 1 else _PLURAL.get(kind, f"{kind}s")

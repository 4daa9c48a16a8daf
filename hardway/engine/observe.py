"""Looks at machines: one script with many questions each, one answer, one value. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hardway import facts as facts_room
from hardway import journal as journal_room
from hardway.declare.declaration import Declaration
from hardway.declare.resources import KINDS, Observed, Present, Resource, Service
from hardway.declare.resources.base import quote
from hardway.declare.resources.files import FILE_KINDS, Stat, parse_stat, stat_probe
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.events import MachineProgress
from hardway.facts import Facts
from hardway.journal import Journal
from hardway.probe.script import Answers, Question, cat, understood


@dataclass(frozen=True)
class View:
    """One machine as it was seen: every declared resource by key, and what hardway knows of itself there."""

    facts: Facts
    journal: Journal
    state_text: str
    observed: Mapping[str, Observed]
    drop_ins: Mapping[str, Stat] = field(default_factory=dict)
    hashed: bool = False
    """Whether digests had to be computed: the journal's index is worth rewriting."""

    def stat(self, path: str) -> Stat | None:
        for kind in (*FILE_KINDS, "directory"):
            seen = self.observed.get(f"{kind}:{path}")
            if isinstance(seen, Present):
                return seen.value if isinstance(seen.value, Stat) else None
        return self.drop_ins.get(path)


def questions(resources: Sequence[Resource]) -> Iterator[Question]:
    """All that is asked of a machine when it is observed. It writes nothing."""
    yield Question("facts", facts_room.SCRIPT, strict=True)
    yield Question("journal", journal_room.CAT, strict=True)
    yield Question("state", cat(journal_room.STATE_PATH), strict=True)
    for kind, wanted in _by_kind(resources).items():
        yield Question(kind, KINDS[kind].probe(wanted), strict=True)
    extra = _other_inputs(resources)
    if extra:
        folders = [path for path in extra if path.endswith(".d")]
        yield Question("inputs", stat_probe(extra, inside=folders), strict=True)


def read_answer(resources: Sequence[Resource], answers: Answers, *, deep: bool = False, machine: str = "") -> View:
    """Turns the answers into values. Digests of files are known where the journal's index has them, unless `deep`.

    Raises JournalError where the `machine`'s journal cannot be read, ProtocolError where an answer cannot.
    """
    journal = journal_room.read(answers["journal"].output, machine)
    observed: dict[str, Observed] = {}
    for kind, wanted in _by_kind(resources).items():
        with understood(machine, kind):
            observed.update(KINDS[kind].parse(wanted, answers[kind].output))
    with understood(machine, "facts"):
        facts = facts_room.parse(answers["facts"].output)
    with understood(machine, "inputs"):
        drop_ins = parse_stat(answers["inputs"].output)
    for key, seen in observed.items():
        if isinstance(seen, Present) and isinstance(seen.value, Stat):
            digest = None if deep else journal.digest(key.partition(":")[2], seen.value.identity)
            observed[key] = Present(replace(seen.value, digest=digest))
    return View(
        facts=facts,
        journal=journal,
        state_text=answers["state"].output.strip(),
        observed=observed,
        drop_ins=drop_ins,
    )


def to_hash(view: View) -> list[str]:
    """Paths of files that are there and whose digest is not known yet."""
    return [
        key.partition(":")[2]
        for key, seen in view.observed.items()
        if key.partition(":")[0] in FILE_KINDS
        and isinstance(seen, Present)
        and seen.value.digest is None
        and seen.value.type.startswith("regular")
    ]


def with_digests(view: View, digests: Mapping[str, str]) -> View:
    """The view with the digests of files that were read."""
    observed = dict(view.observed)
    for path, digest in digests.items():
        for kind in FILE_KINDS:
            seen = observed.get(f"{kind}:{path}")
            if isinstance(seen, Present):
                observed[f"{kind}:{path}"] = Present(replace(seen.value, digest=digest))
    return replace(view, observed=observed)


def observe(
    session: Session,
    declaration: Declaration,
    names: Iterable[str],
    staged: Mapping[str, Mapping[tuple[int, int], str]] | None = None,
    earlier: Mapping[str, View] | None = None,
) -> dict[str, View]:
    """Looks at machines, each with one script, and a second one only for files whose digest is not known.

    `staged` holds, by machine, digests by (inode, size) that were checked there before a rename;
    `earlier` what this run saw before, whose digests hold for files that have not moved since.
    """

    def look(name: str) -> View:
        session.events(MachineProgress(name, "observe", "running"))
        resources = [one.resource for one in declaration.on(name)]
        answers = session.ask(name, questions(resources), what="observe")
        view = read_answer(resources, answers, deep=session.deep, machine=name)
        checked = (staged or {}).get(name, {})
        known = {
            path: checked[(stat.inode, stat.size)]
            for path in to_hash(view)
            if isinstance(stat := view.stat(path), Stat) and (stat.inode, stat.size) in checked
        }
        view = with_digests(view, {**known, **_unmoved(view, (earlier or {}).get(name))})
        unknown = to_hash(view)
        if unknown:
            script = hash_command(unknown, view.facts.openssl)
            hashed = session.run(name, script, what=f"hash {len(unknown)} files")
            view = replace(with_digests(view, parse_hashes(hashed.text)), hashed=True)
        session.events(MachineProgress(name, "observe", "done"))
        return view

    return session.each(names, look)


def observe_each(session: Session, declaration: Declaration) -> tuple[dict[str, View], dict[str, HardwayError]]:
    """Looks at every machine of the session, in the inventory's order; with those that could not be checked."""

    def look(name: str) -> View | HardwayError:
        try:
            return observe(session, declaration, [name])[name]
        except HardwayError as error:
            return error

    views: dict[str, View] = {}
    failures: dict[str, HardwayError] = {}
    # Connections come as they are made.
    names = [machine.name for machine in session.cluster.machines if machine.name in session.machines]
    for name, seen in session.each(names, look).items():
        if isinstance(seen, HardwayError):
            failures[name] = seen
        else:
            views[name] = seen
    return views, failures


def _unmoved(view: View, earlier: View | None) -> dict[str, str]:
    """Digests that were known of files that are just as they were."""
    found = {}
    for path in to_hash(view):
        now, before = view.stat(path), earlier.stat(path) if earlier else None
        if now and before and before.digest and now.identity == before.identity:
            found[path] = before.digest
    return found


def _other_inputs(resources: Sequence[Resource]) -> list[str]:
    declared = {resource.name for resource in resources if resource.kind in ("file", "binary", "directory")}
    inputs: set[str] = set()
    for resource in resources:
        if isinstance(resource, Service):
            inputs.update(resource.inputs, resource.reload_inputs)
    return sorted(inputs - declared)


def _by_kind(resources: Sequence[Resource]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for resource in resources:
        groups.setdefault(resource.kind, []).append(resource)
    return groups


def hash_command(paths: Sequence[str], openssl: bool) -> str:
    """Prints `digest *path` for each."""
    checker = "openssl dgst -sha256 -r" if openssl else "sha256sum -b"
    return f"{checker} {quote(*paths)} 2>/dev/null || true"


def parse_hashes(output: str) -> dict[str, str]:
    """Digest by path."""
    digests: dict[str, str] = {}
    for line in output.splitlines():
        digest, star, path = line.partition(" *")
        if star:
            digests[path] = digest
    return digests

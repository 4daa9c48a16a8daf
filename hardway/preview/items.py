"""One change as a person wants to see it: what, why, and the evidence."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import hardway
from hardway.artifacts.lock import Entry
from hardway.declare import pki
from hardway.declare.resources import Binary, Certificate, File, Present, Service, Sysctl
from hardway.declare.resources.files import FILE_KINDS, Stat
from hardway.declare.resources.service import Running
from hardway.engine.changes import Change
from hardway.engine.plan import Plan, WorkspaceChange
from hardway.preview.evidence import Details, runs_with
from hardway.preview.origin import Origin, origins
from hardway.values import OPERATOR, fill, placeholders, sha256, show

CONTEXT_LINES = 1


@dataclass(frozen=True)
class Item:
    """`evidence` is one phrase each; `known_after` names the chapters that make what the content needs first.

    `origin` is there for what another version of hardway declares otherwise.
    """

    machine: str
    phase: str
    key: str
    verb: str
    evidence: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    diff: tuple[str, ...] = ()
    known_after: tuple[str, ...] = ()
    origin: Origin | None = None

    @property
    def kind(self) -> str:
        return self.key.partition(":")[0]

    @property
    def name(self) -> str:
        return self.key.partition(":")[2]

    @property
    def restarts(self) -> bool:
        return self.kind == "service" and self.verb in ("start", "restart", "reload")


class Teller:
    """Puts the changes of one plan into items."""

    def __init__(self, found: Plan, details: Mapping[str, Details], lock: Sequence[Entry]) -> None:
        self._found, self._details = found, details
        self._origins = origins(found.cluster, found.changes, found.views)
        self._lock = lock
        self._operator = found.operator
        self._local = {one.path: (phase, one) for phase, one in found.declaration.local}
        self._changing = {(one.machine, one.key) for one in found.changes}

    def items(self) -> Iterator[Item]:
        for one in self._found.to_make:
            yield self._local_item(one)
        for change in self._found.changes:
            yield replace(self._item(change), origin=self._origins.get((change.machine, change.key)))

    def _local_item(self, one: WorkspaceChange) -> Item:
        there = self._operator.get(one.local.path)
        before = f"sha256:{sha256(there)[:12]}" if there is not None else ""
        evidence = one.why if there is not None else ()
        return Item(OPERATOR, one.phase, one.local.key, "update" if before else "create", evidence, before)

    def _item(self, change: Change) -> Item:
        view = self._found.views[change.machine]
        seen = view.observed.get(change.key)
        there = seen.value if isinstance(seen, Present) else None
        match change.resource:
            case File() as file:
                return self._file(change, file, there if isinstance(there, Stat) else None)
            case Binary() as binary:
                return self._binary(change, binary, there if isinstance(there, Stat) else None)
            case Service() as service:
                return self._service(change, service, there if isinstance(there, Running) else None)
            case Sysctl():
                return self._plain(change, ())
        return self._plain(change, (change.difference.why,))

    def _plain(self, change: Change, evidence: tuple[str, ...]) -> Item:
        difference = change.difference
        if difference.verb == "create":
            evidence = ()
        return Item(
            change.machine, change.phase, change.key, difference.verb, evidence, difference.before, difference.after
        )

    def _file(self, change: Change, file: File, there: Stat | None) -> Item:
        context = self._found.contexts[change.machine]
        missing = [
            placeholder.name for placeholder in placeholders(file.text) if placeholder.name not in context.values
        ]
        known_after = tuple(dict.fromkeys(self._maker(name) for name in missing))
        content = file.content(context)
        after = f"sha256:{sha256(content)[:12]}" if content is not None else ""
        if there is None:
            return Item(change.machine, change.phase, change.key, "create", (), "", after, (), known_after)
        before = f"sha256:{there.digest[:12]}" if there.digest else ""
        evidence = [self._origin(change, there)] if before != after else []
        access = [part for part in change.difference.why.split("; ") if not part.startswith(("content", "known"))]
        diff: tuple[str, ...] = ()
        found = self._details[change.machine].files.get(file.path) if before != after else None
        if file.secret and before != after:
            evidence.append(f"secret: {before}, to become {after or 'known later'}")
        elif found is not None and b"PRIVATE KEY" in found:
            evidence.append("holds a private key, which is not shown")
        elif found is not None and (words := self._certificate(file, found)) is not None:
            evidence += words
        elif found is not None:
            diff = _unified(found, show(file.text, context.values))
        return Item(
            change.machine, change.phase, change.key, "update", (*evidence, *access), before, after, diff, known_after
        )

    def _maker(self, placeholder: str) -> str:
        """The chapter that makes what fills a placeholder."""
        made = self._local.get(placeholder)
        return made[0] if made else placeholder.partition("/")[0]

    def _origin(self, change: Change, there: Stat) -> str:
        entry = self._found.views[change.machine].journal.entries.get(change.key)
        when = f"changed {moment(float(there.mtime))}"
        if entry is None:
            return f"hardway did not put it there; {when}"
        if entry.get("digest") != there.digest:
            return f"not as hardway wrote it; {when}"
        by = str(entry.get("by", ""))
        if (change.machine, change.key) in self._origins:
            return f"as hardway {by} wrote it"
        return f"as hardway {by} wrote it" + (
            f"; {hardway.__version__} declares it otherwise" if by != hardway.__version__ else ", and declared now"
        )

    def _certificate(self, file: File, found: bytes) -> list[str] | None:
        """What is not as specified, in words; None where the file is no certificate."""
        names = list(placeholders(file.text))
        if len(names) != 1 or str(names[0]) != file.text:
            return None
        made = self._local.get(names[0].name)
        if made is None or not isinstance(made[1], Certificate):
            return None
        local = made[1]
        issuer = self._operator.get(f"{local.ca}.crt" if local.ca else local.path)
        key = self._operator.get(local.key_path)
        if issuer is None or key is None:
            return ["its CA or its key is to be made"]
        try:
            words = pki.differences(local.spec, local.algorithm, found, key, issuer, self._found.now)
            return words or [f"another certificate of the same kind, {pki.read(found).not_after:until %Y-%m-%d}"]
        except pki.PemError as error:
            return [str(error)]

    def _binary(self, change: Change, binary: Binary, there: Stat | None) -> Item:
        context = self._found.contexts[change.machine]
        accepted = sorted(context.accepted.get((binary.file, binary.version), ()))
        after = f"{binary.file} {binary.version}"
        if accepted:
            after += f" (sha256:{accepted[0][:12]})"
        if there is None:
            return Item(change.machine, change.phase, change.key, "create", (), "", after)
        if binary.has_content(there, context):
            return Item(change.machine, change.phase, change.key, "update", (change.difference.why,))
        digest = there.digest or ""
        known = next((one for one in self._lock if one.digest == digest), None)
        name = f"{known.name} {known.version}" if known else "a build that nobody accepted"
        before = f"{name} (sha256:{digest[:12]})"
        return Item(change.machine, change.phase, change.key, "update", (self._moved(there),), before, after)

    def _moved(self, there: Stat) -> str:
        return f"changed {moment(float(there.mtime))}"

    def _service(self, change: Change, service: Service, running: Running | None) -> Item:
        verb = change.difference.verb
        if running is None or not running.is_active:
            why = () if running is None else (f"is {running.active}",)
            return Item(change.machine, change.phase, change.key, verb, why)
        evidence = [self._process(change, service, running)]
        changing = [
            path
            for path in (*service.inputs, *service.reload_inputs)
            if any((change.machine, f"{kind}:{path}") in self._changing for kind in FILE_KINDS)
        ]
        if not changing or running.need_reload:
            evidence.append(change.difference.why)
        others = [path for path in changing if not path.endswith(f"/{service.unit}")]
        if others:
            evidence.append(f"reads {', '.join(others)}, to be changed")
        if service.group and verb == "restart":
            evidence.append(self._meanwhile(change, service))
        return Item(change.machine, change.phase, change.key, verb, tuple(evidence))

    def _process(self, change: Change, service: Service, running: Running) -> str:
        said = f"pid {running.pid}, started {moment(running.started)}"
        words = self._details[change.machine].processes.get(running.pid)
        unit = self._unit(change.machine, service.unit)
        if not words or not unit:
            return said
        has, lacks = runs_with(unit, words)
        if has:
            return f"{said}, runs with {' '.join(has)}"
        return f"{said}, runs without {' '.join(lacks)}" if lacks else f"{said}, runs with the flags declared"

    def _unit(self, machine: str, unit: str) -> str:
        for one in self._found.declaration.on(machine):
            if isinstance(one.resource, File) and one.resource.path.endswith(f"/{unit}"):
                content = fill(one.resource.text, self._found.contexts[machine].values)
                return content.decode() if content is not None else ""
        return ""

    def _meanwhile(self, change: Change, service: Service) -> str:
        """Who serves while this member is restarted."""
        others: list[str] = []
        for name, view in self._found.views.items():
            seen = view.observed.get(change.key)
            if name != change.machine and isinstance(seen, Present) and seen.value.is_active:
                others.append(name)
        if not others:
            return "no other machine runs one: nothing serves in its place meanwhile"
        restarted = [name for name in others if (name, change.key) in self._changing]
        one_by_one = "one by one: " if restarted else ""
        verb = "goes" if len(others) == 1 else "go"
        return f"{one_by_one}{_listed(others)} {verb} on serving"


def _unified(found: bytes, declared: str) -> tuple[str, ...]:
    try:
        before = found.decode()
    except UnicodeDecodeError:
        return ("the file there is no text",)
    lines = difflib.unified_diff(
        before.splitlines(), declared.splitlines(), "there", "declared", lineterm="", n=CONTEXT_LINES
    )
    return tuple(lines) or ("they differ in how the last line ends",)


def moment(seconds: float) -> str:
    """`2026-11-21 09:14:20 UTC`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))

"""What a run would do, as a value: from one survey, with an identifier by which it is known again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hardway.declare.declaration import digest
from hardway.declare.phases import PHASE_NAMES
from hardway.declare.resources import Binary, Block, File, Present, Resource, Service, Unknown
from hardway.engine.plan import conflicts
from hardway.engine.resolver import Resolver
from hardway.errors import HardwayError, PlanChanged
from hardway.inventory.model import Cluster
from hardway.lint import rules as across
from hardway.lint.declared import declared_setup
from hardway.preview.items import Item, Teller
from hardway.preview.survey import Survey
from hardway.rules import Evidence, Finding, examine
from hardway.values import OPERATOR, sha256

SHORT = 12
"""Digits of an identifier that are shown; at least SHORTEST must be given back."""
SHORTEST = 8
_OURS = (File, Binary, Block, Service)
"""Kinds that nobody has by chance: a package or a kernel setting may have been there before."""


@dataclass(frozen=True)
class Unobserved:
    """A machine, or one thing on it, that could not be looked at."""

    machine: str
    what: str
    why: str
    hint: str = ""


@dataclass(frozen=True)
class Refusal:
    """What would make a run refuse, with its next move."""

    machine: str
    what: str
    hint: str = ""


@dataclass(frozen=True)
class Plan:
    """`limited`: not all machines were asked for; `formed`: there is a cluster already.

    By machine: `foreign` has paths that would be overwritten, `unowned` what is as declared, though hardway did not
    put them there. `unseen` are single things and `unobserved` whole machines that could not be looked at;
    `to_get` names files of which no digest is accepted yet; `findings` are where the artifacts that it would make
    do not agree with each other. `deep`: every file was read, whatever the journals know.
    """

    cluster: str
    machines: tuple[str, ...]
    limited: bool
    phases: tuple[str, ...]
    formed: bool
    items: tuple[Item, ...]
    pending: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    conflicts: Mapping[str, tuple[str, ...]]
    unmanaged: Mapping[str, tuple[str, ...]]
    unseen: tuple[Unobserved, ...]
    unobserved: tuple[Unobserved, ...]
    to_get: tuple[str, ...]
    identifier: str
    findings: tuple[Finding, ...] = ()
    deep: bool = False

    @property
    def errors(self) -> tuple[Finding, ...]:
        """For which a run would refuse to begin."""
        return tuple(one for one in self.findings if one.level == "error")

    @property
    def whole(self) -> bool:
        """Whether it is of all that `init` does."""
        return not self.limited and set(self.phases) == set(PHASE_NAMES)

    @property
    def touched(self) -> tuple[str, ...]:
        """The machines that would change, in the inventory's order."""
        having = {item.machine for item in self.items}
        return tuple(name for name in self.machines if name in having)

    @property
    def touched_phases(self) -> tuple[str, ...]:
        having = {item.phase for item in self.items}
        return tuple(name for name in PHASE_NAMES if name in having)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def planned(cluster: Cluster, machines: Sequence[str], found: Survey, resolver: Resolver, *, formed: bool) -> Plan:
    """The plan that follows from a survey. `operator` is in it the computer that hardway runs on."""
    return Plan(
        cluster=cluster.name,
        machines=tuple(machines),
        limited=len(machines) < len(cluster.machines),
        phases=found.phases,
        formed=formed,
        items=tuple(Teller(cluster, found, resolver.lock.entries()).items()),
        pending=found.pending,
        refusals=tuple(_refusals(found)),
        conflicts=_conflicts(found),
        unmanaged=_unmanaged(found),
        unseen=tuple(_unseen(found)),
        unobserved=tuple(
            Unobserved(name, error.what, error.said or "", error.hint or "") for name, error in found.failures.items()
        ),
        to_get=_to_get(found),
        identifier=identifier(found),
        findings=_disagreements(cluster, found),
    )


def _disagreements(cluster: Cluster, found: Survey) -> tuple[Finding, ...]:
    """With the certificates that a run would leave as they are, and the specifications of all others."""
    remade = {one.local.path for one in found.to_make}
    kept = {path: content for path, content in found.operator.items() if path not in remade}
    setup = declared_setup(cluster, found.declaration, kept, found.now)
    return tuple(examine(across.RULES, Evidence(cluster, setup=setup)))


def identifier(found: Survey) -> str:
    """SHA-256 over what would be done, and from what to what; who runs with which pid is no part of it."""
    made: list[Any] = [
        [OPERATOR, one.phase, one.local.key, sha256(found.operator.get(one.local.path, b"")), digest(one.local)]
        for one in found.to_make
    ]
    for change in found.changes:
        resource = change.resource
        content = resource.content(found.contexts[change.machine]) if isinstance(resource, File) else None
        before = "" if isinstance(resource, Service) else change.difference.before
        wanted = [digest(resource) if resource else "", sha256(content) if content is not None else ""]
        made.append([change.machine, change.phase, change.key, change.difference.verb, before, *wanted])
    return sha256(json.dumps(sorted(made)).encode())


def expect(wanted: str, actual: str) -> None:
    """Raises PlanChanged where a plan is not the one that was agreed to; a beginning of the identifier is enough."""
    if len(wanted) < SHORTEST or not actual.startswith(wanted.lower()):
        raise PlanChanged(
            f"the plan is {actual[:SHORT]} now, not {wanted}: something has changed since; nothing was done",
            hint="hardway plan",
        )


def _refusals(found: Survey) -> list[Refusal]:
    """None where nobody was seen: what is in the way then is that, and nothing else."""
    return [_refusal(error) for error in found.objections if found.views]


def _conflicts(found: Survey) -> dict[str, tuple[str, ...]]:
    told = {}
    for name, view in found.views.items():
        mine = [change for change in found.changes if change.machine == name]
        if paths := conflicts(mine, view, found.contexts[name]):
            told[name] = tuple(paths)
    return told


def _refusal(error: HardwayError) -> Refusal:
    return Refusal(error.machine or "", "; ".join(filter(None, (error.what, error.said))), error.hint or "")


def _unmanaged(found: Survey) -> dict[str, tuple[str, ...]]:
    changing = {(change.machine, change.key) for change in found.changes}
    told = {}
    for name, view in found.views.items():
        keys = tuple(
            one.resource.key
            for one in found.declaration.on(name)
            if one.phase in found.phases and _is_unmanaged(one.resource, view.journal.entries, view.observed)
            and (name, one.resource.key) not in changing
        )  # fmt: skip
        if keys:
            told[name] = keys
    return told


def _is_unmanaged(resource: Resource, entries: Mapping[str, Any], observed: Mapping[str, Any]) -> bool:
    return (
        isinstance(resource, _OURS) and resource.key not in entries and isinstance(observed.get(resource.key), Present)
    )


def _unseen(found: Survey) -> list[Unobserved]:
    return [
        Unobserved(name, one.resource.key, seen.why)
        for name, view in found.views.items()
        for one in found.declaration.on(name)
        if one.phase in found.phases and isinstance(seen := view.observed.get(one.resource.key), Unknown)
    ]


def _to_get(found: Survey) -> tuple[str, ...]:
    lacking = {
        f"{change.resource.file} {change.resource.version}"
        for change in found.changes
        if isinstance(change.resource, Binary)
        and not found.contexts[change.machine].accepted.get((change.resource.file, change.resource.version))
    }
    return tuple(sorted(lacking))

"""The plan of a run: one value, which `plan` prints, a run executes, and `--expect` compares.

It is made from the inventory, State and what was observed; making it changes nothing anywhere.
"""

from __future__ import annotations

import contextlib
import json
import shlex
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hardway import journal
from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import Declaration, declare, digest
from hardway.declare.phases.base import Model
from hardway.declare.resources import Binary, Block, Context, Directory, File, Local, Present, Service, Unknown
from hardway.declare.undo import is_ours
from hardway.engine import guards
from hardway.engine.adopt import inferred
from hardway.engine.authorities import Wanted, own_blockers, own_findings
from hardway.engine.blockers import Blocker, of_error, of_finding
from hardway.engine.changes import Change, by_machine, conflicts, differences
from hardway.engine.lost_keys import lost_keys
from hardway.engine.observe import View, observe_each
from hardway.engine.peers import peers_down
from hardway.engine.resolver import Delivery, Resolver
from hardway.engine.rolls import rolls_of
from hardway.engine.selection import Selection
from hardway.engine.session import Session
from hardway.errors import HardwayError, PlanChanged
from hardway.inventory.model import Cluster
from hardway.lint import rules as across
from hardway.lint.declared import declared_setup
from hardway.rules import Evidence, Finding, examine
from hardway.state import State
from hardway.values import OPERATOR, sha256
from hardway.workspace import Workspace

SHORT = 12
"""Digits of an identifier that are shown; at least SHORTEST must be given back."""
SHORTEST = 8


@dataclass(frozen=True)
class WorkspaceChange:
    """A file of the workspace that a run would make, and why."""

    phase: str
    local: Local
    why: tuple[str, ...]


@dataclass(frozen=True)
class WorkspaceFiles:
    """The operator's side: `values` has what stays as it is, by path, and copies of what the operator brings.

    What else is to be made is not among them.
    """

    values: Mapping[str, bytes]
    to_make: tuple[WorkspaceChange, ...]

    @property
    def wanted(self) -> list[Wanted]:
        return [(one.local, one.why) for one in self.to_make]


@dataclass(frozen=True)
class Roll:
    """Members of a group that are restarted one after the other. `others` go on serving meanwhile."""

    group: str
    machines: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that a run would do, and what speaks against it.

    `state` is the one under which all is declared; `serves`: there is a cluster already. `operator` is what is in
    the workspace now. `to_get` are files of which no digest is accepted yet, and which a run gets first. `failures` has
    the machines that could not be reached or looked at. `findings` are warnings, most of rules across artifacts.
    """

    cluster: Cluster
    selection: Selection
    state: State
    serves: bool
    declaration: Declaration
    views: Mapping[str, View]
    contexts: Mapping[str, Context]
    blockers: tuple[Blocker, ...]
    to_make: tuple[WorkspaceChange, ...]
    to_get: tuple[str, ...]
    changes: tuple[Change, ...]
    operator: Mapping[str, bytes]
    now: datetime
    failures: Mapping[str, HardwayError] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    delivery: Delivery | None = None
    """How binaries get to the machines; None where none changes, or one cannot be had, which is then a blocker."""

    @property
    def phases(self) -> tuple[str, ...]:
        return self.selection.phases

    @property
    def is_empty(self) -> bool:
        return not (self.changes or self.to_make)

    @property
    def rolls(self) -> tuple[Roll, ...]:
        """The groups whose members are restarted, in order; members that are down come first."""
        return tuple(_rolls(self))

    @property
    def identifier(self) -> str:
        """SHA-256 over what would be done, and from what to what; who runs with which pid is no part of it."""
        digests: dict[int, str] = {}  # by identity: machines share what is the same on all of them
        steps: list[Any] = []
        for one in self.to_make:
            before = sha256(self.operator.get(one.local.path, b""))
            steps.append([OPERATOR, one.phase, one.local.key, before, digest(one.local)])
        for change in self.changes:
            resource = change.resource
            content = resource.content(self.contexts[change.machine]) if isinstance(resource, File) else None
            before = "" if isinstance(resource, Service) else change.difference.before
            if id(resource) not in digests:
                digests[id(resource)] = digest(resource) if resource else ""
            wanted = [digests[id(resource)], sha256(content) if content is not None else ""]
            steps.append([change.machine, change.phase, change.key, change.difference.verb, before, *wanted])
        return sha256(json.dumps(sorted(steps)).encode())


def expect(wanted: str, actual: str) -> None:
    """Raises PlanChanged where a plan is not the one that was agreed to; a beginning of the identifier is enough."""
    if len(wanted) < SHORTEST or not actual.startswith(wanted.lower()):
        raise PlanChanged(
            f"the plan is {actual[:SHORT]} now, not {wanted}: something has changed since; nothing was done",
            hint="hardway plan",
        )


def first_declaration(session: Session, state: State, selection: Selection, resolver: Resolver) -> Declaration:
    """What is looked at before anything is known of the machines."""
    resolved, _ = guards.resolve_state(session.cluster, state, selection)
    return declare(Model(session.cluster, resolved, resolver.versions))


def make_plan(
    session: Session,
    state: State,
    selection: Selection,
    resolver: Resolver,
    views: Mapping[str, View],
    failures: Mapping[str, HardwayError] | None = None,
) -> Plan:
    """What follows from machines that were seen. They are asked more only where an unknown cluster lives on them."""
    cluster = session.cluster
    found_state = inferred(session, state, views)
    resolved, blockers = guards.resolve_state(cluster, found_state, selection)
    surprises: tuple[Blocker, ...] = ()
    if views:
        resolved, surprises = guards.check_identity(session, resolved, views)
    if found_state.etcd == "bootstrapping":
        resolved = selection.bootstrap.advance(
            resolved, declare(Model(cluster, resolved, resolver.versions)), views, ()
        )
    if not selection.adopt and not surprises:
        surprises += tuple(guards.unmanaged_cluster(session, views, resolved))
    blockers += surprises
    declaration = declare(Model(cluster, resolved, resolver.versions))
    operator = session.workspace.values()
    now = datetime.now(UTC)
    kept = check_workspace(declaration, operator, selection.phases, now, selection.again)
    contexts = make_contexts(kept.values, views, resolver)
    changes: list[Change] = []
    for name, view in views.items():
        changes += differences(declaration.on(name), view, contexts[name], selection.has)
    blockers += tuple(own_blockers(kept.wanted, declaration, operator, resolved, session.workspace, now))
    findings = _lint_of_good(blockers, cluster, declaration, kept.values, now)
    if not surprises:
        told = {path for one in blockers if one.kind == "foreign-certificate" for path in one.subjects}
        missing = [
            one.local
            for one in kept.to_make
            if one.local.path not in selection.again and f"{one.local.path.removesuffix('.key')}.crt" not in told
        ]
        model = Model(cluster, resolved, resolver.versions)
        blockers += tuple(lost_keys(missing, model, declaration, operator, views, session.workspace.root))
    if not selection.adopt:
        blockers += tuple(_in_the_way(changes, views, contexts))
    blockers += tuple(_not_ours(declaration, views))
    blockers += tuple(of_finding(one) for one in findings if one.level == "error")
    facts = {name: view.facts for name, view in views.items()}
    lacking = resolver.check(changes, facts)
    blockers += tuple(of_error("artifact", error) for error in lacking)
    blockers += tuple(guards.missing_inputs(changes, declaration, views))
    blockers += tuple(guards.quorum(cluster, changes, declaration, (failures or {}).keys()))
    if found_state.etcd == "initialized":
        blockers += tuple(peers_down(session, changes, declaration, views))
    return Plan(
        cluster=cluster,
        selection=selection,
        state=resolved,
        serves=found_state.etcd == "initialized",
        declaration=declaration,
        views=views,
        contexts=contexts,
        blockers=blockers,
        to_make=kept.to_make,
        to_get=_to_get(changes, contexts),
        changes=tuple(changes),
        operator=operator,
        now=now,
        failures=failures or {},
        findings=(
            *(one for one in findings if one.level != "error"),
            *own_findings(declaration, operator, now),
            *open_to_others(session.workspace, declaration, operator),
            *_doubtful_journals(views),
            *_come_back(cluster, found_state),
        ),
        delivery=None if lacking else resolver.delivery(changes, facts),
    )


def check_workspace(
    declaration: Declaration,
    values: Mapping[str, bytes],
    phases: Sequence[str],
    now: datetime,
    again: Collection[str] = frozenset(),
) -> WorkspaceFiles:
    """Holds the workspace against the declaration, dependencies first. What is named in `again` is made in any case."""
    kept = dict(values)
    to_make: list[WorkspaceChange] = []
    for phase, local in declaration.local:
        if phase not in phases:
            continue
        try:
            why = local.differences(kept, now)
        except ValueError as error:
            why = [str(error)]
        if local.path in again:
            why = why or ["is to be made again"]
        if why:
            to_make.append(WorkspaceChange(phase, local, tuple(why)))
            kept.pop(local.path, None)
            with contextlib.suppress(KeyError, ValueError):  # what is wrong with it is a blocker
                if local.copied:
                    kept[local.path] = local.make(kept, now)
    return WorkspaceFiles(kept, tuple(to_make))


def open_to_others(workspace: Workspace, declaration: Declaration, values: Mapping[str, bytes]) -> Iterator[Finding]:
    """Files of the workspace that hold a secret, declared or not, and which more people can read than their owner."""
    secret = {local.path for _, local in declaration.local if local.mode == 0o600}
    for name, content in values.items():
        mode = workspace.mode(name)
        if (name in secret or b"PRIVATE KEY-----" in content) and mode is not None and mode & 0o077:
            path = workspace.path_of(name)
            yield Finding(
                OPERATOR,
                "workspace-mode",
                f"{path} has mode {mode:04o}: others on this computer may read what is secret in it",
                shlex.join(["chmod", "600", str(path)]),
                "warning",
            )


def _doubtful_journals(views: Mapping[str, View]) -> Iterator[Finding]:
    for name, view in views.items():
        if view.journal.damage:
            yield Finding(
                name,
                "journal-damaged",
                f"its journal, {journal.PATH}, is damaged: {view.journal.damage}",
                "hardway init writes it again, with all that is there as declared",
                "warning",
            )
        strange = [key for key in view.journal.entries if not is_ours(key)]
        if strange:
            yield Finding(
                name,
                "journal-stranger",
                f"its journal names what hardway puts nowhere, which is left alone: {', '.join(strange)}",
                f"find out who wrote that: hardway ssh {name} -- ls -l {journal.PATH}",
                "warning",
            )


def _come_back(cluster: Cluster, state: State) -> Iterator[Finding]:
    """Machines that were taken out of the cluster, and which the inventory brings back."""
    for name, day in state.removed.items():
        if name in cluster.by_name:
            yield Finding(
                name,
                "removed-machine",
                f"was removed on {day}; its line is still in the inventory: init adds it again",
                f"take {name} out of {cluster.path}, unless it is to come back",
                "warning",
            )


def make_contexts(values: Mapping[str, bytes], views: Mapping[str, View], resolver: Resolver) -> dict[str, Context]:
    """By machine, what its resources are compared and filled with."""
    arches = {view.facts.arch for view in views.values()}
    accepted = {arch: resolver.accepted(arch) for arch in arches}
    shared = dict(values)
    contexts: dict[str, Context] = {}
    for name, view in views.items():
        known = ChainMap(dict(view.facts.placeholders), shared)
        contexts[name] = Context(name, known, accepted[view.facts.arch], view.journal.entries)
    return contexts


def lint(cluster: Cluster, declaration: Declaration, values: Mapping[str, bytes], now: datetime) -> tuple[Finding, ...]:
    """Where artifacts would not agree with each other; of certificates that do not stay, the specifications count."""
    setup = declared_setup(cluster, declaration, values, now)
    return tuple(examine(across.RULES, Evidence(cluster, setup=setup)))


def _lint_of_good(
    blockers: Sequence[Blocker], cluster: Cluster, declaration: Declaration, values: Mapping[str, bytes], now: datetime
) -> tuple[Finding, ...]:
    """Nothing of what follows from an operator's CA that is itself wrong: one mistake is one message."""
    return () if any(one.kind == "authority" for one in blockers) else lint(cluster, declaration, values, now)


def blockers_before_contact(
    cluster: Cluster, state: State, selection: Selection, versions: Mapping[str, str], workspace: Workspace
) -> tuple[Blocker, ...]:
    """What speaks against a run before any machine is contacted: an address that is not the cluster's may be somebody
    else's. All of it is in the plan, too.
    """
    values = workspace.values()
    resolved, blockers = guards.resolve_state(cluster, state, selection)
    declaration = declare(Model(cluster, resolved, versions))
    now = datetime.now(UTC)
    kept = check_workspace(declaration, values, selection.phases, now, selection.again)
    blockers += tuple(own_blockers(kept.wanted, declaration, values, resolved, workspace, now))
    findings = _lint_of_good(blockers, cluster, declaration, kept.values, now)
    return (*blockers, *(of_finding(one) for one in findings if one.level == "error"))


def _in_the_way(
    changes: Sequence[Change], views: Mapping[str, View], contexts: Mapping[str, Context]
) -> Iterator[Blocker]:
    for name, own in by_machine(changes).items():
        paths = conflicts(own, views[name], contexts[name])
        if paths:
            yield Blocker(
                "conflict",
                "files that hardway did not put there are in the way",
                name,
                "\n".join(paths),
                "move them away, or let hardway take them over: --adopt",
                subjects=tuple(paths),
            )


def _not_ours(declaration: Declaration, views: Mapping[str, View]) -> Iterator[Blocker]:
    """What hardway cannot change without changing what is somebody else's."""
    for placed in declaration.placed:
        seen = views[placed.machine].observed.get(placed.resource.key) if placed.machine in views else None
        path = placed.resource.name
        if isinstance(placed.resource, Block) and isinstance(seen, Unknown):
            yield Blocker(
                "damaged-block",
                f"{path}: {seen.why}",
                placed.machine,
                hint=f"put the missing line back, or delete hardway's lines by hand: hardway ssh {placed.machine}",
            )
        if isinstance(placed.resource, Directory) and isinstance(seen, Unknown):
            yield Blocker(
                "link",
                f"{seen.why}: owner and mode of what it points to would change",
                placed.machine,
                hint="remove the link; to keep data on another disk, mount it there (mount --bind, /etc/fstab)",
            )


def _to_get(changes: Sequence[Change], contexts: Mapping[str, Context]) -> tuple[str, ...]:
    lacking: set[str] = set()
    for change in changes:
        binary = change.resource
        if isinstance(binary, Binary) and not contexts[change.machine].accepted.get((binary.file, binary.version)):
            lacking.add(f"{binary.file} {binary.version}")
    return tuple(sorted(lacking))


def _rolls(plan: Plan) -> Iterator[Roll]:
    if not plan.serves:
        return
    for roll in rolls_of(plan.changes, plan.declaration):
        active = [name for name, one in roll.members.items() if _is_active(plan.views.get(name), one.key)]
        order = sorted(roll.restarted, key=lambda name: name in active)
        yield Roll(roll.name, tuple(order), tuple(name for name in active if name not in roll.restarted))


def _is_active(view: View | None, key: str) -> bool:
    seen = view.observed.get(key) if view else None
    return isinstance(seen, Present) and bool(seen.value.is_active)


def declared(cluster: Cluster, state: State) -> tuple[Model, Declaration]:
    """What a run of all phases would declare. Raises ArtifactError for a Kubernetes that is not in the catalogue."""
    releases = releases_for(cluster.kubernetes, cluster.artifacts.versions)
    versions = {name: release.version for name, release in releases.items()}
    model = Model(cluster, state, versions)
    return model, declare(model)


def observe_and_plan(
    session: Session, state: State, selection: Selection, resolver: Resolver, unreached: Mapping[str, HardwayError]
) -> Plan:
    """Looks at every machine of the session with one script, and puts up with those that do not answer."""
    views, failures = observe_each(session, first_declaration(session, state, selection, resolver))
    return make_plan(session, state, selection, resolver, views, {**unreached, **failures})

"""Carries out what the chapters declare: observe, diff, stage, activate chapter by chapter, observe again.

`converge` reads as the table of contents of a run. It goes round until nothing differs any more: a
second time round is ordinary where a first one made something visible (an API that answers now) or
changed the State (an etcd that has formed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from hardway import ledger as ledger_room
from hardway import staging
from hardway.activation import activation, begin, bookkeeping
from hardway.artifacts.store import Store
from hardway.deciding import decided, guard, refuse_lost_keys
from hardway.errors import CommandFailed, NotConverged
from hardway.events import Changed, MachineProgress
from hardway.ledger import Ledger
from hardway.phases import CHAPTER_NAMES
from hardway.phases.base import Model
from hardway.plan import Change, Declaration, View, declare, differences, foreign
from hardway.remote.model import Result, last_lines
from hardway.resources import Context, Local, Present, Service, Unseen
from hardway.resources.files import Stat
from hardway.session import Session, observe, stage
from hardway.state import State, advanced
from hardway.supply import Supply

ROUNDS = 4
ACTIVATION_LIMIT = 900.0
"""Seconds for one chapter on one machine; its own checks give up long before."""


@dataclass(frozen=True)
class Choice:
    """What of a run was asked for: changes are filtered by it, declarations never."""

    chapters: tuple[str, ...] = CHAPTER_NAMES
    machines: frozenset[str] = frozenset()
    adopt: bool = False

    def has(self, change: Change) -> bool:
        return change.chapter in self.chapters and change.machine in self.machines


@dataclass
class Outcome:
    """What a run did, and what it saw last."""

    state: State
    views: dict[str, View]
    declaration: Declaration
    changes: list[Change] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def restarts(self) -> int:
        return sum(change.restarts for change in self.changes)

    @property
    def chapters(self) -> set[str]:
        return {change.chapter for change in self.changes}


def converge(
    session: Session,
    state: State,
    choice: Choice,
    supply: Supply,
    store: Store,
    *,
    check: Callable[[Mapping[str, View]], None] = lambda views: None,
    confirm: Callable[[Sequence[Change]], None] = lambda changes: None,
) -> Outcome:
    """Makes what is chosen as it is declared. The session holds all locks.

    `check` sees the machines before anything changes, `confirm` the changes to a cluster that
    serves; either stops the run by raising. Raises NotConverged when something still differs after
    it was changed, with both values.
    """
    serves = state.etcd == "formed"
    state = decided(state, session.cluster, choice.chapters, choice.machines)
    versions = supply.versions
    declaration = declare(Model(session.cluster, state, versions))
    with stage("observe", session.events):
        views = observe(session, declaration, session.machines)
    check(views)
    # A run that was cut may have left an etcd that formed, and that nobody noted.
    state = _formed(session, guard(session, state, views), declaration, views, ())
    declaration = declare(Model(session.cluster, state, versions))
    outcome = Outcome(state, views, declaration)
    with stage("artifacts", session.events):
        supply.prepare(declaration, {name: view.facts.arch for name, view in views.items()})
    outcome.made = _make_local(session, declaration, views, choice)
    before: dict[tuple[str, str], Change] = {}
    for _ in range(ROUNDS):
        contexts = _contexts(session, views, supply)
        changes = _chosen(declaration, views, contexts, choice)
        if not changes:
            break
        _refuse_repetition(changes, before)
        _refuse_foreign(changes, views, contexts, choice)
        if serves and not before:
            confirm(changes)
        before = {(change.machine, change.key): change for change in changes}
        _begin(session, state, changes, declaration, views, contexts)
        checked = _stage(session, changes, views, contexts, supply, store)
        for chapter, mine in _steps(changes):
            with stage(chapter, session.events):
                activate(session, chapter, mine, declaration, views, contexts)
            if chapter == "etcd":
                state = _formed(session, state, declaration, views, mine)
        outcome.changes += changes
        declaration = declare(Model(session.cluster, state, versions))
        with stage("observe again", session.events):
            touched = {change.machine for change in changes}
            views = {**views, **observe(session, declaration, touched, checked, views)}
    else:
        raise NotConverged(f"still not as declared after {ROUNDS} rounds: {changes[0].key}", machine=changes[0].machine)
    _refuse_unseen(declaration, views, choice)
    outcome.state, outcome.views, outcome.declaration = state, views, declaration
    _keep_books(session, outcome)
    return outcome


def _make_local(session: Session, declaration: Declaration, views: Mapping[str, View], choice: Choice) -> list[str]:
    """Keys, certificates and kubeconfigs in the operator's workspace, dependencies first."""
    values = session.workspace.values()
    now = datetime.now(UTC)
    made: list[str] = []
    for chapter, local in declaration.local:
        if chapter not in choice.chapters:
            continue
        why = local.differences(values, now)
        if not why:
            continue
        refuse_lost_keys(local, declaration, views, session.workspace.root)
        values[local.path] = _made(local, values, now)
        session.workspace.write(local.path, values[local.path], local.mode)
        session.events(Changed("operator", chapter, local.path, "make", "; ".join(why)))
        made.append(local.path)
    return made


def _made(local: Local, values: Mapping[str, bytes], now: datetime) -> bytes:
    try:
        return local.make(values, now)
    except (KeyError, ValueError) as error:
        raise NotConverged(
            f"{local.path} cannot be made yet: {error}", hint="run the chapters before this one first, or hardway init"
        ) from error


def _contexts(session: Session, views: Mapping[str, View], supply: Supply) -> dict[str, Context]:
    values = session.workspace.values()
    return {
        name: Context(
            machine=name,
            values={**values, **view.facts.holes},
            accepted=supply.accepted(view.facts.arch),
            noted=view.ledger.entries,
        )
        for name, view in views.items()
    }


def _chosen(
    declaration: Declaration, views: Mapping[str, View], contexts: Mapping[str, Context], choice: Choice
) -> list[Change]:
    found = []
    for name, view in views.items():
        found += differences(declaration.on(name), view, contexts[name], choice.has)
    return found


def _steps(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    """The chapters in their order; before the first, from the last to the first, what is no longer declared and runs.

    A unit stops before its files go, and they may be another chapter's.
    """
    stopping = [one for one in changes if one.resource is None and one.key.startswith("service:")]
    rest = [one for one in changes if one not in stopping]
    order = [(name, stopping) for name in reversed(CHAPTER_NAMES)] + [(name, rest) for name in CHAPTER_NAMES]
    found = ((name, [one for one in some if one.chapter == name]) for name, some in order)
    return [(name, mine) for name, mine in found if mine]


def _stage(
    session: Session,
    changes: Sequence[Change],
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
    supply: Supply,
    store: Store,
) -> dict[str, dict[tuple[int, int], str]]:
    """Everything that all chosen chapters need goes to every machine before anything there changes."""
    by_machine = _by_machine(changes)
    blobs = supply.blobs(changes, {name: view.facts.arch for name, view in views.items()})

    def send(name: str) -> dict[tuple[int, int], str]:
        session.events(MachineProgress(name, "stage", "running"))
        checked = staging.stage(session, name, by_machine[name], views[name], contexts[name], blobs, store)
        session.events(MachineProgress(name, "stage", "done"))
        return checked

    with stage("stage", session.events):
        sent: dict[str, dict[tuple[int, int], str]] = session.each(by_machine, send)
    return sent


def activate(
    session: Session,
    chapter: str,
    changes: Sequence[Change],
    declaration: Declaration,
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
) -> None:
    """One chapter everywhere: one by one in a group that serves, all together otherwise."""
    by_machine = _by_machine(changes)

    def carry_out(name: str) -> None:
        session.events(MachineProgress(name, chapter, "running"))
        script = activation(by_machine[name], views[name], contexts[name])
        result = session.run(name, script, what=chapter, timeout=ACTIVATION_LIMIT, check=False)
        if result.code != 0:
            raise _failed(name, chapter, result)
        for change in by_machine[name]:
            session.events(Changed(name, chapter, change.key, change.difference.verb, change.difference.why))
        session.events(MachineProgress(name, chapter, "done"))

    roll = _rolling(session, changes, declaration)
    session.each([name for name in by_machine if name not in roll], carry_out)
    for name in roll:
        # A member that does not come back raises here: the others stay as they are, and serve.
        carry_out(name)


def _rolling(session: Session, changes: Sequence[Change], declaration: Declaration) -> list[str]:
    """Machines to take one by one, the sick first; empty where their group does not serve."""
    restarted = [one for one in changes if isinstance(one.resource, Service) and one.resource.group and one.restarts]
    if not restarted:
        return []
    assert isinstance(restarted[0].resource, Service)
    group = restarted[0].resource.group
    members = {
        one.machine: one.resource
        for one in declaration.placed
        if isinstance(one.resource, Service) and one.resource.group == group and one.machine in session.machines
    }
    healthy = {
        name
        for name, well in session.each(members, lambda name: _healthy(session, name, members[name])).items()
        if well
    }
    everywhere = sum(
        1 for one in declaration.placed if isinstance(one.resource, Service) and one.resource.group == group
    )
    quorum = everywhere // 2 + 1 if restarted[0].resource.quorum else 1
    if len(healthy) < quorum:
        return []
    names = [change.machine for change in restarted]
    return sorted(dict.fromkeys(names), key=lambda name: name in healthy)


def _healthy(session: Session, name: str, service: Service) -> bool:
    if service.ready is None:
        return True
    script = f"systemctl is-active --quiet {service.unit}\n{service.ready.script}\n"
    code = session.run(name, script, what=f"is {service.unit} well", check=False).code
    return code == 0


def _failed(name: str, chapter: str, result: Result) -> CommandFailed:
    """The step that failed is the last that the script named."""
    begun = [line[1:] for line in result.text.splitlines() if line.startswith("@")]
    return CommandFailed(
        f"{chapter} stopped at {begun[-1] if begun else 'its first step'} (status {result.code})",
        machine=name,
        said=last_lines(result.stderr, 20),
        hint="mend the cause, then run the same command again: it goes on from here",
    )


def _formed(
    session: Session, state: State, declaration: Declaration, views: Mapping[str, View], changes: Sequence[Change]
) -> State:
    """Notes, as soon as every member has been seen ready, that this etcd must never be initialised again."""
    members = {one.machine for one in declaration.placed if one.resource.key == "service:etcd.service"}
    started = {one.machine for one in changes if one.key == "service:etcd.service" and one.restarts}
    running = {
        name
        for name in members & views.keys()
        if isinstance(seen := views[name].observed["service:etcd.service"], Present) and seen.value.is_active
    }
    if state.etcd != "begun" or members - started - running:
        return state
    state = advanced(state, etcd="formed")
    session.workspace.save_state(state)
    return state


def _begin(
    session: Session,
    state: State,
    changes: Sequence[Change],
    declaration: Declaration,
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
) -> None:
    """The State and all intents go to the workspace and to the machines before anything acts upon them."""
    session.workspace.save_state(state)
    by_machine = _by_machine(changes)

    def note(name: str) -> None:
        script = begin(state.to_json(), by_machine[name], declaration.on(name), views[name], contexts[name])
        session.run(name, script, what="note the intents")

    session.each(by_machine, note)


def _keep_books(session: Session, outcome: Outcome) -> None:
    text = outcome.state.to_json()
    session.workspace.save_state(outcome.state)
    touched = {change.machine for change in outcome.changes}

    def keep(name: str) -> None:
        view = outcome.views[name]
        session.run(
            name, bookkeeping(ledger_room.written(_settled(view.ledger), _stats(view)), text), what="keep the books"
        )

    stale = {
        name
        for name, view in outcome.views.items()
        if view.hashed or view.ledger.open or not _is_current(view.state_text, outcome.state)
    }
    session.each([name for name in outcome.views if name in touched | stale], keep)


def _is_current(text: str, state: State) -> bool:
    # What was proved is the operator's note: it is no reason to write to a machine.
    return bool(text) and replace(State.from_json(text, "state.json"), proved=state.proved) == state


def _settled(ledger: Ledger) -> Ledger:
    # Everything was observed to be as declared, so nothing is half done any more.
    return replace(ledger, open=frozenset())


def _stats(view: View) -> list[tuple[str, list[object], str]]:
    return [
        (key.partition(":")[2], seen.value.identity, seen.value.digest)
        for key, seen in view.observed.items()
        if isinstance(seen, Present) and isinstance(seen.value, Stat) and seen.value.digest
    ]


def _refuse_repetition(changes: Sequence[Change], before: Mapping[tuple[str, str], Change]) -> None:
    """What was made good a moment ago and differs again will not become better by trying on."""
    for change in changes:
        earlier = before.get((change.machine, change.key))
        if earlier and earlier.difference == change.difference:
            difference = change.difference
            raise NotConverged(
                f"{change.key} still differs after it was changed: {difference.why}",
                machine=change.machine,
                said=f"there: {difference.before or '(nothing)'}\nwanted: {difference.after or '(as declared)'}",
                hint="something else on that machine changes it too; find it, then run this again",
            )


def _refuse_foreign(
    changes: Sequence[Change], views: Mapping[str, View], contexts: Mapping[str, Context], choice: Choice
) -> None:
    if choice.adopt:
        return
    for name in {change.machine for change in changes}:
        paths = foreign([change for change in changes if change.machine == name], views[name], contexts[name])
        if paths:
            raise NotConverged(
                "files that hardway did not put there are in the way",
                machine=name,
                said="\n".join(paths),
                hint="move them away, or let hardway take them over: --adopt",
            )


def _refuse_unseen(declaration: Declaration, views: Mapping[str, View], choice: Choice) -> None:
    for one in declaration.placed:
        if one.machine not in choice.machines or one.chapter not in choice.chapters or one.machine not in views:
            continue
        seen = views[one.machine].observed.get(one.resource.key)
        if isinstance(seen, Unseen):
            raise NotConverged(
                f"{one.resource.key} could not be looked at",
                machine=one.machine,
                said=seen.why,
                hint=f"hardway {one.chapter}",
            )


def _by_machine(changes: Sequence[Change]) -> dict[str, list[Change]]:
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.machine, []).append(change)
    return groups

"""What `init`, `apply`, a chapter, `preflight` and `reset` have in common: open, lock, do, tell."""

from __future__ import annotations

import contextlib
import getpass
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from hardway.artifacts.catalogue import Release, releases_for
from hardway.artifacts.store import Store, default_store
from hardway.cli.closing import next_lines, prove
from hardway.cli.options import Options
from hardway.cli.origins import bundled, chosen_artifacts, go_through_proxy, lock_of, refuse_unlocked, require_served
from hardway.cli.power import hint, hinting
from hardway.cli.site import Site, site
from hardway.console import console, hold, run_log, tee
from hardway.console.printing import ask
from hardway.console.terminal import page_width
from hardway.console.words import typed
from hardway.declare.phases import PHASE_NAMES
from hardway.engine import blockers
from hardway.engine.plan import Plan, blockers_before_contact
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Access, Session, holder, lock, opened
from hardway.errors import HardwayError, UsageError, WorkspaceError
from hardway.events import RunFinished, RunStarted, Sink, discard
from hardway.inventory.model import Cluster
from hardway.operations.apply import Confirm, Incomplete, Request, apply, require_reached
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.preview.page import counts, plan_page
from hardway.preview.plan import preview
from hardway.workspace import Workspace


def shown(options: Options) -> contextlib.AbstractContextManager[Sink]:
    """The console as this run wants it."""
    return console(
        output=options.output,
        verbose=options.verbose,
        stream=sys.stdout,
        error_stream=sys.stderr,
        is_terminal=sys.stdout.isatty(),
        width=None,
    )


@contextlib.contextmanager
def telling(options: Options, workspace: Workspace, command: str) -> Iterator[Sink]:
    """The console and the run's log as one sink."""
    with shown(options) as console_sink, run_log(workspace.root / "logs", command) as log_sink:
        yield tee(console_sink, log_sink)


def access(options: Options, events: Sink) -> Access:
    """How machines are reached; a passphrase or password is asked on the terminal, where there is one."""

    def ask_secret(prompt: str) -> str:
        if not sys.stdin.isatty():
            return ""
        with hold(events):
            return getpass.getpass(prompt)

    return Access(accept_new_host_keys=options.accept_new_host_keys, ask_secret=ask_secret)


def resolver(options: Options, cluster: Cluster, store: Store, events: Sink) -> Resolver:
    """Where a run's files come from; what is got is got through the inventory's proxy."""
    go_through_proxy(cluster)
    bundle = bundled(options, cluster)
    artifacts = chosen_artifacts(options, cluster)
    if artifacts.fetch == "machines" and bundle is None:
        require_served(artifacts)
    return Resolver(
        kubernetes=cluster.kubernetes,
        store=store,
        lock=lock_of(cluster),
        source=artifacts.source,
        mirror=artifacts.mirror,
        require_pinned=options.require_pinned,
        bundle=bundle,
        fetch=artifacts.fetch,
        proxy=cluster.proxy or "",
        ask=_asker(options, events),
        events=events,
        others=cluster.artifacts.versions,
    )


def _asker(options: Options, events: Sink) -> Callable[[str], bool] | None:
    """Who agrees to a build: `--yes`, or the person at the terminal, or nobody."""
    if options.yes:
        return lambda question: True
    may_ask = options.output == "text" and sys.stdin.isatty()
    return (lambda question: confirm(question, events)) if may_ask else None


def confirm(question: str, events: Sink = discard) -> bool:
    """Asks a person at the terminal; the live table is out of the way meanwhile."""
    with hold(events):
        return ask(f"{question} [y/N]").lower() in ("y", "yes")


@contextlib.contextmanager
def changing(
    options: Options,
    here: Site,
    command: str,
    phases: Sequence[str],
    unreached: dict[str, HardwayError] | None = None,
) -> Iterator[Session]:
    """Connections to the chosen machines by which they may be changed: all locks are held, a log is written.

    Raises where one does not answer; with `unreached` that is noted there, and the session has the others.
    """
    names = tuple(machine.name for machine in here.chosen)
    here.workspace.create()
    with (
        hinting(here.cluster),
        here.workspace.lock(holder(command)),
        telling(options, here.workspace, command) as events,
    ):
        require_current(here)
        events(RunStarted(command, here.cluster.name, names, tuple(phases)))
        with opened(
            here.cluster,
            here.workspace,
            here.chosen,
            access=access(options, events),
            events=events,
            forks=options.forks,
            deep=options.deep,
            unreached=unreached,
        ) as session:
            lock(session, holder(command))
            yield session


def require_current(here: Site) -> None:
    """Raises WorkspaceError where another run has ended since the State was read, while a question stood, say."""
    known = here.workspace.load_state()
    if known is not None and known.generation != here.generation:
        raise WorkspaceError(
            "another run has changed the cluster since this one began, so what this one would do may be wrong now",
            said="nothing was changed",
            hint="give the same command again",
        )


def run(options: Options, command: str, phases: Sequence[str], *, whole: bool) -> None:
    """Applies phases. `whole`: preflight before and the smoke test after, as `init` does."""
    here = site(options)
    names = [machine.name for machine in here.chosen]
    selection = Selection(tuple(phases), frozenset(names), BOOTSTRAP, options.adopt)
    bundled(options, here.cluster)
    refuse_unlocked(options, here.cluster)
    if "smoke-test" in phases and not (whole or here.everywhere):
        raise UsageError("the smoke test needs all machines", hint="leave out --limit")
    versions = {name: release.version for name, release in _releases(here.cluster).items()}
    blockers.require(blockers_before_contact(here.cluster, here.state, selection, versions, here.workspace))
    started = time.monotonic()
    again = typed(_again(options, command, phases), options.given)
    unreached: dict[str, HardwayError] = {}
    with changing(options, here, command, phases, unreached) as session:
        hint(here.cluster, unreached.values())
        reached = require_reached(session.machines, unreached, again, skip=options.skip_unreachable)
        selection = replace(selection, machines=frozenset(reached))
        store = default_store()
        wanted = resolver(options, here.cluster, store, session.events)
        request = Request(again, selection, whole=whole, agreed=options.yes, expected=options.expect)
        outcome = apply(
            session,
            here.state,
            request,
            wanted,
            store,
            skipped=unreached if options.skip_unreachable else None,
            confirm=asks(options, session, names, wanted),
        )
        everywhere = here.everywhere and not outcome.skipped
        # A cluster that was proved as it stands needs no second proof; a run for one chapter asks always.
        if not whole or outcome.changes or outcome.state.smoke_tested < outcome.state.generation:
            prove(session, here, outcome, phases, wanted.versions, whole=whole, everywhere=everywhere)
        if outcome.skipped:
            raise Incomplete(outcome.skipped, again)
        following = next_lines(here.workspace, wanted, store)
        changed = len(outcome.changes) + len(outcome.made) + outcome.adopted
        session.events(RunFinished(True, changed, outcome.restarts, time.monotonic() - started, following))


def _again(options: Options, command: str, phases: Sequence[str]) -> str:
    """The command that was given, without what was only for this once."""
    words = ["hardway", command]
    if command == "apply":
        words += phases if len(phases) < len(PHASE_NAMES) - 1 else []
    elif command == "init" and len(phases) < len(PHASE_NAMES):
        words += ["--from", phases[0], "--to", phases[-1]]
    words += ["-l", options.limit] if options.limit else []
    words += ["--adopt"] if options.adopt else []
    return shlex.join(words)


def _releases(cluster: Cluster) -> Mapping[str, Release]:
    return releases_for(cluster.kubernetes, cluster.artifacts.versions)


def asks(options: Options, session: Session, names: Sequence[str], wanted: Resolver) -> Confirm | None:
    """Shows the plan with its diffs on a terminal, and asks; None where there is none."""
    if options.output == "json" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return None

    def agrees(plan: Plan) -> bool:
        question = "Make these changes to the running cluster?"
        return confirm("\n".join([*plan_lines(options, session, plan, names, wanted), question]), session.events)

    return agrees


def plan_lines(options: Options, session: Session, plan: Plan, names: Sequence[str], wanted: Resolver) -> list[str]:
    """The lines of a plan with its diffs, as they come before a question."""
    shown_plan = preview(session, plan, names, wanted.lock.entries())
    width, verbose = page_width(), options.verbose > 0
    lines = plan_page(shown_plan, seconds=0, width=width, verbose=verbose, following=False)
    return [*lines, "", counts(shown_plan)]


def span(first: str | None, last: str | None) -> tuple[str, ...]:
    """The chapters from one to another, both included. Raises UsageError for names that are none."""
    for name in (first, last):
        if name is not None and name not in PHASE_NAMES:
            raise UsageError(f"no chapter is named {name!r}", hint=f"one of: {', '.join(PHASE_NAMES)}")
    start = PHASE_NAMES.index(first) if first else 0
    end = PHASE_NAMES.index(last) if last else len(PHASE_NAMES) - 1
    if start > end:
        raise UsageError(f"{first} comes after {last}", hint="exchange --from and --to")
    return PHASE_NAMES[start : end + 1]


def chapters_named(words: Sequence[str]) -> tuple[str, ...]:
    """The chapters of these names, in their order. Raises UsageError for a name that is none."""
    for word in words:
        span(word, word)
    return tuple(name for name in PHASE_NAMES if name in words)

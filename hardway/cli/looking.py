"""Connections by which a command looks: it takes no lock, and writes nothing."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

from hardway.artifacts.store import default_store
from hardway.cli.chapters import SUMMARIES
from hardway.cli.options import Options
from hardway.cli.power import hint
from hardway.cli.running import access, chapters_named, resolver
from hardway.cli.site import Site, site
from hardway.console import console
from hardway.engine.plan import Plan, observe_and_plan
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session, opened
from hardway.errors import HardwayError
from hardway.events import Sink, discard
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.preview.plan import Preview, preview
from hardway.workspace import Workspace


@dataclass(frozen=True)
class Looking:
    """A cluster that is looked at: nobody's lock is taken, no log is written."""

    here: Site
    resolver: Resolver
    session: Session
    unreached: dict[str, HardwayError]
    phases: tuple[str, ...]
    began: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began


@contextlib.contextmanager
def looking(options: Options, phases: Sequence[str] | None) -> Iterator[Looking]:
    """Connections to the chosen machines; those that do not answer are noted. With -vv the commands on stderr."""
    began = time.monotonic()
    # The smoke test is of all machines or of none.
    everything = [name for name in SUMMARIES if name != "smoke-test" or not options.limit]
    selected = chapters_named(phases or everything)
    here = site(options)
    unreached: dict[str, HardwayError] = {}
    with contextlib.ExitStack() as stack:
        events = stack.enter_context(_commands(options))
        workspace = stack.enter_context(_reading(here.workspace, options))
        session = stack.enter_context(
            opened(
                here.cluster,
                workspace,
                here.chosen,
                access=access(options, events),
                events=events,
                forks=options.forks,
                deep=options.deep,
                unreached=unreached,
            )
        )
        hint(here.cluster, unreached.values())
        wanted = resolver(options, here.cluster, default_store(), events)
        yield Looking(here, wanted, session, unreached, selected, began)


@contextlib.contextmanager
def at_controllers(options: Options) -> Iterator[Looking]:
    """The same, of controllers alone: any of them speaks for the cluster. Raises where none answers."""
    with looking(replace(options, limit="controller"), None) as look:
        if not look.session.machines:
            raise next(iter(look.unreached.values()))
        yield look


@contextlib.contextmanager
def _commands(options: Options) -> Iterator[Sink]:
    if options.verbose < 2:
        yield discard
        return
    with console(
        output="text",
        verbose=options.verbose - 1,
        stream=sys.stderr,
        error_stream=sys.stderr,
        is_terminal=False,
        width=None,
    ) as sink:
        yield sink


@contextlib.contextmanager
def _reading(workspace: Workspace, options: Options) -> Iterator[Workspace]:
    """The workspace; host keys that are accepted while looking are forgotten again."""
    if not options.accept_new_host_keys:
        yield workspace
        return
    with tempfile.TemporaryDirectory(prefix="hardway-") as folder:
        aside = Path(folder) / "known_hosts"
        if workspace.known_hosts.exists():
            shutil.copy(workspace.known_hosts, aside)

        reading = copy(workspace)
        reading.known_hosts = aside
        yield reading


def observed(look: Looking, *, adopt: bool = False) -> tuple[Plan, Preview]:
    """What a run would do, as the value that it would execute and as it is shown."""
    names = [machine.name for machine in look.here.chosen]
    selection = Selection(look.phases, frozenset(names), BOOTSTRAP, adopt)
    plan = observe_and_plan(look.session, look.here.state, selection, look.resolver, look.unreached)
    return plan, preview(look.session, plan, names, look.resolver.lock.entries())

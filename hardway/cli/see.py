"""`plan`, `verify`, `render` and `status`: they look, and write nothing."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hardway.cli import options as opt
from hardway.cli.chapters import SUMMARIES
from hardway.cli.options import Options, flags

if TYPE_CHECKING:
    from hardway.cli.site import Site
    from hardway.engine.planner import Plan
    from hardway.engine.resolver import Resolver
    from hardway.engine.session import Session
    from hardway.errors import HardwayError
    from hardway.events import Sink
    from hardway.preview.plan import Preview
    from hardway.verify.agreement import Agreement

Chapters = Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]…", autocompletion=opt.complete_phases)]


def register(app: typer.Typer, panel: str) -> None:
    """Adds `plan` and `render` to the tree, below their heading."""
    app.command(rich_help_panel=panel)(plan)
    app.command(rich_help_panel=panel)(render)


def register_checks(app: typer.Typer, panel: str) -> None:
    """Adds `verify` and `status`."""
    app.command(rich_help_panel=panel)(verify)
    app.command(rich_help_panel=panel)(status)


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
    from hardway.artifacts.store import default_store
    from hardway.cli.power import hint
    from hardway.cli.running import access, resolver, span
    from hardway.cli.site import site
    from hardway.engine.session import opened

    began = time.monotonic()
    # The smoke test is of all machines or of none.
    everything = [name for name in SUMMARIES if name != "smoke-test" or not options.limit]
    wanted_chapters = {one for word in phases or everything for one in span(word, word)}
    named = tuple(name for name in SUMMARIES if name in wanted_chapters)
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
        yield Looking(here, wanted, session, unreached, named, began)


@contextlib.contextmanager
def _commands(options: Options) -> Iterator[Sink]:
    from hardway.console import console
    from hardway.events import discard

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
def _reading(workspace: Any, options: Options) -> Iterator[Any]:
    """The workspace; host keys that are accepted while looking are forgotten again."""
    import shutil
    import tempfile

    from hardway.workspace import Workspace

    if not options.accept_new_host_keys:
        yield workspace
        return
    with tempfile.TemporaryDirectory(prefix="hardway-") as folder:
        aside = Path(folder) / "known_hosts"
        if workspace.known_hosts.exists():
            shutil.copy(workspace.known_hosts, aside)

        class Reading(Workspace):
            known_hosts = aside

        yield Reading(workspace.root)


def observed(look: Looking, *, adopt: bool = False) -> tuple[Plan, Preview]:
    """What a run would do, as the value that it would execute and as it is shown."""
    from hardway.engine.planner import Selection, observe_and_plan
    from hardway.preview.plan import preview

    names = [machine.name for machine in look.here.chosen]
    selection = Selection(look.phases, frozenset(names), adopt)
    plan = observe_and_plan(look.session, look.here.state, selection, look.resolver, look.unreached)
    return plan, preview(look.session, plan, names, look.resolver.lock.entries())


@flags("deep", "adopt", *opt.REACHING, *opt.GETTING)
def plan(options: Options, phases: Chapters = None) -> None:
    """What would init or apply do? Looks at every machine, writes nothing anywhere. Status 3: it differs."""
    from hardway.console.terminal import page_width
    from hardway.console.words import typed
    from hardway.preview.page import command, plan_page

    with looking(options, phases) as look:
        _, found = observed(look, adopt=options.adopt)
    if options.output == "json":
        does = typed(command(found), options.given) if command(found) else ""
        print(json.dumps({**found.to_json(), "command": does}, indent=1))
    else:
        width, verbose = page_width(), options.verbose > 0
        page = plan_page(found, seconds=look.seconds, width=width, verbose=verbose, inventory=options.given)
        print("\n".join(page))
    sys.exit(found.exit_code)


@flags("deep", *opt.REACHING)
def verify(
    options: Options,
    phases: Chapters = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no machine: do the artifacts agree with each other?")
    ] = False,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="The same of machines that somebody set up by hand, wholly or half-way")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="With --by-hand: certificates and kubeconfigs on this computer"),
    ] = None,
) -> None:
    """Is it as declared, and does it hold? Asks every proof, changes nothing. Status 3: it differs."""
    _fitting(phases, by_hand, folder)
    if by_hand:
        _by_hand(options, folder, offline=offline)
    if offline:
        _agreement(options)
    from hardway.console.terminal import page_width
    from hardway.verify.page import verify_page
    from hardway.verify.verification import verified

    with looking(options, phases) as look:
        survey, plan = observed(look)
        found = verified(look.session, survey, plan)
    if options.output == "json":
        print(json.dumps(found.to_json(), indent=1))
    else:
        width, verbose = page_width(), options.verbose > 0
        page = verify_page(found, seconds=look.seconds, width=width, verbose=verbose, inventory=options.given)
        print("\n".join(page))
    sys.exit(found.exit_code)


def _fitting(phases: Sequence[str] | None, by_hand: bool, folder: Path | None) -> None:
    """Raises UsageError for chapters that are none, and for a folder that nobody would look into."""
    from hardway.cli.running import span
    from hardway.errors import UsageError

    for name in phases or ():
        span(name, name)
    if folder is not None and not by_hand:
        raise UsageError("--folder goes with --by-hand", hint=f"hardway verify --by-hand --folder {folder}")


def _agreement(options: Options) -> NoReturn:
    """`verify --offline`: the rules across artifacts, and nothing else."""
    from hardway.cli.site import site
    from hardway.verify.agreement import offline

    began = time.monotonic()
    here = site(options, lab_must_run=False)
    found = offline(here.cluster, here.state, here.workspace.values(), renewing=False)
    _tell(options, found, time.monotonic() - began)


def _by_hand(options: Options, folder: Path | None, *, offline: bool) -> NoReturn:
    """`verify --by-hand`; with `--offline` of a folder alone."""
    from hardway.cli.site import site
    from hardway.errors import UsageError
    from hardway.verify.agreement import judge
    from hardway.verify.by_hand import set_up_by_hand

    if offline and folder is None:
        raise UsageError("--by-hand without machines needs a folder", hint="--folder DIR, or leave out --offline")
    began = time.monotonic()
    if offline:
        cluster = site(options, lab_must_run=False).cluster
        setup, gone = set_up_by_hand(None, folder, {})
    else:
        with looking(options, None) as look:
            cluster = look.here.cluster
            setup, gone = set_up_by_hand(look.session, folder, look.unreached)
    words = ["hardway verify --by-hand", *(["--offline"] if offline else [])]
    words += ["--folder", shlex.quote(str(folder))] if folder else []
    _tell(options, judge(cluster, setup, gone), time.monotonic() - began, again=" ".join(words))


def _tell(options: Options, found: Agreement, seconds: float, again: str = "") -> NoReturn:
    from hardway.console.terminal import page_width
    from hardway.errors import DIFFERS, FAILED, OK
    from hardway.verify.rules_page import rules_page

    if options.output == "json":
        print(json.dumps(found.to_json(), indent=1))
    else:
        width, verbose = page_width(), options.verbose > 0
        page = rules_page(found, seconds=seconds, width=width, verbose=verbose, inventory=options.given, again=again)
        print("\n".join(page))
    sys.exit(FAILED if found.unobserved else DIFFERS if found.errors else OK)


@flags(*opt.REACHING)
def status(options: Options) -> None:
    """How is it? Machines, etcd, API servers, nodes, certificates and drift on one screen."""
    from hardway.console.terminal import page_width
    from hardway.errors import FAILED, OK
    from hardway.status.page import status_page
    from hardway.status.status import status as ask

    with looking(options, None) as look:
        survey, plan = observed(look)
        found = ask(look.session, survey, plan)
    if options.output == "json":
        print(json.dumps(found.to_json(), indent=1))
    else:
        print("\n".join(status_page(found, seconds=look.seconds, width=page_width())))
    sys.exit(OK if found.well else FAILED)


@flags(*opt.EVERY)
def render(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New, empty, or written by this command before")],
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Private keys and tokens, too")] = False,
) -> None:
    """Every artifact of every machine as a tree DIR/MACHINE/path. Asks no machine."""
    from hardway.cli.site import site
    from hardway.console.words import counted
    from hardway.engine.planner import declared
    from hardway.preview.tree import listed, tree, write_tree

    here = site(options, lab_must_run=False)
    _, declaration = declared(here.cluster, here.state)
    artifacts = tree(declaration, here.workspace.values(), with_secrets=with_secrets)
    write_tree(folder, artifacts)
    if options.output == "json":
        print(json.dumps(asdict(listed(folder, artifacts)), indent=1))
        return
    waiting = sum(bool(one.unknown) for one in artifacts)
    print(f"{counted(len(artifacts), 'artifact')} of {counted(len(here.cluster.machines), 'machine')} in {folder}/")
    if waiting:
        print(f"{waiting} of them have placeholders ⟦…⟧ for what is secret or not known yet; {folder}/INDEX lists them")

"""`certs renew`: issue certificates again, and take them to where they are used."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from hardway.artifacts.store import default_store
from hardway.certificates.renewal import CUTS_STREAMS, await_shown, renewal
from hardway.cli import options as opt
from hardway.cli.chapters import SUMMARIES
from hardway.cli.closing import prove
from hardway.cli.options import Options, flags
from hardway.cli.power import hint
from hardway.cli.running import asks, changing, resolver
from hardway.cli.site import site
from hardway.console.words import typed
from hardway.engine import blockers
from hardway.engine.plan import blockers_before_contact, declared
from hardway.engine.selection import Selection
from hardway.engine.session import timed
from hardway.errors import HardwayError, UsageError
from hardway.events import Note, RunFinished
from hardway.operations.apply import Incomplete, Request, apply, require_reached
from hardway.operations.etcd_bootstrap import BOOTSTRAP

app = typer.Typer(add_completion=False)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="As certs check calls them; 'etcd/*'")]
All = Annotated[bool, typer.Option("--all", help="All but CAs, due or not")]
NewKey = Annotated[bool, typer.Option("--new-key", help="With a new key each; else for the old one")]


@app.command("renew")
@flags("yes", *opt.REACHING, "expect", "skip_unreachable")
def renew(options: Options, names: Names = None, everything: All = False, new_key: NewKey = False) -> None:
    """Issue again what is due, or named, and bring it to its machines: over SSH, also when all have expired."""
    if names and everything:
        raise UsageError("--all leaves no name to choose", hint="leave out one of them")
    started = time.monotonic()
    here = site(options)
    if here.state.etcd == "absent":
        raise HardwayError("there is no cluster yet, and nothing to renew", hint=typed("hardway init", options.given))
    model, declaration = declared(here.cluster, here.state)
    values = here.workspace.values()
    wanted = renewal(declaration, values, datetime.now(UTC), names or (), everything=everything, new_key=new_key)
    phases = tuple(name for name in SUMMARIES if name != "smoke-test")
    chosen = [machine.name for machine in here.chosen]
    selection = Selection(phases, frozenset(chosen), BOOTSTRAP, renewal=wanted)
    blockers.require(blockers_before_contact(here.cluster, here.state, selection, model.versions, here.workspace))
    again = typed(_again(options, names or (), everything, new_key), options.given)
    unreached: dict[str, HardwayError] = {}
    with changing(options, here, "certs renew", phases, unreached) as session:
        hint(here.cluster, unreached.values())
        reached = require_reached(session.machines, unreached, again, skip=options.skip_unreachable)
        store = default_store()
        resolved = resolver(options, here.cluster, store, session.events)
        selection = replace(selection, machines=frozenset(reached))
        outcome = apply(
            session,
            here.state,
            Request(again, selection, agreed=options.yes, expected=options.expect),
            resolved,
            store,
            skipped=unreached if options.skip_unreachable else None,
            confirm=asks(options, session, chosen, resolved),
        )
        if CUTS_STREAMS in outcome.made:
            session.events(Note("within five minutes API servers close the streams of kubectl exec and logs -f"))
        with timed("until all are shown", session.events):
            await_shown(session, outcome.state, outcome.declaration)
        everywhere = here.everywhere and not outcome.skipped
        prove(session, here, outcome, phases, resolved.versions, whole=False, everywhere=everywhere)
        if outcome.skipped:
            raise Incomplete(outcome.skipped, typed("hardway init", options.given))
        changed = len(outcome.changes) + len(outcome.made)
        session.events(RunFinished(True, changed, outcome.restarts, time.monotonic() - started, ()))


def _again(options: Options, names: list[str] | tuple[()], everything: bool, new_key: bool) -> str:
    words = ["hardway", "certs", "renew", *names]
    words += ["--all"] if everything else []
    words += ["--new-key"] if new_key else []
    return shlex.join([*words, *(["-l", options.limit] if options.limit else [])])

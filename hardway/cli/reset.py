"""`reset`: takes away what hardway put on the machines."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.running import changing, confirm
from hardway.cli.site import site
from hardway.engine.plan import declared
from hardway.engine.reset import reset as take_away
from hardway.errors import UsageError
from hardway.events import RunFinished

app = typer.Typer(add_completion=False)

Unnamed = Annotated[
    bool, typer.Option("--adopt", help="Delete also what the inventory declares and a machine's journal does not name")
]


@app.command()
@flags("yes", *opt.REACHING)
def reset(options: Options, *, adopt: Unnamed = False) -> None:
    """Take away what hardway put on the machines, and nothing else. The cluster's data goes with it.

    To take one machine out of a cluster that runs on: hardway node remove NAME.
    """
    # What a machine that was taken out still holds is taken away by name.
    here = site(options, listed=options.limit is not None)
    names = ", ".join(machine.name for machine in here.chosen)
    question = f"Reset {names}: the cluster {here.cluster.name} and all its data there are lost. Go on?"
    may_ask = options.output == "text" and sys.stdin.isatty()
    if not options.yes and not (may_ask and confirm(question)):
        raise UsageError("nothing was reset", hint="--yes, if the data is not needed")
    started = time.monotonic()
    with changing(options, here, "reset", ("reset",)) as session:
        undone = take_away(session, declared(here.cluster, here.state)[1], adopt=adopt)
        if here.everywhere:
            here.workspace.forget_state()
        session.events(RunFinished(True, undone, 0, time.monotonic() - started, ("hardway init",)))

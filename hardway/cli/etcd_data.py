"""`etcd status` and `etcd snapshot`: what etcd has, and all of it in a file."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.looking import at_controllers
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.console.words import size
from hardway.errors import FAILED, OK
from hardway.operations.etcd_snapshot import snapshot
from hardway.probe import control
from hardway.status.page import etcd_page
from hardway.status.status import status_of_etcd

app = typer.Typer(add_completion=False)
FLAGS = (*opt.EVERY, "forks", "accept_new_host_keys")


@app.command("status")
@flags(*FLAGS)
def status(options: Options) -> None:
    """Members, who leads, sizes, revision and alarms. Status 1: a member does not serve, or raised an alarm."""
    with at_controllers(options) as look:
        session, questions = look.session, (control.STATUS, control.MEMBERS)
        answers = session.each(session.machines, lambda name: session.ask(name, questions, what="ask etcd how it is"))
        found = status_of_etcd(session.cluster, answers)
    if options.output == "json":
        print_json(asdict(found))
    else:
        print_text("\n".join(etcd_page(found)))
    well = found.leader and all(one.serving is not False and not one.alarms for one in found.members)
    sys.exit(OK if well else FAILED)


@app.command("snapshot")
@flags(*FLAGS)
def save(
    options: Options, file: Annotated[Path, typer.Argument(metavar="FILE", help="Here; FILE.json says what it is of")]
) -> None:
    """All that etcd remembers, in one file with mode 0600: taken from a follower, and checked.

    Secrets in it are encrypted: keep the workspace, too, which has the key.
    """
    with at_controllers(options) as look:
        made = snapshot(look.session, look.here.state, look.resolver.versions, file)
    if options.output == "json":
        print_json(asdict(made))
    else:
        print_text(
            f"{file}: {size(made.size)}, {made.keys} keys at revision {made.revision}, taken from {made.member}\n"
            f"{file}.json: whose it is; of {', '.join(made.encryption_keys)} in the workspace its Secrets need the key"
        )

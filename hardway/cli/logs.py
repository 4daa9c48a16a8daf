"""`logs`: the journal of a component."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.reach import one_machine, to_machine
from hardway.cli.site import site
from hardway.declare.resources import Service
from hardway.engine.plan import declared
from hardway.errors import UsageError

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.EVERY)
def logs(
    options: Options,
    machine: Annotated[str, typer.Argument(metavar="MACHINE|ROLE", autocompletion=opt.complete_machines)],
    unit: Annotated[
        str | None, typer.Argument(help="A unit such as etcd; default: all that hardway runs there")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines")] = 50,
) -> None:
    """The journal of a component on a machine, or on the first of a role; -o json: as journalctl has it."""
    here = site(options)
    name = one_machine(here, machine)
    placed = declared(here.cluster, here.state)[1].on(name)
    units = [one.resource.unit for one in placed if isinstance(one.resource, Service)]
    if unit:
        wanted = unit if "." in unit else f"{unit}.service"
        if wanted not in units:
            raise UsageError(f"{name} has no unit {wanted} of hardway's", hint=f"one of: {', '.join(units)}")
        units = [wanted]
    command = ["journalctl", "--no-pager", f"--lines={lines}", *(["-f"] if follow else [])]
    command += ["--output=json"] if options.output == "json" else []
    command += [f"--unit={one}" for one in units]
    root = [] if here.cluster.machine(name).ssh.sudo == "never" else ["sudo"]
    os.execvp("ssh", ["ssh", *["-v"] * options.verbose, *to_machine(here, name), *root, *command])

"""`ssh`: a shell on a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.reach import become, one_machine, split_flags, to_machine
from hardway.cli.site import site

app = typer.Typer(add_completion=False)


@app.command(context_settings={"allow_interspersed_args": False})
@flags("inventory", "verbose", "workspace")
def ssh(
    options: Options,
    machine: Annotated[str, typer.Argument(metavar="MACHINE|ROLE", autocompletion=opt.complete_machines)],
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND…]")] = None,
) -> None:
    """A shell on a machine, or one command there; of a role its first machine."""
    inventory, words = split_flags(command or [], options.inventory)
    here = site(replace(options, inventory=inventory), listed=True)
    name = one_machine(here, machine)
    become(["ssh", *["-v"] * options.verbose, *to_machine(here, name), *words])

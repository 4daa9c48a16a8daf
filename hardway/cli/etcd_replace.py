"""`etcd replace`: a lost member of etcd joins again."""

from __future__ import annotations

from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.operating import operate
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.operations import etcd_replace

app = typer.Typer(add_completion=False)


@app.command("replace")
@flags(*opt.OPERATING)
def replace(
    options: Options,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="MACHINE…",
            help="The controllers whose etcd lost its data",
            autocompletion=opt.complete_one_machine,
        ),
    ],
) -> None:
    """Have a controller's etcd join again that lost its data, while a majority serves; shows its stages and asks.

    Its disk was wiped, or the machine was installed again. Where several lost theirs, name them all. If it is
    interrupted, give the same command again.
    """
    here = site(options)
    # A member that is lost makes the next loss worse, so a worker that is down keeps none from coming back.
    operate(options, etcd_replace.operation(here.cluster, *names), here, controllers_suffice=True)

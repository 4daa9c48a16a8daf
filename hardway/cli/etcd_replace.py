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
    name: Annotated[str, typer.Argument(metavar="MACHINE", help="The controller whose etcd lost its data")],
) -> None:
    """Have a controller's etcd join again that lost its data, while all others serve; shows its stages and asks.

    Its disk was wiped, or the machine was installed again. If it is interrupted, give the same command again.
    """
    here = site(options)
    operate(options, etcd_replace.operation(here.cluster, name), here)

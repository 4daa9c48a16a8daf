"""`init`: from bare machines to a proved cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.running import run, span

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.CHANGING)
def init(
    options: Options,
    first: Annotated[
        str | None, typer.Option("--from", metavar="CHAPTER", help="Begin here", autocompletion=opt.complete_phases)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="CHAPTER", help="End here", autocompletion=opt.complete_phases)
    ] = None,
) -> None:
    """Build the cluster: preflight, every chapter, smoke test. A second run changes nothing."""
    run(options, "init", span(first, last), whole=True)

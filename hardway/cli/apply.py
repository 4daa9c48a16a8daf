"""`apply`: some chapters, or all of them."""

from __future__ import annotations

from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.chapters import SUMMARIES
from hardway.cli.options import Options, flags
from hardway.cli.running import chapters_named, run

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.CHANGING)
def apply(
    options: Options,
    phases: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAPTER]…", autocompletion=opt.complete_phases)
    ] = None,
) -> None:
    """Some chapters, or all of them, without preflight and smoke test."""
    run(options, "apply", chapters_named(phases or [name for name in SUMMARIES if name != "smoke-test"]), whole=False)

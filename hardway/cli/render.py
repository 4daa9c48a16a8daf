"""`render`: every artifact as a tree of files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.console.words import counted
from hardway.engine.plan import declared
from hardway.preview.tree import listed, tree, write_tree

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.EVERY)
def render(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New, empty, or written by this command before")],
    with_secrets: Annotated[bool, typer.Option("--with-secrets", help="Private keys and tokens, too")] = False,
) -> None:
    """Every artifact of every machine as a tree DIR/MACHINE/path. Asks no machine."""
    here = site(options, lab_must_run=False)
    _, declaration = declared(here.cluster, here.state)
    artifacts = tree(declaration, here.workspace.values(), with_secrets=with_secrets)
    write_tree(folder, artifacts)
    if options.output == "json":
        print_json(asdict(listed(folder, artifacts)))
        return
    waiting = sum(bool(one.unknown) for one in artifacts)
    count, machines = counted(len(artifacts), "artifact"), counted(len(here.cluster.machines), "machine")
    print_text(f"{count} of {machines} in {folder}/")
    if waiting:
        print_text(
            f"{waiting} of them have placeholders ⟦…⟧ for what is secret or not known yet; {folder}/INDEX lists them"
        )

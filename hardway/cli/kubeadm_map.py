"""`kubeadm-map`: what corresponds to kubeadm's commands, phases and files."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.console.terminal import page_width
from hardway.errors import UsageError
from hardway.explain.kubeadm import counterpart_lines, counterparts

app = typer.Typer(add_completion=False)


@app.command("kubeadm-map")
@flags(*opt.EVERY)
def kubeadm_map(
    options: Options,
    word: Annotated[str, typer.Argument(metavar="[WORD]", help="Only rows in which it stands: join, admin.conf")] = "",
) -> None:
    """For people who know kubeadm: which command, phase and file of it corresponds to which of ours."""
    found = counterparts(word)
    if not found:
        raise UsageError(f"nothing of kubeadm's is called {word!r}", hint="hardway kubeadm-map shows all there is")
    if options.output == "json":
        print_json([asdict(one) for one in found])
    else:
        print_text("\n".join(counterpart_lines(found, page_width())))

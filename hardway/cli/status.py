"""`status`: how is it?"""

from __future__ import annotations

import sys

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.console.terminal import page_width
from hardway.errors import FAILED, OK
from hardway.status.page import status_page
from hardway.status.status import status as ask

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.REACHING)
def status(options: Options) -> None:
    """How is it? Machines, etcd, API servers, nodes, certificates and drift on one screen."""
    with looking(options, None) as look:
        survey, plan = observed(look)
        found = ask(look.session, survey, plan)
    if options.output == "json":
        print_json(found.to_json())
    else:
        print_text("\n".join(status_page(found, seconds=look.seconds, width=page_width())))
    sys.exit(OK if found.well else FAILED)

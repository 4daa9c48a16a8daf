"""`plan`: what would a run do?"""

from __future__ import annotations

import sys

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.console.terminal import page_width
from hardway.console.words import typed
from hardway.preview.page import command, plan_page

app = typer.Typer(add_completion=False)


@app.command()
@flags("deep", "adopt", *opt.REACHING, *opt.GETTING)
def plan(options: Options, phases: opt.Chapters = None) -> None:
    """What would init or apply do? Looks at every machine, writes nothing anywhere. Status 3: it differs."""
    with looking(options, phases) as look:
        _, found = observed(look, adopt=options.adopt)
    if options.output == "json":
        does = typed(command(found), options.given) if command(found) else ""
        print_json({**found.to_json(), "command": does})
    else:
        width, verbose = page_width(), options.verbose > 0
        page = plan_page(found, seconds=look.seconds, width=width, verbose=verbose, given=options.given)
        print_text("\n".join(page))
    sys.exit(found.exit_code)

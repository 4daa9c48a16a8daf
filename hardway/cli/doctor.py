"""`doctor`: why does it not work?"""

from __future__ import annotations

import sys

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.cli.power import never_made, switched_off
from hardway.console.printing import print_json, print_text
from hardway.console.terminal import page_width
from hardway.console.words import typed
from hardway.doctor.doctor import diagnosed
from hardway.doctor.page import doctor_page
from hardway.errors import DIFFERS, FAILED, OK

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.REACHING)
def doctor(options: Options) -> None:
    """Why does it not work? Cause, evidence, fix; looks and changes nothing. Status 3: something is wrong."""
    with looking(options, None) as look:
        survey, plan = observed(look)
        cluster = look.here.cluster
        found = diagnosed(look.session, survey, plan, switched_off(cluster), never_made(cluster))
    if options.output == "json":
        told = found.to_json()
        for cause in told["causes"]:
            cause["fix"] = [typed(command, options.given) for command in cause["fix"]]
        print_json(told)
    else:
        print_text("\n".join(doctor_page(found, seconds=look.seconds, width=page_width(), given=options.given)))
    if not found.looked:
        sys.exit(FAILED)
    sys.exit(DIFFERS if found.found else OK)

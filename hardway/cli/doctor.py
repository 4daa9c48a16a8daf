"""`doctor`: why does it not work?"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags

if TYPE_CHECKING:
    from hardway.cli.running import Site


def register(app: typer.Typer, panel: str) -> None:
    """Adds `doctor` to the tree, below its heading."""
    app.command(rich_help_panel=panel)(doctor)


@flags(*opt.REACHING)
def doctor(options: Options) -> None:
    """Why does it not work? Cause, evidence, fix; looks and changes nothing. Status 3: something is wrong."""
    from hardway.cli.see import _width, looking, observed
    from hardway.console.doctor_page import doctor_page, typed
    from hardway.errors import DIFFERS, OK
    from hardway.views.doctor import diagnosed

    given = str(options.inventory) if options.inventory else ""
    with looking(options, None) as look:
        survey, plan = observed(look)
        found = diagnosed(look.session, survey, plan, switched_off(look.here))
    if options.output == "json":
        told = found.to_json()
        for cause in told["causes"]:
            cause["fix"] = [typed(command, given) for command in cause["fix"]]
        print(json.dumps(told, indent=1))
    else:
        print("\n".join(doctor_page(found, seconds=look.seconds, width=_width(), inventory=given)))
    sys.exit(DIFFERS if found.found else OK)


def switched_off(here: Site) -> list[str]:
    """Machines of a lab that do not run."""
    from hardway.lab.marker import running

    if here.cluster.lab is None:
        return []
    alive = running(here.cluster.name) or {}
    return [one.name for one in here.cluster.machines if one.name not in alive]

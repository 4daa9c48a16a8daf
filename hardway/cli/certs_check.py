"""`certs check`: how long do certificates last, and are those served that lie there?"""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from hardway.certificates import metrics
from hardway.certificates.check import ask
from hardway.certificates.check import check as judge
from hardway.certificates.page import certificates_page
from hardway.cli import options as opt
from hardway.cli.looking import looking
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.console.prometheus import write
from hardway.console.terminal import page_width
from hardway.engine.plan import declared
from hardway.errors import UsageError

app = typer.Typer(add_completion=False)

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}

Warn = Annotated[
    str | None,
    typer.Option("--warn", metavar="30d", help="Status 3 where one ends within it. Default: where one is due"),
]
Prometheus = Annotated[
    Path | None, typer.Option("--prometheus", metavar="FILE", help="Also write a file for the textfile collector")
]


@app.command("check")
@flags(*opt.REACHING)
def check(options: Options, warn: Warn = None, prometheus: Prometheus = None) -> None:
    """Every certificate where it is and as it is served: CA, names, end, serial. Status 3: one ends, or differs."""
    within = span(warn, "--warn") if warn else None
    with looking(options, None) as look:
        here = look.here
        answers = ask(look.session, here.cluster)
        _, declaration = declared(here.cluster, here.state)
        values = here.workspace.values()
        found = judge(here.cluster, here.state, declaration, values, answers, look.unreached, within)
    if prometheus:
        write(prometheus, metrics.lines(found))
    if options.output == "json":
        print_json(found.to_json())
    else:
        names = [machine.name for machine in here.cluster.machines]
        page = certificates_page(
            found, names, seconds=look.seconds, width=page_width(), verbose=options.verbose > 0, given=options.given
        )
        print_text("\n".join(page))
    sys.exit(found.exit_code)


def span(text: str, flag: str) -> timedelta:
    """`30d`, `12h`, `2w`, `30m`. Raises UsageError."""
    given = re.fullmatch(r"(\d{1,5})([smhdw])", text)
    if not given:
        raise UsageError(f"{flag} {text!r} is no span of time", hint="right: 30d, 12h or 2w")
    return int(given[1]) * _UNITS[given[2]]

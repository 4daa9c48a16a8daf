"""`hardway map`: the cluster on one page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_document, print_json, print_text
from hardway.engine.plan import declared
from hardway.errors import UsageError
from hardway.map import Map, coloured, drawn
from hardway.map.draw import map_html, map_svg
from hardway.verify.verification import verified

_FORMATS = (".svg", ".html")


app = typer.Typer(add_completion=False)


@app.command("map")
@flags(*opt.REACHING)
def map_(
    options: Options,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="NAME.svg or NAME.html; without one: SVG to stdout")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the machines, and mark what verify finds")] = False,
) -> None:
    """Machines, ports, and who trusts whom through which CA and certificate, as a picture. Asks no machine."""
    if file is not None and file.suffix not in _FORMATS:
        raise UsageError(f"{file} ends in neither {' nor '.join(_FORMATS)}", hint="hardway map cluster.html")
    if options.limit and not live:
        raise UsageError("the map is of all machines; --limit says whom --live asks", hint="hardway map --live -l …")
    found = _seen(options) if live else _declared(options)
    seen = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC" if live else ""
    if file is not None:
        page = map_html(found, seen=seen) if file.suffix == ".html" else map_svg(found, seen=seen)
        try:
            file.write_text(page, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}", hint="give another file") from error
    if options.output == "json":
        print_json(found.to_json())
    elif file is None:
        print_document(map_svg(found, seen=seen), end="")
    else:
        print_text(f"{found.cluster}: {len(found.connections)} connections of {len(_numbers(found))} kinds in {file}")


def _numbers(found: Map) -> set[int]:
    return {one.number for one in found.connections}


def _declared(options: Options) -> Map:
    here = site(options, lab_must_run=False)
    return drawn(here.cluster, declared(here.cluster, here.state)[1])


def _seen(options: Options) -> Map:
    with looking(options, None) as look:
        survey, plan = observed(look)
        declaration = survey.declaration
        found = verified(look.session, survey, plan)
        return coloured(drawn(look.here.cluster, declaration), found, declaration.proofs)

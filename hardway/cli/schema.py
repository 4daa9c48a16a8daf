"""`hardway schema`: what programs may expect of `-o json`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.errors import UsageError
from hardway.schemas import names
from hardway.schemas import schema as read

app = typer.Typer(add_completion=False)


def _complete(incomplete: str) -> Iterator[str]:
    yield from (name for name in names() if name.startswith(incomplete))


@app.command()
@flags(*opt.EVERY)
def schema(
    options: Options,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Default: which there are", autocompletion=_complete)
    ] = None,
) -> None:
    """The JSON Schema of what -o json prints: `events` of any run, else the document of a command."""
    if name is None:
        titles = {one: read(one)["title"] for one in names()}
        if options.output == "json":
            print_json(titles)
        else:
            print_text("\n".join(f"{one:<16}  {title}" for one, title in titles.items()))
        return
    if name not in names():
        raise UsageError(f"there is no schema {name!r}", hint=f"one of: {', '.join(names())}")
    print_json(read(name))

"""`explain`: why each piece and each value is there. It reads the inventory and asks no machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import typer

from hardway.cli.chapters import SUMMARIES
from hardway.cli.options import Options, flags

Form = Literal["text", "markdown", "json"]


def register(app: typer.Typer, panel: str) -> None:
    """Adds `explain` to the tree, below its heading."""
    app.command(rich_help_panel=panel)(explain)


def complete_what(incomplete: str) -> Iterator[str]:
    """Chapters."""
    yield from (name for name in SUMMARIES if name.startswith(incomplete))


@flags("inventory", "workspace", "verbose")
def explain(
    options: Options,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[WHAT]",
            help="A chapter, a thing (certs/kube-apiserver, a path, a unit), any flag, address, port or name",
            autocompletion=complete_what,
        ),
    ] = None,
    form: Annotated[Form, typer.Option("-o", "--output", help="How it is told")] = "text",
) -> None:
    """Why is it there, who reads it, what breaks without it? A chapter, a thing, or any value. Asks no machine."""
    from hardway.artifacts.catalogue import releases_for
    from hardway.cli.running import site
    from hardway.console.explanations import told
    from hardway.phases.base import Model
    from hardway.plan import declare
    from hardway.views.explain import explanation
    from hardway.views.foresight import foreseen

    here = site(options, lab_must_run=False)
    versions = {name: release.version for name, release in releases_for(here.cluster.kubernetes).items()}
    model = Model(here.cluster, foreseen(here.state, tuple(SUMMARIES)), versions)
    page = explanation(model, declare(model), what)
    print("\n".join(told(page, form, width=_width(), verbose=options.verbose > 0)))


def _width() -> int:
    from hardway.cli.see import _width as width

    return width()

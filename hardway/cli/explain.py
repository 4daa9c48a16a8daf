"""`explain`: why each piece and each value is there. It reads the inventory and asks no machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardway.cli.chapters import SUMMARIES
from hardway.cli.options import Options, flags

if TYPE_CHECKING:
    from hardway.phases.base import Model
    from hardway.plan import Declaration

Form = Literal["text", "markdown", "json"]


def register(app: typer.Typer, panel: str) -> None:
    """Adds `explain` to the tree, below its heading."""
    app.command(rich_help_panel=panel)(explain)


def complete_what(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Chapters; then things, flags and values of the inventory that `-i` named, or of the one at hand."""
    from hardway.errors import HardwayError

    yield from (name for name in SUMMARIES if name.startswith(incomplete))
    if len(incomplete) < _ENOUGH:
        return
    try:
        known = set(_names(Options(inventory=context.params.get("inventory")))) - SUMMARIES.keys()
    except HardwayError:
        return
    yield from (name for name in sorted(known) if name.startswith(incomplete) and " " not in name)


_ENOUGH = 2
"""Letters without which there would be too much to choose from."""


def _names(options: Options) -> Iterator[str]:
    from hardway.views.explain import Book, names

    yield from names(Book(*_declared(options)))


def _declared(options: Options) -> tuple[Model, Declaration]:
    """What a run would declare, without the machines."""
    from hardway.artifacts.catalogue import releases_for
    from hardway.cli.running import site
    from hardway.phases.base import Model
    from hardway.plan import declare
    from hardway.views.foresight import foreseen

    here = site(options, lab_must_run=False)
    versions = {name: release.version for name, release in releases_for(here.cluster.kubernetes).items()}
    model = Model(here.cluster, foreseen(here.state, tuple(SUMMARIES)), versions)
    return model, declare(model)


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
    from hardway.cli.see import _width
    from hardway.console.explanations import told
    from hardway.views.explain import explanation

    page = explanation(*_declared(options), what)
    print("\n".join(told(page, form, width=_width(), verbose=options.verbose > 0)))

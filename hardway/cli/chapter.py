"""`hardway CHAPTER`: each chapter of the tutorial as a command of its own."""

from __future__ import annotations

from collections.abc import Callable

import typer

from hardway.cli import options as opt
from hardway.cli.chapters import SUMMARIES, numbered
from hardway.cli.options import Options, flags
from hardway.cli.running import run

GROUPS = ("certs", "etcd")
"""Groups that run their chapter when called bare: renewal and members' commands will join them."""


def app_of(name: str) -> typer.Typer:
    """The command of a chapter."""
    app = typer.Typer(add_completion=False, invoke_without_command=name in GROUPS)
    if name in GROUPS:
        app.callback()(_command(name))
    else:
        app.command(name)(_command(name))
    return app


def _command(name: str) -> Callable[..., None]:
    @flags(*opt.CHANGING)
    def command(options: Options, context: typer.Context) -> None:
        if not context.invoked_subcommand:
            run(options, name, (name,), whole=False)

    command.__doc__ = numbered(name)
    return command


apps = {name: app_of(name) for name in SUMMARIES}

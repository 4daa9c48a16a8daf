"""`hardway CHAPTER`: each chapter of the tutorial as a command of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import typer

from hardway.cli import options as opt
from hardway.cli.chapters import numbered
from hardway.cli.options import Options, flags
from hardway.cli.running import run

GROUPS: dict[str, tuple[str, ...]] = {
    "access": ("access_user",),
    "certs": ("certs_check", "certs_external", "certs_renew", "certs_rotate"),
    "encryption": ("encryption",),
    "etcd": ("etcd_data", "etcd_replace"),
}
"""Chapters that are groups, too, with the files of their commands: called bare, they run as chapters.

A file has an `app` with one command or several, each under its own name.
"""


def app_of(name: str) -> typer.Typer:
    """The command of a chapter."""
    app = typer.Typer(add_completion=False, invoke_without_command=name in GROUPS)
    if name not in GROUPS:
        app.command(name)(_command(name))
        return app
    app.callback()(_command(name))
    for module in GROUPS[name]:
        app.add_typer(importlib.import_module(f"hardway.cli.{module}").app)
    return app


def _command(name: str) -> Callable[..., None]:
    @flags(*opt.CHANGING)
    def command(options: Options, context: typer.Context) -> None:
        if not context.invoked_subcommand:
            run(options, name, (name,), whole=False)

    alone = f"\n\nAlone it is the chapter: hardway {name} does what hardway apply {name} does."
    command.__doc__ = numbered(name) + (alone if name in GROUPS else "")
    return command

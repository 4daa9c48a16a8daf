"""The command tree. A command's own file is imported when it is called, so that `--help` answers at once."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from hardway import __version__
from hardway.cli.commands import COMMANDS
from hardway.cli.pointers import point
from hardway.errors import Interrupted


class LazyGroup(TyperGroup):
    """Lists the table of commands, and loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=command.summary, rich_help_panel=command.panel)
            for name, command in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] == "version":
            print(__version__)
            ctx.exit()
        if args[0] == "help":
            args = [*args[1:], "--help"]
        if args == ["--help"]:
            print(ctx.get_help())
            ctx.exit()
        if args[0] not in COMMANDS and (error := point(args[0])):
            raise error
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load(listed.name) if listed and listed.name else None, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # Left alone, Typer ends the process without a word.
            raise Interrupted("interrupted", hint="run the same command again; finished steps are skipped") from error


def load(name: str) -> Any:
    """The Click command of that name, from its own file."""
    entry = COMMANDS[name]
    module = importlib.import_module(f"hardway.cli.{entry.module}")
    command = typer.main.get_command(module.app_of(name) if entry.module == "chapter" else module.app)
    command.name = name
    if isinstance(command, TyperGroup):
        command.help = entry.summary
    return command


app = typer.Typer(
    name="hardway",
    cls=LazyGroup,
    help="Kubernetes the hard way, over SSH: seven bare machines to a cluster, with nothing hidden.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit

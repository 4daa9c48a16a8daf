"""The command tree. A command's own file is imported when it is called, so that `--help` answers at once."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

import hardway
from hardway.cli.commands import COMMANDS
from hardway.cli.failing import as_error, wants_json
from hardway.cli.pointers import point
from hardway.console.printing import print_text
from hardway.console.terminal import UNWRAPPED
from hardway.errors import UsageError


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Left alone, Typer ends the process without a word at an interrupt, and a wrong command line is told as text."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise as_error(error) from error
    except Exception as error:
        # Click's own: where it is imported from differs between releases of Typer.
        message = getattr(error, "format_message", None)
        if message is None or not wants_json(sys.argv[1:]):
            raise
        raise UsageError(message(), hint="--help says what there is") from error


class LazyGroup(TyperGroup):
    """Lists the table of commands, and loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {
            name: TyperCommand(name, help=command.summary, rich_help_panel=command.panel)
            for name, command in COMMANDS.items()
        }
        if not sys.stdout.isatty():
            _unframe(self)
            self.context_settings = {**self.context_settings, "terminal_width": UNWRAPPED}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """As on a terminal, each in its panel; only without frames."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for name, command in COMMANDS.items():
            panels.setdefault(command.panel, []).append((name, command.summary))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] == "version":
            print_text(hardway.__version__)
            ctx.exit()
        if args[0] == "help":
            args = [*args[1:], "--help"]
        if args == ["--help"]:
            print_text(ctx.get_help())
            ctx.exit()
        if args[0] not in COMMANDS and (error := point(args[0])):
            raise error
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load(listed.name) if listed and listed.name else None, rest

    def make_context(self, *words: Any, **settings: Any) -> Any:
        with _told():
            return super().make_context(*words, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _told():
            return super().invoke(ctx)


def load(name: str) -> Any:
    """The Click command of that name, from its own file."""
    entry = COMMANDS[name]
    with _keeping_everything():
        module = importlib.import_module(f"hardway.cli.{entry.module}")
    command = typer.main.get_command(module.app_of(name) if entry.module == "chapter" else module.app)
    command.name = name
    if isinstance(command, TyperGroup) and entry.module != "chapter":
        command.help = entry.summary
    if not sys.stdout.isatty():
        _unframe(command)
    return command


@contextlib.contextmanager
def _keeping_everything() -> Iterator[None]:
    """What an import makes stays: to look for garbage in it, then and later, is a tenth of the time that it takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _unframe(command: Any) -> None:
    """Help in plain lines: frames are as wide as a terminal, and where there is none a sentence stays on its line."""
    command.rich_markup_mode = None
    for below in getattr(command, "commands", {}).values():
        _unframe(below)


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
        print_text(hardway.__version__)
        raise typer.Exit

"""The flags that every command shares, and what they come to."""

from __future__ import annotations

import contextlib
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from hardway.cli.chapters import SUMMARIES
from hardway.cli.computer import inventory_path
from hardway.cli.failing import InternalError, as_error
from hardway.console import json_error
from hardway.errors import HardwayError
from hardway.inventory.load import load
from hardway.values import ROLES

_INVENTORY = "Inventory file. Default: $HARDWAY_INVENTORY, then ./hardway.yaml"
_COMMON = "Every command"


def complete_machines(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Machines and roles of the inventory that `-i` named, or of the one at hand; nothing where there is none."""
    done, comma, last = incomplete.rpartition(",")
    names = list(_machines(context))
    roles = [role for role in ROLES if names]
    yield from (f"{done}{comma}{name}" for name in (*names, *roles) if name.startswith(last))


def complete_one_machine(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Machines alone, where a role would not do."""
    yield from (name for name in _machines(context) if name.startswith(incomplete))


def _machines(context: typer.Context) -> Iterator[str]:
    with contextlib.suppress(HardwayError):
        yield from (machine.name for machine in load(inventory_path(context.params.get("inventory"))).machines)


def complete_phases(incomplete: str) -> Iterator[str]:
    yield from (name for name in SUMMARIES if name.startswith(incomplete))


Chapters = Annotated[list[str] | None, typer.Argument(metavar="[CHAPTER]…", autocompletion=complete_phases)]


Inventory = Annotated[
    Path | None, typer.Option("-i", "--inventory", help=_INVENTORY, show_default=False, rich_help_panel=_COMMON)
]
Limit = Annotated[
    str | None,
    typer.Option(
        "-l", "--limit", metavar="MACHINE|ROLE,…", help="Only these machines; !NAME leaves one out",
        autocompletion=complete_machines, rich_help_panel=_COMMON,
    ),
]  # fmt: skip
Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Each change and command; -vv the scripts", rich_help_panel=_COMMON
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask", rich_help_panel=_COMMON)]
WorkspaceFolder = Annotated[
    Path | None,
    typer.Option(
        "--workspace", metavar="DIR", help="Default: .hardway/CLUSTER beside the inventory", rich_help_panel=_COMMON
    ),
]
Output = Annotated[
    Literal["text", "json"],
    typer.Option("-o", "--output", help="json: one document, or one event a line", rich_help_panel=_COMMON),
]
Forks = Annotated[int, typer.Option("--forks", min=1, help="How many machines at once", rich_help_panel=_COMMON)]
AcceptKeys = Annotated[
    bool,
    typer.Option(
        "--accept-new-host-keys", help="First contact: record unknown host keys", rich_help_panel=_COMMON
    ),
]  # fmt: skip
SourceOption = Annotated[
    Literal["auto", "download", "build", "mirror"] | None,
    typer.Option("--source", envvar="HARDWAY_SOURCE", help="Where binaries come from. Default: as the inventory says"),
]
Mirror = Annotated[str | None, typer.Option("--mirror", metavar="FOLDER|URL", help="For --source mirror")]
BundleFile = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="FILE", help="All from this file: no network but SSH (artifacts bundle)"),
]
RequirePinned = Annotated[bool, typer.Option("--require-pinned", help="Refuse files without a digest in the catalogue")]
Adopt = Annotated[bool, typer.Option("--adopt", help="Take over files that hardway did not put there")]
Expect = Annotated[
    str | None, typer.Option("--expect", metavar="ID", help="Only if hardway plan still has this identifier")
]
SkipUnreachable = Annotated[
    bool, typer.Option("--skip-unreachable", help="Go on without machines that do not answer; status 1 at the end")
]
Seconds = Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="For the evictions of one drain")]
Force = Annotated[bool, typer.Option("--force", help="Also pods that nobody starts again")]
EmptyDirs = Annotated[bool, typer.Option("--delete-emptydir-data", help="Also pods whose emptyDir volumes are lost")]
NoWait = Annotated[
    bool, typer.Option("--no-wait-elsewhere", help="Pods that no other node can take may be down meanwhile")
]
OfAnother = Annotated[bool, typer.Option("--take-over", help="Go on with what another operator has started")]
Deep = Annotated[
    bool, typer.Option("--deep", help="Read every file again: finds what a bad disk did; takes some seconds")
]


@dataclass(frozen=True)
class Options:
    """What was said on the command line: each field is a flag, its annotation the flag's text."""

    inventory: Inventory = None
    limit: Limit = None
    yes: Yes = False
    verbose: Verbose = 0
    output: Output = "text"
    forks: Forks = 10
    accept_new_host_keys: AcceptKeys = False
    workspace: WorkspaceFolder = None
    source: SourceOption = None
    mirror: Mirror = None
    bundle: BundleFile = None
    require_pinned: RequirePinned = False
    adopt: Adopt = False
    expect: Expect = None
    deep: Deep = False
    skip_unreachable: SkipUnreachable = False
    take_over: OfAnother = False

    @property
    def given(self) -> str:
        """The flags that led to this cluster, quoted, as proposed commands repeat them; empty where none was given."""
        words: list[str] = []
        for flag, value in (("-i", self.inventory), ("--workspace", self.workspace)):
            if value:
                words += [flag, str(value)]
        return shlex.join(words)


EVERY = ("inventory", "verbose", "output", "workspace")
"""The flags of every command; docs/decisions/flags.md says which are left out, and where."""
REACHING = ("inventory", "limit", "verbose", "output", "forks", "accept_new_host_keys", "workspace")
"""The flags of a command that connects to machines."""
GETTING = ("source", "mirror", "bundle", "require_pinned")
"""The flags of a command that may have to get binaries."""
OPERATING = ("yes", *EVERY, "forks", "accept_new_host_keys", *GETTING, "take_over")
"""The flags of an operation, which needs all machines."""
CHANGING = ("yes", *REACHING, *GETTING, "adopt", "expect", "deep", "skip_unreachable")
"""The flags of a command that changes machines."""


@contextlib.contextmanager
def _told(form: str) -> Iterator[None]:
    """Who asked for JSON gets errors as JSON, too, on standard output like all the rest."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        # Of a reader that is gone, and of a mistake that is looked for, the boundary knows more.
        if form != "json" or isinstance(error, BrokenPipeError | typer.Exit | typer.Abort):
            raise
        told = as_error(error)
        json_error(told, sys.stdout)
        if isinstance(told, InternalError) and os.environ.get("HARDWAY_DEBUG"):
            raise
        sys.exit(told.exit_code)


def flags(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command these flags of `Options`; it receives them as its first argument."""
    hints = get_type_hints(Options, include_extras=True)
    defaults = {field.name: field.default for field in fields(Options)}

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=hints[name])
            for name in names
        ]

        def command(*words: Any, **said: Any) -> None:
            options = Options(**{name: said.pop(name) for name in names})
            # A command with forms of its own, as `explain`, takes -o itself.
            with _told(said.get("form", options.output)):
                function(options, *words, **said)

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + shared
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return decorate

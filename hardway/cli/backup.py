"""`backup`: etcd and the workspace, encrypted, into a folder by the time; and a timer that does it each night."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.encrypting import PassphraseFile, Recipients, encrypting
from hardway.cli.groups import WithArguments
from hardway.cli.installing import Print, Remove, absolute, command, name_of, set_up
from hardway.cli.looking import at_controllers
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.console.words import counted, size
from hardway.engine.session import holder
from hardway.errors import UsageError
from hardway.operations.backup import Backup
from hardway.operations.backup import backup as make
from hardway.operations.timer import Timer

app = typer.Typer(add_completion=False, cls=WithArguments, invoke_without_command=True)
FLAGS = (*opt.EVERY, "forks", "accept_new_host_keys")
Keep = Annotated[
    int | None, typer.Option("--keep", min=1, metavar="N", help="Then remove all but the newest N. Default: none goes")
]


@app.callback()
@flags(*FLAGS)
def backup(
    options: Options,
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Each is a folder in it: CLUSTER-TIME", show_default=False),
    ] = None,
    keep: Keep = None,
    recipient: Recipients = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """etcd's snapshot and the sealed workspace, encrypted, into DIR: both, or neither. Each night: backup install."""
    if context.invoked_subcommand:
        return
    if folder is None:
        raise UsageError("hardway backup needs a folder", hint="hardway backup DIR")
    encrypt = encrypting(recipient, passphrase_file)
    with at_controllers(options) as look:
        if look.here.state.etcd != "initialized":
            raise UsageError("there is no cluster yet to back up", hint="hardway init")
        workspace = look.here.workspace
        with workspace.lock(holder("backup")):
            # As it is now that nobody else changes it.
            state = workspace.load_state() or look.here.state
            made = make(look.session, state, look.resolver.versions, folder, encrypt, keep)
    if options.output == "json":
        print_json(asdict(made))
    else:
        print_text("\n".join(_page(made)))


def _page(made: Backup) -> list[str]:
    taken, kept = made.snapshot, counted(made.kept, "backup")
    lines = [
        f"{made.folder}: etcd at revision {taken.revision} ({size(taken.size)}, {taken.keys} keys), "
        f"the workspace at generation {made.workspace.generation}; {kept} of {made.workspace.cluster} there"
    ]
    lines += [f"removed {folder}" for folder in made.removed]
    return lines


@app.command("install")
@flags("yes", *opt.EVERY)
def install(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="As hardway backup takes it")],
    at: Annotated[str, typer.Option("--at", metavar="HH:MM", help="Each day, by this computer's clock")] = "03:00",
    keep: Keep = None,
    recipient: Recipients = None,
    passphrase_file: PassphraseFile = None,
    only_print: Print = False,
    remove: Remove = False,
) -> None:
    """Have systemd on this computer make a backup each day; shows the units first, and asks."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise UsageError(f"--at {at!r} is no time of day", hint="right: 03:00")
    if not remove:
        if not (recipient or passphrase_file):
            hint = "--recipient KEY, or --passphrase-file FILE"
            raise UsageError("a timer can ask nobody for a passphrase", hint=hint)
        encrypting(recipient, passphrase_file)
    here = site(options, lab_must_run=False)
    words = ["backup", absolute(folder), *(["--keep", str(keep)] if keep else [])]
    for key in recipient or ():
        words += ["--recipient", key]
    words += ["--passphrase-file", absolute(passphrase_file)] if passphrase_file else []
    timer = Timer(
        name_of("backup", here),
        f"hardway backup of {here.cluster.name}",
        command(options, here, *words),
        # Persistent: made up for where the computer was off at that time.
        schedule=(f"OnCalendar=*-*-* {at}:00", "Persistent=true"),
        limit="2h",
    )
    set_up(options, timer, only_print=only_print, remove=remove)

"""`hardway workspace`: sealed into one file, opened from it, and which of the two is newer."""

from __future__ import annotations

import getpass
import os
import socket
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.site import inventory
from hardway.console.printing import print_text
from hardway.errors import DIFFERS, OK, UsageError
from hardway.operations import seal as sealing
from hardway.workspace import Workspace

app = typer.Typer(add_completion=False, no_args_is_help=True)
FLAGS = tuple(name for name in opt.EVERY if name != "output")
File = Annotated[Path, typer.Argument(metavar="FILE", help="Here; FILE.json says what it is of")]
Secret = Annotated[Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Its first line; else it asks")]


@app.command("seal")
@flags(*FLAGS)
def seal(
    options: Options,
    file: File,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", metavar="KEY", help="age1... or 'ssh-ed25519 ...'; repeatable")
    ] = None,
    passphrase_file: Secret = None,
) -> None:
    """Keys, CAs and State in one file, encrypted with age for recipients, or with a passphrase.

    Logs, locks, known_hosts and a lab's disks stay here.
    """
    if recipient and passphrase_file:
        raise UsageError("--recipient and --passphrase-file exclude each other", hint="give one of them")
    workspace = _workspace(options)
    encrypt = sealing.encrypter(recipient or (), None if recipient else _passphrase(passphrase_file, twice=True))
    with workspace.lock(_holder("workspace seal")):
        made = sealing.seal(workspace, file, encrypt)
    print_text(f"{file}: the workspace of {made.cluster} at generation {made.generation}")


@app.command("open")
@flags(*FLAGS)
def open_(
    options: Options,
    file: File,
    identity: Annotated[
        Path | None, typer.Option("--identity", metavar="FILE", help="of age-keygen, or an SSH private key")
    ] = None,
    passphrase_file: Secret = None,
) -> None:
    """Make the workspace what a sealed file holds; refuses where the workspace here has changes of its own."""
    if identity and passphrase_file:
        raise UsageError("--identity and --passphrase-file exclude each other", hint="give one of them")
    cluster = inventory(options)
    workspace = Workspace.of(cluster, options.workspace)
    decrypt = sealing.decrypter(identity, None if identity else _passphrase(passphrase_file, twice=False))
    workspace.create()
    with workspace.lock(_holder("workspace open")):
        opened = sealing.open_sealed(workspace, cluster.name, file, decrypt)
    print_text(f"{workspace.root}: as sealed on {opened.sealed}, generation {opened.generation}")


@app.command("status")
@flags(*FLAGS)
def status(options: Options, file: File) -> None:
    """What is sealed, since when, and is it the workspace here? Needs no key. Status 3: they differ."""
    workspace = _workspace(options)
    sealed = sealing.note_of(file)
    comparison = sealing.compare(workspace, sealed)
    for name, value in asdict(sealed).items():
        if name in ("cluster", "cluster_id", "generation", "sealed"):
            print_text(f"{name:<11} {value}")
    print_text(f"{'comparison':<11} {comparison}")
    sys.exit(OK if comparison == "same" else DIFFERS)


def _workspace(options: Options) -> Workspace:
    workspace = Workspace.of(inventory(options), options.workspace)
    if not workspace.root.is_dir():
        raise UsageError(f"{workspace.root} is not there", hint="--workspace DIR, or hardway workspace open FILE")
    return workspace


def _passphrase(path: Path | None, *, twice: bool) -> str:
    if path is not None:
        try:
            given = path.read_text(encoding="utf-8").partition("\n")[0]
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint="--passphrase-file FILE") from error
    elif not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="--recipient or --identity, or --passphrase-file FILE")
    else:
        given = getpass.getpass("Passphrase: ")
        if twice and given != getpass.getpass("Again: "):
            raise UsageError("the two are not the same; nothing was sealed", hint="give the command again")
    if not given:
        raise UsageError("the passphrase is empty; nothing was changed", hint="give one of several words")
    return given


def _holder(command: str) -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}, pid {os.getpid()}: hardway {command}"

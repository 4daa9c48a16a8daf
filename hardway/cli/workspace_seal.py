"""`hardway workspace`: sealed into one file, opened from it, and which of the two is newer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.encrypting import Identity, PassphraseFile, Recipients, decrypting, encrypting
from hardway.cli.options import Options, flags
from hardway.cli.site import inventory
from hardway.console.printing import print_json, print_text
from hardway.engine.session import holder
from hardway.errors import DIFFERS, OK, UsageError
from hardway.operations import seal as sealing
from hardway.operations.seal import Compared
from hardway.workspace import Workspace

app = typer.Typer(add_completion=False, no_args_is_help=True)
FLAGS = tuple(name for name in opt.EVERY if name != "output")
File = Annotated[Path, typer.Argument(metavar="FILE", help="Here; FILE.json says what it is of")]


@app.command("seal")
@flags(*FLAGS)
def seal(
    options: Options,
    file: File,
    recipient: Recipients = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Keys, CAs and State in one file, encrypted with age for recipients, or with a passphrase.

    Logs, locks, known_hosts and a lab's disks stay here.
    """
    workspace = _workspace(options)
    encrypt = encrypting(recipient, passphrase_file)
    with workspace.lock(holder("workspace seal")):
        made = sealing.seal(workspace, file, encrypt)
    print_text(f"{file}: the workspace of {made.cluster} at generation {made.generation}")


@app.command("open")
@flags(*FLAGS)
def open_(
    options: Options,
    file: File,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make the workspace what a sealed file holds; refuses where the workspace here has changes of its own."""
    cluster = inventory(options)
    workspace = Workspace.of(cluster, options.workspace)
    decrypt = decrypting(identity, passphrase_file)
    workspace.create()
    with workspace.lock(holder("workspace open")):
        opened = sealing.open_sealed(workspace, cluster.name, file, decrypt)
    print_text(f"{workspace.root}: as sealed on {opened.sealed}, generation {opened.generation}")


@app.command("status")
@flags(*opt.EVERY)
def status(options: Options, file: File) -> None:
    """What is sealed, since when, and is it the workspace here? Needs no key. Status 3: they differ."""
    found = sealing.compared(_workspace(options), sealing.note_of(file))
    if options.output == "json":
        print_json(asdict(found))
    else:
        print_text("\n".join(_page(found)))
    sys.exit(OK if found.comparison == "same" and not found.half_opened else DIFFERS)


def _page(found: Compared) -> list[str]:
    rows = {
        "cluster": found.cluster,
        "cluster_id": found.cluster_id,
        "generation": found.generation,
        "sealed": found.sealed,
        "comparison": found.comparison,
    }
    lines = [f"{name:<11} {value}" for name, value in rows.items()]
    if found.half_opened:
        lines.append("half opened: give the same hardway workspace open again, with the FILE of that time")
    return lines


def _workspace(options: Options) -> Workspace:
    workspace = Workspace.of(inventory(options), options.workspace)
    if not workspace.root.is_dir():
        raise UsageError(f"{workspace.root} is not there", hint="--workspace DIR, or hardway workspace open FILE")
    return workspace

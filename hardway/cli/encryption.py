"""`encryption rotate` and `encryption status`: the key that Secrets are encrypted with in etcd."""

from __future__ import annotations

import sys

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking
from hardway.cli.operating import operate
from hardway.cli.options import Options, flags
from hardway.console.printing import print_json, print_text
from hardway.errors import FAILED, OK
from hardway.operations import rotate_encryption
from hardway.status.encryption import encryption_page, encryption_status

app = typer.Typer(add_completion=False)


@app.command("rotate")
@flags(*opt.OPERATING)
def rotate(options: Options) -> None:
    """Exchange the key that encrypts Secrets, and write them all again; shows its stages and asks.

    Nothing is restarted. The key before stays in the workspace: older snapshots of etcd need it. If it is interrupted,
    give the same command again.
    """
    operate(options, rotate_encryption.operation())


@app.command("status")
@flags(*opt.REACHING)
def status(options: Options) -> None:
    """Which keys encrypt Secrets, how many each has encrypted in etcd, and whether every API server knows them.

    Status 1: not all is encrypted with the key that writes.
    """
    with looking(options, None) as look:
        found = encryption_status(look.session, look.here.state)
    if options.output == "json":
        print_json(found.to_json())
    else:
        print_text("\n".join(encryption_page(found)))
    sys.exit(OK if found.well else FAILED)

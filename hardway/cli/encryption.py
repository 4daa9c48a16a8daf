"""`encryption rotate` and `encryption status`: the key that Secrets are encrypted with in etcd."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking
from hardway.cli.operating import operate
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.declare.generations import encryption_keys
from hardway.declare.phases.encryption import IDENTITY
from hardway.errors import FAILED, OK, UsageError
from hardway.operations import rotate_encryption
from hardway.status.encryption import encryption_page, encryption_status

app = typer.Typer(add_completion=False)


@app.command("rotate")
@flags(*opt.OPERATING)
def rotate(
    options: Options,
    provider: Annotated[
        str, typer.Option("--provider", metavar="NAME", help="What encryption.provider must be", show_default=False)
    ] = "",
) -> None:
    """Exchange the key that encrypts Secrets, and write all of them again; shows its stages and asks.

    The next key is one of `encryption.provider`, and what `encryption.resources` names is encrypted afterwards. Nothing
    is restarted. The key before stays in the workspace: older snapshots of etcd need it. If it is interrupted, give the
    same command again.
    """
    here = site(options)
    wanted = here.cluster.encryption
    if provider == IDENTITY:
        raise UsageError(
            "hardway does not go back to Secrets that are not encrypted: with the provider identity somebody who can "
            "write to etcd could slip one in",
            hint="other resources are decrypted by taking them out of encryption.resources",
        )
    if provider and provider != wanted.provider:
        raise UsageError(
            f"the inventory says {wanted.provider}; the provider stays what the inventory says",
            hint=f"set `encryption: {{provider: {provider}}}` there, then: hardway encryption rotate",
        )
    kept = tuple(encryption_keys(here.workspace.values()))
    operate(options, rotate_encryption.operation(wanted, kept), here)


@app.command("status")
@flags(*opt.REACHING)
def status(options: Options) -> None:
    """Which keys encrypt, how much each has encrypted in etcd, and whether every API server knows them.

    Status 1: not all is encrypted with the key that writes.
    """
    with looking(options, None) as look:
        found = encryption_status(look.session, look.here.state)
    if options.output == "json":
        print_json(found.to_json())
    else:
        print_text("\n".join(encryption_page(found)))
    sys.exit(OK if found.well else FAILED)

"""`encryption rotate` and `encryption status`: the key that Secrets are encrypted with in etcd."""

from __future__ import annotations

import typer

from hardway.cli import options as opt
from hardway.cli.operating import operate
from hardway.cli.options import Options, flags
from hardway.operations import rotate_encryption

app = typer.Typer(add_completion=False)


@app.command("rotate")
@flags("yes", *opt.EVERY, "forks", "accept_new_host_keys", *opt.GETTING)
def rotate(options: Options) -> None:
    """A next encryption key: all Secrets are written again with it, and no API server restarts.

    Cut anywhere, the same command goes on. The key before stays in the workspace: older snapshots of etcd need it.
    """
    operate(options, rotate_encryption.operation())

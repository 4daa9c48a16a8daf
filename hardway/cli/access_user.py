"""`access user add`, `list` and `revoke`: kubeconfigs for other people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.certs_check import span
from hardway.cli.looking import Looking, at_controllers
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.console.tables import table
from hardway.console.terminal import page_width
from hardway.engine.session import holder
from hardway.operations import users

app = typer.Typer(add_completion=False)
_users = typer.Typer(add_completion=False, no_args_is_help=True, help="Kubeconfigs for other people")
app.add_typer(_users, name="user")
FLAGS = (*opt.EVERY, "accept_new_host_keys")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whom the API server sees")]


@contextmanager
def _controllers(options: Options, command: str) -> Iterator[tuple[Looking, str]]:
    """Connections to the controllers, and the first that answers. The workspace is locked: a list is kept in it."""
    with at_controllers(options) as look, look.here.workspace.lock(holder(command)):
        yield look, next(iter(look.session.machines))


@_users.command("add")
@flags(*FLAGS)
def add(
    options: Options,
    name: Name,
    group: Annotated[list[str] | None, typer.Option("--group", help="What roles are bound to; may be repeated")] = None,
    ttl: Annotated[str, typer.Option("--ttl", metavar="8h", help="How long it is good for")] = "8h",
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Default: NAME.kubeconfig here")] = None,
) -> None:
    """A kubeconfig for somebody: a certificate of that name and these groups, signed by the cluster.

    It gives no rights: bind a role to the name or to a group (kubectl create rolebinding). It ends by itself.
    """
    life = span(ttl, "--ttl")
    path = to or Path(f"{name}.kubeconfig")
    with _controllers(options, f"access user add {name}") as (look, machine):
        made = users.add(look.session, machine, name, group or [], life, path)
    if options.output == "json":
        print_json(asdict(made))
        return
    groups = f" of {', '.join(made.groups)}" if made.groups else ""
    print_text(f"{path}: for {name}{groups}, until {made.until}")
    if not made.groups:
        bind = ["kubectl", "create", "clusterrolebinding", name, "--clusterrole=view", f"--user={name}"]
        print_text(f"\nIt may do nothing yet:  {shlex.join(bind)}")


@_users.command("list")
@flags(*opt.EVERY)
def listed(options: Options) -> None:
    """Who was given a kubeconfig with this workspace, and until when it is good."""
    known = users.users(site(options, lab_must_run=False).workspace)
    if options.output == "json":
        print_json(asdict(users.Users(known)))
        return
    now = datetime.now(UTC)
    rows = []
    for one in known:
        ended = datetime.fromisoformat(one.until) < now
        how = "ended" if ended else "revoked" if one.revoked else "good"
        rows.append((one.name, ", ".join(one.groups) or "-", one.until, how, one.kubeconfig))
    print_text(table(("USER", "GROUPS", "UNTIL", "", "KUBECONFIG"), rows, page_width()) if rows else "nobody yet")


@_users.command("revoke")
@flags(*FLAGS)
def revoke(options: Options, name: Name) -> None:
    """Take somebody out of all role bindings, and say what cannot be taken away before the certificate ends."""
    with _controllers(options, f"access user revoke {name}") as (look, machine):
        done = users.revoke(look.session, machine, name)
    if options.output == "json":
        print_json(asdict(done))
        return
    for binding in done.taken:
        print_text(f"taken out of {binding.words}")
    if not done.taken:
        print_text(f"no role was bound to the user {name}")
    for binding in done.left:
        print_text(f"still there for the groups of {name}: {binding.words}")
    print_text(
        f"\nKubernetes cannot revoke a certificate: {name} is let in, without those rights, until {done.user.until}."
        "\nTo end that now, for everybody:  hardway certs rotate-ca kubernetes"
    )

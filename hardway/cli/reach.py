"""`kubectl`, `ssh` and `logs`: the ways in, with the operator's credentials."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.values import ROLES

if TYPE_CHECKING:
    from hardway.cli.site import Site

DIRECT_LIMIT = 1.0
TUNNEL_LIMIT = 15.0
CONNECT_LIMIT = 3
"""All in seconds: to the API itself; until a tunnel stands; of that, for its TCP connection."""


_WITH_VALUE = ("-i", "--inventory", "--workspace")


class _PassThrough(TyperCommand):
    """Hardway's own flags come first; every word after them is handed on as it was typed, `--` too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = 0
        while own < len(args) and args[own] in (*_WITH_VALUE, "-v", "--verbose"):
            own += 2 if args[own] in _WITH_VALUE else 1
        if args[own : own + 1] in (["-h"], ["--help"]):
            own += 1
        super().parse_args(ctx, args[:own])
        ctx.params["words"] = args[own:]
        return []


def register(app: typer.Typer, panel: str) -> None:
    """Adds these commands to the tree, below their heading."""
    app.command(cls=_PassThrough, rich_help_panel=panel)(kubectl)
    app.command(context_settings={"allow_interspersed_args": False}, rich_help_panel=panel)(ssh)
    app.command(rich_help_panel=panel)(logs)


@flags("inventory", "verbose", "workspace")
def kubectl(
    options: Options,
    words: Annotated[list[str] | None, typer.Argument(metavar="KUBECTL'S OWN WORDS…")] = None,
) -> None:
    """kubectl with the operator's kubeconfig; through SSH where port 6443 cannot be reached.

    Flags of hardway stand before kubectl's first word; all that follows is kubectl's: its own help is
    `hardway kubectl help`.
    """
    from hardway.artifacts.store import default_store
    from hardway.cli.closing import offer_kubectl
    from hardway.cli.running import resolver
    from hardway.cli.site import site
    from hardway.errors import HardwayError
    from hardway.events import discard

    here = site(options)
    if not here.workspace.kubeconfig.exists():
        raise HardwayError("there is no kubeconfig yet", hint="hardway access")
    folder = offer_kubectl(here.workspace, resolver(options, here.cluster, default_store(), discard), default_store())
    program = str(folder / "kubectl") if folder else shutil.which("kubectl")
    if program is None:
        # The cache has kubectl for the machines, which are Linux.
        get = "hardway artifacts get" if platform.system() == "Linux" else "on a Mac: brew install kubectl"
        raise HardwayError("no kubectl on PATH, and none in the cache", hint=f"install kubectl, or {get}")
    argv = [program, f"--kubeconfig={here.workspace.kubeconfig}"]
    host, port = here.cluster.endpoint_host, here.cluster.endpoint_port
    if _reachable(host, port):
        os.execv(program, [*argv, *(words or [])])
    with _tunnel(here, host, port) as local:
        argv += [f"--server=https://127.0.0.1:{local}"]
        sys.exit(subprocess.run([*argv, *(words or [])], check=False).returncode)


@flags("inventory", "verbose", "workspace")
def ssh(
    options: Options,
    machine: Annotated[str, typer.Argument(metavar="MACHINE|ROLE", autocompletion=opt.complete_machines)],
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND…]")] = None,
) -> None:
    """A shell on a machine, or one command there; of a role its first machine."""
    from hardway.cli.site import site

    inventory, words = split_flags(command or [], options.inventory)
    here = site(replace(options, inventory=inventory))
    name = _one(here, machine)
    os.execvp("ssh", ["ssh", *["-v"] * options.verbose, "-F", str(_ssh_config(here)), name, *words])


@flags(*opt.EVERY)
def logs(
    options: Options,
    machine: Annotated[str, typer.Argument(metavar="MACHINE|ROLE", autocompletion=opt.complete_machines)],
    unit: Annotated[
        str | None, typer.Argument(help="A unit such as etcd; default: all that hardway runs there")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines")] = 50,
) -> None:
    """The journal of a component on a machine, or on the first of a role; -o json: as journalctl has it."""
    from hardway.cli.site import site
    from hardway.declare.resources import Service
    from hardway.engine.planner import declared
    from hardway.errors import UsageError

    here = site(options)
    name = _one(here, machine)
    placed = declared(here.cluster, here.state)[1].on(name)
    units = [one.resource.unit for one in placed if isinstance(one.resource, Service)]
    if unit:
        wanted = unit if "." in unit else f"{unit}.service"
        if wanted not in units:
            raise UsageError(f"{name} has no unit {wanted} of hardway's", hint=f"one of: {', '.join(units)}")
        units = [wanted]
    command = ["journalctl", "--no-pager", f"--lines={lines}", *(["-f"] if follow else [])]
    command += ["--output=json"] if options.output == "json" else []
    command += [f"--unit={one}" for one in units]
    root = [] if here.cluster.machine(name).ssh.sudo == "never" else ["sudo"]
    os.execvp("ssh", ["ssh", *["-v"] * options.verbose, "-F", str(_ssh_config(here)), name, *root, *command])


def _one(here: Site, word: str) -> str:
    """The machine that is meant: by its name, or the first of a role. Raises Unreachable where a lab's is off."""
    from hardway.cli.power import require

    machine = here.cluster.select(word)[0] if word in ROLES else here.cluster.machine(word)
    require(here.cluster, machine.name)
    return machine.name


def _ssh_config(here: Site) -> Path:
    from hardway.errors import HardwayError

    path = here.workspace.root / "ssh_config"
    if not path.exists():
        raise HardwayError("there is no ssh_config yet", hint="hardway access")
    return path


def split_flags(words: list[str], inventory: Path | None) -> tuple[Path | None, list[str]]:
    """Takes `-i FILE` from the front of a remote command: nobody means it for the machine.

    After `--` all words are the command's.
    """
    if len(words) > 1 and words[0] in ("-i", "--inventory"):
        return split_flags(words[2:], Path(words[1]))
    return inventory, words[1:] if words[:1] == ["--"] else words


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), DIRECT_LIMIT):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _tunnel(here: Site, host: str, port: int) -> Iterator[int]:
    """A local port that leads through a controller to the API; 127.0.0.1 is among its certificate's names."""
    from hardway.errors import Unreachable

    names = [controller.name for controller in here.cluster.controllers]
    for name in names:
        with _forwarding(_ssh_config(here), name, host, port) as local:
            if local is None:
                continue
            if not _speaks_tls(local):
                what = f"{host}:{port} does not answer, neither here nor by way of {name}: there is no API"
                raise Unreachable(what, hint="hardway doctor; where no cluster was made yet: hardway init")
            yield local
            return
    raise Unreachable(f"neither {host}:{port} nor SSH to {', '.join(names)} answers", hint=f"hardway ssh {names[0]}")


def _speaks_tls(port: int) -> bool:
    """Whether somebody is at the other end of a local port; a tunnel takes connections also where nobody is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), TUNNEL_LIMIT) as line,
            context.wrap_socket(line, server_hostname="127.0.0.1"),
        ):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _forwarding(ssh_config: Path, through: str, host: str, port: int) -> Iterator[int | None]:
    """A local port that ssh forwards by way of one machine; None where that machine does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        local: int = free.getsockname()[1]
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-o", f"ConnectTimeout={CONNECT_LIMIT}"]
    # That nobody listens at the far end is said by us, and said once.
    argv = ["ssh", "-q", "-F", str(ssh_config), *options, "-L", f"127.0.0.1:{local}:{host}:{port}", through]
    process = subprocess.Popen(argv)
    try:
        deadline = time.monotonic() + TUNNEL_LIMIT
        while not (answers := _reachable("127.0.0.1", local)):
            if process.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        yield local if answers else None
    finally:
        process.terminate()
        process.wait()

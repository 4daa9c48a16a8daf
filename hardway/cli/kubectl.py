"""`kubectl`: with the operator's kubeconfig, through SSH where need be."""

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
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from hardway.artifacts.store import default_store
from hardway.cli.closing import offer_kubectl
from hardway.cli.options import Options, flags
from hardway.cli.reach import missing, to_machine
from hardway.cli.running import resolver
from hardway.cli.site import Site, site
from hardway.errors import HardwayError, Unreachable
from hardway.events import discard
from hardway.values import host_port

DIRECT_LIMIT = 1.0
TUNNEL_LIMIT = 15.0
CONNECT_LIMIT = 3
"""All in seconds: to the API itself; until a tunnel stands; of that, for its TCP connection."""


app = typer.Typer(add_completion=False)
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


@app.command(cls=_PassThrough)
@flags("inventory", "verbose", "workspace")
def kubectl(
    options: Options,
    words: Annotated[list[str] | None, typer.Argument(metavar="KUBECTL'S OWN WORDS…")] = None,
) -> None:
    """kubectl with the operator's kubeconfig; through SSH where port 6443 cannot be reached.

    Flags of hardway stand before kubectl's first word; all that follows is kubectl's: its own help is
    `hardway kubectl help`.
    """
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


def _reachable(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), DIRECT_LIMIT):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _tunnel(here: Site, host: str, port: int) -> Iterator[int]:
    """A local port that leads through a controller to the API; 127.0.0.1 is among its certificate's names."""
    names = [controller.name for controller in here.cluster.controllers]
    for name in names:
        with _forwarding(to_machine(here, name), host, port) as local:
            if local is None:
                continue
            if not _speaks_tls(local):
                what = f"{host_port(host, port)} does not answer, neither here nor by way of {name}: there is no API"
                raise Unreachable(what, hint="hardway doctor; where no cluster was made yet: hardway init")
            yield local
            return
    raise Unreachable(
        f"neither {host_port(host, port)} nor SSH to {', '.join(names)} answers", hint=f"hardway ssh {names[0]}"
    )


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
def _forwarding(through: list[str], host: str, port: int) -> Iterator[int | None]:
    """A local port that ssh forwards by way of one machine; None where that machine does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        local: int = free.getsockname()[1]
    options = ["-N", "-o", "ExitOnForwardFailure=yes", "-o", f"ConnectTimeout={CONNECT_LIMIT}"]
    # That nobody listens at the far end is said by us, and said once.
    argv = ["ssh", "-q", *options, "-L", f"127.0.0.1:{local}:{host_port(host, port)}", *through]
    try:
        process = subprocess.Popen(argv)
    except FileNotFoundError as error:
        raise missing("ssh") from error
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

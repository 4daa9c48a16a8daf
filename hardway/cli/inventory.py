"""`hardway inventory`: the one file that says what is wanted."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.site import inventory, site
from hardway.console.printing import print_document, print_json, print_text
from hardway.console.words import counted
from hardway.declare.generations import CAS
from hardway.errors import UsageError
from hardway.inventory.find import DEFAULT
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.inventory.problems import Problem
from hardway.inventory.schema import json_schema
from hardway.inventory.settings import settings_problems
from hardway.inventory.starter import Given, Started, starter
from hardway.inventory.view import checked, shown, shown_lines
from hardway.workspace import Workspace

app = typer.Typer(add_completion=False, no_args_is_help=True)
Shape = Literal["seven", "small", "single", "stacked", "five", "lab", "lab-small", "lab-single", "vagrant"]
_ADDRESS = "[NAME=]ADDRESS"


@app.command()
@flags(*opt.EVERY)
def check(options: Options) -> None:
    """Read the inventory and say everything that is wrong with it."""
    cluster = inventory(
        options,
        (settings_problems, (("kubernetes",), ("artifacts",))),
        (partial(_authorities, options), (("certs",),)),
    )
    if options.output == "json":
        print_json(asdict(checked(cluster)))
        return
    roles = f"{counted(len(cluster.controllers), 'controller')}, {counted(len(cluster.workers), 'worker')}"
    machines = counted(len(cluster.machines), "machine")
    print_text(f"{cluster.path}: {cluster.name}, {machines} ({roles}), Kubernetes {cluster.kubernetes}")
    if named := sum(machine.address is None for machine in cluster.machines):
        print_text(f"{counted(named, 'address', 'addresses')} to come from DNS: hardway inventory show looks them up")


def _authorities(options: Options, cluster: Cluster) -> Iterator[Problem]:
    """The operator's files of a CA that cannot be read. Those that are gone may be: the workspace keeps copies."""
    copies = Workspace.of(cluster, options.workspace).root
    for ca in CAS:
        own = cluster.certs.authorities.get(ca.name)
        if own is None:
            continue
        for kind, ending, file in (("certificate", "crt", own.certificate), ("key", "key", own.key)):
            if file is None:
                continue
            try:
                file.read_bytes()
            except OSError as error:
                gone = isinstance(error, FileNotFoundError | NotADirectoryError)
                if not (gone and (copies / f"{ca.path}.{ending}").exists()):
                    loc = ("certs", "authorities", ca.name, kind)
                    yield Problem(loc, f"{file}: {error.strerror or error}")


@app.command()
@flags(*opt.EVERY)
def show(options: Options) -> None:
    """The inventory with every value: defaults, addresses, pod ranges. -v says where each comes from."""
    found = shown(site(options, lab_must_run=False, listed=True).cluster)
    if options.output == "json":
        print_json(found.to_json())
    else:
        print_document("\n".join(shown_lines(found, origins=options.verbose > 0)))


@app.command()
@flags(*opt.EVERY)
def new(
    options: Options,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: to standard output")] = None,
    shape: Annotated[
        Shape, typer.Option("--shape", help="How many machines, and which; lab and vagrant ones are complete")
    ] = "seven",
    cluster: Annotated[str, typer.Option("--cluster", metavar="NAME")] = "prod",
    controllers: Annotated[
        list[str] | None, typer.Option("--controller", metavar=_ADDRESS, help="Again for each")
    ] = None,
    workers: Annotated[list[str] | None, typer.Option("--worker", metavar=_ADDRESS, help="Again for each")] = None,
    balancers: Annotated[list[str] | None, typer.Option("--load-balancer", metavar=_ADDRESS)] = None,
    user: Annotated[str | None, typer.Option("--user", help="Who logs in over SSH")] = None,
) -> None:
    """A commented inventory to start from: `hardway inventory new hardway.yaml --shape small`."""
    text = starter(shape, cluster, Given(controllers or (), workers or (), balancers or ()), user)
    if file is not None:
        # Complete ones come from a clone, where they are called otherwise.
        text = re.sub(r"\binventories/[a-z-]+\.yaml\b", lambda _: shlex.quote(str(file)), text)
    if file is None:
        if options.output == "json":
            print_json(asdict(Started(None, text)), indent=None)
        else:
            print_document(text.rstrip("\n"))
        return
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise UsageError(f"{file} exists already; it was not changed", hint="give another name") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}", hint="give another name") from error
    if options.output == "json":
        print_json(asdict(Started(str(file), text)), indent=None)
    else:
        print_text(f"Written: {file}. Look through it, then: hardway inventory check{_named(file)}")
    load(file)


def _named(file: Path) -> str:
    return "" if file == Path(DEFAULT) and "HARDWAY_INVENTORY" not in os.environ else f" -i {shlex.quote(str(file))}"


@app.command()
@flags(*opt.EVERY)
def schema(options: Options) -> None:
    """The JSON Schema of an inventory, for editors that complete and check while one types."""
    print_json(json_schema(), indent=2)

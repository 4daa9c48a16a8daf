"""`preflight`, `reset`, `artifacts` and `inventory`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from hardway.cli import options as opt
from hardway.cli.inventory import app as _inventory
from hardway.cli.options import Options, flags


def register(app: typer.Typer, *, check: str, do: str, start: str) -> None:
    """Adds these commands to the tree, below their headings."""
    app.command(rich_help_panel=check)(preflight)
    app.command(rich_help_panel=do)(reset)
    app.add_typer(_artifacts, name="artifacts", rich_help_panel=start, help="The cluster's binaries and images")
    app.add_typer(_inventory, name="inventory", rich_help_panel=start, help="The one file that says what is wanted")


@flags(*opt.REACHING)
def preflight(
    options: Options,
    ports: Annotated[
        Literal["table", "nft", "ufw", "firewalld"] | None,
        typer.Option(help="Who must reach whom, as a table or as firewall commands; contacts nobody"),
    ] = None,
) -> None:
    """May I start? Looks at every machine, changes nothing, and says everything at once."""
    from hardway.cli.running import look, refuse, shown
    from hardway.console.terminal import page_width
    from hardway.console.walk_page import finding_lines
    from hardway.console.words import counted
    from hardway.events import Found, RunFinished

    if ports is not None:
        _ports(options, ports)
        return
    started = time.monotonic()
    here, findings = look(options, "preflight")
    if options.output == "json":
        with shown(options) as events:
            for one in findings:
                events(Found(one.machine, one.rule, one.level, one.what, one.fix))
            refuse(findings)
            events(RunFinished(True, 0, 0, time.monotonic() - started, ("hardway init",)))
        return
    for finding in findings:
        if finding.level == "warning":
            print("\n".join(finding_lines(finding, page_width())))
    refuse(findings)
    print(f"{counted(len(here.chosen), 'machine')}: nothing stands in the way of hardway init.")


def _ports(options: Options, form: Literal["table", "nft", "ufw", "firewalld"]) -> None:
    from hardway.cli.running import site
    from hardway.console.ports_page import commands_page, ports_page
    from hardway.console.terminal import page_width
    from hardway.network.flows import flows

    here = site(options, lab_must_run=False)
    if options.output == "json":
        names = {machine.name for machine in here.chosen}
        print(json.dumps([asdict(one) for one in flows(here.cluster) if one.machine in names], indent=1))
    elif form == "table":
        print("\n".join(ports_page(here.cluster, here.chosen, page_width())))
    else:
        print("\n".join(commands_page(here.cluster, here.chosen, form)))


@flags("yes", *opt.REACHING)
def reset(options: Options) -> None:
    """Take away what hardway put on the machines, and nothing else. The cluster's data goes with it."""
    from hardway.cli.running import changing, confirm, site
    from hardway.errors import UsageError
    from hardway.events import RunFinished
    from hardway.resetting import reset as take_away

    here = site(options)
    names = ", ".join(machine.name for machine in here.chosen)
    question = f"Reset {names}: the cluster {here.cluster.name} and all its data there are lost. Go on?"
    may_ask = options.output == "text" and sys.stdin.isatty()
    if not options.yes and not (may_ask and confirm(question)):
        raise UsageError("nothing was reset", hint="--yes, if the data is not needed")
    started = time.monotonic()
    with changing(options, here, "reset", ("reset",)) as session:
        undone = take_away(session)
        if here.everywhere:
            here.workspace.forget_state()
        session.events(RunFinished(True, undone, 0, time.monotonic() - started, ("hardway init",)))


_artifacts = typer.Typer(invoke_without_command=True)


@_artifacts.callback()
@flags(*opt.EVERY, "source", "mirror")
def _table(
    options: Options,
    context: typer.Context,
    arch: Annotated[Literal["amd64", "arm64"] | None, typer.Option("--arch", help="Default: both")] = None,
) -> None:
    """Every component: version, architecture, source, digest, size, state."""
    if context.invoked_subcommand:
        return
    from hardway.artifacts.catalogue import ARCHES
    from hardway.artifacts.get import names_of, needs_for
    from hardway.artifacts.get import table as rows_of
    from hardway.artifacts.store import default_store
    from hardway.cli.running import inventory, supply
    from hardway.console.tables import table
    from hardway.events import discard
    from hardway.views.stock import stock

    cluster = inventory(options)
    wanted = supply(options, cluster, default_store(), discard)
    kubernetes = cluster.kubernetes
    needs = [n for a in ARCHES if arch in (None, a) for n in needs_for(kubernetes, a, names_of(kubernetes))]
    rows = rows_of(needs, source=wanted.source, store=wanted.store, lock=wanted.lock)
    if options.output == "json":
        print(json.dumps([asdict(stock(one)) for one in rows], indent=1))
        return
    lines = [
        (r.need.name, r.need.version, r.need.arch, r.source or wanted.source, r.digest[:8] or "-",
         f"{r.size / 2**20:.0f} MB" if r.size else "-", r.state)
        for r in rows
    ]  # fmt: skip
    print(table(("NAME", "VERSION", "ARCH", "SOURCE", "SHA256", "SIZE", "STATE"), lines))


@_artifacts.command("get")
@flags("yes", *opt.EVERY, *opt.GETTING)
def _get(
    options: Options,
    arch: Annotated[Literal["amd64", "arm64"] | None, typer.Option("--arch", help="Default: this computer's")] = None,
) -> None:
    """Get everything now, so that init finds it in the cache."""
    import platform

    from hardway.artifacts.get import ensure, names_of, needs_for
    from hardway.artifacts.store import default_store
    from hardway.cli.running import inventory, shown, supply
    from hardway.events import Note

    cluster = inventory(options)
    own: Literal["amd64", "arm64"] = "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"
    with shown(options) as events:
        wanted = supply(options, cluster, default_store(), events)
        names = names_of(cluster.kubernetes)
        have = ensure(
            needs_for(cluster.kubernetes, arch or own, names), source=wanted.source, mirror=wanted.mirror,
            store=wanted.store, lock=wanted.lock, require_pinned=wanted.require_pinned, events=events, ask=wanted.ask,
        )  # fmt: skip
        size = sum(blob.size for blob in have.values())
        told = f"{len(have)} of {len(names)} files in the cache, {size / 2**20:.0f} MB."
        if options.output == "json":
            events(Note(told))
    if options.output == "text":
        print(told)

"""`preflight` and `reset`; `artifacts` and `inventory` join them here."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from hardway.cli import options as opt
from hardway.cli.artifacts import app as _artifacts
from hardway.cli.inventory import app as _inventory
from hardway.cli.options import Options, flags

PortsForm = Literal["table", "nft", "iptables", "ufw", "firewalld"]


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
        PortsForm | None,
        typer.Option(help="Who must reach whom, as a table or as firewall commands; contacts nobody"),
    ] = None,
) -> None:
    """May I start? Looks at every machine, changes nothing, and says everything at once."""
    from hardway.cli.running import look, shown
    from hardway.console.terminal import page_width
    from hardway.console.words import counted
    from hardway.events import Found, RunFinished
    from hardway.preflight.preflight import refuse
    from hardway.verify.rules_page import finding_lines

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


def _ports(options: Options, form: PortsForm) -> None:
    from hardway.cli.site import site
    from hardway.console.terminal import page_width
    from hardway.declare.network.flows import flows
    from hardway.preflight.ports_page import commands_page, ports_page

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
    from hardway.cli.running import changing, confirm
    from hardway.cli.site import site
    from hardway.engine.reset import reset as take_away
    from hardway.errors import UsageError
    from hardway.events import RunFinished

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

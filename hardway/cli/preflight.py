"""`preflight`: may I start?"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from hardway.artifacts.store import default_store
from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.power import hinting
from hardway.cli.running import access, resolver, shown
from hardway.cli.site import Site, site
from hardway.console.printing import print_document, print_json, print_text
from hardway.console.terminal import page_width
from hardway.console.words import counted
from hardway.declare.declaration import declare
from hardway.declare.network.flows import flows
from hardway.declare.phases.base import Model
from hardway.engine.observe import observe
from hardway.engine.session import opened
from hardway.events import Found, RunFinished
from hardway.preflight.ports_page import commands_page, ports_page
from hardway.preflight.preflight import preflight as examine
from hardway.preflight.preflight import refuse
from hardway.rules import Finding
from hardway.verify.rules_page import finding_lines

PortsForm = Literal["table", "nft", "iptables", "ufw", "firewalld"]

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.REACHING)
def preflight(
    options: Options,
    ports: Annotated[
        PortsForm | None,
        typer.Option(help="Who must reach whom, as a table or as firewall commands; contacts nobody"),
    ] = None,
) -> None:
    """May I start? Looks at every machine, changes nothing, and says everything at once."""
    if ports is not None:
        _ports(options, ports)
        return
    started = time.monotonic()
    here, findings = look(options)
    if options.output == "json":
        with shown(options) as events:
            for one in findings:
                events(Found(one.machine, one.rule, one.level, one.what, one.fix))
            refuse(findings)
            events(RunFinished(True, 0, 0, time.monotonic() - started, ("hardway init",)))
        return
    for finding in findings:
        if finding.level == "warning":
            print_text("\n".join(finding_lines(finding, page_width())))
    refuse(findings)
    print_text(f"{counted(len(here.chosen), 'machine')}: nothing blocks hardway init.")


def _ports(options: Options, form: PortsForm) -> None:
    here = site(options, lab_must_run=False, listed=True)
    if options.output == "json":
        names = {machine.name for machine in here.chosen}
        print_json([asdict(one) for one in flows(here.cluster) if one.machine in names])
    elif form == "table":
        print_text("\n".join(ports_page(here.cluster, here.chosen, page_width())))
    else:
        print_document("\n".join(commands_page(here.cluster, here.chosen, form)))


def look(options: Options) -> tuple[Site, list[Finding]]:
    """The findings of all chosen machines: connects, looks, changes nothing."""
    here = site(options, listed=True)
    with (
        hinting(here.cluster),
        shown(options) as events,
        opened(
            here.cluster,
            here.workspace,
            here.chosen,
            access=access(options, events),
            events=events,
            forks=options.forks,
        ) as session,
    ):
        versions = resolver(options, here.cluster, default_store(), events).versions
        declaration = declare(Model(here.cluster, here.state, versions))
        views = observe(session, declaration, session.machines)
        return here, examine(session, views, here.cluster)

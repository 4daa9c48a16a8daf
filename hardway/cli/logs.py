"""`logs`: the journal of a component, on one machine or on all that run it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.journals import SORTABLE, Journals
from hardway.cli.options import Options, flags
from hardway.cli.power import require, switched_off
from hardway.cli.reach import one_machine, to_machine
from hardway.cli.relay import relay
from hardway.cli.site import Site, site
from hardway.console.printing import print_text
from hardway.declare.resources import Service
from hardway.engine.plan import declared
from hardway.errors import UsageError
from hardway.values import ROLES

app = typer.Typer(add_completion=False)


@app.command()
@flags(*opt.EVERY)
def logs(
    options: Options,
    machine: Annotated[str, typer.Argument(metavar="MACHINE|ROLE|UNIT", autocompletion=opt.complete_machines)],
    unit: Annotated[
        str | None, typer.Argument(help="A unit such as etcd; default: all that hardway runs there")
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="Of each machine")] = 50,
) -> None:
    """The journal of a component on a machine, or on all that run it; -o json: as journalctl has it.

    Of a role its first machine. hardway logs kube-apiserver shows all API servers: each line after its machine's name,
    in the order of time; in JSON the name is MACHINE.
    """
    here = site(options)
    units = _units(here)
    command = ["journalctl", "--no-pager", f"--lines={lines}", *(["-f"] if follow else [])]
    command += ["--output=json"] if options.output == "json" else []
    running = [name for name, known in units.items() if _unit(machine) in known]
    if unit is None and running and not _is_machine(here, machine):
        asked = [*command, *(SORTABLE if options.output != "json" else ()), f"--unit={_unit(machine)}"]
        commands = {name: _ssh(options, here, name, asked) for name in _switched_on(here, running)}
        journals = Journals(commands, is_json=options.output == "json", follow=follow)
        raise typer.Exit(journals.show(options.forks))
    if not running and not _is_machine(here, machine):
        raise UsageError(f"no machine and no component is named {machine!r}", hint=_all(units))
    name = one_machine(here, machine)
    if unit and _unit(unit) not in units[name]:
        raise UsageError(f"{name} has no unit {_unit(unit)} of hardway's", hint=_instead(units, name, _unit(unit)))
    shown = [_unit(unit)] if unit else units[name]
    # What a machine wrote into its journal is shown, never obeyed by the terminal.
    words = _ssh(options, here, name, [*command, *(f"--unit={one}" for one in shown)])
    raise typer.Exit(relay(words, options.output))


def _units(here: Site) -> dict[str, list[str]]:
    """The units that hardway runs, by machine."""
    declaration = declared(here.cluster, here.state)[1]
    found: dict[str, list[str]] = {}
    for machine in here.cluster.machines:
        services = (one.resource for one in declaration.on(machine.name) if isinstance(one.resource, Service))
        found[machine.name] = [service.unit for service in services]
    return found


def _unit(word: str) -> str:
    return word if "." in word else f"{word}.service"


def _is_machine(here: Site, word: str) -> bool:
    return word in ROLES or any(machine.name == word for machine in here.cluster.machines)


def _all(units: dict[str, list[str]]) -> str:
    components: set[str] = set()
    for known in units.values():
        components |= {unit.removesuffix(".service") for unit in known}
    return f"one of: {', '.join([*units, *sorted(components)])}"


def _instead(units: dict[str, list[str]], name: str, wanted: str) -> str:
    elsewhere = [other for other, known in units.items() if wanted in known]
    if elsewhere:
        return f"it runs on {', '.join(elsewhere)}: hardway logs {wanted.removesuffix('.service')}"
    return f"one of: {', '.join(units[name])}"


def _switched_on(here: Site, names: Sequence[str]) -> list[str]:
    """Those of a lab that are on; the others are named. Raises Unreachable where there is none."""
    off = switched_off(here.cluster)
    on = [name for name in names if name not in off]
    if not on:
        require(here.cluster, names[0])
    for name in names:
        if name in off:
            print_text(f"{name} does not run", stream=sys.stderr)
    return on


def _ssh(options: Options, here: Site, name: str, command: Sequence[str]) -> list[str]:
    root = [] if here.cluster.machine(name).ssh.sudo == "never" else ["sudo"]
    return ["ssh", *["-v"] * options.verbose, *to_machine(here, name), *root, *command]

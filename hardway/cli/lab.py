"""`hardway lab`: machines on this computer."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, get_args

import typer

from hardway.cli import options as opt
from hardway.cli.breaking import any_fault, break_it, chosen
from hardway.cli.computer import inventory_path
from hardway.cli.options import Options, flags
from hardway.cli.reach import become, split_flags
from hardway.cli.running import shown
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.console.tables import table
from hardway.console.terminal import page_width
from hardway.console.words import counted
from hardway.doctor.page import faults_page
from hardway.errors import LabError, UsageError
from hardway.events import Note
from hardway.inventory.load import load
from hardway.lab.faults import FAULTS, fault
from hardway.lab.lab import down as take_down
from hardway.lab.lab import power_off as pull
from hardway.lab.lab import power_on as boot
from hardway.lab.lab import status as look
from hardway.lab.lab import up as raise_lab
from hardway.lab.marker import running
from hardway.lab.model import FaultSummary, Lab, LabMachine
from hardway.values import LabImage
from hardway.workspace import Workspace

app = typer.Typer(add_completion=False, no_args_is_help=True)
_Machine = Annotated[str, typer.Argument(autocompletion=opt.complete_one_machine)]


def _complete_faults(incomplete: str) -> list[str]:
    return [one.name for one in FAULTS if one.name.startswith(incomplete)]


def lab_of(inventory: Path | None, workspace: Path | None, image: LabImage | None = None) -> Lab:
    """The lab that an inventory describes; `image` for the machines that name none of their own."""
    cluster = load(inventory_path(inventory))
    if cluster.lab is None:
        raise LabError(f"{cluster.path} describes no lab", hint="hardway inventory new lab.yaml --shape lab")
    usual = image or cluster.lab.image
    machines = tuple(
        LabMachine(machine.name, machine.ip, machine.image or usual, machine.address6) for machine in cluster.machines
    )
    root = Workspace.of(cluster, workspace).root
    return Lab(
        cluster=cluster.name,
        network=cluster.lab.network,
        network6=cluster.lab.network6,
        machines=machines,
        workspace=root,
        inner=(cluster.network.service_cidr, cluster.network.pod_cidr),
    )


def _as_root() -> None:
    """Only the lab needs root; it asks for it by itself. Raises LabError where no lab can be."""
    if platform.system() != "Linux":
        raise LabError(
            f"a lab's machines are containers and need Linux; this is {platform.system()}",
            hint="machines made by Vagrant (docs/operate/vagrant.md): make vagrant-up; or machines of your own",
        )
    if os.geteuid() != 0:
        kept = "PATH,HARDWAY_INVENTORY,XDG_CACHE_HOME,HOME"
        become(["sudo", f"--preserve-env={kept}", sys.executable, "-m", "hardway", *sys.argv[1:]])


@app.command()
@flags(*opt.EVERY)
def up(
    options: Options,
    image: Annotated[
        LabImage | None, typer.Option(metavar="IMAGE", help=f"For new machines: {', '.join(get_args(LabImage))}")
    ] = None,
) -> None:
    """Boot the inventory's machines here; says first what it changes on this computer."""
    _as_root()
    lab = lab_of(options.inventory, options.workspace, image)
    with shown(options) as events:
        booted = raise_lab(lab, events)
        names = ", ".join(machine.name for machine in lab.machines)
        told = f"{counted(len(lab.machines), 'machine')} {'up' if booted else 'up already'}: {names}"
        if options.output == "json":
            events(Note(told))
    if options.output == "text":
        print_text(told)


@app.command()
@flags(*opt.EVERY)
def down(options: Options) -> None:
    """Take them down and leave nothing behind: mounts, interfaces, processes, cgroups, sysctls."""
    _as_root()
    lab = lab_of(options.inventory, options.workspace)
    with shown(options) as events:
        take_down(lab, events)
    # The machines' disks are gone, and with them the cluster; its keys may serve the next one.
    Workspace(lab.workspace).forget_state()
    if options.output == "text":
        print_text(f"The lab {lab.cluster} is gone; its workspace stays in {lab.workspace}")


@app.command()
@flags(*opt.EVERY)
def status(options: Options) -> None:
    """Which machines run."""
    found = look(lab_of(options.inventory, options.workspace))
    if options.output == "json":
        print_json([asdict(one) for one in found])
        return
    rows = [
        (one.name, str(one.address), one.state, str(one.pid or "-"), "answers" if one.ssh else "-") for one in found
    ]
    print_text(table(("MACHINE", "ADDRESS", "STATE", "PID", "SSH"), rows))


@app.command("power-off")
@flags(*opt.EVERY)
def power_off(options: Options, machine: _Machine) -> None:
    """Pull the plug: no shutdown, the disk stays."""
    _as_root()
    pull(lab_of(options.inventory, options.workspace), machine)
    _noted(options, f"{machine} is off")


@app.command("power-on")
@flags(*opt.EVERY)
def power_on(options: Options, machine: _Machine) -> None:
    """Boot it again with the disk it had."""
    _as_root()
    boot(lab_of(options.inventory, options.workspace), machine)
    _noted(options, f"{machine} is on, and its sshd answers")


def _noted(options: Options, text: str) -> None:
    """Says what was done where a program asked; a person knows."""
    if options.output == "json":
        with shown(options) as events:
            events(Note(text))


@app.command("break")
@flags("limit", *opt.EVERY)
def break_(
    options: Options,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", autocompletion=_complete_faults)] = None,
    listed: Annotated[bool, typer.Option("--list", help="Every fault, and what a person notices of it")] = False,
    any_one: Annotated[bool, typer.Option("--random", help="One of them, without saying which")] = False,
) -> None:
    """Break the lab's cluster on purpose: a real fault, for `hardway doctor` and for you to find."""
    if sum((name is not None, listed, any_one)) != 1:
        raise UsageError("name a fault, or use --random or --list", hint="hardway lab break --list")
    if listed and options.output == "json":
        print_json([asdict(FaultSummary(one.name, one.role, one.summary)) for one in FAULTS])
        return
    if listed:
        faults = [(one.name, one.role, one.summary) for one in FAULTS]
        print_text("\n".join(faults_page(faults, page_width())))
        return
    named = fault(name) if name else None
    here = site(options)
    wanted = named or any_fault(here)
    machines = chosen(here, wanted, None if any_one else options.limit)
    if wanted.power_off:
        _as_root()
    break_it(lab_of(options.inventory, options.workspace), here, wanted, machines)
    names = ", ".join(one.name for one in machines)
    told = f"{names}: {wanted.summary}" if name else "Something is broken."
    if options.output == "json":
        _noted(options, told)
    else:
        print_text(f"{told}\nFind it:  hardway doctor")


@app.command(context_settings={"allow_interspersed_args": False})
@flags("inventory", "verbose", "workspace")
def ssh(
    options: Options,
    machine: _Machine,
    command: Annotated[list[str] | None, typer.Argument(metavar="[-- COMMAND…]")] = None,
) -> None:
    """A root shell on a lab machine, before any chapter ran."""
    inventory, words = split_flags(command or [], options.inventory)
    lab = lab_of(inventory, options.workspace)
    address = next((one.address for one in lab.machines if one.name == machine), None)
    if address is None or machine not in (running(lab.cluster) or {}):
        raise LabError(f"{machine} does not run in the lab {lab.cluster}", hint="hardway lab status")
    key, known = lab.workspace / "lab" / "id_ed25519", lab.workspace / "known_hosts"
    argv = ["ssh", "-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known}", f"root@{address}"]
    become([*argv, *words])

"""What `backup install` and `watch install` have in common: show the units, ask, and have systemd run them."""

from __future__ import annotations

import getpass
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli.operating import require_person, require_yes
from hardway.cli.options import Options
from hardway.cli.site import Site
from hardway.console.printing import print_document, print_json, print_text
from hardway.operations import timer as timing
from hardway.operations.timer import Timer, Timers

Print = Annotated[bool, typer.Option("--print", help="Only print the units; needs no systemd")]
Remove = Annotated[bool, typer.Option("--remove", help="Stop the timer, and remove its units")]


def name_of(what: str, here: Site) -> str:
    """The units' name: of one cluster there is one timer for each thing."""
    return f"hardway-{what}-{re.sub('[^A-Za-z0-9_.-]', '-', here.cluster.name)}"


def command(options: Options, here: Site, *words: str) -> tuple[str, ...]:
    """What systemd runs, with paths that hold from any folder."""
    inventory = str(here.cluster.path.resolve())
    place = ("--workspace", str(options.workspace.resolve())) if options.workspace else ()
    return (sys.executable, "-m", "hardway", *words, "-i", inventory, *place)


def set_up(options: Options, timer: Timer, *, only_print: bool, remove: bool) -> None:
    """Shows what changes, asks, and does it. Raises HardwayError where nobody agrees, or there is no systemd."""
    found = timing.planned(timer, getpass.getuser())
    if not only_print:
        timing.require_systemd()
        if remove:
            _agreed(options, "\n".join(f"remove {unit.path}" for unit in found.units))
            found = timing.remove(found)
        else:
            _agreed(options, "\n".join(_differences(found)))
            found = timing.install(found)
    if options.output == "json":
        print_json(asdict(found))
    elif only_print:
        print_document("\n".join(f"# {unit.path}\n{unit.text}" for unit in found.units), end="")
    elif remove:
        print_text("removed")
    else:
        print_text("\n".join(_next(timer, found)))


def _differences(found: Timers) -> list[str]:
    lines = []
    for unit in found.units:
        if unit.change == "none":
            lines.append(f"{unit.path} is as it will be")
        else:
            lines += [f"{unit.change} {unit.path}"]
            lines += [f"  {line}" for line in unit.diff or unit.text.splitlines()]
    return lines


def _agreed(options: Options, text: str) -> None:
    what = "this changes what this computer runs"
    require_person(options, "--yes, or --print to see it", what=what, said=text)
    require_yes(options, f"{text}\n\nGo on?")


def _next(timer: Timer, found: Timers) -> list[str]:
    of_user = ["--user"] if found.user else []
    lines = [
        f"{timer.name}.timer runs: {', '.join(timer.schedule)}",
        f"next  try it now: {' '.join(['systemctl', *of_user, 'start', timer.name])}",
        f"      its output: {' '.join(['journalctl', *of_user, '-u', timer.name])}",
    ]
    if found.user:
        lines.append(f"      while {found.user} is not logged in it runs only after: loginctl enable-linger")
    return lines


def absolute(path: Path | None) -> str:
    """A path that holds from any folder; empty for none."""
    return str(path.resolve()) if path else ""

"""`verify`: is it as declared, and does it hold?"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.cli.running import span
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.console.terminal import page_width
from hardway.errors import DIFFERS, FAILED, OK, UsageError
from hardway.verify.agreement import Agreement, judge, offline
from hardway.verify.by_hand import set_up_by_hand
from hardway.verify.page import verify_page
from hardway.verify.rules_page import rules_page
from hardway.verify.verification import verified

app = typer.Typer(add_completion=False)


@app.command()
@flags("deep", *opt.REACHING)
def verify(
    options: Options,
    phases: opt.Chapters = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no machine: do the artifacts agree with each other?")
    ] = False,
    by_hand: Annotated[
        bool, typer.Option("--by-hand", help="The same of machines that somebody set up by hand, wholly or half-way")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="With --by-hand: certificates and kubeconfigs on this computer"),
    ] = None,
) -> None:
    """Is it as declared, and does it hold? Asks every proof, changes nothing. Status 3: it differs."""
    _fitting(phases, by_hand, folder)
    if by_hand:
        _by_hand(options, folder, offline=offline)
    if offline:
        _agreement(options)
    with looking(options, phases) as look:
        survey, plan = observed(look)
        found = verified(look.session, survey, plan)
    if options.output == "json":
        print_json(found.to_json())
    else:
        width, verbose = page_width(), options.verbose > 0
        page = verify_page(found, seconds=look.seconds, width=width, verbose=verbose, given=options.given)
        print_text("\n".join(page))
    sys.exit(found.exit_code)


def _fitting(phases: Sequence[str] | None, by_hand: bool, folder: Path | None) -> None:
    """Raises UsageError for chapters that are none, and for a folder that nobody would look into."""
    for name in phases or ():
        span(name, name)
    if folder is not None and not by_hand:
        raise UsageError(
            "--folder goes with --by-hand", hint=f"hardway verify --by-hand --folder {shlex.quote(str(folder))}"
        )


def _agreement(options: Options) -> NoReturn:
    """`verify --offline`: the rules across artifacts, and nothing else."""
    began = time.monotonic()
    here = site(options, lab_must_run=False)
    found = offline(here.cluster, here.state, here.workspace.values(), renewing=False)
    _tell(options, found, time.monotonic() - began)


def _by_hand(options: Options, folder: Path | None, *, offline: bool) -> NoReturn:
    """`verify --by-hand`; with `--offline` of a folder alone."""
    if offline and folder is None:
        raise UsageError("--by-hand without machines needs a folder", hint="--folder DIR, or leave out --offline")
    began = time.monotonic()
    if offline:
        cluster = site(options, lab_must_run=False).cluster
        setup, gone = set_up_by_hand(None, folder, {})
    else:
        with looking(options, None) as look:
            cluster = look.here.cluster
            setup, gone = set_up_by_hand(look.session, folder, look.unreached)
    words = ["hardway verify --by-hand", *(["--offline"] if offline else [])]
    words += ["--folder", shlex.quote(str(folder))] if folder else []
    _tell(options, judge(cluster, setup, gone), time.monotonic() - began, again=" ".join(words))


def _tell(options: Options, found: Agreement, seconds: float, again: str = "") -> NoReturn:
    if options.output == "json":
        print_json(found.to_json())
    else:
        width, verbose = page_width(), options.verbose > 0
        page = rules_page(found, seconds=seconds, width=width, verbose=verbose, given=options.given, again=again)
        print_text("\n".join(page))
    sys.exit(FAILED if found.unobserved else DIFFERS if found.errors else OK)

"""`watch`: is it still well? Once, or every so often, for somebody who is told when that changes."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Annotated

import typer

from hardway.certificates import check as certificates
from hardway.cli import options as opt
from hardway.cli.certs_check import Warn, span
from hardway.cli.installing import Print, Remove, absolute, command, name_of, set_up
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.cli.site import Site, site
from hardway.console import error as show_error
from hardway.console import json_error, prometheus
from hardway.console.printing import print_json, print_text
from hardway.errors import HardwayError, UsageError
from hardway.operations.backup import backups
from hardway.operations.timer import Timer
from hardway.status.status import status
from hardway.watch import hook as hooks
from hardway.watch import metrics
from hardway.watch.page import watch_page
from hardway.watch.watch import Backups, Watched, judged

app = typer.Typer(add_completion=False, invoke_without_command=True)
FLAGS = (*opt.EVERY, "forks", "accept_new_host_keys")
Every = Annotated[str, typer.Option("--every", metavar="5m", help="How long from one look to the next")]
BackupFolder = Annotated[
    Path | None, typer.Option("--backups", metavar="DIR", help="Also: is there a backup that is young enough?")
]
MaxAge = Annotated[str, typer.Option("--max-age", metavar="26h", help="How old the newest backup may be")]
Textfile = Annotated[
    Path | None,
    typer.Option("--prometheus", "--textfile", metavar="FILE", help="Also write a file for the textfile collector"),
]
Hook = Annotated[
    str | None,
    typer.Option("--hook", metavar="CMD", help="Run it with the JSON on its standard input when the verdict changes"),
]


@app.callback()
@flags(*FLAGS)
def watch(
    options: Options,
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="One look. Status 3: something was found")] = False,
    every: Every = "1m",
    backup_folder: BackupFolder = None,
    max_age: MaxAge = "26h",
    warn: Warn = None,
    textfile: Textfile = None,
    hook: Hook = None,
) -> None:
    """Is it still well? Drift, certificates, etcd, nodes, backups; a hook on change. On a timer: watch install."""
    if context.invoked_subcommand:
        return
    pause = span(every, "--every").total_seconds()
    watching = _Watching(options, backup_folder, span(max_age, "--max-age"), warn, textfile, hook)
    if once:
        sys.exit(watching.look().exit_code)
    while True:
        try:
            watching.look()
        except UsageError:
            raise
        except HardwayError as error:
            # What cannot be looked at now can be by the next time.
            if options.output == "json":
                json_error(error, sys.stdout)
            else:
                show_error(error, sys.stderr)
        sleep(pause)


class _Watching:
    """What each look takes into account, and who is told of it."""

    def __init__(
        self,
        options: Options,
        folder: Path | None,
        max_age: timedelta,
        warn: str | None,
        textfile: Path | None,
        hook: str | None,
    ) -> None:
        self._options, self._folder, self._max_age = options, folder, max_age
        self._within = span(warn, "--warn") if warn else None
        self._textfile, self._hook = textfile, hook
        if hook:
            hooks.words_of(hook)

    def look(self) -> Watched:
        """Looks, and says it to everybody. Raises HardwayError where it cannot look, or somebody could not be told."""
        here, found = self._looked()
        if self._options.output == "json":
            print_json(found.to_json(), indent=None)
        else:
            print_text("\n".join(watch_page(found)))
        if self._textfile:
            prometheus.write(self._textfile, metrics.lines(found))
        if self._hook:
            hooks.tell(here.workspace, self._hook, found)
        return found

    def _looked(self) -> tuple[Site, Watched]:
        with looking(self._options, None) as look:
            here, cluster = look.here, look.here.cluster
            plan, shown = observed(look)
            found = status(look.session, plan, shown)
            answers = certificates.ask(look.session, cluster)
            values = here.workspace.values()
            ends = certificates.check(
                cluster, here.state, plan.declaration, values, answers, look.unreached, self._within
            )
            return here, judged(found, shown, ends, self._backups(here))

    def _backups(self, here: Site) -> Backups | None:
        if self._folder is None:
            return None
        there = backups(self._folder, here.state.cluster_id)
        return Backups(str(self._folder), there[0].taken if there else None, self._max_age)


@app.command("install")
@flags("yes", *opt.EVERY)
def install(
    options: Options,
    every: Every = "5m",
    backup_folder: BackupFolder = None,
    max_age: MaxAge = "26h",
    warn: Warn = None,
    textfile: Textfile = None,
    hook: Hook = None,
    only_print: Print = False,
    remove: Remove = False,
) -> None:
    """Have systemd on this computer look every so often; shows the units first, and asks."""
    pause = span(every, "--every")
    _Watching(options, backup_folder, span(max_age, "--max-age"), warn, textfile, hook)
    here = site(options, lab_must_run=False)
    words = ["watch", "--once"]
    if backup_folder:
        words += ["--backups", absolute(backup_folder), "--max-age", max_age]
    words += ["--warn", warn] if warn else []
    words += ["--prometheus", absolute(textfile)] if textfile else []
    words += ["--hook", hook] if hook else []
    timer = Timer(
        name_of("watch", here),
        f"hardway watch of {here.cluster.name}",
        command(options, here, *words),
        schedule=("OnActiveSec=0", f"OnUnitInactiveSec={pause.total_seconds():.0f}"),
        limit="15min",
    )
    set_up(options, timer, only_print=only_print, remove=remove)

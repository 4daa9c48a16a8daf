"""`hardway certs csr`, `hardway certs import`: certificates that a CA elsewhere signs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_json, print_text
from hardway.console.tables import table
from hardway.console.words import typed
from hardway.engine.plan import declared
from hardway.engine.session import holder
from hardway.operations.signing import Desk, take_answers, write_requests

INDEX = "requests.txt"
"""What the requests are for, beside them: for those who sign."""


app = typer.Typer(add_completion=False)


@app.command("csr")
@flags(*opt.EVERY)
def _csr(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them, such as requests")],
    everything: Annotated[bool, typer.Option("--all", help="Also for certificates that are good")] = False,
) -> None:
    """Write a request for each certificate whose CA's key is not here. Keys stay in the workspace."""
    here = site(options, lab_must_run=False)
    here.workspace.create()
    with here.workspace.lock(holder("certs csr")):
        desk = Desk.of(here.workspace, here.state, declared(here.cluster, here.state)[1], datetime.now(UTC))
        asked = write_requests(desk, folder, everything=everything)
        written = asked.requests
        rows = [(one.file, one.subject, " ".join(one.names) or "-", " ".join(one.usages), one.ca) for one in written]
        text = table(("REQUEST", "SUBJECT", "NAMES", "FOR", "CA"), rows, width=10_000)
        if written:
            (folder / INDEX).write_text(f"{text}\n", encoding="utf-8")
    if options.output == "json":
        print_json(asdict(asked))
    elif not written:
        print_text(f"All {len(desk.requested)} certificates are there and good; --all asks for them anyway.")
    else:
        answers = shlex.join(["hardway", "certs", "import", "answers"])
        print_text(
            f"{text}\n\n{len(written)} requests in {folder}, and this table in {folder / INDEX}.\n"
            f"Have them signed, put the answers into a folder (PEM, DER or PKCS #7, under any name), then:\n"
            f"    {typed(answers, options.given)}"
        )


@app.command("import")
@flags(*opt.EVERY)
def _import(
    options: Options,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the answers")],
) -> None:
    """Take the answers to requests from a folder: each is checked, and all are taken or none."""
    here = site(options, lab_must_run=False)
    here.workspace.create()
    with here.workspace.lock(holder("certs import")):
        desk = Desk.of(here.workspace, here.state, declared(here.cluster, here.state)[1], datetime.now(UTC))
        taken = take_answers(desk, folder)
    if options.output == "json":
        print_json(asdict(taken))
        return
    rows = [(one.certificate, one.ends, one.file) for one in taken.answers]
    lines = [table(("CERTIFICATE", "UNTIL", "FROM"), rows, width=10_000), ""]
    if taken.missing:
        lines.append(f"{len(taken.missing)} are still to come: {', '.join(taken.missing)}")
    else:
        lines.append(f"All certificates are there. Next: {typed('hardway init', options.given)}")
    print_text("\n".join(lines))

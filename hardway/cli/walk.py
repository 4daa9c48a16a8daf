"""`walk`: through the chapters with a person, by the commands that there are."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.breaking import any_fault, break_it, chosen
from hardway.cli.chapters import SUMMARIES
from hardway.cli.explain import declared, page, typed
from hardway.cli.lab import lab_of
from hardway.cli.looking import looking, observed
from hardway.cli.options import Options, flags
from hardway.cli.power import never_made, switched_off
from hardway.cli.preflight import look
from hardway.cli.running import run, span
from hardway.cli.site import site
from hardway.cli.walking import Grade, Walk
from hardway.console.talk import Talk
from hardway.console.terminal import page_width
from hardway.doctor.doctor import diagnosed
from hardway.doctor.page import doctor_page
from hardway.errors import UsageError
from hardway.explain.prose import Gain, gains
from hardway.inventory.model import Cluster
from hardway.preview.plan import Preview
from hardway.rules import Finding
from hardway.verify.verification import verified
from hardway.walk import Place, hints
from hardway.workspace import WALK, Workspace

app = typer.Typer(add_completion=False)


@app.command()
@flags("yes", *(name for name in opt.REACHING if name != "limit"), *opt.GETTING, "adopt")
def walk(
    options: Options,
    first: Annotated[
        str | None, typer.Option("--from", metavar="CHAPTER", help="Go on here", autocompletion=opt.complete_phases)
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="From the beginning, preflight first")] = False,
) -> None:
    """Learn it chapter by chapter: why, what would change, apply it or type it, the proof. Keeps your place.

    Answers, of which the first letter is enough: apply, type (then done, hint, shell, files, back), skip, next,
    explain WHAT, quit.
    """
    if first and restart:
        raise UsageError("--from and --restart exclude each other", hint="give only one of them")
    if first:
        span(first, first)
    here = site(options)
    place = Place() if restart else load(here.workspace)
    if first:
        place = place.at(first)
    talk = Talk(sys.stdout, sys.stdin, output=options.output, is_terminal=sys.stdin.isatty() and sys.stdout.isatty())
    width = page_width() if options.output == "text" else 80
    Walk(Real(options, here.cluster, here.workspace), talk, place, width=width, asking=not options.yes,
         adopt=options.adopt).go()  # fmt: skip


def load(workspace: Workspace) -> Place:
    """Where the last walk was left; the beginning where there was none."""
    path = workspace.root / WALK
    return Place.from_json(path.read_text(encoding="utf-8"), str(path)) if path.exists() else Place()


@dataclass
class Real:
    """The commands, on the real cluster. Each looks at everything again, as the command itself would."""

    options: Options
    cluster: Cluster
    folder: Workspace

    @property
    def workspace(self) -> str:
        return str(self.folder.root)

    @property
    def given(self) -> str:
        return self.options.given

    def keep(self, place: Place) -> None:
        self.folder.create()
        self.folder.write(WALK, place.to_json().encode(), 0o600)

    def explain(self, what: str) -> list[str]:
        return page(self.options, what, width=page_width())

    def preflight(self) -> Sequence[Finding]:
        return look(self.options)[1]

    def plan(self, phase: str) -> tuple[Preview, float]:
        with looking(self.options, [phase]) as look:
            return observed(look)[1], look.seconds

    def apply(self, phase: str, *, adopt: bool, expect: str | None) -> None:
        # It was asked already, and just this plan was agreed to.
        run(replace(self.options, yes=True, adopt=adopt, expect=expect), phase, (phase,), whole=False)

    def grade(self, phase: str) -> Grade:
        with looking(self.options, [phase]) as look:
            survey, plan = observed(look)
            found = verified(look.session, survey, plan)
            return Grade(found, hints(found, survey, look.here.cluster), look.seconds)

    def shell(self, phase: str) -> list[str]:
        return typed(self.options, phase).splitlines()

    def files(self, phase: str) -> list[str]:
        """Where the chapter's files are now: what is typed takes them from there."""
        with looking(self.options, [phase]) as look:
            survey, _ = observed(look)
            architectures = {name: view.facts.arch for name, view in survey.views.items()}
            blobs = look.resolver.blobs(survey.changes, architectures)
        told = []
        for (name, _, arch), blob in sorted(blobs.items()):
            image = name.startswith("image/")
            path = self.folder.root / "bin" / arch / (f"{name.replace('/', '-')}.tar" if image else name)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copyfile(blob.path, path)
            path.chmod(0o644 if image else 0o755)
            told.append(str(path))
        return told or ["This chapter lacks none."]

    def gains(self, station: str) -> Sequence[Gain]:
        model, _ = declared(self.options)
        return [one for one in gains(model) if one.phase == station]

    def break_something(self) -> None:
        here = site(self.options)
        fault = any_fault(here, root=os.geteuid() == 0)
        break_it(lab_of(self.options.inventory, self.options.workspace), here, fault, chosen(here, fault, None))

    def doctor(self) -> tuple[bool, list[str]]:
        with looking(self.options, list(SUMMARIES)) as look:
            survey, plan = observed(look)
            cluster = look.here.cluster
            found = diagnosed(look.session, survey, plan, switched_off(cluster), never_made(cluster))
            return found.found, doctor_page(found, seconds=look.seconds, width=page_width(), given=self.given)

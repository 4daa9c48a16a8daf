"""The command tree. Rooms are imported when a command runs, so that `--help` answers at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hardway.cli import options as opt
from hardway.cli.chapters import SUMMARIES, numbered
from hardway.cli.commands import CHECK, DO, PHASES, REACH, SEE, START
from hardway.cli.doctor import register as register_doctor
from hardway.cli.explain import register as register_explain
from hardway.cli.lab import app as lab
from hardway.cli.look import register as register_look
from hardway.cli.map import register as register_map
from hardway.cli.options import Options, flags
from hardway.cli.reach import register as register_reach
from hardway.cli.schema import register as register_schema
from hardway.cli.see import register as register_see
from hardway.cli.see import register_checks
from hardway.cli.walk import register as register_walk


class InOrder(TyperGroup):
    """Lists chapters in their order: left alone, groups (`certs`, `etcd`) would come after all others."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            # Left alone, Typer ends the process without a word.
            from hardway.errors import Interrupted

            raise Interrupted("interrupted", hint="the same command goes on from here") from error

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        first = next((i for i, name in enumerate(names) if name in SUMMARIES), 0)
        others = [name for name in names if name not in SUMMARIES]
        return [*others[:first], *SUMMARIES, *others[first:]]


app = typer.Typer(
    name="hardway",
    cls=InOrder,
    help="Kubernetes the hard way, over SSH: seven bare machines to a cluster, with nothing hidden.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version")] = False) -> None:
    if version:
        from hardway import __version__

        print(__version__)
        raise typer.Exit


register_see(app, SEE)
register_map(app, SEE)
register_explain(app, SEE)


@app.command(rich_help_panel=DO)
@flags(*opt.CHANGING)
def init(
    options: Options,
    first: Annotated[
        str | None, typer.Option("--from", metavar="CHAPTER", help="Begin here", autocompletion=opt.complete_phases)
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="CHAPTER", help="End here", autocompletion=opt.complete_phases)
    ] = None,
) -> None:
    """Build the cluster: preflight, every chapter, smoke test. A second run changes nothing."""
    from hardway.cli.running import run, span

    run(options, "init", span(first, last), whole=True)


@app.command(rich_help_panel=DO)
@flags(*opt.CHANGING)
def apply(
    options: Options,
    phases: Annotated[
        list[str] | None, typer.Argument(metavar="[CHAPTER]…", autocompletion=opt.complete_phases)
    ] = None,
) -> None:
    """Some chapters, or all of them, without preflight and smoke test."""
    from hardway.cli.running import run, span

    named = phases or [name for name in SUMMARIES if name != "smoke-test"]
    chosen = {name for word in named for name in span(word, word)}
    run(options, "apply", tuple(name for name in SUMMARIES if name in chosen), whole=False)


register_walk(app, DO)


def _phase(name: str) -> Callable[..., None]:
    @flags(*opt.CHANGING)
    def command(options: Options, context: typer.Context) -> None:
        if context.invoked_subcommand:
            return
        from hardway.cli.running import run

        run(options, name, (name,), whole=False)

    command.__doc__ = numbered(name)
    return command


for _name in SUMMARIES:
    if _name in ("certs", "etcd"):
        # Groups that run their chapter when called bare: renewal and members' commands will join them.
        _group = typer.Typer(invoke_without_command=True)
        _group.callback()(_phase(_name))
        app.add_typer(_group, name=_name, help=numbered(_name), rich_help_panel=PHASES)
    else:
        app.command(_name, rich_help_panel=PHASES)(_phase(_name))

register_checks(app, CHECK)
register_doctor(app, CHECK)
register_look(app, check=CHECK, do=DO, start=START)
register_reach(app, REACH)
register_schema(app, START)
app.add_typer(lab, name="lab", rich_help_panel=START, help="Seven machines on this computer, to try everything on")

"""`explain`: why each piece and each value is there. It reads the inventory and asks no machine."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from hardway.cli.app import load
from hardway.cli.chapters import SUMMARIES
from hardway.cli.commands import COMMANDS
from hardway.cli.options import Options, flags
from hardway.cli.site import site
from hardway.console.printing import print_document, print_text
from hardway.console.terminal import page_width
from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Model
from hardway.engine.plan import declared as declared_by_all
from hardway.errors import HardwayError, UsageError
from hardway.explain import Book, Page, TermPage, answer, find_known, find_things, names
from hardway.explain.chapter import Next
from hardway.explain.pages import told
from hardway.explain.shell import of_chapter, of_thing, script, whole

Form = Literal["text", "markdown", "json", "shell"]


app = typer.Typer(add_completion=False)


def complete_what(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Chapters; then things, flags and values of the inventory that `-i` named, or of the one at hand."""
    yield from (name for name in SUMMARIES if name.startswith(incomplete))
    if len(incomplete) < _ENOUGH:
        return
    try:
        known = set(_names(Options(inventory=context.params.get("inventory")))) - SUMMARIES.keys()
    except HardwayError:
        return
    yield from (name for name in sorted(known) if name.startswith(incomplete) and " " not in name)


_ENOUGH = 2
"""Letters without which there would be too much to choose from."""


def _names(options: Options) -> Iterator[str]:
    yield from names(Book(*declared(options)))


def declared(options: Options) -> tuple[Model, Declaration]:
    """What a run would declare, without the machines."""
    here = site(options, lab_must_run=False)
    return declared_by_all(here.cluster, here.state)


# A flag copied from a unit is a question, not an option of this command.
@app.command(context_settings={"ignore_unknown_options": True})
@flags("inventory", "workspace", "verbose")
def explain(
    options: Options,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WHAT]",
            help="A chapter, a thing (certs/kube-apiserver, a path, a unit), any flag, address, port or name; "
            "or an error message",
            autocompletion=complete_what,
        ),
    ] = None,
    form: Annotated[Form, typer.Option("-o", "--output", help="shell: what a person would type for it")] = "text",
    everything: Annotated[bool, typer.Option("--all", help="With -o shell: the whole cluster, as one script")] = False,
) -> None:
    """Why is it there, who reads it, what breaks without it? A chapter, thing, value or error. Asks no machine."""
    what = " ".join(words) if words else None
    if everything and what is not None:
        raise UsageError(
            f"{what} and --all exclude each other",
            hint=f"hardway explain {shlex.quote(what)} -o shell, or --all -o shell alone",
        )
    if form == "shell":
        print_document(typed(options, what, everything), end="")
        return
    if everything:
        raise UsageError("--all goes with -o shell", hint="hardway explain --all -o shell")
    show = print_text if form == "text" else print_document
    show("\n".join(page(options, what, form, width=page_width())))


def page(
    options: Options, what: str | None, form: Literal["text", "markdown", "json"] = "text", *, width: int
) -> list[str]:
    """Its lines; raises UsageError, with the nearest names, for what there is nothing to say of."""
    return told(_found(options, what), form, width=width, verbose=options.verbose > 0, given=options.given)


def _found(options: Options, what: str | None) -> Page:
    """What the cluster has of that name; a command of hardway's where it has none, or where there is no cluster yet."""
    what = what.removeprefix("hardway ") if what else what
    command = _command(what)
    try:
        book = Book(*declared(options))
    except HardwayError:
        command = command or _of_group(what)
        if command is None:
            raise
        return command
    if command is None:
        try:
            return answer(book, what)
        except UsageError:
            command = _of_group(what)
            if command is None:
                raise
            return command
    if find_things(book, command.asked) or find_known(book, command.asked):
        found = answer(book, what)
        return replace(found, more=(*found.more, *command.more))
    return command


def _command(name: str | None) -> TermPage | None:
    """A command that is no chapter, in the words of its own help."""
    if name is None or name in SUMMARIES or name not in COMMANDS:
        return None
    return _command_page(name, COMMANDS[name].summary)


def _of_group(name: str | None) -> TermPage | None:
    """A command below another: `node drain`, `access user add`, or `drain` alone. Their files are slow to load."""
    asked = name or ""
    first = asked.partition(" ")[0]
    for group in [first] if first in COMMANDS else COMMANDS:
        for path, command in _below(group, load(group)):
            if path == asked or path.endswith(f" {asked}"):
                return _command_page(path, command.help or "", group)
    return None


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    for name, below in getattr(command, "commands", {}).items():
        yield f"{path} {name}", below
        yield from _below(f"{path} {name}", below)


def _command_page(name: str, summary: str, group: str = "") -> TermPage:
    more = [Next(f"hardway {name} --help", "the command of that name")]
    if group in SUMMARIES:
        more.append(Next(f"hardway explain {group}", "its chapter"))
    elif group:
        more.append(Next(f"hardway {group} --help", "those beside it"))
    return TermPage(name, f"A command. {' '.join(summary.split())}", (), tuple(more))


def typed(options: Options, what: str | None, everything: bool = False) -> str:
    """The script of a chapter, of a thing, or of all; raises UsageError for what nobody types.

    It is for machines that hold no cluster yet, also where this one has long been formed.
    """
    here = site(options, lab_must_run=False)
    model, declaration = declared_by_all(here.cluster, replace(here.state, etcd="absent", etcd_token=""))
    if everything:
        part = whole(declaration)
    elif what in SUMMARIES:
        part = of_chapter(declaration, what)
    elif what and (found := find_things(Book(model, declaration), what)):
        part = of_thing(found[0].name, found[0].phase, found[0].placed, found[0].local)
    else:
        raise UsageError(
            f"{what!r} is nothing that one types" if what else "what is to be typed was not said",
            hint="a chapter or a thing, such as certs/kube-apiserver; or --all",
        )
    return script(model, declaration, part, workspace=here.workspace.root)

"""`etcd status|snapshot|restore|defrag|alarm`: what etcd has, all of it in a file and back, and its room on disk."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hardway.artifacts.store import Store, default_store
from hardway.cli import options as opt
from hardway.cli.encrypting import Identity, PassphraseFile, Recipients, decrypting, encrypting
from hardway.cli.looking import at_controllers
from hardway.cli.operating import PHASES, agreed, operator
from hardway.cli.options import Options, flags
from hardway.cli.origins import refuse_unlocked
from hardway.cli.running import changing, resolver
from hardway.cli.site import Site, site
from hardway.console.printing import print_json, print_text
from hardway.console.words import size, typed
from hardway.declare.phases.base import Model
from hardway.engine import blockers, guards
from hardway.engine.converge import Outcome
from hardway.engine.plan import blockers_before_contact, declared
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session, holder, lock
from hardway.errors import FAILED, OK, HardwayError, UsageError
from hardway.events import Note, RunFinished
from hardway.inventory.model import Cluster
from hardway.operations import etcd_defrag, etcd_recover, etcd_restore, remove_controller
from hardway.operations.apply import Incomplete
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.etcd_defrag import Alarms, Defragmented
from hardway.operations.etcd_restore import Rehearsed, Source
from hardway.operations.etcd_snapshot import snapshot
from hardway.operations.run import taken_up
from hardway.probe import control
from hardway.state import OperationState, State
from hardway.status.page import etcd_page
from hardway.status.status import status_of_etcd

app = typer.Typer(add_completion=False)
RECOVER, GONE = "etcd recover", "--gone"
_AFTERWARDS = "take them out of the inventory, or bring new machines of these names: hardway node add"
Gone = Annotated[
    list[str] | None,
    typer.Option(
        GONE,
        metavar="MACHINE",
        help="A controller that is lost for good: the cluster goes on without it",
        autocompletion=opt.complete_one_machine,
    ),
]
FLAGS = (*opt.EVERY, "forks", "accept_new_host_keys")


@app.command("status")
@flags(*FLAGS)
def status(options: Options) -> None:
    """Members, who leads, sizes, revision and alarms. Status 1: a member does not serve, or raised an alarm."""
    with at_controllers(options) as look:
        session, questions = look.session, (control.STATUS, control.MEMBERS)
        answers = session.each(session.machines, lambda name: session.ask(name, questions, what="ask etcd how it is"))
        found = status_of_etcd(session.cluster, answers)
    if options.output == "json":
        print_json(asdict(found))
    else:
        print_text("\n".join(etcd_page(found)))
    well = found.leader and all(one.serving is not False and not one.alarms for one in found.members)
    sys.exit(OK if well else FAILED)


@app.command("snapshot")
@flags(*FLAGS)
def save(
    options: Options,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Here; FILE.json says what it is of")],
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="With age; for recipients, or with a passphrase, as workspace seal")
    ] = False,
    recipient: Recipients = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """All that etcd remembers, in one file with mode 0600: taken from a follower, and checked.

    Secrets in it are encrypted: keep the workspace, too, which has the key. All else can be read in it, unless the file
    is encrypted.
    """
    encrypted = encrypt or recipient or passphrase_file
    with_age = encrypting(recipient, passphrase_file) if encrypted else None
    with at_controllers(options) as look:
        made = snapshot(look.session, look.here.state, look.resolver.versions, file, with_age)
    if options.output == "json":
        print_json(asdict(made))
    else:
        print_text(
            f"{file}: {size(made.size)}, {made.keys} keys at revision {made.revision}, taken from {made.member}\n"
            f"{file}.json: whose it is; of {', '.join(made.encryption_keys)} in the workspace its Secrets need the key"
        )


@app.command("restore")
@flags(*opt.OPERATING)
def restore(
    options: Options,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As etcd snapshot has written it")],
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="Only try it: in a folder of its own, which goes again")
    ] = False,
    identity: Identity = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Go back to a snapshot: all that was written since is lost, and the API is away for about a minute; asks first.

    A file that is damaged, of another cluster, or without its key in the workspace is refused before anything stops.
    The data of before stays beside the new one. If it is interrupted, give the same command again.
    """
    here = site(options)
    if here.state.etcd != "initialized":
        raise UsageError("there is no cluster yet that could be restored", hint="hardway init")
    command = shlex.join(["hardway", "etcd", "restore", str(file)])
    with etcd_restore.inspected(
        file, here.state, here.workspace, partial(decrypting, identity, passphrase_file)
    ) as source:
        if rehearse:
            _rehearse(options, source, command)
            return
        taken = f" of {source.taken}" if source.taken else ""
        agreed(
            options,
            command,
            f"Go back to {file}{taken}? What was written since is lost, and the API is away meanwhile.",
        )
        _go_back(options, here, "etcd restore", (str(file),), partial(_restored, source))


def _rehearse(options: Options, source: Source, command: str) -> None:
    with at_controllers(options) as look:
        # Its folder is also that of a restore, which must not find it gone when all has stopped.
        lock(look.session, holder(command.removeprefix("hardway ")))
        model = Model(look.here.cluster, look.here.state, look.resolver.versions)
        found = etcd_restore.rehearse(look.session, model, source)
    _show_rehearsal(options, found, command)


@app.command("recover")
@flags(*opt.OPERATING)
def recover(options: Options, gone: Gone = None) -> None:
    """A majority of members lost their data: have all serve what the one has that got furthest; asks first.

    The controllers must answer by SSH, with what hardway installs on them. The cluster goes on without those that
    are named by --gone: lost for good, or installed again. If it is interrupted, give the same command again. Where no
    member has data: etcd restore, from a snapshot.
    """
    here = site(options)
    if here.state.etcd != "initialized":
        raise UsageError("there is no cluster yet that could be recovered", hint="hardway init")
    names = tuple(dict.fromkeys(gone or ()))
    arguments = _without(names)
    command = OperationState.command_of(RECOVER, arguments)
    question = "Give all members of etcd the data of the one that got furthest"
    if names:
        _require_removable(here, names, command)
        question += f", and go on for good without {', '.join(names)}"
        here = replace(here, chosen=tuple(one for one in here.chosen if one.name not in names))
    agreed(options, command, f"{question}?")
    _go_back(options, here, RECOVER, arguments, partial(etcd_recover.recover, gone=names))


def _without(names: Sequence[str]) -> tuple[str, ...]:
    """The words of the command that says that these are lost."""
    words: list[str] = []
    for name in names:
        words += [GONE, name]
    return tuple(words)


def _require_removable(here: Site, names: Sequence[str], command: str) -> None:
    """Raises UsageError for controllers that cannot leave together; asked before one has left."""
    if here.state.operation is not None and here.state.operation.command == command:
        return
    cluster = here.cluster
    for name in names:
        if name in cluster.by_name and not cluster.machine(name).is_controller:
            raise UsageError(f"{name} is no controller", hint=f"hardway node remove {name} --gone")
        remove_controller.refuse(cluster, name)
        cluster = cluster.without(name)


def _require_controllers(cluster: Cluster, unreached: Mapping[str, HardwayError], arguments: Sequence[str]) -> None:
    """Raises the error of the first controller that does not answer, with the way on where it never will."""
    missing = [machine.name for machine in cluster.controllers if machine.name in unreached]
    if not missing:
        return
    error = unreached[missing[0]]
    without = OperationState.command_of(RECOVER, (*arguments, *_without(missing)))
    error.hint = (
        f"{error.hint or 'bring it back'}; or, where it is lost for good and another one has data:\n    {without}"
    )
    raise error


def _restored(
    source: Source,
    session: Session,
    state: State,
    underway: OperationState,
    selection: Selection,
    wanted: Resolver,
    store: Store,
) -> Outcome:
    return etcd_restore.restore(session, state, source, underway, selection, wanted, store)


def _go_back(
    options: Options,
    here: Site,
    name: str,
    arguments: tuple[str, ...],
    act: Callable[[Session, State, OperationState, Selection, Resolver, Store], Outcome],
) -> None:
    """Executes it on all machines, and says where the data of before is."""
    refuse_unlocked(options, here.cluster)
    command = OperationState.command_of(name, arguments)
    state = etcd_restore.superseded(here.state, command)
    underway = taken_up(state, name, arguments, by=operator(), take_over=options.take_over)
    started = time.monotonic()
    everything = frozenset(machine.name for machine in here.cluster.machines)
    selection = Selection(PHASES, everything, BOOTSTRAP, operation=command)
    versions = declared(here.cluster, state)[0].versions
    # What would stop the end of it must not be found when all has been stopped.
    blockers.require(blockers_before_contact(here.cluster, state, selection, versions, here.workspace))
    unreached: dict[str, HardwayError] = {}
    with changing(options, here, command.removeprefix("hardway "), PHASES, unreached) as session:
        # Each member gets the data; a worker that is down as well must not keep etcd from coming back.
        _require_controllers(here.cluster, unreached, arguments if name == RECOVER else ())
        selection = replace(selection, machines=frozenset(session.machines))
        store = default_store()
        wanted = resolver(options, here.cluster, store, session.events)
        outcome = act(session, state, underway, selection, wanted, store)
        if left := [one for one in arguments if name == RECOVER and one != GONE]:
            session.events(Note(f"{', '.join(left)}: no part of the cluster any more; {_AFTERWARDS}"))
        for path in etcd_restore.kept(session):
            session.events(Note(f"the data of before is in {path}; delete it once all is well"))
        if unreached:
            raise Incomplete(unreached, typed("hardway init", options.given))
        resumed = outcome.state.operation
        following = resumed.command if resumed else "hardway smoke-test"
        seconds = time.monotonic() - started
        session.events(RunFinished(True, len(outcome.changes), outcome.restarts, seconds, (following,)))


def _show_rehearsal(options: Options, found: Rehearsed, command: str) -> None:
    if options.output == "json":
        print_json(asdict(found))
        return
    proved = f"Secret {found.secret} opens with {found.encryption_key}" if found.secret else "no Secret is in it"
    print_text(
        f"{found.file} can be restored: {found.keys} keys, {found.namespaces} namespaces; {proved}. "
        f"Tried in {found.seconds:.0f} s; nothing was changed.\nDo it:  {command}"
    )


@app.command("defrag")
@flags("yes", *FLAGS)
def defrag(options: Options) -> None:
    """Give back the disk space that deleted data left: one member at a time, the leader last; asks first.

    A member answers nobody meanwhile, so all must serve. Requests that meet it wait: seconds for each 100 MB in use.
    """
    _make_room(options, "etcd defrag", "Defragment every member of etcd, one after the other?", etcd_defrag.defragment)


@app.command("alarm")
@flags("yes", *FLAGS)
def alarm(
    options: Options,
    clear: Annotated[bool, typer.Option("--clear", help="Make room, and take NOSPACE away")] = False,
) -> None:
    """Alarms that members raised: NOSPACE (no write is accepted) or CORRUPT. Status 1: there is one.

    With --clear old versions of objects are compacted, all members defragmented, and the alarm is taken away. A member
    that raised CORRUPT is stopped and taken off the list, so that the others serve again: then etcd replace.
    """
    if clear:
        _clear(options)
        return
    with at_controllers(options) as look:
        raised = etcd_defrag.alarms(look.session)
    if options.output == "json":
        print_json(asdict(Alarms(raised)))
    elif raised:
        print_text("\n".join(f"{one.member} raised {one.alarm}" for one in raised))
        corrupt = etcd_defrag.corrupt_members(raised)
        for name in corrupt:
            print_text(
                f"{name} has other data than the rest, and etcd answers nobody. Take it away: "
                f"hardway etcd alarm --clear; then have it join again: {etcd_defrag.replace_command(name)}"
            )
        if not corrupt:
            print_text("make room and take it away: hardway etcd alarm --clear")
    else:
        print_text("no alarm")
    sys.exit(FAILED if raised else OK)


def _clear(options: Options) -> None:
    started = time.monotonic()
    with at_controllers(options) as look:
        corrupt = etcd_defrag.corrupt_members(etcd_defrag.alarms(look.session))
    command = "etcd alarm --clear"
    if not corrupt:
        _make_room(options, command, "Compact and defragment etcd, and take its alarm away?", etcd_defrag.clear)
        return
    name = corrupt[0]
    question = f"{name} raised CORRUPT. Stop its etcd, keep its data beside, and have the others serve without it?"
    with _changing(options, command, question) as session:
        etcd_defrag.set_aside(session, name)
        following = (etcd_defrag.replace_command(name),)
        session.events(RunFinished(True, 1, 0, time.monotonic() - started, following))


def _make_room(
    options: Options, command: str, question: str, act: Callable[[Session], tuple[Defragmented, ...]]
) -> None:
    started = time.monotonic()
    with _changing(options, command, question) as session:
        done = act(session)
        for one in done:
            sizes = f"{size(one.before)} before, {size(one.after)} now"
            session.events(Note(f"{one.member}: {sizes}; it answered nobody for {one.seconds:.1f} s"))
        if not done:
            session.events(Note("no alarm, so nothing was done"))
        session.events(RunFinished(True, len(done), 0, time.monotonic() - started, ()))


@contextlib.contextmanager
def _changing(options: Options, command: str, question: str) -> Iterator[Session]:
    """All controllers, locked, once somebody agreed. Raises UsageError, Blocked, HardwayError."""
    here = site(replace(options, limit="controller"))
    if here.state.etcd != "initialized":
        raise UsageError(f"there is no cluster yet for hardway {command}", hint="hardway init")
    blockers.require(tuple(guards.open_operation(here.state, f"hardway {command}")))
    agreed(options, f"hardway {command}", question)
    with changing(options, here, command, ()) as session:
        yield session

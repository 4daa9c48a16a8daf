"""`hardway node`: machines of a running cluster are emptied, restarted, exchanged, removed; controllers come, too."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from hardway.artifacts.store import default_store
from hardway.cli import options as opt
from hardway.cli.operating import PHASES, agreed, operate, operator, require_person
from hardway.cli.options import EmptyDirs, Force, NoWait, Options, Seconds, flags
from hardway.cli.origins import refuse_unlocked
from hardway.cli.running import changing, plan_lines, resolver
from hardway.cli.site import Site, site
from hardway.declare.phases import PHASE_NAMES
from hardway.engine import blockers, guards
from hardway.engine.plan import Plan, declared
from hardway.engine.selection import Selection
from hardway.engine.session import Access, Session, target
from hardway.errors import HardwayError, HostKeyError, UsageError
from hardway.events import Note, RunFinished
from hardway.operations import add_controller, remove_controller, remove_node
from hardway.operations import drain as draining
from hardway.operations import reboot as rebooting
from hardway.operations import replace_node as replacing
from hardway.operations.drain import How
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.remote import MachineErrors
from hardway.remote.known_hosts import lookup_name, without
from hardway.state import OperationState

app = typer.Typer(add_completion=False, no_args_is_help=True)
AT_CONTROLLERS = (*opt.EVERY, "forks", "accept_new_host_keys")
_Node = Annotated[str, typer.Argument(metavar="NAME", autocompletion=opt.complete_one_machine)]


@app.command()
@flags(*AT_CONTROLLERS)
def drain(
    options: Options,
    name: _Node,
    timeout: Seconds = 300,
    force: Force = False,
    empty_dirs: EmptyDirs = False,
    no_wait: NoWait = False,
) -> None:
    """Empty a node: no new pods, and its pods evicted as their budgets allow, until they are Ready elsewhere.

    Where that fails, the node takes pods again, and the budget that blocks is named.
    """
    started = time.monotonic()
    here = _at_controllers(options, name)
    with changing(options, here, f"node drain {name}", ()) as session:
        evicted = draining.drain(session, [name], How(timeout, force, empty_dirs, not no_wait))
        for pod in evicted:
            session.events(Note(f"evicted {pod}"))
        following = (f"hardway node uncordon {name}",)
        session.events(RunFinished(True, len(evicted), 0, time.monotonic() - started, following))


@app.command()
@flags(*AT_CONTROLLERS)
def uncordon(options: Options, name: _Node) -> None:
    """Let new pods come to a node again."""
    started = time.monotonic()
    with changing(options, _at_controllers(options, name), f"node uncordon {name}", ()) as session:
        draining.uncordon(session, name)
        session.events(RunFinished(True, 1, 0, time.monotonic() - started, ()))


@app.command()
@flags(*opt.OPERATING)
def add(
    options: Options,
    name: _Node,
) -> None:
    """Take a controller of the inventory into a cluster that runs: etcd first, then the API; nobody's request fails.

    One at a time: a cluster of one becomes one of three by two of these. Other machines are added by hardway init. If
    it is interrupted, give the same command again.
    """
    here = site(options, joining=name)
    operate(options, add_controller.operation(here.cluster, here.state, name), here)


@app.command()
@flags(*opt.OPERATING)
def remove(
    options: Options,
    name: _Node,
    gone: Annotated[bool, typer.Option("--gone", help="The machine is lost: only the cluster forgets it")] = False,
    timeout: Seconds = 300,
    force: Force = False,
    empty_dirs: EmptyDirs = False,
    no_wait: NoWait = False,
) -> None:
    """Take a machine out of the cluster: drained, its Node deleted, the machine reset, its routes gone; asks first.

    A controller hands over what it leads, and leaves etcd, while the others serve. A drain that fails changes nothing.
    Afterwards take its lines out of the inventory. If it is interrupted, give the same command again.
    """
    here = site(options)
    how = How(timeout, force, empty_dirs, not no_wait, operation=remove_controller.NAME)
    if _is_controller(here, name):
        _remove_controller(options, name, how, gone=gone)
        return
    remove_node.refuse(here.cluster, here.state, name, gone=gone)
    command = f"hardway node remove {name}" + (" --gone" if gone else "")
    require_person(options, f"{command} --yes")
    refuse_unlocked(options, here.cluster)
    started = time.monotonic()
    if gone:
        here = replace(here, chosen=tuple(one for one in here.cluster.machines if one.name != name))
    names = frozenset(machine.name for machine in here.cluster.machines if machine.name != name)
    selection = Selection(PHASES, names, BOOTSTRAP)
    with changing(options, here, command.removeprefix("hardway "), PHASES) as session:
        store = default_store()
        wanted = resolver(options, here.cluster, store, session.events)

        def review(rest: Session, plan: Plan) -> None:
            lines = [] if options.yes else plan_lines(options, rest, plan, sorted(names), wanted)
            question = f"Remove {name} from the cluster {here.cluster.name}, with these changes to the other machines?"
            agreed(options, command, "\n".join([*lines, question]), events=session.events)

        outcome = remove_node.remove(session, here.state, name, selection, wanted, store, how, gone=gone, review=review)
        following: tuple[str, ...] = ()
        if name in here.cluster.by_name:
            following = (f"take {name} out of {here.cluster.path}: as long as it is there, hardway init adds it again",)
        seconds = time.monotonic() - started
        session.events(RunFinished(True, len(outcome.changes), outcome.restarts, seconds, following))


@app.command("replace")
@flags(*opt.OPERATING)
def replace_node(
    options: Options,
    name: _Node,
    gone: Annotated[bool, typer.Option("--gone", help="The old machine is lost: it is not drained")] = False,
    timeout: Seconds = 300,
    force: Force = False,
    empty_dirs: EmptyDirs = False,
    no_wait: NoWait = False,
) -> None:
    """Give a worker's name to another machine: at the same address, or the one that the inventory has now; asks first.

    The old one is drained and reset, unless it is gone; the new one gets a key of its own, and is built. Its new host
    key needs --accept-new-host-keys. If it is interrupted, give the same command again.
    """
    here = site(options)
    replacing.refuse_others(here.cluster, here.state, name)
    command = OperationState.command_of(replacing.NAME, (name, *(["--gone"] if gone else [])))
    machine, old = here.cluster.machine(name), replacing.before(here.cluster, here.state, name)
    agreed(options, command, f"Give the name {name} to the machine at {machine.ip}?{_forgetting(options, here, name)}")
    refuse_unlocked(options, here.cluster)
    started = time.monotonic()
    chosen = (*here.cluster.machines, *((old,) if old and not gone else ()))
    selection = Selection(PHASE_NAMES, frozenset(here.cluster.by_name), BOOTSTRAP)
    unreached: dict[str, HardwayError] = {}
    forgotten = _forget_host_key(options, here, name)
    with changing(
        options, replace(here, chosen=chosen), command.removeprefix("hardway "), PHASE_NAMES, unreached
    ) as session:
        if forgotten:
            session.events(Note(f"{name}: its host key was {', '.join(forgotten)}; the new one was accepted"))
        missing = {one: error for one, error in unreached.items() if one in here.cluster.by_name}
        if missing:
            replacing.end(session)
            if isinstance(missing.get(name), HostKeyError) and not options.accept_new_host_keys:
                missing[name].hint = (
                    "compare it with the new machine's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there), then:\n"
                    f"    {command} --accept-new-host-keys"
                )
            raise MachineErrors(missing)
        store = default_store()
        outcome = replacing.run(
            session,
            here.state,
            name,
            session.machines.pop(old.name, None) if old else None,
            selection,
            resolver(options, here.cluster, store, session.events),
            store,
            How(timeout, force, empty_dirs, not no_wait, operation=replacing.NAME),
            by=operator(),
            gone=gone,
            take_over=options.take_over,
        )
        seconds = time.monotonic() - started
        session.events(RunFinished(True, len(outcome.changes), outcome.restarts, seconds, ("hardway smoke-test",)))


def _host(here: Site, name: str) -> str:
    """As known_hosts files call the machine."""
    dialled = target(here.cluster.machine(name), here.cluster, here.workspace, Access())
    return lookup_name(dialled.host, dialled.port or 22)


def _known(here: Site) -> str:
    path = here.workspace.known_hosts
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _forgetting(options: Options, here: Site, name: str) -> str:
    """What of known host keys goes with it, in words."""
    forgotten = without(_known(here), _host(here, name))[1] if options.accept_new_host_keys else []
    return f" Its host key {', '.join(forgotten)} is forgotten, and a new one accepted." if forgotten else ""


def _forget_host_key(options: Options, here: Site, name: str) -> list[str]:
    """The old machine's host key goes from the workspace where a new one is to be accepted; its fingerprints."""
    if not options.accept_new_host_keys or here.state.operation is not None:
        return []
    left, forgotten = without(_known(here), _host(here, name))
    if forgotten:
        here.workspace.write("known_hosts", left.encode(), 0o600)
    return forgotten


@app.command()
@flags(*opt.OPERATING)
def reboot(
    options: Options,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]…", autocompletion=opt.complete_one_machine)
    ] = None,
    rolling: Annotated[bool, typer.Option("--rolling", help="Every machine, one at a time")] = False,
    if_needed: Annotated[
        bool, typer.Option("--if-needed", help="Only where a new kernel or the system wants it")
    ] = False,
    timeout: Seconds = 300,
    force: Force = False,
    empty_dirs: EmptyDirs = False,
    no_wait: NoWait = False,
) -> None:
    """Restart machines one at a time: workers are drained, controllers hand over, each proves that it is back.

    With one load balancer the API is away while that one restarts. The first machine that does not come back whole
    stops the rest. If it is interrupted, give the same command again: it goes on after those that have restarted.
    """
    here = site(options)
    if bool(names) == rolling:
        raise UsageError("name machines, or use --rolling for all of them", hint="hardway node reboot --rolling")
    for name in names or ():
        if name not in here.cluster.by_name:
            raise UsageError(f"there is no machine {name}", hint="hardway status")
    arguments = [*(names or ["--rolling"]), *(["--if-needed"] if if_needed else [])]
    command = OperationState.command_of(rebooting.NAME, arguments)
    asked = names or [machine.name for machine in here.cluster.machines]
    prices = [why for name in asked if (why := rebooting.takes_the_api(here.cluster, name))]
    question = f"Restart {', '.join(names) if names else 'every machine, one at a time'}?"
    agreed(options, command, "\n".join([*prices, question]))
    started = time.monotonic()
    blockers.require(tuple(guards.open_operation(here.state, command)))
    unreached: dict[str, HardwayError] | None = None if here.state.operation is None else {}
    with changing(options, here, command.removeprefix("hardway "), (), unreached) as session:
        if unreached:
            rebooting.give_up(session, here.state, unreached, operator(), options.take_over)
        declaration = declared(here.cluster, here.state)[1]
        done = rebooting.reboot(
            session,
            here.state,
            declaration,
            arguments,
            partial(rebooting.chosen, session, names or [], if_needed=if_needed),
            How(timeout, force, empty_dirs, not no_wait, operation=rebooting.NAME),
            by=operator(),
            take_over=options.take_over,
        )
        session.events(RunFinished(True, len(done), len(done), time.monotonic() - started, ()))


def _is_controller(here: Site, name: str) -> bool:
    node = here.state.nodes.get(name)
    roles = node.roles if node else ()
    return "controller" in roles or any(one.name == name for one in here.cluster.awaited)


def _remove_controller(options: Options, name: str, how: How, *, gone: bool) -> None:
    here = site(options, joining=name)
    here = replace(here, state=remove_controller.taken_back(here.state, name, gone=gone))
    under_way = here.state.operation and here.state.operation.name == remove_controller.NAME
    if name not in here.state.nodes and not under_way:
        raise UsageError(f"{name} is not part of the cluster", hint=f"take it out of {here.cluster.path}")
    if not under_way or name not in here.cluster.by_name:
        remove_controller.refuse(here.cluster, name)
    machine = here.cluster.machine(name)
    operation = remove_controller.operation(machine, how, gone=gone)
    if name not in here.state.nodes:
        here = replace(here, cluster=here.cluster.without(name))
    if gone or name not in here.state.nodes:
        here = replace(here, chosen=tuple(one for one in here.chosen if one.name != name))
    following = (f"take {name} out of {here.cluster.path}: as long as it is there, hardway init stops at it",)
    operate(options, operation, here, lambda state: following, leaving=name)


def _at_controllers(options: Options, name: str) -> Site:
    """Controllers alone are connected: what is done is done by the API. Raises UsageError for what is no node."""
    here = site(options)
    machine = here.cluster.by_name.get(name)
    if machine is not None and not machine.is_worker:
        raise UsageError(f"{name} is no worker, so no pods run on it", hint="hardway status")
    if machine is None and name not in here.state.nodes:
        raise UsageError(f"there is no machine {name}", hint="hardway status")
    return replace(here, chosen=here.cluster.controllers)

"""`hardway node`: machines of a cluster that runs are emptied, restarted, and leave it."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from hardway.artifacts.store import default_store
from hardway.cli import options as opt
from hardway.cli.operating import PHASES, agreed, operator
from hardway.cli.options import Options, flags
from hardway.cli.origins import refuse_unlocked
from hardway.cli.running import changing, resolver
from hardway.cli.site import Site, site
from hardway.engine import blockers, guards
from hardway.engine.plan import declared
from hardway.engine.selection import Selection
from hardway.errors import UsageError
from hardway.events import Note, RunFinished
from hardway.operations import drain as draining
from hardway.operations import reboot as rebooting
from hardway.operations import remove_node
from hardway.operations.drain import How
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.state import OperationState

app = typer.Typer(add_completion=False, no_args_is_help=True)
AT_CONTROLLERS = (*opt.EVERY, "forks", "accept_new_host_keys")
_Node = Annotated[str, typer.Argument(metavar="NAME", autocompletion=opt.complete_one_machine)]
_Seconds = Annotated[int, typer.Option("--timeout", metavar="SECONDS", min=1, help="For the evictions")]
_Force = Annotated[bool, typer.Option("--force", help="Also pods that nobody starts again")]
_Empty = Annotated[bool, typer.Option("--delete-emptydir-data", help="Also pods whose emptyDir volumes are lost")]


@app.command()
@flags(*AT_CONTROLLERS)
def drain(
    options: Options, name: _Node, timeout: _Seconds = 300, force: _Force = False, empty_dirs: _Empty = False
) -> None:
    """Empty a node: no new pods, and its pods evicted as their budgets allow, until they are Ready elsewhere.

    Where that fails, the node takes pods again, and the budget that blocks is named.
    """
    started = time.monotonic()
    here = _at_controllers(options, name)
    with changing(options, here, f"node drain {name}", ()) as session:
        evicted = draining.drain(session, [name], How(timeout, force, empty_dirs))
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
def remove(
    options: Options,
    name: _Node,
    gone: Annotated[bool, typer.Option("--gone", help="The machine is lost: only the cluster forgets it")] = False,
    timeout: _Seconds = 300,
    force: _Force = False,
    empty_dirs: _Empty = False,
) -> None:
    """Take a worker out of the cluster: drained, its Node deleted, the machine reset, its routes gone; asks first.

    A drain that fails changes nothing. Afterwards take its lines out of the inventory. If it is interrupted, give the
    same command again.
    """
    here = site(options)
    remove_node.refuse(here.cluster, here.state, name, gone=gone)
    command = f"hardway node remove {name}" + (" --gone" if gone else "")
    agreed(options, command, f"Remove {name} from the cluster {here.cluster.name}?")
    refuse_unlocked(options, here.cluster)
    started = time.monotonic()
    if gone:
        here = replace(here, chosen=tuple(one for one in here.cluster.machines if one.name != name))
    names = frozenset(machine.name for machine in here.cluster.machines if machine.name != name)
    selection = Selection(PHASES, names, BOOTSTRAP)
    with changing(options, here, command.removeprefix("hardway "), PHASES) as session:
        store = default_store()
        wanted = resolver(options, here.cluster, store, session.events)
        how = How(timeout, force, empty_dirs, operation="node remove")
        outcome = remove_node.remove(session, here.state, name, selection, wanted, store, how, gone=gone)
        following: tuple[str, ...] = ()
        if name in here.cluster.by_name:
            following = (f"take {name} out of {here.cluster.path}: as long as it is there, hardway init adds it again",)
        seconds = time.monotonic() - started
        session.events(RunFinished(True, len(outcome.changes), outcome.restarts, seconds, following))


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
    timeout: _Seconds = 300,
    force: _Force = False,
    empty_dirs: _Empty = False,
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
    with changing(options, here, command.removeprefix("hardway "), ()) as session:
        blockers.require(tuple(guards.open_operation(here.state, command)))
        declaration = declared(here.cluster, here.state)[1]
        done = rebooting.reboot(
            session,
            here.state,
            declaration,
            arguments,
            partial(rebooting.chosen, session, names or [], if_needed=if_needed),
            How(timeout, force, empty_dirs, operation=rebooting.NAME),
            by=operator(),
            take_over=options.take_over,
        )
        session.events(RunFinished(True, len(done), len(done), time.monotonic() - started, ()))


def _at_controllers(options: Options, name: str) -> Site:
    """Controllers alone are connected: what is done is done by the API. Raises UsageError for what is no node."""
    here = site(options)
    machine = here.cluster.by_name.get(name)
    if machine is not None and not machine.is_worker:
        raise UsageError(f"{name} is no worker, so no pods run on it", hint="hardway status")
    if machine is None and name not in here.state.nodes:
        raise UsageError(f"there is no machine {name}", hint="hardway status")
    return replace(here, chosen=here.cluster.controllers)

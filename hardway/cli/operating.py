"""What commands of operations have in common: open, lock, show what it takes, agree, and execute its stages."""

from __future__ import annotations

import getpass
import socket
import sys
import time
from collections.abc import Callable, Mapping

from hardway.artifacts.store import default_store
from hardway.cli.options import Options
from hardway.cli.origins import refuse_unlocked
from hardway.cli.running import changing, confirm, resolver
from hardway.cli.site import Site, site
from hardway.console.words import counted, typed
from hardway.declare.phases import PHASE_NAMES
from hardway.engine.plan import Plan
from hardway.engine.selection import Selection
from hardway.errors import HardwayError, UsageError
from hardway.events import Note, RunFinished, Sink, discard
from hardway.inventory.model import Cluster
from hardway.operations.apply import Incomplete
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.operations.run import run_operation
from hardway.operations.stage import Operation
from hardway.state import OperationState, State

PHASES = tuple(name for name in PHASE_NAMES if name != "smoke-test")


def operate(
    options: Options,
    operation: Operation,
    here: Site | None = None,
    following: Callable[[State], tuple[str, ...]] = lambda state: (),
    *,
    leaving: str = "",
    controllers_suffice: bool = False,
) -> None:
    """Executes an operation on all machines, from the stage at which it was cut if it was.

    `here` is what the command opened already; `following` says, of the State at the end, what comes next. `leaving` is
    a machine that is not converged any more: it is among the session's peers, unless it is lost. With
    `controllers_suffice` others that do not answer are left for the next run. Raises UsageError for a part of the
    machines or a cluster that is not built yet, Incomplete where some were left, and what `run_operation` raises.
    """
    here = here or site(options)
    command = OperationState.command_of(operation.name, operation.arguments)
    if not here.everywhere and not (leaving and not options.limit):
        raise UsageError(f"{command} needs all machines", hint="leave out --limit")
    if here.state.etcd != "initialized":
        raise UsageError(f"there is no cluster yet for {command}", hint="hardway init")
    refuse_unlocked(options, here.cluster)
    started = time.monotonic()
    names = frozenset(machine.name for machine in here.cluster.machines if machine.name != leaving)
    unreached: dict[str, HardwayError] | None = {} if controllers_suffice else None
    with changing(options, here, command.removeprefix("hardway "), PHASES, unreached) as session:
        require_controllers(here.cluster, unreached or {})
        selection = Selection(PHASES, names - (unreached or {}).keys(), BOOTSTRAP)
        if leaving in session.machines:
            session.peers[leaving] = session.machines.pop(leaving)
        store = default_store()
        wanted = resolver(options, here.cluster, store, session.events)
        agreed = _Agreement(options, operation, command, session.events)
        if leaving:
            # Before its pods go, which is before the first stage.
            agreed.ask_once()
        state = run_operation(
            session,
            here.state,
            operation,
            selection,
            wanted,
            store,
            by=operator(),
            take_over=options.take_over,
            review=agreed.review,
        )
        if unreached:
            raise Incomplete(unreached, typed("hardway init", options.given))
        session.events(RunFinished(True, agreed.changes, agreed.restarts, time.monotonic() - started, following(state)))


def require_controllers(cluster: Cluster, unreached: Mapping[str, HardwayError]) -> None:
    """Raises the error of the first controller that does not answer."""
    for machine in cluster.controllers:
        if machine.name in unreached:
            raise unreached[machine.name]


def operator() -> str:
    """Who works here, as others see it in the State."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


class _Agreement:
    """Shows the stages once, asks once, and counts what the stages' plans change."""

    def __init__(self, options: Options, operation: Operation, command: str, events: Callable[[Note], None]) -> None:
        self._options, self._operation, self._command, self._events = options, operation, command, events
        self._asked = options.yes
        self.changes, self.restarts = 0, 0

    def review(self, plan: Plan) -> None:
        """Raises where nobody agrees."""
        self.ask_once()
        self.changes += len(plan.changes)
        self.restarts += sum(change.restarts for change in plan.changes)

    def ask_once(self) -> None:
        """Raises where nobody agrees to the stages."""
        if not self._asked:
            self._ask()
            self._asked = True

    def _ask(self) -> None:
        stages = [f"  {stage.name:<8} {stage.why}" for stage in self._operation.stages]
        price = self._operation.price or "the cluster serves through all of them"
        text = "\n".join([f"{self._command} has {counted(len(stages), 'stage')}; {price}:", *stages])
        agreed(self._options, self._command, f"{text}\n\nBegin?", said=text)


def agreed(options: Options, command: str, question: str, *, said: str = "", events: Sink = discard) -> None:
    """Asks a person whether to change a running cluster so. Raises HardwayError, with `said`, where nobody can."""
    require_person(options, f"{command} --yes", said=said)
    require_yes(options, question, events)


def require_yes(options: Options, question: str, events: Sink = discard) -> None:
    """Asks, unless --yes has said it. Raises HardwayError for another answer."""
    if not options.yes and not confirm(question, events):
        raise HardwayError("nothing was changed", hint="pass --yes to skip the question")


def require_person(
    options: Options, hint: str, *, what: str = "this changes a running cluster", said: str = ""
) -> None:
    """Raises HardwayError, with the hint, where nobody has agreed, and nobody can be asked."""
    if options.yes:
        return
    if options.output == "json" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise HardwayError(
            f"{what}, and there is no terminal to ask on; nothing was changed",
            said=said or None,
            hint=hint,
        )

"""The plainest operation: make the machines as the inventory declares them. `init`, `apply` and each chapter are it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from hardway.artifacts.store import Store
from hardway.engine.converge import Outcome, converge
from hardway.engine.plan import SHORT, Plan, expect
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session
from hardway.errors import HardwayError
from hardway.preflight.preflight import preflight, refuse, warn
from hardway.remote import MachineErrors
from hardway.state import State

Confirm = Callable[[Plan], bool]
"""Shows a plan to a person, and says whether to go on."""


def require_reached(
    reached: Collection[str], unreached: Mapping[str, HardwayError], command: str, *, skip: bool
) -> Collection[str]:
    """The machines to go on with. Raises where some did not answer, with the command that goes on without them."""
    if unreached and not reached:
        raise next(iter(unreached.values())) if len(unreached) == 1 else MachineErrors(dict(unreached))
    if unreached and not skip:
        raise SomeUnreachable(unreached, f"{command} --skip-unreachable")
    return reached


@dataclass(frozen=True)
class Request:
    """What was asked for. `whole`: with preflight, as `init` does; `agreed`: nobody is asked (`--yes`).

    `expected` is the identifier of the plan that was agreed to.
    """

    command: str
    selection: Selection
    whole: bool = False
    agreed: bool = False
    expected: str | None = None


class SomeUnreachable(MachineErrors):
    """Some machines did not answer, others did; `command` goes on with these."""

    def __init__(self, errors: Mapping[str, HardwayError], command: str) -> None:
        super().__init__(dict(errors))
        self.command = command
        names = ", ".join(errors)
        self.hint = f"nothing was changed; bring {names} back, or go on with the other machines:\n    {command}"

    def __str__(self) -> str:
        return f"{super().__str__()}\n  next:  {self.hint}"


class Incomplete(HardwayError):
    """Everything was done but for machines that were left out because they did not answer."""

    def __init__(self, skipped: Mapping[str, HardwayError], command: str) -> None:
        names = ", ".join(skipped)
        super().__init__(
            f"{names} could not be reached and was skipped; all else is as declared"
            if len(skipped) == 1
            else f"{names} could not be reached and were skipped; all else is as declared",
            said="\n".join(f"{name}: {error.what}" for name, error in skipped.items()),
            hint=f"bring {names} back, then:\n    {command}",
        )


def apply(
    session: Session,
    state: State,
    request: Request,
    resolver: Resolver,
    store: Store,
    *,
    skipped: Mapping[str, HardwayError] | None = None,
    confirm: Confirm | None = None,
) -> Outcome:
    """Makes what is selected as it is declared. The session holds all locks.

    `skipped` are machines that could not be reached, where that is to be put up with. `confirm` asks the person at the
    terminal; None where there is none, and then changes to a running cluster must have been agreed to.
    Raises Blocked, PlanChanged, HardwayError.
    """

    def review(plan: Plan) -> None:
        if request.expected is not None:
            expect(request.expected, plan.identifier)
        warn(session, plan.findings)
        if request.whole:
            findings = preflight(session, plan.views, session.cluster, adopting=request.selection.adopt)
            warn(session, findings)
            refuse(findings)
        _agree(plan, request, confirm)

    return converge(session, state, request.selection, resolver, store, skipped=skipped, review=review)


def _agree(plan: Plan, request: Request, confirm: Confirm | None) -> None:
    """Raises where a running cluster would change and nobody agreed to that."""
    if not (plan.serves and plan.changes) or request.agreed or request.expected is not None:
        return
    if confirm is None:
        raise HardwayError(
            f"{len(plan.changes)} changes to a running cluster, and no terminal to ask on; nothing was changed",
            hint="look at them with hardway plan; then agree to just these:\n"
            f"    {request.command} --expect {plan.identifier[:SHORT]}\n"
            "or to whatever it is: --yes",
        )
    if not confirm(plan):
        raise HardwayError("nothing was changed", hint="pass --yes to skip the question")

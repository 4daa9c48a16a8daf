"""`upgrade plan`, `upgrade apply` and `upgrade rollback`: the cluster on another Kubernetes."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from hardway.cli import options as opt
from hardway.cli.looking import looking
from hardway.cli.operating import operate
from hardway.cli.options import Force, NoWait, Options, Seconds, flags
from hardway.cli.site import Site, site
from hardway.console.printing import print_json, print_text
from hardway.console.words import counted
from hardway.errors import DIFFERS, FAILED, OK, HardwayError, UsageError
from hardway.operations import upgrade
from hardway.state import State
from hardway.status.upgrade import UpgradePlan, plan_upgrade
from hardway.status.upgrade_page import upgrade_page

app = typer.Typer(add_completion=False)

AtOnce = Annotated[
    int, typer.Option("--max-unavailable", metavar="N", min=1, help="How many workers are drained at a time")
]


@app.command("plan")
@flags(*opt.EVERY, "forks", "accept_new_host_keys")
def plan(
    options: Options,
    to: Annotated[
        str, typer.Option("--to", metavar="VERSION", help="Default: what the inventory says", show_default=False)
    ] = "",
) -> None:
    """Where the cluster is, the way to another Kubernetes, and what blocks it; changes nothing.

    Status 1: something blocks the upgrade. Status 3: there is one to be made.
    """
    with looking(options, None) as look:
        found = plan_upgrade(look.session, look.here.state, to or look.here.cluster.kubernetes, look.unreached)
    _print(options, found)
    sys.exit(FAILED if found.blockers else OK if found.have == found.to else DIFFERS)


@app.command("apply")
@flags(*opt.OPERATING)
def apply(
    options: Options,
    at_once: AtOnce = 1,
    timeout: Seconds = 600,
    force: Force = False,
    no_wait: NoWait = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Give up the way back: servers behave as the new release from now on")
    ] = False,
) -> None:
    """Move to the inventory's Kubernetes: API servers, what runs beside them, workers one by one; asks first.

    What blocks it is said before anything is changed. If it is interrupted, give the same command again, or go back
    with upgrade rollback, which is possible until --finish.
    """
    here = site(options)
    if finish:
        _require_finishable(here)
        operate(options, upgrade.finish(here.cluster), here)
        return
    if here.state.operation is None:
        _require_upgrade(options, here)
    how = replace(upgrade.DRAINED, limit=timeout, force=force, elsewhere=not no_wait)
    operate(options, upgrade.apply(here.cluster, here.state, at_once, how), here, _after_apply)


@app.command("rollback")
@flags(*opt.OPERATING)
def rollback(
    options: Options,
    at_once: AtOnce = 1,
    timeout: Seconds = 600,
    force: Force = False,
    no_wait: NoWait = False,
) -> None:
    """Back to the Kubernetes before, in reverse: from the middle of an upgrade, too, until it is finished; asks first.

    Then write that version into the inventory again. If it is interrupted, give the same command again.
    """
    here = site(options)
    resumed = here.state.operation is not None and here.state.operation.name == upgrade.ROLLBACK
    if here.state.upgrade is None and not resumed:
        raise UsageError(
            "there is no upgrade to go back from: none was begun, or it was finished",
            hint="another patch release, also an older one, in the inventory: hardway upgrade apply",
        )
    how = replace(upgrade.DRAINED, limit=timeout, force=force, elsewhere=not no_wait)
    operation = upgrade.rollback(here.cluster, here.state, at_once, how)
    state = upgrade.superseded(here.state, operation)
    cluster = upgrade.declared_as(here.cluster, state, operation)
    operate(options, operation, replace(here, state=state, cluster=cluster), _after_rollback)


def _require_finishable(here: Site) -> None:
    upgrading = here.state.upgrade
    if here.state.operation is None and upgrading is None:
        raise UsageError("there is no upgrade to be finished", hint="hardway upgrade plan")
    if here.state.operation is None:
        upgrade.require_none_behind(here.cluster, here.state)


def _require_upgrade(options: Options, here: Site) -> None:
    """Raises where there is nothing to upgrade, or something is in the way."""
    have, to = here.state.kubernetes, here.cluster.kubernetes
    if have == to and not upgrade.behind(here.cluster, here.state):
        hint = "write another version into the inventory: kubernetes: …"
        if here.state.upgrade is not None:
            hint = f"to finish: hardway upgrade apply {upgrade.FINISH}; to go back: {upgrade.BACK}"
        raise UsageError(f"the cluster is on Kubernetes {have} already", hint=hint)
    with looking(options, None) as look:
        found = plan_upgrade(look.session, look.here.state, to, look.unreached)
    if found.blockers:
        raise HardwayError(
            f"{counted(len(found.blockers), 'thing')} in the way of Kubernetes {have} → {to}; nothing was changed",
            said="\n".join(upgrade_page(replace(found, obstacles=found.blockers))),
            hint="hardway upgrade plan",
        )


def _after_apply(state: State) -> tuple[str, ...]:
    if state.upgrade is None:
        return ()
    return (f"hardway upgrade apply {upgrade.FINISH}", upgrade.BACK)


def _after_rollback(state: State) -> tuple[str, ...]:
    return (f"in the inventory: kubernetes: {state.kubernetes}",)


def _print(options: Options, found: UpgradePlan) -> None:
    if options.output == "json":
        print_json(found.to_json())
    else:
        print_text("\n".join(upgrade_page(found)))

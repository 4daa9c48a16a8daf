"""Executes one chapter: one machine by one in a group that serves, all together otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hardway.declare.declaration import Declaration
from hardway.declare.resources import Context, Service
from hardway.engine.changes import Change, by_machine
from hardway.engine.observe import View
from hardway.engine.scripts import activation_script
from hardway.engine.session import Session
from hardway.errors import CommandFailed
from hardway.events import Changed, MachineProgress
from hardway.remote.model import Result, last_lines

ROLLOUT_LIMIT = 900.0
"""Seconds for one chapter on one machine; its own checks give up long before."""


def activate(
    session: Session,
    phase: str,
    changes: Sequence[Change],
    declaration: Declaration,
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
) -> None:
    """One chapter everywhere: one by one in a group that serves, all together otherwise."""
    mine = by_machine(changes)

    def carry_out(name: str) -> None:
        session.events(MachineProgress(name, phase, "running"))
        script = activation_script(mine[name], views[name], contexts[name])
        result = session.run(name, script, what=phase, timeout=ROLLOUT_LIMIT, check=False)
        if result.code != 0:
            raise _failed(name, phase, result)
        for change in mine[name]:
            session.events(Changed(name, phase, change.key, change.difference.verb, change.difference.why))
        session.events(MachineProgress(name, phase, "done"))

    roll = _rolling(session, changes, declaration)
    session.each([name for name in mine if name not in roll], carry_out)
    for name in roll:
        # A member that does not come back raises here: the others stay as they are, and serve.
        carry_out(name)


def _rolling(session: Session, changes: Sequence[Change], declaration: Declaration) -> list[str]:
    """Machines to take one by one, the sick first; empty where their group does not serve."""
    restarted = [one for one in changes if isinstance(one.resource, Service) and one.resource.group and one.restarts]
    if not restarted:
        return []
    assert isinstance(restarted[0].resource, Service)
    group = restarted[0].resource.group
    members = {
        one.machine: one.resource
        for one in declaration.placed
        if isinstance(one.resource, Service) and one.resource.group == group
    }
    reached = [name for name in members if name in session.machines]
    well = session.each(reached, lambda name: _healthy(session, name, members[name]))
    healthy = {name for name in reached if well[name]}
    quorum = len(members) // 2 + 1 if restarted[0].resource.quorum else 1
    if len(healthy) < quorum:
        return []
    names = [change.machine for change in restarted]
    return sorted(dict.fromkeys(names), key=lambda name: name in healthy)


def _healthy(session: Session, name: str, service: Service) -> bool:
    if service.ready is None:
        return True
    script = f"systemctl is-active --quiet {service.unit}\n{service.ready.script}\n"
    code = session.run(name, script, what=f"is {service.unit} well", check=False).code
    return code == 0


def _failed(name: str, phase: str, result: Result) -> CommandFailed:
    """The step that failed is the last that the script named."""
    begun = [line[1:] for line in result.text.splitlines() if line.startswith("@")]
    return CommandFailed(
        f"{phase} stopped at {begun[-1] if begun else 'its first step'} (status {result.code})",
        machine=name,
        said=last_lines(result.stderr, 20),
        hint="fix the setting or revert it, then run the same command; finished steps are skipped",
    )

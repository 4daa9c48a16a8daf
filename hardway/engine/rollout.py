"""Executes one chapter. A member of a group that serves is restarted while the others serve; all else goes at once.

Who serves is asked again before each member, through every member that can be reached. Members that certainly serve
nobody go first, together: that takes nothing away. One that leads comes last, after another one has taken over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from hardway.declare.declaration import Declaration
from hardway.declare.resources import Aside, Context, File, Group, Present, Service
from hardway.declare.resources.base import quote
from hardway.engine.changes import Change, by_machine
from hardway.engine.observe import View, hash_command, parse_hashes
from hardway.engine.rolls import RolledGroup, groups_on, rolls_of
from hardway.engine.scripts import activation_script
from hardway.engine.session import Session, lock_each
from hardway.engine.trials import try_first
from hardway.errors import CommandFailed, HardwayError, Locked, NotSettled
from hardway.events import Changed, MachineProgress, Note
from hardway.remote.model import Result, last_lines
from hardway.values import placeholders, sha256

ROLLOUT_LIMIT = 900.0
"""Seconds for one chapter on one machine; its own checks give up long before."""

STANDING_LIMIT = 15.0
"""Seconds in which a group may make up its mind, before a member without a leader, or without an answer, is one."""
STANDING_PAUSE = 0.5

_BEST = ("serves", "learner", "leaderless", "expired", "down", "unknown")
"""Of what several machines say of one member, what counts."""


def hold_peers(session: Session, changes: Sequence[Change], declaration: Declaration) -> None:
    """Connects to the members, beyond this run's machines, of each group that is rolled, and locks them.

    The lock that matters is the group's: two runs on different members would each take one away. Raises Locked.
    Machines that help (a load balancer) are connected, not locked.
    """
    for roll in rolls_of(changes, declaration):
        if not (roll.any.standing or roll.any.leads):
            continue
        others = [name for name in roll.members if name not in session.machines and name not in session.peers]
        session.reach(others)
        held = {name: session.peers[name] for name in others if name in session.peers}
        try:
            lock_each(session, held)
        except Locked as error:
            raise Locked(
                f"{error.what}; this run would restart {roll.name} on {', '.join(roll.restarted)}, and that machine is "
                "another member of it; nothing was changed",
                machine=error.machine,
                hint=error.hint,
            ) from error
        for name in roll.restarted:
            for aside in filter(None, (roll.group(name).still, roll.group(name).drained)):
                session.reach(aside.machines)


def activate(
    session: Session,
    phase: str,
    changes: Sequence[Change],
    declaration: Declaration,
    views: Mapping[str, View],
    contexts: Mapping[str, Context],
) -> None:
    """One chapter everywhere."""
    mine = by_machine(changes)
    rolls = rolls_of(changes, declaration)

    def carry_out(name: str) -> None:
        session.events(MachineProgress(name, phase, "running"))
        script = activation_script(mine[name], views[name], contexts[name])
        result = session.run(name, script, what=phase, timeout=ROLLOUT_LIMIT, check=False)
        if result.code != 0:
            raise _failed(name, phase, result, _untouched(rolls, done, name))
        for change in mine[name]:
            session.events(Changed(name, phase, change.key, change.difference.verb, change.difference.why))
        session.events(MachineProgress(name, phase, "done"))
        done.append(name)

    done: list[str] = []
    left = _that_may_serve(session, rolls, views)
    session.each([name for name in mine if name not in left], carry_out)
    tried: set[str] = set()
    while left:
        name = _next(session, left, rolls)
        left.remove(name)
        own = [roll for roll in rolls if name in roll.restarted]
        for roll in own:
            _refuse_same_fault(session, roll, name, declaration)
            _require_others(session, roll, name, views)
            if roll.name not in tried:
                try_first(session, name, roll.members[name], mine[name], contexts[name], _untouched(rolls, done, name))
        tried.update(roll.name for roll in own)
        # A member that does not come back raises here: the others stay as they are, and serve.
        with _away(session, name, [roll.group(name) for roll in own]):
            carry_out(name)


def _that_may_serve(session: Session, rolls: Sequence[RolledGroup], views: Mapping[str, View]) -> list[str]:
    """The machines to restart one by one: members of a group, but for those that certainly serve nobody."""
    names: list[str] = []
    for roll in rolls:
        standings = _standings(session, roll, views)
        # Where all of them let nobody in, one that was restarted alone would not be let in by the others either.
        dead = all(one in ("down", "leaderless", "learner", "expired") for one in standings.values())
        for name in roll.restarted:
            if standings[name] not in ("down", "learner") and not dead and name not in names:
                names.append(name)
    return names


def _standings(session: Session, roll: RolledGroup, views: Mapping[str, View]) -> dict[str, str]:
    """What each member is to the others, by machine (STANDINGS); asked until all serve, or the time is up."""
    known = {name: _active(views[name], roll.members[name]) for name in roll.members if name in views}
    if not roll.any.standing:
        return {name: "serves" if known.get(name, True) else "down" for name in roll.members}
    if len(known) == len(roll.members) and not any(known.values()):
        return dict.fromkeys(roll.members, "down")
    deadline = time.monotonic() + STANDING_LIMIT
    while True:
        standings = _asked(session, roll)
        uncertain = [name for name, one in standings.items() if one not in ("serves", "learner", "expired", "down")]
        # Where the machine answers neither the other members nor SSH, it will not in a few seconds.
        waited_for = [name for name in uncertain if standings[name] != "unknown" or _is_connected(session, name)]
        if not waited_for or time.monotonic() > deadline:
            return standings
        time.sleep(STANDING_PAUSE)


def _asked(session: Session, roll: RolledGroup) -> dict[str, str]:
    """One round: every member that can be reached says what it sees of all, and whether its own unit runs."""
    there = [name for name in roll.members if _is_connected(session, name)]

    def ask(name: str) -> list[list[str]]:
        service = roll.members[name]
        # A unit that is still starting is not active.
        own = f"systemctl is-active --quiet {service.unit} || echo {name} stopped"
        script = f"{own}\n{roll.group(name).standing}"
        try:
            said = session.run(name, script, what=f"who serves of {roll.name}", check=False)
        except HardwayError:
            return []
        return [line.split() for line in said.text.splitlines()]

    standings = dict.fromkeys(roll.members, "unknown")
    stopped: set[str] = set()
    for asked, lines in session.each(there, ask).items():
        for name, standing in (line for line in lines if len(line) == 2):
            if standing == "stopped" and name == asked:
                stopped.add(name)
            elif name in standings and standing in _BEST:
                standings[name] = min(standings[name], standing, key=_BEST.index)
    return {name: "down" if name in stopped else standing for name, standing in standings.items()}


def _is_connected(session: Session, name: str) -> bool:
    return name in session.machines or name in session.peers


def _active(view: View, service: Service) -> bool:
    seen = view.observed.get(service.key)
    return isinstance(seen, Present) and bool(seen.value.is_active)


def _next(session: Session, names: Sequence[str], rolls: Sequence[RolledGroup]) -> str:
    """Whom to take: one that leads nobody, as long as there is one."""
    if len(names) == 1:
        return names[0]

    def leads(name: str) -> bool:
        scripts = [roll.group(name).leads for roll in rolls if name in roll.restarted and roll.group(name).leads]
        return any(session.run(name, one, what="does it lead", check=False).code == 0 for one in scripts)

    if not any(roll.group(name).leads for roll in rolls for name in roll.restarted):
        return names[0]
    leading = session.each(names, leads)
    return next((name for name in names if not leading[name]), names[0])


def _require_others(session: Session, roll: RolledGroup, name: str, views: Mapping[str, View]) -> None:
    """Raises NotSettled where too few others would serve while this member is away.

    Where it could not be learnt of any member that it serves, there is nothing to lose by taking them one by one; and a
    group that is too small can do no better.
    """
    group = roll.group(name)
    if not group.standing or len(roll.members) - 1 < group.keep:
        return
    standings = _standings(session, roll, views)
    serving = [one for one in standings if standings[one] == "serves"]
    others = [one for one in serving if one != name]
    if not serving or len(others) >= group.keep:
        return
    missing = [f"{one}: {standing}" for one, standing in standings.items() if standing != "serves" and one != name]
    raise NotSettled(
        f"{roll.name} was not restarted here: {len(others)} of its other members serve, and {group.keep} must "
        "while this one is away",
        machine=name,
        said="\n".join(missing),
        hint="bring back what is missing (hardway doctor says what it lacks), then run the same command",
    )


def _refuse_same_fault(session: Session, roll: RolledGroup, name: str, declaration: Declaration) -> None:
    """Raises NotSettled where a peer beyond this run is down with just what this member would be given.

    Members of this run that are down are started before any other is taken, and stop the rollout where that fails.
    """

    def has_the_same(peer: str) -> bool:
        service = roll.members[peer]
        wanted: dict[str, str] = {}
        for placed in declaration.on(peer):
            file = placed.resource
            if isinstance(file, File) and file.path in service.inputs and not list(placeholders(file.text)):
                wanted[file.path] = sha256(file.text.encode())
        if not wanted:
            return False
        script = f"systemctl is-active --quiet {service.unit} && exit 0\n{hash_command([*wanted], openssl=False)}"
        found = session.run(peer, script, what=f"does {roll.name} run there", check=False)
        return parse_hashes(found.text) == wanted

    peers = [peer for peer in roll.members if peer in session.peers]
    for peer, same in session.each(peers, has_the_same).items():
        if same:
            unit = roll.members[peer].unit.removesuffix(".service")
            raise NotSettled(
                f"{roll.name} was not restarted here: it is down on {peer}, which has what this run would bring",
                machine=name,
                hint=f"find out why with hardway doctor, or hardway logs {peer} {unit}; "
                f"once it is back there (hardway apply -l {peer}), run the same command",
            )


@contextmanager
def away(session: Session, name: str, declaration: Declaration) -> Iterator[None]:
    """A block in which everything on a machine that is one of a group may stop: its members elsewhere serve.

    Raises NotSettled where too few of them do.
    """
    require_others(session, name, declaration)
    with _away(session, name, [roll.group(name) for roll in groups_on(declaration, name)]):
        yield


def require_others(session: Session, name: str, declaration: Declaration) -> None:
    """Raises NotSettled where too few other members of a machine's groups would serve while it is away."""
    for roll in groups_on(declaration, name):
        _require_others(session, roll, name, {})


def step_aside(session: Session, name: str, declaration: Declaration) -> None:
    """Everything on a machine that is one of a group may stop for good: others lead, and nobody new comes to it.

    Raises NotSettled where too few others serve.
    """
    require_others(session, name, declaration)
    groups = [roll.group(name) for roll in groups_on(declaration, name)]
    balancers: list[str] = []
    for group in groups:
        if group.drained:
            balancers += group.drained.machines
    session.reach(balancers)
    _step_aside(session, name, groups)


def _step_aside(session: Session, name: str, groups: Sequence[Group]) -> list[Aside]:
    """Returns what takes new connections from it, to be undone when it is back."""
    for group in groups:
        hand_over(session, name, group)
    drained = [group.drained for group in groups if group.drained]
    for aside in drained:
        _do_aside(session, aside.machines, aside.before, f"take {name} out")
    return drained


@contextmanager
def _away(session: Session, name: str, groups: Sequence[Group]) -> Iterator[None]:
    """What goes before and after the restart of a member: others lead, and nobody new comes to it."""
    drained = _step_aside(session, name, groups)
    try:
        yield
    except HardwayError:
        for aside in drained:
            _do_aside(session, aside.machines, aside.after, f"put {name} back", quietly=True)
        raise
    for aside in drained:
        _do_aside(session, aside.machines, aside.after, f"put {name} back")
    for group in groups:
        if group.after:
            session.run(name, group.after, what=f"after {group.name}")


def hand_over(session: Session, name: str, group: Group) -> None:
    """Has another member lead. One that cannot is restarted as it is: its peers elect another, a little later."""
    if not group.hand_over or session.run(name, group.leads, what="does it lead", check=False).code != 0:
        return
    script = group.hand_over
    if group.successor:
        # Asked before anybody holds still: a member that is away is waited for.
        found = session.run(name, group.successor, what=f"who leads {group.name} next", check=False).text.strip()
        if not found:
            session.events(Note(f"{name}: no other member of {group.name} can lead", "warning"))
            return
        script = f"set -- {quote(found)}\n{script}"
    still = group.still
    if still:
        _do_aside(session, still.machines, still.before, "hold still")
    try:
        result = session.run(name, script, what=f"hand over {group.name}", check=False)
    finally:
        if still:
            _do_aside(session, still.machines, still.after, "go on")
    if result.code == 0:
        said = "; ".join(result.text.splitlines()) or f"{group.name} leads on another machine from now on"
        session.events(Note(f"{name}: {said}"))
    else:
        session.events(
            Note(f"{name}: {group.name} could not be handed over: {last_lines(result.stderr, 2)}", "warning")
        )


def _do_aside(session: Session, machines: Sequence[str], script: str, what: str, *, quietly: bool = False) -> None:
    """On other machines, all at once. What fails there makes a restart less smooth, and no less right."""

    def do(name: str) -> None:
        with suppress(HardwayError):
            result = session.run(name, script, what=what, check=False)
            if result.code != 0 and not quietly:
                session.events(Note(f"{name}: {what}: {last_lines(result.stderr, 2)}", "warning"))

    session.each([name for name in machines if name in session.machines or name in session.peers], do)


def _untouched(rolls: Sequence[RolledGroup], done: Sequence[str], failed: str) -> str:
    """Who is still as it was, in words; empty where there is nobody."""
    names: list[str] = []
    for roll in rolls:
        names += [name for name in roll.members if name != failed and name not in done and name not in names]
    return f"{', '.join(names)}: not touched" if names else ""


def _failed(name: str, phase: str, result: Result, untouched: str) -> CommandFailed:
    """The step that failed is the last that the script named."""
    begun = [line[1:] for line in result.text.splitlines() if line.startswith("@")]
    said = last_lines(result.stderr, 20)
    return CommandFailed(
        f"{phase} stopped at {begun[-1] if begun else 'its first step'} (status {result.code})",
        machine=name,
        said=f"{said}\n{untouched}" if untouched else said,
        hint="fix the setting or revert it, then run the same command; finished steps are skipped",
    )

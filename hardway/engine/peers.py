"""Peers that are down with the very change that a run would bring to members that are well: no run begins then."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from hardway.declare.declaration import Declaration
from hardway.declare.resources import File, Present, Service, stays_up
from hardway.engine.blockers import Blocker
from hardway.engine.changes import Change
from hardway.engine.observe import View, hash_command, parse_hashes
from hardway.engine.rolls import RolledGroup, rolls_of
from hardway.engine.session import Session
from hardway.values import placeholders, sha256

COMPLAINTS = r"error\|fail\|invalid\|unknown\|panic\|fatal\|cannot\|could not"


def peers_down(
    session: Session, changes: Sequence[Change], declaration: Declaration, views: Mapping[str, View]
) -> Iterator[Blocker]:
    """Members that would be given what a peer has already, and is down with.

    A peer that this run starts, too, speaks against nothing: it comes before all that serve, and if it fails again
    they are not touched.
    """
    for roll in rolls_of(changes, declaration):
        yield from _of_roll(session, roll, changes, declaration, views)


def _of_roll(
    session: Session,
    roll: RolledGroup,
    changes: Sequence[Change],
    declaration: Declaration,
    views: Mapping[str, View],
) -> Iterator[Blocker]:
    first = roll.members[roll.restarted[0]]
    taken = {change.machine: change for change in changes if change.key == first.key}
    brought = {one.name for one in changes if one.machine in taken and isinstance(one.resource, File)}
    paths = brought & set(first.inputs)
    if not paths or all(one.difference.verb == "start" for one in taken.values()):
        return
    peers = [name for name in roll.members if name not in taken and _may_be_down(views, name, roll.members[name])]
    known = set(session.peers)
    session.reach(peers)
    there = [name for name in peers if name in session.machines or name in session.peers]
    said = session.each(there, lambda name: _down_with(session, roll, name, _declared(declaration, name, paths)))
    for name in session.peers.keys() - known:
        del session.peers[name]  # a run locks those that it connects to itself
    for peer in filter(said.get, there):
        unit, phase = first.unit.removesuffix(".service"), taken[roll.restarted[0]].phase
        yield Blocker(
            "peer-down",
            f"{unit} is down on {peer}, which has what this run would bring to {', '.join(roll.restarted)}",
            said=f"{said[peer]}\nnothing was changed",
            hint=f"hardway doctor says what it does not start with: put that right in {session.cluster.path}, "
            f"then bring {peer} back first, with hardway apply {phase} -l {peer}",
            command="hardway doctor",
            subjects=tuple(sorted(paths)),
        )


def _may_be_down(views: Mapping[str, View], name: str, service: Service) -> bool:
    """Whether it is worth asking: of those that this run looked at, one that ends again and again is no difference."""
    seen = views[name].observed.get(service.key) if name in views else None
    return not isinstance(seen, Present) or bool(seen.value.restarts)


def _declared(declaration: Declaration, name: str, paths: Collection[str]) -> dict[str, str]:
    """Digest by path of files that are declared for a machine, but for those with something that only it knows."""
    found: dict[str, str] = {}
    for placed in declaration.on(name):
        file = placed.resource
        if isinstance(file, File) and file.path in paths and not list(placeholders(file.text)):
            found[file.path] = sha256(file.text.encode())
    return found


def _down_with(session: Session, roll: RolledGroup, name: str, wanted: Mapping[str, str]) -> str:
    """What the machine says of a unit that does not stay up with just these files; empty where all is well there."""
    if not wanted:
        return ""
    unit = shlex.quote(roll.members[name].unit)
    script = (
        f"if ({stays_up(roll.members[name].unit).script}) >/dev/null; then exit 0; fi\n"
        f"{hash_command([*wanted], openssl=False)}\n"
        f'{{ echo {name}: {unit} is "$(systemctl is-active {unit})"\n'
        f"journalctl -u {unit} -n 200 -o cat --no-pager | grep -i '{COMPLAINTS}' | tail -n 2; }} >&2"
    )
    answer = session.run(name, script, what=f"does {roll.name} run there", check=False)
    return answer.stderr.decode(errors="replace").strip() if parse_hashes(answer.text) == wanted else ""

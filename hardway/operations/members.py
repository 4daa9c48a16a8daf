"""Members of etcd come and go, one at a time: what the operations that have them do so need.

A new member is a learner first: it counts for no majority until it has what the others have. So nobody waits for a
member that has not started.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hardway.declare.phases.etcd import FIRST_START, OWN, UNIT, group, peer_url
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import NotSettled
from hardway.events import Note
from hardway.inventory.model import Machine
from hardway.probe import control
from hardway.probe.control import Member, MemberStatus
from hardway.remote.model import last_lines
from hardway.state import ControlState, State, node_of
from hardway.values import majority

CHANGE = f"{OWN} --command-timeout=15s"
"""A change of members waits for a majority, which may be busy."""
JOIN_LIMIT = 900.0
"""Seconds until a learner has all data: some gigabytes over a slow network."""
JOIN_PAUSE = 0.5
DATA = "/var/lib/etcd/member"
ASIDE = "/var/lib/etcd/member.lost"

_PUT_ASIDE = f"""\
systemctl stop {UNIT} 2>/dev/null || true
if [ -e {DATA} ]; then
  rm -rf {ASIDE}
  mv {DATA} {ASIDE}
  echo {ASIDE}
fi
"""


def statuses(session: Session, names: Iterable[str]) -> dict[str, MemberStatus]:
    """What the members say that run on these machines, by machine; those that give no answer are left out."""

    def ask(name: str) -> MemberStatus | None:
        return control.member_status(session.ask(name, (control.STATUS,), what="ask etcd how it is"))

    reached = [name for name in names if name in session.machines]
    return {name: status for name, status in session.each(reached, ask).items() if status is not None}


def serving(session: Session, names: Iterable[str]) -> list[str]:
    """The machines whose members vote and follow a leader, those that do not lead first."""
    found: list[tuple[bool, str]] = []
    for name, status in statuses(session, names).items():
        if status.leader != "0" and not status.learner:
            found.append((status.leader == status.identity, name))
    return [name for _, name in sorted(found, key=lambda one: one[0])]


def answering(session: Session, askers: Sequence[str], asked: Iterable[Machine]) -> set[str]:
    """Those of the machines asked whose etcd answers one of the askers, whether it serves or not."""
    script = group(list(dict.fromkeys(asked))).standing

    def ask(name: str) -> list[list[str]]:
        said = session.run(name, script, what="who serves of etcd", check=False).text
        return [line.split() for line in said.splitlines()]

    found: set[str] = set()
    for lines in session.each(askers, ask).values():
        found |= {line[0] for line in lines if line[1:] in (["serves"], ["leaderless"], ["learner"], ["expired"])}
    return found


def listed(session: Session, helper: str) -> tuple[Member, ...]:
    """All members, as a majority has them. Raises NotSettled where none answers."""
    members = control.members(session.ask(helper, (control.AGREED_MEMBERS,), what="ask etcd for its members"))
    if not members:
        raise NotSettled("etcd did not list its members: no majority answers", machine=helper, hint="hardway doctor")
    return members


def member_of(members: Sequence[Member], machine: Machine) -> Member | None:
    """The member that is, or was, on a machine."""
    return next((one for one in members if one.peer == peer_url(machine)), None)


def join(session: Session, machine: Machine, others: Iterable[Machine]) -> None:
    """Makes a machine a voting member beside `others`, at least one of which serves; cut anywhere, it goes on.

    etcd and its unit are there, and nothing that has the unit started. Data of a member that is no more is put aside.
    Raises NotSettled where it does not get that far.
    """
    helper = helper_of(session, [one.name for one in others])
    member = member_of(listed(session, helper), machine)
    if member and member.learner and member.started and not has_data(session, machine):
        remove(session, helper, member)
        member = None
    if member is None:
        put_aside(session, machine)
        session.run(helper, _add(machine), what=f"add {machine.name} as a learner")
        member = member_of(listed(session, helper), machine)
    assert member is not None
    began = time.monotonic()
    _start(session, machine, listed(session, helper))
    if member.learner:
        _promote(session, helper, machine)
        session.events(Note(f"{machine.name}: is a voting member, {time.monotonic() - began:.0f} s after its start"))
    session.run(machine.name, f"rm -f {FIRST_START}", what="remove what only the first start needs")


def put_aside(session: Session, machine: Machine) -> None:
    """Stops etcd there, and moves what it has of data out of the way."""
    aside = session.run(machine.name, _PUT_ASIDE, what="put old data aside", timeout=120).text.strip()
    if aside:
        session.events(Note(f"{machine.name}: what was left of its data is in {aside} now"))


def remove(session: Session, helper: str, member: Member) -> None:
    """Takes a member off the list, unless it is off already."""
    identity = quote(member.identity)
    # A list that could not be had must not pass for one without it.
    script = f"""\
members=$({OWN} member list)
printf '%s\\n' "$members" | grep -q ^{identity}, || exit 0
{CHANGE} member remove {identity}
"""
    session.run(helper, script, what=f"remove the member {member.name or member.identity}")


def takes_part(machine: Machine, how: ControlState) -> Callable[[State], State]:
    """The edit by which a controller takes part just so far; one that the State does not know yet is noted in it."""

    def edit(state: State) -> State:
        node = replace(state.nodes.get(machine.name, node_of(machine)), control=how)
        return replace(state, nodes={**state.nodes, machine.name: node})

    return edit


def runs(session: Session, name: str) -> bool:
    """Whether etcd runs on a machine of the session, or one beside it."""
    return session.run(name, f"systemctl is-active --quiet {UNIT}", what="does etcd run", check=False).code == 0


def helper_of(session: Session, names: Sequence[str]) -> str:
    there = serving(session, names)
    if not there:
        raise NotSettled(f"no etcd member serves on {', '.join(names)}", hint="hardway doctor")
    return there[0]


def spare(count: int) -> str:
    """How many of so many members may be lost, in words."""
    return "none may be lost" if count == 2 else f"{count - majority(count)} may be lost"


def has_data(session: Session, machine: Machine) -> bool:
    return session.run(machine.name, f"[ -d {DATA} ]", what="look for etcd's data", check=False).code == 0


def _add(machine: Machine) -> str:
    peer = peer_url(machine)
    return f"""\
members=$({OWN} member list)
printf '%s\\n' "$members" | grep -qF {quote(f", {peer}, ")} ||
  {CHANGE} member add {quote(machine.name)} --peer-urls={quote(peer)} --learner
"""


def _start(session: Session, machine: Machine, members: Sequence[Member]) -> None:
    """A member with data knows who the others are; one that has none reads it in the file."""
    cluster = ",".join(f"{one.name or machine.name}={one.peer}" for one in members)
    script = f"""\
mkdir -p {FIRST_START.rpartition("/")[0]}
cat >{FIRST_START} <<'EOF'
ETCD_INITIAL_CLUSTER_STATE=existing
ETCD_INITIAL_CLUSTER={cluster}
EOF
systemctl daemon-reload
systemctl reset-failed {UNIT} 2>/dev/null || true
# Once it votes it is needed, also after a reboot.
systemctl enable --quiet {UNIT}
systemctl start --no-block {UNIT}
"""
    session.run(machine.name, script, what="start etcd as a learner")


def _promote(session: Session, helper: str, machine: Machine) -> None:
    """Waits until the learner has started and has nine tenths of the leader's log; etcd itself refuses it before."""
    deadline = time.monotonic() + JOIN_LIMIT
    session.events(Note(f"{machine.name}: waiting until it has the data of the others"))
    while True:
        member = member_of(listed(session, helper), machine)
        if member is not None and not member.learner:
            return
        said = "it has not started"
        if member is not None and member.started:
            promote = f"{CHANGE} member promote {quote(member.identity)}"
            result = session.run(helper, promote, what=f"promote {machine.name}", check=False)
            if result.code == 0:
                return
            said = last_lines(result.stderr, 1)
        if time.monotonic() > deadline:
            raise _never_joined(session, machine, said)
        time.sleep(JOIN_PAUSE)


def _never_joined(session: Session, machine: Machine, said: str) -> NotSettled:
    log = session.run(machine.name, f"journalctl -u {UNIT} -n 5 -o cat --no-pager", what="read its log", check=False)
    return NotSettled(
        f"etcd did not become a voting member within {JOIN_LIMIT:.0f} s: {said}",
        machine=machine.name,
        said=f"{log.text.strip()}\nit is a learner, and the others serve without it",
        hint=f"hardway logs {machine.name} etcd; then give the same command again",
    )

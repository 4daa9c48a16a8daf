"""`etcd defrag` and `etcd alarm --clear`: gives disk space back that deleted and compacted data left in etcd's files.

A member answers nobody while it is defragmented, so all others must serve, and the leader comes last, after another
one leads. Nothing of it is State: cut anywhere, the same command begins again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hardway.console.words import size
from hardway.declare.phases import etcd
from hardway.declare.phases.base import Proof
from hardway.declare.phases.etcd import OWN
from hardway.engine import prove
from hardway.engine.rollout import hand_over
from hardway.engine.session import Session
from hardway.errors import HardwayError, NotSettled
from hardway.events import Note
from hardway.operations import members
from hardway.probe import control
from hardway.probe.control import MemberStatus
from hardway.probe.control import members as members_of

COMPACTION_LIMIT = 1800.0
DEFRAG_LIMIT = 1800.0
"""Seconds for one member; some 20 are usual for each GB that is in use."""
BACK_LIMIT = 120.0
"""Seconds until a member that was defragmented serves again."""
ROOM = 0.9
"""Share of the quota below which an alarm is taken away: above it the next writes would raise it again."""


@dataclass(frozen=True)
class Defragmented:
    """Bytes of a member's file before and after, and for how many seconds the member answered nobody."""

    member: str
    before: int
    after: int
    seconds: float


@dataclass(frozen=True)
class Alarm:
    """What a member raised, NOSPACE or CORRUPT."""

    member: str
    alarm: str


@dataclass(frozen=True)
class Alarms:
    alarms: tuple[Alarm, ...]


def defragment(session: Session) -> tuple[Defragmented, ...]:
    """One member after the other. Raises NotSettled where another one does not serve, CommandFailed."""
    left = [machine.name for machine in session.cluster.controllers]
    done = []
    while left:
        statuses = _all_serving(session)
        followers = [name for name in left if statuses[name].leader != statuses[name].identity]
        name = (followers or left)[0]
        left.remove(name)
        if not followers:
            hand_over(session, name, etcd.group(session.cluster.controllers))
        done.append(_defragment(session, name, statuses[name].size))
    return tuple(done)


def alarms(session: Session) -> tuple[Alarm, ...]:
    """What members have raised. Raises HardwayError where none of them answers."""
    asked = _asked(session)
    statuses = [one for one in asked.values() if one]
    if not statuses:
        raise HardwayError("no etcd member answers", said="nothing was changed", hint="hardway doctor")
    names: dict[str, str] = {}
    for name, status in asked.items():
        # One that does not answer is in the lists of those that do.
        listed = members_of(session.ask(name, (control.MEMBERS,), what="ask etcd for its members")) if status else ()
        names |= {one.identity: one.name for one in listed}
    found = []
    for identity, raised in control.alarms(statuses).items():
        found += [Alarm(names.get(identity, identity), alarm) for alarm in raised]
    return tuple(found)


def clear(session: Session) -> tuple[Defragmented, ...]:
    """Makes room where etcd is out of space, and takes the alarm away. Nothing happens where there is none.

    Raises HardwayError for CORRUPT, which goes with its member (`set_aside`), and where there is too little to give
    back.
    """
    raised = alarms(session)
    corrupt = corrupt_members(raised)
    if corrupt:
        raise HardwayError(
            f"{', '.join(corrupt)} raised CORRUPT: its data is not what the others have, and etcd answers nobody",
            said="nothing was changed",
            hint=f"hardway etcd alarm --clear\nthen: {replace_command(corrupt[0])}",
        )
    if not raised:
        return ()
    names = [machine.name for machine in session.cluster.controllers]
    revision = max(one.revision for one in _all_serving(session).values())
    session.events(Note(f"compacting at revision {revision}: older versions of objects go"))
    script = compaction(revision)
    session.each(names, lambda name: session.run(name, script, what="compact etcd", timeout=COMPACTION_LIMIT))
    done = defragment(session)
    _require_room(session)
    session.run(names[0], f"{OWN} alarm disarm", what="take the alarm away")
    left = alarms(session)
    if left:
        raise NotSettled(
            f"{', '.join(one.member for one in left)} raised {left[0].alarm} again at once",
            hint="hardway etcd status shows sizes; then run the same command",
        )
    return done


def corrupt_members(raised: Iterable[Alarm]) -> list[str]:
    """Those whose data is not what the others have."""
    return [one.member for one in raised if one.alarm == "CORRUPT"]


def replace_command(name: str) -> str:
    """What brings a member back that was set aside."""
    return f"hardway etcd replace {name}"


def set_aside(session: Session, name: str) -> None:
    """Takes a member away whose data is not what the others have, and then its alarm; they serve without it.

    Its data is kept beside. Raises HardwayError unless all others serve, or where it is no controller of hardway's.
    """
    others = [machine.name for machine in session.cluster.controllers if machine.name != name]
    there = members.serving(session, others)
    if name not in session.machines or not others or set(there) != set(others):
        raise HardwayError(
            f"{name} raised CORRUPT, and cannot be taken away: not all others serve",
            said="nothing was changed",
            hint="go back to a snapshot: hardway etcd restore FILE",
        )
    machine = session.cluster.machine(name)
    members.put_aside(session, machine)
    # Before it is off the list: members go on refusing all requests until this alarm is taken away by its name.
    session.run(there[0], f"{OWN} alarm disarm", what="take the alarm away")
    member = members.member_of(members.listed(session, there[0]), machine)
    if member:
        members.remove(session, there[0], member)
    session.events(Note(f"{name}: its etcd is stopped and off the list of members; the others serve"))


def compaction(revision: int) -> str:
    """A script that ends once this member has deleted what a revision does not need, also where another one was asked.

    Without `--physical` it ends at once, and each member deletes in the background. (etcdserver: Compact; a revision
    that is compacted already is refused only when that is done, too.)
    """
    return f"""\
said=$({OWN} --command-timeout={COMPACTION_LIMIT:.0f}s compaction --physical {revision} 2>&1) ||
  case $said in *'has been compacted'*) ;; *) echo "$said" >&2; exit 1 ;; esac
"""


def _require_room(session: Session) -> None:
    """What is in use is what nobody can give back; a member looks at the size of its file, which may have grown."""
    quotas = _quotas(session)
    for name, status in _all_serving(session).items():
        quota = quotas.get(name, 0)
        if not quota or status.size < quota * ROOM:
            continue
        if status.in_use < quota * ROOM:
            raise NotSettled(
                f"etcd's file on {name} has {size(status.size)} of {size(quota)} again, {size(status.in_use)} in use",
                said="the alarm stays, and nothing can be written",
                hint="run the same command again",
            )
        raise HardwayError(
            f"etcd is full: {size(status.in_use)} of {size(quota)} are in use",
            machine=name,
            said=f"the alarm stays, and nothing can be written. Most of it is:\n{_most(session, name)}",
            hint="delete what should not be there, or raise the quota (settings: etcd: quota-backend-bytes) and:\n"
            "    hardway apply etcd\nthen run the same command",
        )


def _quotas(session: Session) -> dict[str, int]:
    """Bytes that each member may use."""

    def ask(name: str) -> int:
        said = session.run(name, f"{OWN} endpoint status -w json", what="ask etcd for its quota")
        found = re.search(r'"dbSizeQuota":(\d+)', said.text)
        return int(found[1]) if found else 0

    return session.each([machine.name for machine in session.cluster.controllers], ask)


def _most(session: Session, name: str) -> str:
    """The kinds of which there are most keys."""
    count = (
        f"{OWN} --command-timeout=60s get /registry/ --prefix --keys-only | cut -d/ -f3 | grep . | sort | uniq -c | "
        "sort -rn | head -n 5"
    )
    return session.run(name, count, what="count etcd's keys", timeout=90, check=False).text


def _defragment(session: Session, name: str, before: int) -> Defragmented:
    session.events(Note(f"defragmenting {name}"))
    words = f"{OWN} --command-timeout={DEFRAG_LIMIT:.0f}s defrag"
    result = session.run(name, words, what="defragment etcd", timeout=DEFRAG_LIMIT)
    serves = Proof(
        name,
        "this member serves again",
        etcd.READY,
        "while it is away, another one that fails takes the quorum",
        within=BACK_LIMIT,
    )
    prove.require(prove.prove(session, [("etcd", serves)], wait=BACK_LIMIT))
    status = _asked(session)[name]
    return Defragmented(name, before, status.size if status else 0, result.seconds)


def _all_serving(session: Session) -> dict[str, MemberStatus]:
    """Raises NotSettled where a member does not serve."""
    asked = _asked(session)
    serving = {name: one for name, one in asked.items() if one and one.leader not in ("", "0") and not one.learner}
    missing = [name for name in asked if name not in serving]
    if missing:
        raise NotSettled(
            f"{', '.join(missing)} does not serve, and a member that is defragmented answers nobody",
            said="nothing more was changed; what is defragmented already stays so",
            hint="bring it back (hardway doctor says what it lacks), then run the same command",
        )
    return serving


def _asked(session: Session) -> dict[str, MemberStatus | None]:
    names = [machine.name for machine in session.cluster.controllers]
    answers = session.each(names, lambda name: session.ask(name, (control.STATUS,), what="ask etcd how it is"))
    return {name: control.member_status(said) for name, said in answers.items()}

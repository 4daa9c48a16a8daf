"""`etcd recover`: a majority of etcd is lost, and one member still has its data. All others get what it has.

Without a majority nothing can be written, so nothing is lost that the survivor has: its file goes the way of a
snapshot. Controllers that are gone for good leave the cluster on that way, which needs no vote of theirs. Cut anywhere,
the same command begins again with the member that has most.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hardway.artifacts.store import Store
from hardway.console.words import size
from hardway.declare.phases.paths import BIN
from hardway.engine.converge import Outcome
from hardway.engine.resolver import Resolver
from hardway.engine.selection import Selection
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError
from hardway.events import Note
from hardway.inventory.model import Machine
from hardway.operations.etcd_restore import DATA, ROOM, SEND_LIMIT, Source, begin, go_on, is_everywhere, restore, stop
from hardway.operations.etcd_scratch import FOLDER, SCRATCH
from hardway.operations.etcd_snapshot import Remote, check
from hardway.operations.members import answering, has_data, serving
from hardway.state import OperationState, State


@dataclass(frozen=True)
class Copy:
    """What a stopped member has: the size of the file in bytes, and the revision that it reached.

    `is_whole`: its log is in it, too, and the file is a snapshot; otherwise the log could not be read.
    """

    machine: str
    size: int
    revision: int
    is_whole: bool


@dataclass(frozen=True)
class Room:
    """Bytes on a controller: of etcd's file, of all its data, and of what is free beside it."""

    file: int
    data: int
    free: int


def recover(
    session: Session,
    state: State,
    underway: OperationState,
    selection: Selection,
    resolver: Resolver,
    store: Store,
    *,
    gone: Collection[str] = (),
) -> Outcome:
    """Has all members serve what the one of them has that got furthest. The session holds the locks of all machines.

    Controllers that are `gone` are none of its machines, and of the cluster no longer. Raises HardwayError, with
    nothing stopped, where a majority serves, where nobody has data, where a disk is too small, and where a machine is
    not gone.
    """
    lost = [machine for machine in session.cluster.controllers if machine.name in gone]
    for name in gone:
        session.cluster = session.cluster.without(name)
    if not underway.stage:
        names = [machine.name for machine in session.cluster.controllers]
        _refuse_majority(session, names, lost)
        _refuse_there(session, names, lost)
        _require_data(session, names)
    state = begin(session, without(state, gone), underway)
    if underway.stage and is_everywhere(session, state):
        return go_on(session, state, selection, resolver, store, gone)
    with timed("stop", session.events):
        stop(session, unserved=True)
    best = _furthest(session)
    session.events(Note(f"{best.machine} got furthest, to revision {best.revision}"))
    if not best.is_whole:
        unread = "the log of its last writes cannot be read: what was written in its last moments may be lost"
        session.events(Note(f"{best.machine}: {unread}", "warning"))
    with _taken(session, best) as source:
        return restore(session, state, source, underway, selection, resolver, store, gone=gone)


def without(state: State, gone: Collection[str]) -> State:
    """The State once these controllers have left; what was begun for one of them is given up."""
    nodes = {name: node for name, node in state.nodes.items() if name not in gone}
    interrupted = state.interrupted
    if interrupted is not None and not set(gone).isdisjoint(interrupted.arguments):
        interrupted = None
        # Members that it was to bring back get their data now.
        for name, node in nodes.items():
            nodes[name] = replace(node, control="") if node.control == "replacing" else node
    return replace(state, nodes=nodes, interrupted=interrupted)


def _refuse_majority(session: Session, names: Sequence[str], gone: Sequence[Machine]) -> None:
    there = serving(session, names)
    if not there:
        return
    # Of a member without a majority none has a leader, so it does not serve.
    missing = [name for name in names if name not in there]
    hint = f"hardway etcd replace {' '.join(missing)}" if missing else "hardway etcd status"
    if gone:
        hint = f"hardway node remove {gone[0].name} --gone"
    raise HardwayError(f"a majority of etcd serves: {', '.join(there)}", said="nothing was changed", hint=hint)


def _refuse_there(session: Session, names: Sequence[str], gone: Sequence[Machine]) -> None:
    """Raises HardwayError where a machine that is said to be gone has etcd's data, or its etcd answers the others.

    Two clusters would have one name. A machine that was installed again has neither.
    """
    unreached = session.reach([machine.name for machine in gone])
    there = answering(session, names, [*session.cluster.controllers, *gone]) if gone else set()
    for machine in gone:
        name = machine.name
        if name in there or (name not in unreached and has_data(session, machine)):
            raise HardwayError(
                f"{name} is not gone: its etcd answers" if name in there else f"{name} is not gone: it has data",
                said="nothing was changed",
                hint="leave out --gone: then it gets the data of the one that got furthest; or switch it off first",
            )


def _require_data(session: Session, names: Sequence[str]) -> None:
    """Raises HardwayError where no member has data, or a disk is too small for what comes."""
    found = session.each(names, lambda name: _room(session, name))
    largest = max(one.file for one in found.values())
    if not largest:
        raise HardwayError(
            "no controller has etcd's data any more",
            said="nothing was changed",
            hint="hardway etcd restore FILE, from a snapshot",
        )
    for name, one in found.items():
        needed = largest * ROOM + one.data
        if one.free < needed:
            raise HardwayError(
                f"{DATA} has {size(one.free)} free, and {size(needed)} are needed",
                machine=name,
                said="nothing was changed",
                hint=f"free disk space there (df -h {DATA}), then run the same command again",
            )


def _room(session: Session, name: str) -> Room:
    look = f"""\
stat -c %s {DATA}/member/snap/db 2>/dev/null || echo 0
du -sB1 {DATA}/member 2>/dev/null | grep . || echo 0
df -B1 --output=avail {DATA} | tail -n 1
"""
    there = session.run(name, f"[ -d {DATA} ] && [ -x {BIN}/etcdutl ]", what="look for etcd", check=False)
    if there.code != 0:
        raise HardwayError(
            f"etcd is not installed here any more: there is no {DATA}, or no {BIN}/etcdutl",
            machine=name,
            said="nothing was changed",
            hint=f"bring back its disk; or go on without it, and add it again afterwards:\n    {_without(name)}",
        )
    file, data, free = session.run(name, look, what="look for etcd's data and for room").text.splitlines()
    return Room(int(file), int(data.split()[0]), int(free))


def _without(name: str) -> str:
    return f"hardway etcd recover --gone {name}"


def _has_data(session: Session, name: str) -> bool:
    look = f"[ -s {DATA}/member/snap/db ]"
    return session.run(name, look, what="look for etcd's data", check=False).code == 0


def _furthest(session: Session) -> Copy:
    names = [machine.name for machine in session.cluster.controllers]
    with timed("look", session.events):
        copies = session.each([name for name in names if _has_data(session, name)], lambda name: _copied(session, name))
    return max(copies.values(), key=lambda one: one.revision)


def _copied(session: Session, name: str) -> Copy:
    said = session.run(name, COPY, what="copy etcd's data", timeout=SEND_LIMIT).text.splitlines()
    return Copy(name, int(said[1]), int(json.loads(said[2])["revision"]), said[0] == "whole")


# A member that was killed has writes in its log that its file lacks. So an etcd reads both, in a copy: the member's own
# is left as it is.
COPY = f"""\
rm -rf {FOLDER}/scratch.* {FOLDER}/*.db
{SCRATCH}\
mkdir data
cp -a {DATA}/member data/member
if serve; then
  ask --command-timeout={SEND_LIMIT:.0f}s snapshot save {FOLDER}/own.db >&2
  echo whole
else
  cp {DATA}/member/snap/db {FOLDER}/own.db
  echo file
fi
stat -c %s {FOLDER}/own.db
{BIN}/etcdutl snapshot status {FOLDER}/own.db -w json
"""


@contextlib.contextmanager
def _taken(session: Session, copy: Copy) -> Iterator[Source]:
    """The copy here, as a file that is gone after the block."""
    with session.workspace.opened() as (path, file):
        source = Remote(session, copy.machine, f"{FOLDER}/own.db", copy.size)
        shutil.copyfileobj(source, file)
        file.flush()
        if copy.is_whole:
            check(path)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        yield Source(path, source.sha256, copy.size, is_copy=not copy.is_whole, taken=now)

"""A run's hold on the cluster: the workspace, a connection to every machine, and looking at them all."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from hardway.errors import HardwayError, Locked, MachineError
from hardway.events import CommandRun, MachineProgress, Note, Sink, StepFinished, StepStarted, discard
from hardway.inventory.model import Cluster, Machine
from hardway.probe.script import Answers, Question, answers, new_nonce, script
from hardway.remote import AskSecret, Fleet, MachineErrors, MachineIO, Result, Target, fan_out, run_with_retry
from hardway.workspace import Workspace

PROBE_LIMIT = 60.0
"""Seconds that looking at a machine may take; it takes a fraction of one."""

ORPHAN_LIMIT = 120.0
"""Seconds to wait for what an interrupted run left behind: a unit that starts, and its check."""

DEFAULT_FORKS = 10

T = TypeVar("T")


@dataclass
class Session:
    """Connections by machine name; open them with `opened`.

    `deep` has every file read when machines are looked at, whatever the journal knows of it: a disk that went bad
    changes content, and not the times that stand in its index. `peers` are machines that nothing is declared for in
    this run, but which stand in for those of it (`reach`); `dial` opens a connection to one.
    """

    cluster: Cluster
    workspace: Workspace
    machines: dict[str, MachineIO] = field(default_factory=dict)
    events: Sink = discard
    forks: int = DEFAULT_FORKS
    deep: bool = False
    peers: dict[str, MachineIO] = field(default_factory=dict)
    dial: Callable[[str], MachineIO] | None = None
    holder: str = ""
    """Who holds the locks, once they are held."""

    def each(self, names: Iterable[str], do: Callable[[str], T]) -> dict[str, T]:
        """Does something on several machines at once, at most `forks`; all errors are collected."""
        return fan_out(list(names), do, self.forks)

    def run(self, name: str, script: str, *, what: str, timeout: float = PROBE_LIMIT, check: bool = True) -> Result:
        """Runs a script on a machine and reports it.

        Every script of hardway is safe to run twice, so a connection that was lost is opened once more.
        """
        machine = self.machines.get(name) or self.peers[name]
        result = run_with_retry(machine, script, timeout=timeout, what=what, check=check)
        self.events(CommandRun(name, what, script, result.seconds))
        return result

    def reach(self, names: Iterable[str]) -> dict[str, HardwayError]:
        """Connects to peers that are not connected yet; those that cannot be reached, with the error."""

        def reach(name: str) -> HardwayError | None:
            try:
                assert self.dial is not None
                self.peers[name] = self.dial(name)
            except HardwayError as error:
                return error
            return None

        if self.dial is None:
            return {}
        new = [name for name in names if name not in self.machines and name not in self.peers]
        return {name: error for name, error in self.each(new, reach).items() if error is not None}

    def ask(self, name: str, questions: Iterable[Question], *, what: str, timeout: float = PROBE_LIMIT) -> Answers:
        """Asks a machine with one script. Raises CommandFailed where a strict question fails."""
        nonce = new_nonce()
        result = self.run(name, script(questions, nonce), what=what, timeout=timeout)
        return answers(result.stdout, nonce)


@dataclass(frozen=True)
class Access:
    """How the operator wants machines to be reached, beyond the inventory."""

    accept_new_host_keys: bool = False
    ask_secret: AskSecret | None = None
    ssh_config: Path | None = None


def holder(command: str) -> str:
    """Who holds a lock, for those who meet it."""
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()}, since {since}): hardway {command}"


def lock(session: Session, who: str) -> None:
    """Locks all machines of the session. Raises Locked, naming who holds one.

    A script of a run that was interrupted goes on to its end, and holds its machine until then: it is waited for.
    """
    session.holder = who
    lock_each(session, session.machines)


def lock_each(session: Session, machines: Mapping[str, MachineIO]) -> None:
    """Locks machines for the session's holder, as `lock` does."""

    def hold(name: str) -> None:
        deadline, told = time.monotonic() + ORPHAN_LIMIT, False
        while True:
            try:
                return machines[name].lock(session.holder)
            except Locked as error:
                if not _orphan(error.what) or time.monotonic() > deadline:
                    raise
                if not told:
                    session.events(Note(f"{name}: what an interrupted run began there is not done yet; waiting for it"))
                told = True

    session.each(machines, hold)


def _orphan(locked_by: str) -> bool:
    """Whether the holder was a run on this computer that has ended."""
    found = re.search(rf"@{re.escape(socket.gethostname())} \(pid (\d+),", locked_by)
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def target(machine: Machine, cluster: Cluster, workspace: Workspace, access: Access) -> Target:
    """Where and as whom a machine is dialled. For a lab's the user's ssh_config does not count, as in the lab's own."""
    key = machine.ssh.key
    if key is None and cluster.lab is not None:
        key = workspace.root / "lab" / "id_ed25519"
    return Target(
        name=machine.name,
        host=machine.ssh.host or (str(machine.address) if machine.address else cluster.fqdn(machine)),
        port=machine.ssh.port,
        user=machine.ssh.user,
        key=key,
        jump=machine.ssh.jump,
        become=machine.ssh.become,
        known_hosts=workspace.known_hosts,
        ssh_config=machine.ssh.config or access.ssh_config,
        own_config=cluster.lab is None,
    )


@contextlib.contextmanager
def opened(
    cluster: Cluster,
    workspace: Workspace,
    machines: Sequence[Machine],
    *,
    access: Access,
    events: Sink = discard,
    forks: int = DEFAULT_FORKS,
    deep: bool = False,
    unreached: dict[str, HardwayError] | None = None,
) -> Iterator[Session]:
    """A session with a connection to each of the machines, closed at the end.

    Raises where a machine cannot be reached; with `unreached` that is noted there, and the session has the others.
    """
    by_name = {machine.name: machine for machine in (*cluster.machines, *machines)}
    fleet = Fleet(accept_new_host_keys=access.accept_new_host_keys, ask_secret=access.ask_secret)

    def dial(name: str) -> MachineIO:
        return fleet.connect(target(by_name[name], cluster, workspace, access))

    session = Session(cluster, workspace, events=events, forks=forks, deep=deep, dial=dial)

    def connect(name: str) -> None:
        events(MachineProgress(name, "connect", "running"))
        session.machines[name] = dial(name)
        events(MachineProgress(name, "connect", "done"))

    try:
        with timed("connect", events):
            try:
                session.each([machine.name for machine in machines], connect)
            except MachineError as error:
                if unreached is None:
                    raise
                unreached.update(error.errors if isinstance(error, MachineErrors) else {error.machine or "": error})
        yield session
    finally:
        with contextlib.suppress(HardwayError, OSError):
            fleet.close()


@contextlib.contextmanager
def timed(name: str, events: Sink) -> Iterator[None]:
    """Reports a part of the run and how long it took."""
    started = datetime.now(UTC)
    events(StepStarted(name))
    yield
    events(StepFinished(name, (datetime.now(UTC) - started).total_seconds()))

"""`node reboot`: machines restart one at a time; each gives up what it does first, and proves that it is back.

A worker is drained. A controller hands over what it leads, gets no new requests, and its API server stops before its
etcd, which systemd would stop together. State has the boot of each machine from before, so that the same command knows
after a kill which of them are done. A machine that does not come back whole ends it: what is wrong may need any other
command.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NoReturn

from hardway.declare.declaration import Declaration
from hardway.declare.phases import load_balancer
from hardway.declare.phases.base import Proof
from hardway.declare.resources import Service
from hardway.engine import prove
from hardway.engine.commit import commit_state
from hardway.engine.rollout import away, require_others
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError, NotSettled
from hardway.events import Note
from hardway.inventory.model import Cluster
from hardway.operations import drain, hooks
from hardway.operations.drain import How
from hardway.operations.run import taken, taken_up
from hardway.probe import control
from hardway.state import State, advanced

NAME = "node reboot"

BOOT_LIMIT = 600.0
"""Seconds until a machine answers again: servers test their memory first."""
BACK_LIMIT = 300.0
"""Seconds after that in which everything on it works."""
PAUSE = 1.0

# In a container the kernel's own identifier of a boot is the host's.
_BOOT = "cat /proc/sys/kernel/random/boot_id; systemctl show -p UserspaceTimestamp --value"
# A kernel's flavour is what follows its version: -amd64 and -cloud-amd64 are two packages, and which of them boots is
# the boot loader's choice. In Red Hat's names there is none but +debug and the like.
_NEEDED = r"""
if [ -e /run/reboot-required ]; then echo "the system asks for it"; exit 0; fi
flavour() { echo "$1" | sed -E 's/^[0-9][^-]*(-[0-9][^-+]*)*//'; }
running=$(uname -r)
newest=$({
  echo "$running"
  for modules in /lib/modules/*; do
    kernel=${modules##*/}
    if [ -e "/boot/vmlinuz-$kernel" ] && [ "$(flavour "$kernel")" = "$(flavour "$running")" ]; then echo "$kernel"; fi
  done
} | sort -V | tail -n 1)
if [ "$newest" != "$running" ]; then echo "kernel $newest is installed, $running runs"; fi
"""
# systemd stops services together, and an API server that still serves would see its etcd go.
_STOP = """\
for unit in kube-apiserver kube-controller-manager kube-scheduler etcd; do
  ! systemctl is-active --quiet $unit.service || systemctl stop $unit.service
done
"""


def in_turn(session: Session, cluster: Cluster) -> tuple[str, ...]:
    """All machines in the order in which they may go: workers, controllers with etcd's leader last, load balancers."""
    rest = [machine for machine in cluster.machines if not machine.is_controller]
    workers = [machine.name for machine in rest if machine.is_worker]
    balancers = [machine.name for machine in rest if not machine.is_worker]
    controllers = [machine.name for machine in cluster.controllers]
    return (*workers, *sorted(controllers, key=lambda name: _leads(session, name)), *balancers)


def takes_the_api(cluster: Cluster, name: str) -> str:
    """Why nobody can ask the API while this machine restarts; empty where others serve."""
    machine = cluster.machine(name)
    if machine.is_load_balancer and len(cluster.load_balancers) == 1:
        return f"{name} is the only load balancer: the API is away until it is back"
    if machine.is_controller and len(cluster.controllers) == 1:
        return f"{name} is the only controller: the API is away until it is back"
    return ""


def chosen(session: Session, names: Sequence[str], *, if_needed: bool) -> tuple[str, ...]:
    """These machines, or all, in their turn; with `if_needed` those that want a restart, and it is said why."""
    wanted = [one for one in in_turn(session, session.cluster) if not names or one in names]
    if not if_needed:
        return tuple(wanted)
    reasons = needed(session, wanted)
    for name, why in reasons.items():
        session.events(Note(f"{name}: {why}"))
    return tuple(reasons)


def needed(session: Session, names: Sequence[str]) -> dict[str, str]:
    """Why each of these machines wants a restart; those that want none are left out."""
    asked = session.each(names, lambda name: session.run(name, _NEEDED, what="is a restart needed").text.strip())
    return {name: why for name, why in asked.items() if why}


def reboot(
    session: Session,
    state: State,
    declaration: Declaration,
    arguments: Sequence[str],
    choose: Callable[[], Sequence[str]],
    how: How,
    *,
    by: str,
    take_over: bool = False,
) -> tuple[str, ...]:
    """Restarts machines one at a time; those that were. The session holds all locks, and no other operation is open.

    `choose` names them where this begins; where the same command was cut, it goes on with those of then. Raises
    NotSettled where one cannot be spared, and with what is missing where one does not come back whole; then no
    operation is open any more, and the error names the command for those that are left.
    """
    underway = taken_up(state, NAME, tuple(arguments), by=by, take_over=take_over)
    if not underway.stage:
        names = tuple(choose())
        if not names:
            return ()
        boots = session.each(names, lambda name: _boot(session, name))
        underway = replace(underway, stage="restart", boots=boots)
    else:
        names = tuple(name for name in in_turn(session, session.cluster) if name in underway.boots)
    state = advanced(state, operation=underway)
    commit_state(session, state)
    left = list(names)
    restarted = []
    try:
        while left:
            name = left.pop(0)
            if _boot(session, name) == underway.boots[name]:
                _reboot(session, declaration, name, how, underway.boots[name])
                restarted.append(name)
            else:
                session.events(Note(f"{name}: restarted before this run, which goes on after it"))
                _come_back(session, declaration, name)
    except HardwayError as error:
        commit_state(session, advanced(state, operation=None))
        error.hint = _rest(left, error.hint)
        raise
    commit_state(session, advanced(state, operation=None))
    return tuple(restarted)


def give_up(
    session: Session, state: State, unreached: Mapping[str, HardwayError], by: str, take_over: bool
) -> NoReturn:
    """Ends restarts that were cut where a machine does not answer any more: it may need any other command.

    Raises its error, with the command for the machines that are left; or HardwayError for somebody else's operation.
    """
    assert state.operation is not None
    underway = taken(state.operation, by, take_over)
    there = [name for name in underway.boots if name in session.machines]
    left = [name for name in there if _boot(session, name) == underway.boots[name]]
    commit_state(session, advanced(state, operation=None))
    name, error = next(iter(unreached.items()))
    again = f"; a worker stays cordoned until hardway node uncordon {name}"
    error.hint = _rest(left, f"{error.hint or 'look at its console'}{again}")
    raise error


def _rest(left: Sequence[str], hint: str | None) -> str:
    """The way on, and then the command for the machines that were not restarted yet."""
    if not left:
        return hint or "hardway doctor"
    command = shlex.join(["hardway", "node", "reboot", *left])
    return f"{hint or 'hardway doctor'}\nthen, for the machines that are left:\n    {command}"


def _reboot(session: Session, declaration: Declaration, name: str, how: How, before: str) -> None:
    """Restarts one machine. On it the lock is taken again afterwards.

    One that was told to restart stays cordoned until it is back; until then it takes pods again where this is cut.
    """
    machine = session.cluster.machine(name)
    with timed(f"reboot {name}", session.events):
        if why := takes_the_api(session.cluster, name):
            session.events(Note(why, "warning"))
        # Before the drain: a node that cannot be spared keeps its pods.
        require_others(session, name, declaration)
        _require_another_balancer(session, declaration, name)
        hooks.run(session, "before_reboot", [name], NAME)
        if machine.is_worker:
            drain.drain(session, [name], how, lent=True)
        with _unless_told(session, name) as told, away(session, name, declaration):
            if machine.is_controller:
                session.run(name, _STOP, what="stop the control plane", timeout=BACK_LIMIT)
            told.append(name)
            _restart(session, name, before)
            with _naming_uncordon(session, name):
                _await_services(session, name, declaration)
        _come_back(session, declaration, name)


@contextmanager
def _unless_told(session: Session, name: str) -> Iterator[list[str]]:
    """A worker takes pods again where the block fails before its restart: until its name is in the list."""
    told: list[str] = []
    try:
        yield told
    except (HardwayError, KeyboardInterrupt):
        if not told and session.cluster.machine(name).is_worker:
            drain.give_back_after_failure(session, [name])
        raise


@contextmanager
def _naming_uncordon(session: Session, name: str) -> Iterator[None]:
    """Errors of a worker that is not well after its restart say that it takes no pods, and how it does again."""
    try:
        yield
    except HardwayError as error:
        if session.cluster.machine(name).is_worker:
            error.hint = (
                f"{error.hint or 'hardway doctor'}\n{name} takes no pods; once it is well: hardway node uncordon {name}"
            )
        raise


def _come_back(session: Session, declaration: Declaration, name: str) -> None:
    """All proofs of a machine hold after its restart, and its hooks agree; then it takes pods again."""
    with _naming_uncordon(session, name):
        _await_services(session, name, declaration)
        _await_proofs(session, name, declaration)
    way_on = f"hardway node uncordon {name}" if session.cluster.machine(name).is_worker else "go on"
    hooks.run(session, "after_reboot", [name], NAME, way_on)
    if session.cluster.machine(name).is_worker:
        drain.give_back(session, [name])


def _require_another_balancer(session: Session, declaration: Declaration, name: str) -> None:
    """Raises NotSettled where a load balancer would go and no other one answers for the API by itself."""
    balancers = [machine.name for machine in session.cluster.load_balancers]
    others = [one for one in balancers if one != name]
    if name not in balancers or not others:
        return
    failed = []
    for other in others:
        asked = [one for one in _services(declaration, other) if one[0] == load_balancer.PHASE.name]
        asked += [
            one
            for one in declaration.proofs
            if (one[1].machine, one[1].name) == (other, load_balancer.ENDPOINT_ANSWERS)
        ]
        try:
            missing = [one for one in prove.prove(session, asked, wait=prove.GRACE) if not one.holds]
        except HardwayError as error:
            failed.append(f"{other}: {error.what}")
            continue
        if not missing:
            return
        failed += [f"{other}: {one.what}: {one.evidence}" for one in missing]
    raise NotSettled(
        f"it was not restarted: no other load balancer answers for the API ({', '.join(others)})",
        machine=name,
        said="\n".join(failed),
        hint=f"hardway load-balancer -l {others[0]} brings it back, or hardway doctor says what it lacks; "
        "then run the same command",
    )


def _boot(session: Session, name: str) -> str:
    return " ".join(session.run(name, _BOOT, what="which boot this is").text.split())


def _leads(session: Session, name: str) -> bool:
    status = control.member_status(session.ask(name, (control.STATUS,), what="ask etcd who leads"))
    return status is not None and status.leader == status.identity


def _restart(session: Session, name: str, before: str) -> None:
    io = session.machines[name]
    session.events(Note(f"{name}: restarting"))
    with suppress(HardwayError):
        # The connection may end before the answer.
        io.run("systemctl reboot", timeout=30, what="restart the machine", check=False)
    deadline = time.monotonic() + BOOT_LIMIT
    while time.monotonic() < deadline:
        time.sleep(PAUSE)
        with suppress(HardwayError):
            io.reconnect()
            said = io.run(_BOOT, timeout=10, what="which boot this is").text
            if " ".join(said.split()) != before:
                return
    raise NotSettled(
        f"it does not answer {BOOT_LIMIT:.0f} s after it was told to restart; nothing else was restarted",
        machine=name,
        hint=f"look at its console; once it answers: hardway verify -l {name}; a worker stays cordoned until "
        f"hardway node uncordon {name}",
    )


def _await_services(session: Session, name: str, declaration: Declaration) -> None:
    prove.require(prove.prove(session, _services(declaration, name), wait=BACK_LIMIT))


def _services(declaration: Declaration, name: str) -> list[tuple[str, Proof]]:
    """That what runs on a machine does, each with its chapter."""
    checks = []
    for placed in declaration.on(name):
        service = placed.resource
        if isinstance(service, Service) and service.ready:
            check = service.ready
            proof = Proof(name, check.what, check.script, "what ran before runs again", within=BACK_LIMIT)
            checks.append((placed.phase, proof))
    return checks


def _await_proofs(session: Session, name: str, declaration: Declaration) -> None:
    """The chapters' own proofs of the machine; just after a boot each has more time than usual."""
    proofs = []
    for phase, proof in declaration.proofs:
        if proof.machine == name or f" {name} " in f" {proof.name} ":
            proofs.append((phase, proof))
    deadline = time.monotonic() + BACK_LIMIT
    while True:
        proved = prove.prove(session, proofs, wait=prove.GRACE)
        if all(one.holds for one in proved) or time.monotonic() > deadline:
            return prove.require(proved)

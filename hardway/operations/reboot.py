"""`node reboot`: machines restart one at a time; each gives up what it does first, and proves that it is back.

A worker is drained. A controller hands over what it leads, gets no new requests, and its API server stops before its
etcd, which systemd would stop together. Nothing of it is State: one that was cut is given again for the machines left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Proof
from hardway.declare.resources import Service
from hardway.engine import prove
from hardway.engine.rollout import away
from hardway.engine.session import Session, timed
from hardway.errors import HardwayError, NotSettled
from hardway.events import Note
from hardway.inventory.model import Cluster
from hardway.operations import drain
from hardway.operations.drain import How
from hardway.probe import control

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


def needed(session: Session, names: Sequence[str]) -> dict[str, str]:
    """Why each of these machines wants a restart; those that want none are left out."""
    asked = session.each(names, lambda name: session.run(name, _NEEDED, what="is a restart needed").text.strip())
    return {name: why for name, why in asked.items() if why}


def reboot(session: Session, declaration: Declaration, name: str, how: How) -> None:
    """Restarts one machine. The session holds all locks; on this machine the lock is taken again afterwards.

    Raises NotSettled where it cannot be spared, and with what is missing where it does not come back whole.
    """
    machine = session.cluster.machine(name)
    with timed(f"reboot {name}", session.events):
        if why := takes_the_api(session.cluster, name):
            session.events(Note(why, "warning"))
        if machine.is_worker:
            drain.drain(session, [name], how, lent=True)
        with away(session, name, declaration):
            if machine.is_controller:
                session.run(name, _STOP, what="stop the control plane", timeout=BACK_LIMIT)
            _restart(session, name)
            _await_services(session, name, declaration)
        _await_proofs(session, name, declaration)
        if machine.is_worker:
            drain.give_back(session, [name])


def _leads(session: Session, name: str) -> bool:
    status = control.member_status(session.ask(name, (control.STATUS,), what="ask etcd who leads"))
    return status is not None and status.leader == status.identity


def _restart(session: Session, name: str) -> None:
    before = session.run(name, _BOOT, what="which boot this is").text
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
            if io.run(_BOOT, timeout=10, what="which boot this is").text != before:
                return
    raise NotSettled(
        f"it does not answer {BOOT_LIMIT:.0f} s after it was told to restart; nothing else was restarted",
        machine=name,
        hint=f"look at its console; once it answers: hardway verify -l {name}; a worker stays cordoned until "
        f"hardway node uncordon {name}; then the same command for the machines that are left",
    )


def _await_services(session: Session, name: str, declaration: Declaration) -> None:
    checks = []
    for placed in declaration.on(name):
        service = placed.resource
        if isinstance(service, Service) and service.ready:
            check = service.ready
            proof = Proof(name, check.what, check.script, "what ran before runs again", within=BACK_LIMIT)
            checks.append((placed.phase, proof))
    prove.require(prove.prove(session, checks, wait=BACK_LIMIT))


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

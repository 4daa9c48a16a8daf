"""The lab's verbs: up, down, status, power off and on. Everything is found by name, so each may be killed at
any moment and run again."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hardway.errors import LabError
from hardway.events import MachineProgress, Note, Sink
from hardway.lab import access, disk, host, image, marker
from hardway.lab.boot import ssh_answers, start, stop, wait_for_ssh
from hardway.lab.model import STATE, Lab, LabMachine
from hardway.lab.requirements import requirements
from hardway.lab.user import invoker

_LOCK = Path("/run/lock/hardway-lab")


@dataclass(frozen=True)
class MachineStatus:
    """`pid` is the process on this computer that is the machine's init; `ssh` whether its sshd answers."""

    name: str
    address: str
    state: Literal["running", "off", "absent"]
    pid: int | None
    ssh: bool


def up(lab: Lab, events: Sink) -> list[str]:
    """Boot the machines that do not run; returns their names. Raises LabError, before anything is touched
    where the computer lacks something, else with the machine and what it said last."""
    caller = invoker()
    with alone():
        _require(lab)
        alive = marker.running(lab.cluster) or {}
        missing = [machine for machine in lab.machines if machine.name not in alive]
        absent = [machine for machine in missing if not lab.disk(machine.name).is_dir()]
        for machine in lab.machines:
            if machine not in absent:
                disk.check(lab, machine)
                if (made := disk.image_of(lab, machine)) != machine.image:
                    told = f"{machine.name} was made from {made} and stays that; for {machine.image}: hardway lab down"
                    events(Note(told, "warning"))
        for one in dict.fromkeys(machine.image for machine in absent):
            image.ensure(one, caller, events)
        if missing:
            prepare_host(lab, events)
        key = access.ensure_operator_key(lab, caller)
        for machine in absent:
            disk.create(lab, machine, image.path(machine.image, caller), key)
        for machine in lab.machines:
            disk.authorize(_file_system(lab, machine, alive), key)
        access.write_known_hosts(lab, caller)
        for machine in missing:
            events(MachineProgress(machine.name, "lab", "running", f"boots as {machine.address}"))
            start(lab, machine)
    # Those that run already too: they may have been started a moment ago by a run that was killed.
    wait_for_ssh(lab, list(lab.machines), events)
    return [machine.name for machine in missing]


def _require(lab: Lab) -> None:
    problems = requirements(lab)
    if problems:
        raise LabError("the lab cannot come up on this computer:\n" + "\n".join(f"- {p}" for p in problems))


def prepare_host(lab: Lab, events: Sink) -> None:
    """Settings, bridge and way out, before the first machine. Call it within `alone`."""
    lab.state.mkdir(parents=True, exist_ok=True)
    host.load_modules()
    host.set_sysctls(events)
    host.make_network(lab, events)


def _file_system(lab: Lab, machine: LabMachine, alive: dict[str, int]) -> Path:
    """Where the machine's files may be changed: through its own mount while it runs, never below its back."""
    init = alive.get(machine.name)
    return Path(f"/proc/{init}/root") if init else lab.disk(machine.name) / "upper"


def down(lab: Lab, events: Sink) -> None:
    """Take everything of this lab away: machines, disks, interfaces; with the last lab, the host's settings.

    The cached root, and the workspace with its key, stay. Works from any half-made state.
    """
    _need_root("hardway lab down")
    with alone():
        names = sorted(_disks(lab))
        for name in names:
            stop(lab, name)
        host.remove_network(lab.cluster)
        host.remove_nspawn_folders(lab.cluster)
        _remove_disks(lab)
        shutil.rmtree(Path(marker.FOLDER, lab.cluster), ignore_errors=True)
        gone = f"{', '.join(names)} and their disks are gone" if names else "there was no machine"
        events(Note(f"lab {lab.cluster} is down: {gone}"))
        leave_host(events)


def leave_host(events: Sink) -> None:
    """Put the host's settings back, unless another lab still has a folder below STATE. Call it within `alone`."""
    if not any(path.is_dir() and not path.name.startswith(".") for path in STATE.glob("*")):
        host.restore_sysctls(events)
        shutil.rmtree(STATE, ignore_errors=True)
        shutil.rmtree(marker.FOLDER, ignore_errors=True)


def _remove_disks(lab: Lab) -> None:
    # Renamed first: a disk is there whole or not at all, also when this is killed half-way.
    gone = STATE / f".{lab.cluster}.gone"
    for folder in (gone, lab.state):
        if folder.exists():
            shutil.rmtree(folder.replace(gone))


def _disks(lab: Lab) -> list[str]:
    folder = lab.state / "machines"
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []


def status(lab: Lab) -> list[MachineStatus]:
    """How each machine is, without privilege. Only a machine that lives is contacted."""
    alive = marker.running(lab.cluster) or {}
    found = []
    for machine in lab.machines:
        pid = alive.get(machine.name)
        state: Literal["running", "off", "absent"] = "running" if pid else "absent"
        if not pid and lab.disk(machine.name).exists():
            state = "off"
        found.append(
            MachineStatus(machine.name, str(machine.address), state, pid, bool(pid) and ssh_answers(machine.address))
        )
    return found


def power_off(lab: Lab, name: str) -> None:
    """Pull the plug: the machine's init is killed, its disk stays as it is at that moment."""
    _need_root("hardway lab power-off")
    _known(lab, name)
    with alone():
        stop(lab, name)


def power_on(lab: Lab, name: str) -> None:
    """Boot one machine again with its disk, and wait until its sshd answers."""
    _need_root("hardway lab power-on")
    machine = _known(lab, name)
    with alone():
        if name not in (marker.running(lab.cluster) or {}):
            start(lab, machine)
    wait_for_ssh(lab, [machine], lambda event: None)


def _known(lab: Lab, name: str) -> LabMachine:
    machine = lab.machine(name)
    if machine is None:
        names = ", ".join(machine.name for machine in lab.machines)
        raise LabError(f"no machine of lab {lab.cluster} is called {name}", hint=f"its machines: {names}")
    if not lab.disk(name).is_dir():
        raise LabError("was never booted", machine=name, hint="hardway lab up")
    return machine


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise LabError("the lab's machines belong to root", hint=f"sudo {command}")


@contextmanager
def alone() -> Iterator[None]:
    """One change of labs at a time on this computer; the lock goes with its holder.

    Within, files get ordinary modes: a caller's strict umask would lock users out of a machine's /etc.
    """
    if os.geteuid() != 0:
        yield
        return
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    mask = os.umask(0o022)
    try:
        with _LOCK.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    finally:
        os.umask(mask)

"""Starting and stopping one machine, and waiting until it answers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hardway
from hardway.errors import LabError
from hardway.events import MachineProgress, Sink
from hardway.lab import cgroups, disk, host, marker
from hardway.lab.model import Address, Lab, LabMachine, interface_name, marker_path, unit_name

BOOT_SECONDS = 60.0
_UNIT_GROUP = cgroups.ROOT / "system.slice"


def start(lab: Lab, machine: LabMachine) -> None:
    """Start the machine's supervisor, which outlives this process and its session."""
    disk.check(lab, machine)
    stop(lab, machine.name)
    groups = cgroups.v1_parents(lab.cluster) if cgroups.layout() == "v1" else []
    groups = [parent / machine.name for parent in groups]
    spec = disk.write_spec(lab, machine, groups)
    argv = ["unshare", "--mount", "--propagation", "slave", sys.executable, "-s", "-S"]
    argv += ["-m", "hardway.lab.supervisor", str(spec)]
    console = (lab.disk(machine.name) / "console.log").open("ab")
    with console:
        if groups:
            _start_in_groups(argv, groups, console.fileno())
        else:
            _start_as_unit(argv, unit_name(lab.cluster, machine.name), console.name)


def _environment() -> dict[str, str]:
    home = Path(hardway.__file__).resolve().parent.parent
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _start_in_groups(argv: list[str], groups: list[Path], console: int) -> None:
    for group in groups:
        cgroups.make_v1(group)
    subprocess.run(
        ["setsid", "--fork", *argv],
        stdin=subprocess.DEVNULL,
        stdout=console,
        stderr=console,
        cwd="/",
        env=_environment(),
        # Joined before the first program of the machine runs, so there is no moment in which it could be lost.
        preexec_fn=lambda: cgroups.join(groups, os.getpid()),
        check=True,
    )


def _start_as_unit(argv: list[str], unit: str, console: str) -> None:
    """Start the supervisor as a transient unit with a control group of its own to divide.

    Written from systemd-run(1), systemd-nspawn(1) and systemd's CGROUP_DELEGATION: not run on the machines
    this was developed on, whose init is not systemd.
    """
    properties = ["Delegate=yes", "TasksMax=infinity", "LimitNOFILE=1048576", "OOMPolicy=continue"]
    properties += [
        "KillMode=control-group",
        f"StandardOutput=append:{console}",
        f"StandardError=append:{console}",
    ]
    host.run(
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={unit}",
        *(f"--property={each}" for each in properties),
        *(f"--setenv={name}={value}" for name, value in _environment().items()),
        "--",
        *argv,
    )


def groups_of(lab: Lab, name: str) -> list[Path]:
    """The groups that hold the machine's processes: its spec names them before they are made."""
    if cgroups.layout() == "v2":
        return [_UNIT_GROUP / unit_name(lab.cluster, name)]
    spec = lab.disk(name) / "spec.json"
    return [Path(group) for group in json.loads(spec.read_text())["cgroups"]] if spec.exists() else []


def stop(lab: Lab, name: str) -> None:
    """Kill the machine, its supervisor and all that a killed one left; the disk stays."""
    groups = groups_of(lab, name)
    # The init first: with it, every process of the machine dies at once, as when a plug is pulled.
    init = marker.leader(str(marker_path(lab.cluster, name)))
    if init:
        os.kill(init, signal.SIGKILL)
    left = cgroups.kill(groups)
    if left:
        raise LabError("did not stop", machine=name, said=f"processes {sorted(left)}", hint="hardway lab down")
    marker.remove(str(marker_path(lab.cluster, name)))
    if cgroups.layout() == "v1":
        cgroups.prune(groups, itself=True)
        cgroups.prune_parents(groups)
    machine = lab.machine(name)
    if machine and Path("/sys/class/net", interface_name(lab, machine)).exists():
        host.succeeds("ip", "link", "delete", interface_name(lab, machine))


def wait_for_ssh(lab: Lab, machines: list[LabMachine], events: Sink) -> None:
    """Return when every machine's sshd has greeted; raises LabError that names one that did not."""
    deadline = time.monotonic() + BOOT_SECONDS
    waiting = list(machines)
    while waiting:
        for machine in list(waiting):
            if ssh_answers(machine.address, seconds=0.1):
                waiting.remove(machine)
                events(MachineProgress(machine.name, "lab", "done", f"answers SSH at {machine.address}"))
            elif not cgroups.members(groups_of(lab, machine.name)):
                raise _not_booted(lab, machine, "ended instead of booting")
            elif time.monotonic() > deadline:
                raise _not_booted(lab, machine, f"does not answer SSH after {BOOT_SECONDS:.0f} s")
        if waiting:
            time.sleep(0.03)


def _not_booted(lab: Lab, machine: LabMachine, what: str) -> LabError:
    log = lab.disk(machine.name) / "console.log"
    lines = log.read_text(errors="replace").splitlines()[-12:] if log.exists() else []
    return LabError(what, machine=machine.name, said="\n".join(lines), hint="hardway lab down, then up")


def ssh_answers(address: Address, seconds: float = 0.5) -> bool:
    """Whether an SSH server greets at this address' port 22."""
    try:
        with socket.create_connection((str(address), 22), timeout=seconds) as connection:
            return connection.recv(4).startswith(b"SSH")
    except OSError:
        return False

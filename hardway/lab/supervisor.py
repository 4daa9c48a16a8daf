"""One machine's keeper: starts systemd-nspawn, marks the machine as running, boots it again on a reboot.

Runs as `python -m hardway.lab.supervisor SPEC` in a session, control group and mount namespace of its own;
it ends with its machine, and its mounts with it. Imports stay few: seven of these start at once.
"""

import json
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TypedDict

from hardway.lab import cgroups, marker

REBOOTED = 133
"""What `systemd-nspawn --keep-unit` returns when its machine asked for a reboot."""


class Spec(TypedDict):
    """One machine's file `spec.json`."""

    name: str
    marker: str
    cgroups: list[str]
    overlay: str
    root: str
    interface: str
    argv: list[str]
    env: dict[str, str]


def main(spec: Spec) -> int:
    groups = _own_groups(spec)
    _run("mount", "-t", "overlay", "overlay", "-o", spec["overlay"], spec["root"])
    while True:
        # Left behind when systemd-nspawn itself was killed; it blocks the next start.
        if Path("/sys/class/net", spec["interface"]).exists():
            _run("ip", "link", "delete", spec["interface"])
        cgroups.prune(groups, itself=False)
        status = _boot(spec, groups)
        if status != REBOOTED:
            return status
        print(f"{spec['name']} asked for a reboot", flush=True)


def _own_groups(spec: Spec) -> list[Path]:
    """The groups that systemd-nspawn divides into `payload` and `supervisor`."""
    if spec["cgroups"]:
        return [Path(group) for group in spec["cgroups"]]
    # cgroup v2: the unit's group hands its controllers down, so it may hold no process itself.
    unit = cgroups.ROOT / Path("/proc/self/cgroup").read_text().partition("::")[2].strip().lstrip("/")
    keeper, machine = unit / "keeper", unit / "machine"
    for folder in (keeper, machine):
        folder.mkdir(exist_ok=True)
    cgroups.join([keeper], os.getpid())
    for controller in (unit / "cgroup.controllers").read_text().split():
        (unit / "cgroup.subtree_control").write_text(f"+{controller}")
    return [machine]


def _boot(spec: Spec, groups: list[Path]) -> int:
    """Run the machine until it ends; returns systemd-nspawn's exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        # An abstract address leaves no file behind.
        address = f"hardway-lab/{os.getpid()}"
        notices.bind(f"\0{address}")
        notices.setblocking(False)
        nspawn = os.fork()
        if nspawn == 0:
            _become(spec, groups, f"@{address}")
        return _watch(spec, nspawn, notices)


def _become(spec: Spec, groups: list[Path], notices: str) -> None:
    try:
        cgroups.join(groups, os.getpid())
        os.execvpe(spec["argv"][0], spec["argv"], {**spec["env"], "NOTIFY_SOCKET": notices})
    finally:
        os._exit(127)


def _watch(spec: Spec, nspawn: int, notices: socket.socket) -> int:
    ended = os.pidfd_open(nspawn)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(notices, select.POLLIN)
    init: int | None = None
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if notices.fileno() in ready:
            init = _leader(notices.recv(4096)) or init
            if init:
                marker.write(spec["marker"], init)
        if ended in ready:
            break
    os.close(ended)
    _, status = os.waitpid(nspawn, 0)
    # A machine outlives a systemd-nspawn that was killed: its init has to go too.
    if init and marker.leader(spec["marker"]) == init:
        os.kill(init, signal.SIGKILL)
    marker.remove(spec["marker"])
    return os.waitstatus_to_exitcode(status)


def _leader(notice: bytes) -> int | None:
    for line in notice.decode(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key == "X_NSPAWN_LEADER_PID" and value.isdigit():
            return int(value)
    return None


def _run(*argv: str) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(os.posix_spawnp(argv[0], argv, os.environ), 0)[1])
    if status:
        sys.exit(f"{' '.join(argv)}: status {status}")


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text())))

"""Control groups of the machines: one child group each, so that nothing of a machine can be overlooked.

On cgroup v1 a machine has a group in every hierarchy: systemd-nspawn makes `payload` below its own group,
and machines that shared one would corrupt each other. On cgroup v2 the host's systemd makes the group.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

ROOT = Path("/sys/fs/cgroup")
Layout = Literal["v1", "v2"]


def layout() -> Layout:
    """v2 where only the unified hierarchy is mounted; hybrid hosts keep their controllers in v1."""
    return "v2" if (ROOT / "cgroup.controllers").exists() else "v1"


def v1_parents(cluster: str) -> list[Path]:
    """The lab's group in each mounted hierarchy, below the group that this process is in.

    Below its own, so that a limit put on this session holds for the lab too.
    """
    parents = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        mounted = ROOT / (controllers.removeprefix("name=") or "unified")
        if mounted.is_dir():
            parents.append(mounted / own.lstrip("/") / "hardway-lab" / cluster)
    return parents


def make_v1(group: Path) -> None:
    """Make a group of one hierarchy and the lab's groups above it, ready to take processes."""
    for folder in (group.parent.parent, group.parent, group):
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            # A cpuset group refuses processes until it has been given CPUs and memory nodes.
            setting = folder / name
            if setting.exists() and not setting.read_text().strip():
                setting.write_text((folder.parent / name).read_text())
        inherit = folder / "cgroup.clone_children"
        if (folder / "cpuset.cpus").exists() and inherit.exists():
            inherit.write_text("1")


def join(groups: Iterable[Path], pid: int) -> None:
    for group in groups:
        (group / "cgroup.procs").write_text(str(pid))


def members(groups: Iterable[Path]) -> set[int]:
    """Processes in these groups and all below them."""
    found: set[int] = set()
    for group in groups:
        for folder, _, files in os.walk(group):
            if "cgroup.procs" in files:
                found |= _processes(Path(folder, "cgroup.procs"))
    return found


def _processes(file: Path) -> set[int]:
    try:
        return {int(pid) for pid in file.read_text().split() if pid != "0"}
    except OSError:
        # A group may vanish between being listed and being read.
        return set()


def kill(groups: list[Path], seconds: float = 10.0) -> set[int]:
    """SIGKILL everything in these groups until they are empty; returns what is still there after the time."""
    deadline = time.monotonic() + seconds
    while left := members(groups) - {os.getpid()}:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            return left
        time.sleep(0.01)
    return set()


def prune(groups: Iterable[Path], *, itself: bool, seconds: float = 3.0) -> list[Path]:
    """Remove the empty groups below these (and these, if `itself`); returns those that could not be."""
    deadline = time.monotonic() + seconds
    left = list(_bottom_up(groups, itself))
    while True:
        left = [folder for folder in left if not _remove(folder)]
        if not left or time.monotonic() > deadline:
            return left
        # A group stays busy for a moment after its last process has died.
        time.sleep(0.01)


def prune_parents(groups: Iterable[Path]) -> None:
    """Remove the lab's groups above a machine's, where no other machine and no other lab is in them."""
    for group in groups:
        for folder in (group.parent, group.parent.parent):
            _remove(folder)


def _bottom_up(groups: Iterable[Path], itself: bool) -> Iterator[Path]:
    for group in groups:
        for folder, _, _ in os.walk(group, topdown=False):
            if itself or folder != str(group):
                yield Path(folder)


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True

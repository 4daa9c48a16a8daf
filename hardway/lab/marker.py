"""Which machines of a lab live now: a few small files under /run, for every command to ask at once.

With a lab down, its addresses lead out of this computer, so nothing may contact them before this has
answered. Only the standard library's cheapest modules are imported, and no privilege is needed.
"""

# Importing pathlib would cost more than the answer.
# ruff: noqa: PTH103, PTH105, PTH108, PTH123, PTH208
import os

FOLDER = "/run/hardway-lab"


def running(cluster: str) -> dict[str, int] | None:
    """Names of the lab machines that live now, with the process id of each one's init.

    None when none does: the lab is down. A marker left by a killed or rebooted machine does not count:
    it names a process by id and start time.
    """
    folder = f"{FOLDER}/{cluster}"
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        return None
    found = {name: pid for name in names if (pid := leader(f"{folder}/{name}")) is not None}
    return found or None


def leader(path: str) -> int | None:
    """The process that a marker names, if it still lives."""
    try:
        with open(path, "rb") as file:
            pid, started = map(int, file.read().split())
    except (OSError, ValueError):
        return None
    return pid if start_time(pid) == started else None


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The second field is the command in parentheses, which may itself hold spaces and parentheses.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def write(path: str, pid: int) -> None:
    """Mark a machine as running with this init; replaced as one, so a reader never sees half of it."""
    folder, name = os.path.split(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    started = start_time(pid)
    if started is None:
        return
    fresh = f"{folder}/.{name}.{os.getpid()}"
    with open(fresh, "w", encoding="ascii") as file:
        file.write(f"{pid} {started}\n")
    os.replace(fresh, path)


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return

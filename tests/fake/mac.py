"""Runs hardway's command line on what Python is on a Mac, as far as that can be played on Linux.

`python -m fake.mac WORDS…`: names that only Linux has are gone, files that only Linux has are not there, and
programs of the operator's own computer are not to be started. `python -m fake.mac --import` only imports every module.
"""

import importlib
import os
import pkgutil
import platform
import select
import signal
import socket
import sys
import sysconfig
import types
from typing import Any

LINUX_ONLY: tuple[tuple[types.ModuleType, str], ...] = (
    (os, "memfd_create eventfd pidfd_open sched_getaffinity sched_setaffinity setns unshare splice copy_file_range"),
    (os, "posix_fadvise posix_fallocate getrandom getresuid getresgid setresuid setresgid pipe2 fdatasync"),
    (os, "getxattr setxattr listxattr O_TMPFILE O_PATH O_DIRECT O_LARGEFILE CLONE_NEWNET"),
    (socket, "TCP_QUICKACK TCP_USER_TIMEOUT TCP_KEEPIDLE TCP_CORK TCP_DEFER_ACCEPT AF_NETLINK AF_PACKET AF_VSOCK"),
    (socket, "SO_PEERCRED SO_BINDTODEVICE SO_MARK SOCK_CLOEXEC SOCK_NONBLOCK MSG_NOSIGNAL"),
    (signal, "pidfd_send_signal SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT SIGPOLL sigtimedwait sigwaitinfo"),
    (select, "epoll"),
)
NOT_THERE = ("/proc", "/sys", "/run", "/etc/os-release")


def become() -> None:
    """Hides what a Mac lacks, from here on."""
    for module, names in LINUX_ONLY:
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    sysconfig.get_config_vars()  # Read once, from a file named for the platform.
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"
    # How Python asks a Mac for its proxies.
    proxies: Any = types.ModuleType("_scproxy")
    proxies._get_proxy_settings = proxies._get_proxies = dict
    sys.modules["_scproxy"] = proxies
    sys.addaudithook(_refuse)


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    if event in ("open", "os.listdir", "os.scandir") and isinstance(given[0], str | os.PathLike):
        path = os.fspath(given[0])
        if any(path == one or path.startswith(f"{one}/") for one in NOT_THERE):
            raise FileNotFoundError(2, "there is none on a Mac", path)
    # macOS brings OpenSSH.
    if event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system") and given[0] != "/usr/bin/ssh":
        raise PermissionError(f"{event} {given[0]}: which a Mac may not have")


def modules() -> list[str]:
    """All of hardway but what makes the machines of a lab; the marker of a running one is asked for everywhere."""
    import hardway

    found = [one.name for one in pkgutil.walk_packages(hardway.__path__, "hardway.")]
    return [name for name in found if not name.startswith("hardway.lab.") and not name.endswith("__main__")]


if __name__ == "__main__":
    become()
    if sys.argv[1:] == ["--import"]:
        for name in modules():
            importlib.import_module(name)
        print(len(modules()))
    else:
        from hardway.cli import main

        main()

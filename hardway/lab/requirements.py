"""What this computer must have and leave free for a lab, all told at once, before anything is touched."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from hardway.debian import KEYRING
from hardway.lab import cgroups, image
from hardway.lab.model import STATE, Lab, Range
from hardway.lab.user import invoker

_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "mount": "mount",
}
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}
_GIB = 1 << 30
_ROOT_SIZE, _MACHINE_SIZE = _GIB, 3 * _GIB // 4


def requirements(lab: Lab) -> list[str]:
    """Every problem that would keep this lab from coming up, each with its fix; empty when there is none."""
    return [*_identity(), *_packages(), *_disk(lab), *_kernel(), *_addresses(lab)]


def _identity() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "the lab makes network interfaces and containers: run it as root (sudo)"
        return
    status = Path("/proc/self/status").read_text()
    held = int(status.partition("CapEff:")[2].split()[0], 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        yield f"root lacks {', '.join(missing)} here: in a container of Docker's, start it with --privileged"


def _packages() -> Iterator[str]:
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    if not KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        yield f"packages are missing: sudo apt-get install {' '.join(sorted(missing))}"


def _disk(lab: Lab) -> Iterator[str]:
    absent = [machine for machine in lab.machines if not lab.disk(machine.name).exists()]
    needs = {_existing(STATE): _MACHINE_SIZE * len(absent)}
    images = {machine.image for machine in absent}
    roots = [name for name in images if not image.is_made(name, invoker())]
    if roots:
        cache = _existing(image.cache(invoker()))
        same = next((path for path in needs if path.stat().st_dev == cache.stat().st_dev), cache)
        needs[same] = needs.get(same, 0) + _ROOT_SIZE * len(roots)
    for folder, size in needs.items():
        free = shutil.disk_usage(folder).free
        if free < size:
            yield f"{folder} has {free / _GIB:.1f} GiB free, the lab needs {size / _GIB:.1f}: make room there"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _kernel() -> Iterator[str]:
    systems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in systems and not _loadable("overlay"):
        yield "the kernel has no overlay file system: load the module (modprobe overlay) or use another kernel"
    if not Path("/proc/sys/net/bridge").exists() and not _loadable("br_netfilter"):
        yield "the kernel has no bridge netfilter, which Services need: modprobe br_netfilter, or another kernel"
    if cgroups.layout() == "v2" and not Path("/run/systemd/system").is_dir():
        yield "cgroup v2 without systemd as the host's init: run the lab on a host that systemd runs"


def _loadable(module: str) -> bool:
    argv = ["modprobe", "--dry-run", "--quiet", module]
    return bool(shutil.which("modprobe")) and subprocess.run(argv, check=False).returncode == 0


def _addresses(lab: Lab) -> Iterator[str]:
    if not shutil.which("ip"):
        return
    routes: list[dict[str, str]] = []
    for one in lab.networks:
        argv = ["ip", f"-{one.version}", "-json", "route", "show", "table", "all"]
        routes += json.loads(subprocess.run(argv, capture_output=True, text=True, check=False).stdout or "[]")
    for network, device in overlapping(lab, routes):
        wanted = next(one for one in lab.networks if one.version == network.version)
        yield (
            f"{wanted} is already routed to {device} ({network}), by a VPN perhaps: "
            "stop that, or give the inventory's machines other addresses"
        )


def overlapping(lab: Lab, routes: list[dict[str, str]]) -> list[tuple[Range, str]]:
    """Routes (as `ip -json route` lists them) into the lab's network that are not the lab's own, one a device.

    A default route is none, nor are the two halves that a VPN puts before it: the lab's is more specific.
    """
    found: dict[str, Range] = {}
    for route in routes:
        device = route.get("dev", route.get("type", "another interface"))
        if route["dst"] == "default" or device in (lab.bridge, "lo"):
            continue
        network = ip_network(route["dst"])
        if network.prefixlen > 1 and any(
            network.version == one.version and network.overlaps(one) for one in lab.networks
        ):
            found.setdefault(device, network)
    return [(network, device) for device, network in found.items()]

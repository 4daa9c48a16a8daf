"""Rules about what a machine is; they need its facts only."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from statistics import median

from hardway.facts import Facts
from hardway.inventory.model import Machine
from hardway.platforms import platform
from hardway.rules import Evidence, Found, Need, Rule
from hardway.values import OPERATOR

MIB, GIB = 1024, 1024**2
"""In KiB, as facts have sizes."""

CONTROLLER_MEMORY, WORKER_MEMORY = 1536 * MIB, 1024 * MIB
CONTROLLER_DISK, WORKER_DISK, OTHER_DISK = 2 * GIB, 3 * GIB, 256 * MIB
CLOCK_LIMIT = 30.0
"""Seconds from the median of the machines."""
OPERATOR_CLOCK_LIMIT = 120.0
"""Seconds. Certificates are valid from five minutes before they are made."""
NFTABLES_KERNEL, OLDEST_KERNEL = (5, 13), (4, 19)

FACTS: frozenset[Need] = frozenset({"facts"})
FACTS_BEFORE: frozenset[Need] = frozenset({"facts", "hosts"})


def architectures(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        if facts.arch not in ("amd64", "arm64"):
            yield Found(machine.name, f"its architecture is {facts.arch}; components exist for amd64 and arm64")


def kernels(evidence: Evidence) -> Iterator[Found]:
    wants_nftables = evidence.cluster.network.proxy_mode == "nftables"
    for machine, facts in evidence.seen():
        found = re.match(r"(\d+)\.(\d+)", facts.kernel)
        version = (int(found[1]), int(found[2])) if found else (0, 0)
        if version < OLDEST_KERNEL:
            yield Found(machine.name, f"its kernel is {facts.kernel or 'unknown'}; 4.19 is the oldest that will do")
        elif machine.is_worker and wants_nftables and version < NFTABLES_KERNEL:
            yield Found(
                machine.name,
                f"its kernel is {facts.kernel}; kube-proxy's nftables mode needs 5.13",
                "boot a newer kernel, or set network.proxy_mode: iptables",
            )


def distributions(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        release = re.match(r"\d+", facts.os_version)
        family, named = platform(facts.os), f"{facts.os} {facts.os_version}".strip()
        if family is None or (release and int(release[0]) < family.oldest[facts.os]):
            yield Found(machine.name, f"{named} is not among what hardway knows")
        elif not family.tried and machine.name in evidence.hosts:  # once: before anything is there
            yield Found(
                machine.name,
                f"{named} is known from documentation: no cluster was made there by hardway's own tests",
                "go on, and look at hardway verify afterwards",
            )


def init_system(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        if not facts.systemd:
            yield Found(machine.name, "it was not booted with systemd")


def shells(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        if not facts.bash:
            yield Found(machine.name, "it has no bash")


def selinux(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        if facts.selinux and not facts.restorecon:
            yield Found(
                machine.name, "SELinux is enforcing, and nothing here labels files", "dnf install policycoreutils"
            )
        elif facts.selinux and machine.is_load_balancer and machine.name in evidence.hosts:
            yield Found(
                machine.name,
                "SELinux is enforcing: its policy lets HAProxy use no ports but web servers'",
                "setsebool -P haproxy_connect_any 1, unless that was done",
            )


def memory(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        needed = CONTROLLER_MEMORY if machine.is_controller else WORKER_MEMORY if machine.is_worker else 0
        if facts.memory_kib < needed:
            yield Found(
                machine.name,
                f"it has {_size(facts.memory_kib)} of memory; a {_role(machine)} needs {_size(needed)}",
            )


def disk(evidence: Evidence) -> Iterator[Found]:
    """Only where nothing was installed yet: afterwards the space is taken by what it was needed for."""
    for machine, facts in evidence.seen():
        if machine.name not in evidence.hosts:
            continue
        disks = evidence.hosts[machine.name].disks
        free = {"/var/lib": facts.free_kib, **disks}
        for folder, needed in _needed(machine, disks).items():
            if free[folder] < needed:
                text = f"{folder} has {_size(free[folder])} free; a {_role(machine)} needs {_size(needed)}"
                yield Found(machine.name, text)


def _needed(machine: Machine, disks: Collection[str]) -> dict[str, int]:
    """KiB by folder; data that has a disk of its own needs none of /var/lib."""
    needed = {"/var/lib": 0}
    for folder, size, holds in (
        ("/var/lib/etcd", CONTROLLER_DISK, machine.is_controller),
        ("/var/lib/containerd", WORKER_DISK, machine.is_worker),
    ):
        if holds:
            place = folder if folder in disks else "/var/lib"
            needed[place] = needed.get(place, 0) + size
    needed["/var/lib"] = max(needed["/var/lib"], OTHER_DISK)
    return needed


def clocks(evidence: Evidence) -> Iterator[Found]:
    seen = list(evidence.seen())
    middle = median(facts.clock for _, facts in seen)
    for machine, facts in seen:
        skew = facts.clock - middle
        if abs(skew) >= CLOCK_LIMIT:
            yield Found(machine.name, f"its clock is {_ahead(skew)} the other machines'")
    if evidence.clock is not None and abs(skew := evidence.clock - middle) >= OPERATOR_CLOCK_LIMIT:
        yield Found(OPERATOR, f"this computer's clock is {_ahead(skew)} the machines'")


def distinct_machine_ids(evidence: Evidence) -> Iterator[Found]:
    for machine, facts in evidence.seen():
        if not facts.machine_id:
            yield Found(machine.name, "it has no /etc/machine-id", "systemd-machine-id-setup on it")
    yield from _shared(evidence, lambda facts: facts.machine_id, "machine id")


def distinct_hostnames(evidence: Evidence) -> Iterator[Found]:
    """Where hardway sets the names they become distinct by that."""
    if evidence.cluster.hosts.hostname == "keep":
        yield from _shared(evidence, lambda facts: facts.hostname, "host name")


def _shared(evidence: Evidence, of: Callable[[Facts], str], what: str) -> Iterator[Found]:
    first: dict[str, str] = {}
    for machine, facts in evidence.seen():
        value = of(facts)
        if value and value in first:
            yield Found(machine.name, f"it has the same {what} as {first[value]}: {value}")
        elif value:
            first[value] = machine.name


def _role(machine: Machine) -> str:
    return " and ".join(sorted(machine.roles))


def _size(kib: int) -> str:
    return f"{kib / GIB:.1f} GiB" if kib >= GIB else f"{kib / MIB:.0f} MiB"


def _ahead(seconds: float) -> str:
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'}"


RULES = (
    Rule(
        "architecture", FACTS, architectures, "a binary runs on the architecture it was built for",
        "take a machine with an x86-64 or 64-bit ARM processor",
    ),
    Rule(
        "init", FACTS, init_system, "every component is a systemd unit",
        "use a machine, or a system container, whose PID 1 is systemd",
    ),
    Rule(
        "bash", FACTS, shells, "ports are dialled with it, and the proof that etcd refuses plaintext is asked with it",
        "install the package bash",
    ),
    Rule("kernel", FACTS, kernels, "kubelet, runc and kube-proxy use what older kernels lack", "boot a newer kernel"),
    Rule(
        "distribution", FACTS, distributions, "package names and defaults differ between distributions",
        "go on if you know it well; else Debian 12 or 13", "warning",
    ),
    Rule(
        "selinux", FACTS, selinux, "a file that came by rename has no label by which systemd would run or read it",
        "install restorecon", "warning",
    ),
    Rule(
        "memory", FACTS, memory, "the kernel would kill components when memory runs out",
        "give the machine more memory",
    ),
    Rule(
        "disk", FACTS_BEFORE, disk, "binaries, images and etcd's data are there; a full disk stops etcd",
        "free space on /var/lib, or make it larger",
    ),
    Rule(
        "clock", FACTS, clocks, "certificates, tokens and leases go by the time of day",
        "start a time service (timedatectl set-ntp true), and wait until timedatectl says synchronized",
    ),
    Rule(
        "machine-id", FACTS, distinct_machine_ids, "a copied machine has the original's, and DHCP takes two for one",
        "on the copy: rm /etc/machine-id && systemd-machine-id-setup, then reboot",
    ),
    Rule(
        "hostname", FACTS, distinct_hostnames, "logs, leases and prompts name machines by it",
        "hostnamectl hostname NAME on one of them, or set hosts.hostname: set",
    ),
)  # fmt: skip

"""Facts: what a machine is. Read once, with the probe; they fill the placeholders named `fact/…`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

SCRIPT = r"""
echo "machine=$(uname -m)"; echo "kernel=$(uname -r)"; echo "hostname=$(uname -n)"
echo "now=$(date +%s.%N)"
[ ! -r /etc/machine-id ] || { read -r v </etc/machine-id && echo "machine-id=$v"; }
( . /etc/os-release 2>/dev/null; echo "os=${ID:-unknown}"; echo "os-version=${VERSION_ID:-}" )
while read -r k v rest; do
  case $k in MemTotal:) echo "memory-kib=$v";; SwapTotal:) echo "swap-kib=$v";; esac
done </proc/meminfo
while read -r k v; do case $k in CapBnd:) echo "capabilities=$v";; esac; done </proc/self/status
[ -f /sys/fs/cgroup/cgroup.controllers ] && echo "cgroup=2" || echo "cgroup=1"
limit=/proc/sys/net/netfilter/nf_conntrack_max
[ ! -e $limit ] || echo "conntrack-mode=$(stat -c %a $limit)"
[ ! -e /run/systemd/resolve/resolv.conf ] || echo "resolved=yes"
[ ! -d /run/systemd/system ] || echo "init=systemd"
selinux() { [ ! -r "$1" ] || { v=; read -r v <"$1" || :; echo "selinux=$v"; }; }
selinux /sys/fs/selinux/enforce
for c in bash zstd openssl restorecon; do if command -v $c >/dev/null 2>&1; then echo "has-$c=yes"; fi; done
[ ! -d /var/lib/etcd/member ] || echo "etcd-data=yes"
ip -o -4 addr show 2>/dev/null | while read -r n i f a rest; do
  a=${a%/*}; echo "interface-$(echo "$a" | tr . -)=$i"
done
set -- $(df -Pk /var/lib | tail -n 1); echo "free-kib=$4"
"""
"""One fragment of sh that prints `name=value` lines; it changes nothing."""

_CGROUP_2 = "[ -e /sys/fs/cgroup/cgroup.controllers ]"
_OWN_LIMITS = '[ "$(stat -c %a /proc/sys/net/netfilter/nf_conntrack_max 2>/dev/null)" != 444 ]'

ASKED: Mapping[str, str] = {
    "cgroup-driver": f"{_CGROUP_2} && echo systemd || echo cgroupfs",
    "systemd-cgroup": f"{_CGROUP_2} && echo true || echo false",
    "fail-cgroup-v1": f"{_CGROUP_2} && echo true || echo false",
    # Capability 24 is CAP_SYS_RESOURCE: who has it may give a process a better score than its own.
    "restrict-oom-score-adj": (
        "caps=0x$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status); "
        "[ $((caps >> 24 & 1)) = 1 ] && echo false || echo true"
    ),
    "conntrack-max-per-core": f"{_OWN_LIMITS} && echo 32768 || echo 0",
    "conntrack-min": f"{_OWN_LIMITS} && echo 131072 || echo 0",
    "resolv-conf": "f=/run/systemd/resolve/resolv.conf; [ -e $f ] && echo $f || echo /etc/resolv.conf",
}
"""What a person asks a machine, in sh, for each fact that fills a placeholder in a text."""

INTERFACE = "interface-"
"""What comes before an address, with `-` for its dots, in the name of the fact that says which interface has it."""


def question(name: str) -> str:
    """What a person asks a machine for a fact. Raises KeyError for one that there is not."""
    if name.startswith(INTERFACE):
        address = name.removeprefix(INTERFACE).replace("-", ".")
        return f"ip -o -4 addr show to {address}/32 | {{ read -r n i rest; echo $i; }}"
    return ASKED[name]


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CAP_SYS_RESOURCE = 24


@dataclass(frozen=True)
class Facts:
    """What was seen. Sizes are KiB; `clock` is the machine's own, in seconds since the epoch."""

    arch: str
    kernel: str
    hostname: str
    machine_id: str
    os: str
    os_version: str
    clock: float
    memory_kib: int
    swap_kib: int
    free_kib: int
    cgroup: int
    systemd: bool
    zstd: bool
    openssl: bool
    etcd_data: bool
    bash: bool = True
    selinux: bool = False
    """Whether SELinux refuses what its policy does not allow."""
    restorecon: bool = False
    placeholders: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def parse(output: str) -> Facts:
    """Facts from what SCRIPT printed. Raises ValueError where a number is none."""
    seen = dict(line.partition("=")[::2] for line in output.splitlines() if "=" in line)
    cgroup = int(seen.get("cgroup", "2"))
    clock = float(seen.get("now", "0"))
    if not math.isfinite(clock):
        raise ValueError(f"the time of day is {clock}")
    return Facts(
        arch=_ARCHITECTURES.get(seen.get("machine", ""), seen.get("machine", "unknown")),
        kernel=seen.get("kernel", ""),
        hostname=seen.get("hostname", ""),
        machine_id=seen.get("machine-id", ""),
        os=seen.get("os", "unknown"),
        os_version=seen.get("os-version", ""),
        clock=clock,
        memory_kib=int(seen.get("memory-kib", "0")),
        swap_kib=int(seen.get("swap-kib", "0")),
        free_kib=int(seen.get("free-kib", "0")),
        cgroup=cgroup,
        systemd=seen.get("init") == "systemd",
        zstd="has-zstd" in seen,
        openssl="has-openssl" in seen,
        etcd_data="etcd-data" in seen,
        bash="has-bash" in seen,
        selinux=seen.get("selinux") == "1",
        restorecon="has-restorecon" in seen,
        placeholders=_placeholders(seen, cgroup),
    )


def _placeholders(seen: Mapping[str, str], cgroup: int) -> dict[str, bytes]:
    capable = bool(int(seen.get("capabilities", "0") or "0", 16) >> _CAP_SYS_RESOURCE & 1)
    # In any network namespace but the first the kernel shows these limits read-only.
    own_conntrack = seen.get("conntrack-mode", "644") != "444"
    values = {
        "arch": _ARCHITECTURES.get(seen.get("machine", ""), ""),
        "fail-cgroup-v1": "false" if cgroup == 1 else "true",
        "cgroup-driver": "cgroupfs" if cgroup == 1 else "systemd",
        "systemd-cgroup": "false" if cgroup == 1 else "true",
        "restrict-oom-score-adj": "false" if capable else "true",
        "conntrack-max-per-core": "32768" if own_conntrack else "0",
        "conntrack-min": "131072" if own_conntrack else "0",
        "resolv-conf": "/run/systemd/resolve/resolv.conf" if "resolved" in seen else "/etc/resolv.conf",
    }
    values |= {name: value for name, value in seen.items() if name.startswith(INTERFACE)}
    return {f"fact/{name}": value.encode() for name, value in values.items()}

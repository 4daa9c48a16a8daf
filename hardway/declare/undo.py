"""How what hardway put on a machine is taken away again.

A machine's journal says what is there, and no more: names are held against what hardway can declare, for any inventory
and any of its versions so far, and commands are of this code. Somebody who can write to a journal gets nothing run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from posixpath import normpath
from typing import Any

from hardway.declare.phases.workers import KILL_CONTAINERS, REMOVE_PODS, REMOVE_RULES
from hardway.declare.resources import KINDS
from hardway.inventory import owned
from hardway.inventory.owned import BINARIES, UNITS
from hardway.inventory.words import FOLDERS

AFTER_STOP = {
    "containerd.service": KILL_CONTAINERS,
    "kubelet.service": REMOVE_PODS,
    "kube-proxy.service": REMOVE_RULES,
}
"""What a unit leaves behind once it is stopped, as sh that takes it away."""


def _any_of(names: Sequence[str]) -> str:
    return "|".join(re.escape(name) for name in names)


_UNIT = f"(?:{_any_of(UNITS)})"
_OWN_FOLDERS = (
    "/etc/kubernetes", "/etc/etcd", "/etc/containerd", "/etc/cni", "/opt/cni", "/run/etcd", "/var/lib/etcd",
    "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/kube-proxy", "/var/lib/cni", "/var/log/kubernetes",
)  # fmt: skip
DATA_FOLDERS = (
    "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet", "/var/log/kubernetes",
)  # fmt: skip
"""Folders that go with all that is in them."""
_SHARED = (
    "/etc/crictl.yaml", "/etc/modules-load.d/hardway.conf", "/etc/sysctl.d/10-hardway-limits.conf",
    "/etc/sysctl.d/90-hardway.conf", "/etc/systemd/networkd.conf.d/10-hardway.conf",
    *(f"/usr/local/bin/{name}" for name in BINARIES),
)  # fmt: skip
SYSCTLS = (
    "fs.inotify.max_user_instances", "fs.inotify.max_user_watches", "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys", "kernel.panic", "kernel.panic_on_oops", "net.bridge.bridge-nf-call-ip6tables",
    "net.bridge.bridge-nf-call-iptables", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "vm.overcommit_memory",
    "vm.panic_on_oom",
)  # fmt: skip
"""Others, such as kernel.core_pattern, name programs that the kernel runs as root."""

_OWN = f"(?:{_any_of(_OWN_FOLDERS)})"
_FILE = rf"{_OWN}/.+|{_any_of(_SHARED)}|/etc/systemd/system/{_UNIT}\.service(?:\.d/.+)?"
_NAMES = {
    "file": _FILE,
    "operator-file": rf"(?:{_any_of(FOLDERS)})/.+",
    "binary": _FILE,
    "directory": rf"{_OWN}(?:/.+)?|/etc/systemd/networkd\.conf\.d|/etc/systemd/system/{_UNIT}\.service\.d",
    "service": rf"{_UNIT}\.service",
    "block": r"/etc/hosts",
    "user": r"etcd",
    "sysctl": _any_of(SYSCTLS),
    "swap": r"off",
    "hostname": r"hostname",
    "routes": r"pods",
    "taints": r"nodes",
}
"""By kind, what a name must be; of the other kinds nothing is undone (packages, modules, images, objects)."""


def is_ours(key: str) -> bool:
    """Whether this is something that hardway puts on machines. Kinds that it does not know are a newer hardway's."""
    kind, _, name = key.partition(":")
    if name.startswith("/") and (normpath(name) != name or "\n" in name):
        return False
    if kind == "operator-file" and owned.by(name):
        return False
    return re.fullmatch(_NAMES.get(kind, r"[^\n]+"), name) is not None


def undo(key: str, entry: Mapping[str, Any]) -> str:
    """sh that takes away one thing; `entry` is what the journal noted of it. Nothing for what is not ours."""
    kind, _, name = key.partition(":")
    if kind not in KINDS or not is_ours(key):
        return ""
    if kind == "directory" and name not in DATA_FOLDERS:
        entry = {**entry, "data": False}
    return "\n".join(filter(None, (KINDS[kind].undo(name, entry), AFTER_STOP.get(name) if kind == "service" else "")))

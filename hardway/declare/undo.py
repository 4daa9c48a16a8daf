"""How what hardway put on a machine is taken away again.

A machine's journal says what is there, and no more: names are held against what hardway can declare, for any inventory
and any of its versions so far, and commands are of this code. Somebody who can write to a journal gets nothing run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import normpath
from typing import Any

from hardway.declare.phases.workers import KILL_CONTAINERS, REMOVE_PODS, REMOVE_RULES
from hardway.declare.resources import KINDS

UNITS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-apiserver-lb", "containerd", "kubelet",
    "kube-proxy", "pod-routes", "pod-masquerade",
)  # fmt: skip
AFTER_STOP = {
    "containerd.service": KILL_CONTAINERS,
    "kubelet.service": REMOVE_PODS,
    "kube-proxy.service": REMOVE_RULES,
}
"""What a unit leaves behind once it is stopped, as sh that takes it away."""

_UNIT = f"(?:{'|'.join(UNITS)})"
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_OWN_FOLDERS = (
    "/etc/kubernetes", "/etc/etcd", "/etc/containerd", "/etc/cni", "/opt/cni", "/run/etcd", "/var/lib/etcd",
    "/var/lib/containerd", "/var/lib/kubelet", "/var/lib/kube-proxy", "/var/lib/cni", "/var/log/kubernetes",
)  # fmt: skip
_OWN = f"(?:{'|'.join(_OWN_FOLDERS)})"
_FILE = (
    rf"{_OWN}/.+|/usr/local/bin/{_WORD}|/etc/systemd/system/{_UNIT}\.service(?:\.d/.+)?|/etc/crictl\.yaml|"
    rf"/etc/(?:modules-load|sysctl|systemd/networkd\.conf)\.d/{_WORD}\.conf"
)
_NAMES = {
    "file": _FILE,
    "binary": _FILE,
    "directory": rf"{_OWN}(?:/.+)?|/etc/systemd/networkd\.conf\.d|/etc/systemd/system/{_UNIT}\.service\.d",
    "service": rf"{_UNIT}\.service",
    "block": r"/etc/hosts",
    "user": r"etcd",
    "swap": r"off",
    "hostname": r"hostname",
    "routes": r"pods",
}
"""By kind, what a name must be; of the other kinds, nothing that is undone can harm (packages, images, objects)."""


def is_ours(key: str) -> bool:
    """Whether this is something that hardway puts on machines. Kinds that it does not know are a newer hardway's."""
    kind, _, name = key.partition(":")
    if name.startswith("/") and (normpath(name) != name or "\n" in name):
        return False
    return re.fullmatch(_NAMES.get(kind, r"[^\n]+"), name) is not None


def undo(key: str, entry: Mapping[str, Any]) -> str:
    """sh that takes away one thing; `entry` is what the journal noted of it. Nothing for what is not ours."""
    kind, _, name = key.partition(":")
    if kind not in KINDS or not is_ours(key):
        return ""
    return "\n".join(filter(None, (KINDS[kind].undo(name, entry), AFTER_STOP.get(name) if kind == "service" else "")))

"""Rules about releases: which version works with which, and which flags and fields each knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hardway.accepted import known, nearest
from hardway.lint.rules.common import SETUP, setup_of, stated
from hardway.probe.setup.model import MachineSetup
from hardway.rules import Evidence, Found, Rule

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
OLDER = {"kubelet": 3, "kube-proxy": 3, "kube-controller-manager": 1, "kube-scheduler": 1, "kube-apiserver": 1,
         "kubectl": 1}  # fmt: skip
NEWER = {"kubectl": 1, "kube-apiserver": 1}
"""Minor releases that each may be older or newer than an API server: kubernetes.io/releases/version-skew-policy."""
GOING = re.compile(r"remov|decommission", re.IGNORECASE)


def unknown_flags(evidence: Evidence) -> Iterator[Found]:
    for machine, component, lists in flag_lists(evidence):
        flags = lists["flags"][component]
        for name in machine.components[component].flags:
            if name not in flags and name not in ("h", "help", "version", "v"):
                near = nearest(name, flags)
                version = _version(machine, component) or evidence.cluster.kubernetes
                right = f"write --{near}, if that is meant" if near else f"take --{name} away"
                yield Found(
                    machine.name,
                    f"{component} {version} does not know --{name}",
                    f"{stated(evidence, machine.name, component, name)}{right}",
                    symptom=f"{_phase(component)}: {_unknown(component, name)}",
                )


def deprecated_flags(evidence: Evidence) -> Iterator[Found]:
    for machine, component, lists in flag_lists(evidence):
        for name in machine.components[component].flags:
            why = lists["flags"][component].get(name)
            if why and GOING.search(why):
                yield Found(
                    machine.name, f"{component} --{name}: {why}", f"take --{name} away, or what it says instead"
                )


def version_skew(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    servers = {machine.name: version for machine, _ in setup.each("kube-apiserver")
               if (version := _numbers(machine.versions.get("kube-apiserver", "")))}  # fmt: skip
    if not servers:
        return
    oldest, newest = min(servers.values()), max(servers.values())
    for machine in setup.machines.values():
        for binary, older in OLDER.items():
            version = _numbers(machine.versions.get(binary, ""))
            if version is None or (binary != "kubectl" and binary not in machine.components):
                continue
            # The worst API server that it may have to do with.
            ahead, behind = version[1] - oldest[1], newest[1] - version[1]
            if version[0] != newest[0] or behind > older or ahead > NEWER.get(binary, 0):
                said = f"{machine.versions[binary]}; API servers are {_words(oldest, newest)}"
                yield Found(machine.name, f"{binary} is {said}")


def _words(oldest: tuple[int, int], newest: tuple[int, int]) -> str:
    low, high = (".".join(map(str, one)) for one in (oldest, newest))
    return low if low == high else f"{low} to {high}"


def flag_lists(evidence: Evidence) -> Iterator[tuple[MachineSetup, str, Mapping[str, Any]]]:
    """Each component with what its release knows; a release without a list is left out."""
    for machine in setup_of(evidence).machines.values():
        for component in machine.components:
            lists = known(minor(evidence, machine, component))
            version = _numbers(_version(machine, component))
            listed = _numbers(lists.get("versions", {}).get(component, ""))
            if lists and component in lists["flags"] and version in (None, listed):
                yield machine, component, lists


def minor(evidence: Evidence, machine: MachineSetup, component: str) -> str:
    """The Kubernetes release whose list holds for a component there."""
    version = _numbers(_version(machine, component)) if component in KUBERNETES else None
    return ".".join(map(str, version or _numbers(evidence.cluster.kubernetes) or ()))


def _version(machine: MachineSetup, component: str) -> str:
    return machine.versions.get(component, "")


def _numbers(version: str) -> tuple[int, int] | None:
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def _phase(component: str) -> str:
    return {"etcd": "etcd", "kubelet": "workers", "kube-proxy": "workers", "containerd": "workers"}.get(
        component, "control-plane"
    )


def _unknown(component: str, name: str) -> str:
    return (
        f"flag provided but not defined: -{name}" if component in ("etcd", "containerd") else f"unknown flag: --{name}"
    )


RULES = (
    Rule(
        "unknown-flag", SETUP, unknown_flags, "a component that is given a flag which it does not know does not start",
        "take the flag away", layer="control plane", detects="a flag that the component's release does not know",
        symptom="etcd, control-plane or workers: Error: unknown flag: --…",
    ),
    Rule(
        "deprecated-flag", SETUP, deprecated_flags, "the next release may not know it, and would not start with it",
        "take the flag away", "warning", layer="control plane", detects="a flag that is going to be removed",
        symptom="after an upgrade: Error: unknown flag: --…",
    ),
    Rule(
        "version-skew", SETUP, version_skew, "components of releases further apart are not made to work together",
        "bring all to one release, API servers first", layer="control plane",
        detects="a kubelet, kube-proxy, controller manager, scheduler or kubectl too old or too new "
        "for the API servers",
        symptom="after an upgrade: objects with fields that one of both does not know",
    ),
)  # fmt: skip

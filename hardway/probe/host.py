"""What a machine is before hardway puts anything there: one script, one value."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from hardway.inventory.model import Address
from hardway.probe import network
from hardway.probe import units as unit_probe
from hardway.probe.network import Listener, Reached, Route
from hardway.probe.script import Answers, Question
from hardway.probe.units import UnitState

UNITS = (
    "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd",
    "containerd", "docker", "crio", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "k0scontroller", "k0sworker",
    "snap.microk8s.daemon-kubelite", "firewalld", "NetworkManager",
)  # fmt: skip
TRACES = (
    "/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/var/lib/kubelet/config.yaml", "/etc/rancher/k3s", "/etc/rancher/rke2", "/var/lib/k0s",
    "/var/snap/microk8s/current",
)  # fmt: skip
"""What other ways to a cluster leave on a machine."""


FOLDERS = ("/usr/local/bin", "/etc", "/opt/cni/bin", "/var/lib", "/var/lib/kubelet")
"""Where hardway and the components write."""
DISKS = ("/var/lib/etcd", "/var/lib/containerd")
"""What may have a disk of its own."""

Hook = Literal["input", "forward"]


@dataclass(frozen=True)
class CloudInit:
    """What cloud-init does at each boot, and the file that says so; empty where nobody does."""

    manage_etc_hosts: str = ""
    hosts_file: str = ""
    preserve_hostname: str = ""


@dataclass(frozen=True)
class Filter:
    """A chain that IPv4 packets pass, as nft names it (`inet filter input`); empty where iptables alone knows it."""

    hook: Hook
    chain: str
    drops: bool
    """Whether what no rule accepts is dropped by policy."""


@dataclass(frozen=True)
class Host:
    """What was seen.

    `ruleset` is what nft and iptables list, `manager` who writes it, empty where that is a person. `reached` are
    other machines' ports, by address.
    """

    addresses: frozenset[Address] = frozenset()
    mtus: Mapping[Address, int] = field(default_factory=dict)
    """Of the interface that holds each address, in bytes."""
    routes: tuple[Route, ...] = ()
    listening: tuple[Listener, ...] = ()
    units: Mapping[str, UnitState] = field(default_factory=dict)
    traces: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    ruleset: str = field(default="", repr=False)
    manager: Literal["", "ufw", "firewalld"] = ""
    reached: Mapping[tuple[str, int], Reached] = field(default_factory=dict)
    cgroups: frozenset[str] = frozenset()
    missing_features: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Addresses by name, of those it was asked to resolve; empty for one it does not know."""
    cloud_init: CloudInit | None = None
    """None where it is not there, or does nothing any more."""
    left_alone: str = ""
    """What NetworkManager was told to leave alone (`unmanaged-devices`, devices with `managed=0`)."""
    nm_cloud_setup: bool = False
    mounts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The options of the mount on which each of FOLDERS is, or will be."""
    disks: Mapping[str, int] = field(default_factory=dict)
    """Free KiB of those of DISKS that are mounts of their own."""
    downloads_by: frozenset[str] = frozenset()
    """What there is to download with: `curl`, `apt-helper`, and `certificates` of the CAs that the system trusts."""


_CLOUD_INIT = """command -v cloud-init >/dev/null || exit 0
for off in /run/cloud-init/disabled /etc/cloud/cloud-init.disabled; do [ ! -e $off ] || exit 0; done
! grep -qs cloud-init=disabled /proc/cmdline || exit 0
echo on
for f in /etc/cloud/cloud.cfg /etc/cloud/cloud.cfg.d/*.cfg /var/lib/cloud/instance/cloud-config.txt; do
  grep -HsE '^(manage_etc_hosts|preserve_hostname):' $f
done"""
"""In the order in which it reads them: what comes later counts, user data last."""


def questions(
    features: Mapping[str, str], names: Sequence[str], dials: Sequence[tuple[str, int]] = (), family: int = 4
) -> Iterator[Question]:
    """Looks and changes nothing, but that asking nft may have the kernel load nf_tables.

    `features` maps kernel modules to a condition in sh that holds when the feature is there; `names` are
    to be resolved to addresses of the IP version `family`; `dials` addresses and ports to be reached.
    """
    checks = "\n".join(
        f'{{ {there}; }} || grep -qs "/{name}\\.ko" $modules/modules.dep $modules/modules.builtin || echo {name}'
        for name, there in features.items()
    )
    resolver = "/run/systemd/resolve/resolv.conf"
    sections = {
        "links": "ip -o link show",
        "traces": f"for t in {shlex.join(TRACES)}; do [ ! -e $t ] || echo $t; done",
        # iptables itself is asked only where its old tables are loaded: asking would load them.
        "firewall": "nft list ruleset 2>/dev/null\n[ ! -s /proc/net/ip_tables_names ] || "
        "{ iptables-legacy -S 2>/dev/null || iptables -S 2>/dev/null; } | grep '^-P'",
        "manager": "grep -qs '^ENABLED=yes' /etc/ufw/ufw.conf && echo ufw",
        "cgroups": "if [ -f /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers\n"
        "else while read -r name h n on; do [ $on != 1 ] || echo $name; done </proc/cgroups; fi",
        "features": f"modules=/lib/modules/$(uname -r)\n{checks}",
        "cloud-init": _CLOUD_INIT,
        "left-alone": "for d in /usr/lib /run /etc; do d=$d/NetworkManager\n"
        "grep -hsE '^(unmanaged-devices|match-device)' $d/NetworkManager.conf $d/conf.d/*.conf\ndone",
        "nm-cloud-setup": "systemctl is-enabled nm-cloud-setup.service nm-cloud-setup.timer 2>/dev/null",
        "mounts": f"for d in {shlex.join(FOLDERS)}; do p=$d; while [ ! -d $p ]; do p=${{p%/*}}; p=${{p:-/}}; done\n"
        'echo "$d $(findmnt -no OPTIONS -T $p 2>/dev/null | tail -n 1)"; done',
        "disks": f"df -Pk {shlex.join(DISKS)} 2>/dev/null | while read -r f s u free c at; do echo $at $free; done",
        "downloads-by": "! command -v curl >/dev/null || echo curl\n"
        "[ ! -x /usr/lib/apt/apt-helper ] || echo apt-helper\n"
        "for f in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do\n"
        "[ ! -s $f ] || echo certificates\ndone",
        "resolver": f"r={resolver}; [ -e $r ] || r=/etc/resolv.conf; cat $r 2>/dev/null",
    }
    yield from (network.ADDRESSES, network.ROUTES, network.LISTENERS, network.resolve(names, family))
    yield unit_probe.states(UNITS)
    for name, shell in sections.items():
        yield Question(name, shell)
    if dials:
        yield network.dial(dials)


def parse(answers: Answers) -> Host:
    """The answers to `questions`."""

    def lines(name: str) -> list[str]:
        return [line.strip() for line in answers[name].lines]

    addresses = network.addresses(answers)
    units = {name: unit for name, unit in unit_probe.parse(answers).items() if unit.load not in ("", "not-found")}
    return Host(
        addresses=frozenset(addresses),
        mtus=_mtus(lines("links"), addresses),
        routes=network.routes(answers),
        listening=network.listeners(answers),
        units=units,
        traces=tuple(lines("traces")),
        filters=tuple(_filters(lines("firewall"))),
        ruleset=answers["firewall"].output.rstrip("\n"),
        manager="firewalld" if units.get("firewalld", UnitState()).is_up else "ufw" if lines("manager") else "",
        reached=network.reached(answers),
        cgroups=frozenset(" ".join(lines("cgroups")).split()),
        missing_features=tuple(lines("features")),
        nameservers=tuple(
            words[1] for line in lines("resolver") if (words := line.split())[0] == "nameserver" and words[1:]
        ),
        names=network.resolved(answers),
        cloud_init=_cloud_init(lines("cloud-init")),
        left_alone="\n".join(lines("left-alone")),
        nm_cloud_setup="enabled" in lines("nm-cloud-setup"),
        mounts=_mounts(lines("mounts")),
        disks=_disks(lines("disks")),
        downloads_by=frozenset(lines("downloads-by")),
    )


def _cloud_init(lines: Sequence[str]) -> CloudInit | None:
    if "on" not in lines:
        return None
    found = CloudInit()
    for line in lines:
        match = re.match(r"([^:]+):(manage_etc_hosts|preserve_hostname):\s*['\"]?(\w+)", line)
        if match and match[2] == "manage_etc_hosts":
            found = replace(found, manage_etc_hosts=match[3].lower(), hosts_file=match[1])
        elif match:
            found = replace(found, preserve_hostname=match[3].lower())
    return found


def _mounts(lines: Sequence[str]) -> dict[str, frozenset[str]]:
    found = {}
    for line in lines:
        folder, _, options = line.partition(" ")
        if options:
            found[folder] = frozenset(options.split(","))
    return found


def _disks(lines: Sequence[str]) -> dict[str, int]:
    found = {}
    for line in lines:
        folder, _, free = line.partition(" ")
        if folder in DISKS and free.isdecimal():
            found[folder] = int(free)
    return found


def _mtus(links: Sequence[str], addresses: Mapping[Address, str]) -> dict[Address, int]:
    found = (re.match(r"\d+: ([^\s:@]+)[@:].* mtu (\d+)", line) for line in links)
    by_name = {match[1]: int(match[2]) for match in found if match}
    return {address: by_name[name] for address, name in addresses.items() if name in by_name}


def _filters(lines: Sequence[str]) -> Iterator[Filter]:
    """iptables comes last, and says nothing new of a hook whose chain nft listed."""
    table = chain = ""
    found = set()
    for line in lines:
        if match := re.match(r"table (\w+ \S+) {", line):
            table = match[1]
        if match := re.match(r"chain (\S+) {", line):
            chain = match[1]
        if (match := re.match(r"type filter hook (input|forward)\b", line)) and table.split()[0] in ("ip", "inet"):
            found.add(match[1])
            yield Filter(cast(Hook, match[1]), f"{table} {chain}", "policy drop" in line)
        if (match := re.match(r"-P (INPUT|FORWARD) (\w+)", line)) and match[1].lower() not in found:
            yield Filter(cast(Hook, match[1].lower()), "", match[2] in ("DROP", "REJECT"))

"""What a machine is before hardway puts anything there: one script, one value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hardway.remote import quote

UNITS = (
    "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd",
    "containerd", "docker", "crio", "k3s", "k3s-agent", "rke2-server", "rke2-agent", "k0scontroller", "k0sworker",
    "snap.microk8s.daemon-kubelite", "firewalld",
)  # fmt: skip
TRACES = (
    "/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/var/lib/kubelet/config.yaml", "/etc/rancher/k3s", "/etc/rancher/rke2", "/var/lib/k0s",
    "/var/snap/microk8s/current",
)  # fmt: skip
"""What other ways to a cluster leave on a machine."""


@dataclass(frozen=True)
class Listener:
    """A TCP port that is taken. `process` is empty where the kernel does not say whose it is."""

    port: int
    address: str
    process: str = ""


@dataclass(frozen=True)
class Unit:
    """A systemd unit that is there; `path` is its file."""

    active: bool
    path: str


@dataclass(frozen=True)
class Route:
    to: IPv4Network
    text: str


@dataclass(frozen=True)
class Host:
    """What was seen. `dropping` are the hooks (`input`, `forward`) whose packets a firewall drops by policy."""

    addresses: frozenset[IPv4Address] = frozenset()
    routes: tuple[Route, ...] = ()
    listening: tuple[Listener, ...] = ()
    units: Mapping[str, Unit] = field(default_factory=dict)
    traces: tuple[str, ...] = ()
    dropping: frozenset[str] = frozenset()
    cgroups: frozenset[str] = frozenset()
    missing_features: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Addresses by name, of those it was asked to resolve; empty for one it does not know."""


def script(features: Mapping[str, str], names: Sequence[str], nonce: str) -> str:
    """Looks and changes nothing, but that asking nft may have the kernel load nf_tables.

    `features` maps kernel modules to a condition in sh that holds when the feature is there; `names` are
    to be resolved.
    """
    units = quote([f"{name}.service" for name in UNITS])
    checks = "\n".join(
        f'{{ {there}; }} || grep -qs "/{name}\\.ko" $modules/modules.dep $modules/modules.builtin || echo {name}'
        for name, there in features.items()
    )
    resolver = "/run/systemd/resolve/resolv.conf"
    sections = {
        "addresses": "ip -o -4 addr show",
        "routes": "ip -4 route show table main",
        "ports": "ss -Hltnp 2>/dev/null",
        "units": f"systemctl show -p Id -p LoadState -p ActiveState -p FragmentPath -- {units} 2>/dev/null",
        "traces": f"for t in {quote(TRACES)}; do [ ! -e $t ] || echo $t; done",
        # iptables itself is asked only where its old tables are loaded: asking would load them.
        "firewall": "nft list chains 2>/dev/null\n[ ! -s /proc/net/ip_tables_names ] || "
        "{ iptables-legacy -S 2>/dev/null || iptables -S 2>/dev/null; } | grep '^-P'",
        "cgroups": "if [ -f /sys/fs/cgroup/cgroup.controllers ]; then cat /sys/fs/cgroup/cgroup.controllers\n"
        "else while read -r name h n on; do [ $on != 1 ] || echo $name; done </proc/cgroups; fi",
        "features": f"modules=/lib/modules/$(uname -r)\n{checks}",
        "resolver": f"r={resolver}; [ -e $r ] || r=/etc/resolv.conf; cat $r 2>/dev/null",
        "names": f"for n in {quote(names)}; do set -- $(getent ahostsv4 $n); echo $n ${{1:-}}; done" if names else ":",
    }
    return (
        "\n".join(f"printf '\\n{nonce} {name}\\n'\n(\nset +e\n{text}\n) || :" for name, text in sections.items()) + "\n"
    )


def parse(output: str, nonce: str) -> Host:
    """The answer to `script`."""
    parts: dict[str, list[str]] = {}
    for part in output.split(f"\n{nonce} ")[1:]:
        name, _, text = part.partition("\n")
        parts[name] = text.splitlines()

    def lines(name: str) -> list[str]:
        return [line.strip() for line in parts.get(name, []) if line.strip()]

    return Host(
        addresses=frozenset(_addresses(lines("addresses"))),
        routes=tuple(_routes(lines("routes"))),
        listening=tuple(_listeners(lines("ports"))),
        units=dict(_units("\n".join(parts.get("units", [])))),
        traces=tuple(lines("traces")),
        dropping=frozenset(_dropping(lines("firewall"))),
        cgroups=frozenset(" ".join(lines("cgroups")).split()),
        missing_features=tuple(lines("features")),
        nameservers=tuple(
            words[1] for line in lines("resolver") if (words := line.split())[0] == "nameserver" and words[1:]
        ),
        names={name: address for line in lines("names") for name, _, address in [line.partition(" ")]},
    )


def _addresses(lines: Sequence[str]) -> Iterator[IPv4Address]:
    for line in lines:
        if match := re.search(r"\sinet (\S+)", line):
            yield IPv4Interface(match[1]).ip


def _routes(lines: Sequence[str]) -> Iterator[Route]:
    """Without the default route: it leads wherever nothing else does, so it overlaps with nothing."""
    kinds = ("unicast", "blackhole", "unreachable", "prohibit", "throw")
    for line in lines:
        words = [word for word in line.split() if word not in kinds]
        try:
            yield Route(IPv4Network(words[0]), line)
        except (ValueError, IndexError):
            continue


def _listeners(lines: Sequence[str]) -> Iterator[Listener]:
    for line in lines:
        words = line.split()
        if len(words) < 4:
            continue
        address, _, port = words[3].rpartition(":")
        found = re.search(r'\("([^"]+)",pid=(\d+)', line)
        yield Listener(int(port), address, f"{found[1]} (pid {found[2]})" if found else "")


def _units(text: str) -> Iterator[tuple[str, Unit]]:
    for block in text.split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines())
        if fields.get("LoadState") in ("loaded", "masked", "bad-setting", "error"):
            active = fields.get("ActiveState") in ("active", "activating", "reloading")
            yield fields["Id"].removesuffix(".service"), Unit(active, fields.get("FragmentPath", ""))


def _dropping(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if match := re.search(r"hook (input|forward)\b.*policy drop", line):
            yield match[1]
        if match := re.match(r"-P (INPUT|FORWARD) (?:DROP|REJECT)", line):
            yield match[1].lower()

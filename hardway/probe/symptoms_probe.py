"""The one script that asks a machine everything that could be wrong with it. It changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from hardway.declare.phases import virtual_address
from hardway.declare.phases.load_balancer import UNIT as BALANCER
from hardway.declare.phases.paths import BIN, ENCRYPTION_CONFIG, ETCD_PKI, HAPROXY_CFG, KUBECTL, KUBERNETES, PKI
from hardway.declare.phases.workers import CONTAINERD_CONFIG, KUBELET_CONFIG
from hardway.inventory.model import API_PORT, Cluster, Machine
from hardway.probe import certificates, control, network
from hardway.probe import units as unit_probe
from hardway.probe.script import Question

BRIDGED = {4: "net/bridge/bridge-nf-call-iptables", 6: "net/bridge/bridge-nf-call-ip6tables"}
FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
"""By IP version, the setting that a worker must have at 1."""
ETCD_DATA = "/var/lib/etcd"
FILE_SYSTEMS = ("/", ETCD_DATA, "/var/lib/kubelet", "/var/lib/containerd", "/var/log")
FULL = 97
"""Percent of a file system in use from which it is looked who fills it."""
PORTS = {"controller": (API_PORT, 2379, 2380), "worker": (10250,)}


def units(cluster: Cluster, machine: Machine) -> tuple[str, ...]:
    """The units that must run on a machine, without `.service`; in the order in which they need each other."""
    names: list[str] = []
    if machine.is_controller:
        names += ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    if machine.is_load_balancer:
        names.append(BALANCER)
        if cluster.virtual_address:
            names.append(virtual_address.UNIT)
    if machine.is_worker:
        names += ["containerd", "kubelet", "kube-proxy"]
    return tuple(names)


def _dials(cluster: Cluster, machine: Machine, others: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Whom a machine must reach, itself and a balancer of somebody else's included."""
    own: list[tuple[str, int]] = []
    for role, ports in PORTS.items():
        if role in machine.roles:
            own += [(str(machine.ip), port) for port in ports]
    endpoint = [(cluster.endpoint_host, cluster.endpoint_port)] if machine.is_worker else []
    return list(dict.fromkeys((*own, *others, *endpoint)))


def questions(cluster: Cluster, machine: Machine, others: Sequence[tuple[str, int]]) -> Iterator[Question]:
    """All that is asked of one machine; `others` are the addresses and ports that it must reach."""
    yield from unit_probe.questions(units(cluster, machine))
    yield certificates.QUESTION
    yield from (network.ROUTES, network.LISTENERS)
    yield network.dial(_dials(cluster, machine, others))
    yield network.resolve([other.name for other in cluster.machines if other is not machine], cluster.network.family)
    for name, shell in _fragments(cluster, machine):
        yield Question(name, shell)
    if machine.is_controller:
        yield from (control.STATUS, control.MEMBERS, control.UNREADY)


def _fragments(cluster: Cluster, machine: Machine) -> Iterator[tuple[str, str]]:
    yield "hostname", "uname -n"
    yield "disk", _disk()
    yield "swap", "sed 1d /proc/swaps"
    settings: list[str] = []
    for family in cluster.network.families:
        settings += [BRIDGED[family], FORWARDING[family]]
    yield "sysctls", f'cd /proc/sys && for n in {shlex.join(settings)}; do echo "$n=$(cat $n 2>/dev/null)"; done'
    yield "firewall", _FIREWALL
    # The tables of iptables itself are asked only where they are loaded: asking would load them.
    yield "iptables", "[ ! -s /proc/net/ip_tables_names ] || iptables-legacy -S 2>/dev/null || iptables -S 2>/dev/null"
    yield "resolver", _resolver()
    yield "keys", _KEYS
    yield "servers", f"grep -s '^ *server: ' {KUBERNETES}/*.conf"
    if machine.is_controller:
        yield "encryption", f"sed -n 's/^ *secret: //p' {ENCRYPTION_CONFIG} | sha256sum"
        yield "etcd-data", f"[ -d {ETCD_DATA}/member ] && echo yes"
    if machine.is_load_balancer:
        yield "backends", f"sed -n 's/^ *server //p' {HAPROXY_CFG}"
        if cluster.virtual_address:
            yield "holds", f"if {virtual_address.holds(cluster)}; then echo yes; else echo no; fi"
    if machine.is_worker:
        yield "kubelet", f"cat {KUBELET_CONFIG}"
        yield "containerd", f"cat {CONTAINERD_CONFIG}"
        yield "images", f"timeout 4 {BIN}/ctr -n k8s.io images ls -q && echo @all"
        yield "cni", "ls /etc/cni/net.d"
        yield "dns-log", "tail -qn 5 /var/log/pods/kube-system_coredns-*/coredns/*.log 2>/dev/null | tail -n 10"


def _disk() -> str:
    """Sizes; and where one is full, the largest file there that is none of a component's own."""
    kept = " -o ".join(f"-path '{path}'" for path in ("*/member", "*/io.containerd.*", "*/pods", "/usr", "/lib*"))
    return (
        f"for d in {shlex.join(FILE_SYSTEMS)}; do\n"
        "[ -d $d ] || continue\n"
        "set -- $(df -Pk $d | tail -n 1); size=$2 free=$4 used=${5%\\%}\n"
        "set -- $(df -Pi $d | tail -n 1); inodes=${5%\\%}\n"
        'case $inodes in *[!0-9]*|"") inodes=0;; esac\n'
        'echo "$d $size $free $((100 - inodes))"\n'
        f'[ "$used" -lt {FULL} ] || timeout 5 find $d -xdev \\( {kept} \\) -prune -o -type f -size +1M '
        "-printf '@%k %p\\n' | sort -rn -k1.2 | head -n 1\ndone"
    )


_FIREWALL = r"""
command -v nft >/dev/null || exit 0
nft list tables | while read -r _ family table; do
  case $table in kube-proxy|hardway-pods) continue;; esac
  echo "@$family $table"
  nft -a list table $family $table | grep -E '^	*chain |policy drop|[[:space:]](drop|reject|accept)'
done"""


def _resolver() -> str:
    wanted = f"$(sed -n 's/^resolvConf: *//p' {KUBELET_CONFIG} 2>/dev/null)"
    return (
        f"for f in /etc/resolv.conf /run/systemd/resolve/resolv.conf {wanted}; do\n"
        '[ ! -r $f ] || sed -n "s|^nameserver  *|$f |p" $f\ndone'
    )


_KEYS = f"""
digest() {{ sha256sum | cut -d' ' -f1; }}
for f in {PKI}/*.key {ETCD_PKI}/*.key; do
  [ ! -e $f ] || echo "$f $(openssl pkey -pubout -outform DER -in $f 2>/dev/null | digest)"
done
for f in {PKI}/sa*.pub; do
  [ ! -e $f ] || echo "$f $(openssl pkey -pubin -pubout -outform DER -in $f 2>/dev/null | digest)"
done"""


OBJECTS = (
    control.NODES,
    Question("pods", f"{KUBECTL} -n kube-system get pods -l k8s-app=kube-dns -o json", limit=6, most=control.API_MOST),
    Question(
        "others",
        f"{KUBECTL} -n kube-system get --ignore-not-found -o json deployment/coredns service/kube-dns "
        "clusterrolebinding/hardway:kubelet-api-admin",
        limit=6,
    ),
)
"""Asked on one controller whose API server is ready."""

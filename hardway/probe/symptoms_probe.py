"""The one script that asks a machine everything that could be wrong with it. It changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from hardway.declare.network import flows
from hardway.declare.phases.control_plane import KUBECTL
from hardway.declare.phases.etcd import ETCDCTL
from hardway.declare.phases.load_balancer import UNIT as BALANCER
from hardway.declare.phases.paths import BIN, ENCRYPTION_CONFIG, ETCD_PKI, HAPROXY_CFG, KUBERNETES, PKI
from hardway.declare.phases.workers import CONTAINERD_CONFIG, KUBELET_CONFIG
from hardway.inventory.model import API_PORT, Cluster, Machine
from hardway.probe.sections import asked

KUBELET_CLIENT = "/var/lib/kubelet/pki/kubelet-client-current.pem"
"""Where the kubelet keeps the client certificate that it renews by itself."""
SYSCTLS = ("net/bridge/bridge-nf-call-iptables", "net/ipv4/ip_forward")
ETCD_DATA = "/var/lib/etcd"
FILE_SYSTEMS = ("/", ETCD_DATA, "/var/lib/kubelet", "/var/lib/containerd", "/var/log")
FULL = 97
"""Percent of a file system in use from which it is looked who fills it."""
LINES = 40
"""Of a unit's journal."""
PORTS = {"controller": (API_PORT, 2379, 2380), "worker": (10250,)}

_CERTIFICATE = "sed -n '/-BEGIN CERTIFICATE-/,/-END CERTIFICATE-/p'"


def units(machine: Machine) -> tuple[str, ...]:
    """The units that must run on a machine, without `.service`; in the order in which they need each other."""
    names: list[str] = []
    if machine.is_controller:
        names += ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    if machine.is_load_balancer:
        names.append(BALANCER)
    if machine.is_worker:
        names += ["containerd", "kubelet", "kube-proxy"]
    return tuple(names)


def dials(cluster: Cluster, machine: Machine) -> list[tuple[str, int]]:
    """Whom a machine must reach, itself and a balancer of somebody else's included: address and port."""
    own = [(str(machine.ip), port) for role, ports in PORTS.items() if role in machine.roles for port in ports]
    endpoint = [(cluster.endpoint_host, cluster.endpoint_port)] if machine.is_worker else []
    return list(dict.fromkeys((*own, *flows.dials(cluster, machine), *endpoint)))


def script(cluster: Cluster, machine: Machine, nonce: str) -> str:
    """All questions, each in a shell of its own: none can end or change the next."""
    return asked(dict(_questions(cluster, machine, nonce)), nonce) + f"printf '\\n{nonce} end\\n'\n"


def _questions(cluster: Cluster, machine: Machine, nonce: str) -> Iterator[tuple[str, str]]:
    yield "hostname", "uname -n"
    yield "addresses", "ip -o -4 addr show"
    yield "units", _units(machine)
    yield "journal", _journals(machine)
    yield "args", _args(machine)
    yield "ports", _PORTS
    yield "disk", _disk()
    yield "swap", "sed 1d /proc/swaps"
    yield "sysctls", f'cd /proc/sys && for n in {shlex.join(SYSCTLS)}; do echo "$n=$(cat $n 2>/dev/null)"; done'
    yield "routes", "ip -4 route show table main"
    yield "firewall", _FIREWALL
    # The tables of iptables itself are asked only where they are loaded: asking would load them.
    yield "iptables", "[ ! -s /proc/net/ip_tables_names ] || iptables-legacy -S 2>/dev/null || iptables -S 2>/dev/null"
    yield "resolver", _resolver()
    names = shlex.join([other.name for other in cluster.machines if other is not machine])
    yield (
        "names",
        f"for n in {names}; do set -- $(timeout 2 getent ahostsv4 $n); echo $n ${{1:-}}; done" if names else ":",
    )
    yield "reach", _reach(cluster, machine)
    yield "certificates", _certificates()
    yield "keys", _KEYS
    yield "servers", f"grep -s '^ *server: ' {KUBERNETES}/*.conf"
    if machine.is_controller:
        yield "encryption", f"sed -n 's/^ *secret: //p' {ENCRYPTION_CONFIG} | sha256sum"
        yield "etcd-data", f"[ -d {ETCD_DATA}/member ] && echo yes"
        yield "control plane", _at_once(nonce, _CONTROL_PLANE)
    if machine.is_load_balancer:
        yield "backends", f"sed -n 's/^ *server //p' {HAPROXY_CFG}"
    if machine.is_worker:
        yield "kubelet", f"cat {KUBELET_CONFIG}"
        yield "containerd", f"cat {CONTAINERD_CONFIG}"
        yield "images", f"timeout 4 {BIN}/ctr -n k8s.io images ls -q && echo @all"
        yield "cni", "ls /etc/cni/net.d"
        yield "dns-log", "tail -qn 5 /var/log/pods/kube-system_coredns-*/coredns/*.log 2>/dev/null | tail -n 10"


def _units(machine: Machine) -> str:
    properties = "Id,LoadState,ActiveState,SubState,UnitFileState,Result,ExecMainStatus,NRestarts,MainPID,Job"
    names = shlex.join([f"{name}.service" for name in units(machine)])
    return f"systemctl show -p {properties} -- {names}"


def _journals(machine: Machine) -> str:
    return (
        f"for u in {shlex.join(units(machine))}; do\n"
        "i=$(systemctl show -p InvocationID --value $u.service)\n"
        'echo "@$u"\n'
        f'[ -z "$i" ] || journalctl _SYSTEMD_INVOCATION_ID=$i + INVOCATION_ID=$i -n {LINES} -o cat --no-pager 2>&1\n'
        "done"
    )


def _args(machine: Machine) -> str:
    """Of the process that runs; else of the unit's file, whose lines end in a backslash."""
    return (
        f"for u in {shlex.join(units(machine))}; do\n"
        "p=$(systemctl show -p MainPID --value $u.service)\n"
        'echo "@$u"\n'
        'if [ "${p:-0}" != 0 ] && [ -r /proc/$p/cmdline ]; then tr "\\0" "\\n" </proc/$p/cmdline\n'
        "else sed -n '/^ExecStart=/,/[^\\\\]$/p' /etc/systemd/system/$u.service 2>/dev/null "
        "| sed -e 's/^ExecStart=//' -e 's/ *\\\\$//' -e 's/^ *//'; fi\ndone"
    )


_PORTS = r"""
ss -Hltnp 2>/dev/null
for p in $(ss -Hltnp 2>/dev/null | grep -o 'pid=[0-9]*' | sort -u | cut -d= -f2); do
  echo "@$p $(grep -om1 '[^/]*[.]service' /proc/$p/cgroup 2>/dev/null)"
done"""


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


def _reach(cluster: Cluster, machine: Machine) -> str:
    """Dials all at once; a line of `HOST PORT STATUS`, where 124 is what timeout says."""
    lines = [
        f"( timeout 1 bash -c 'exec 3<>/dev/tcp/{host}/{port}' 2>/dev/null; echo {host} {port} $? ) &"
        for host, port in dials(cluster, machine)
    ]
    return "\n".join(["command -v bash >/dev/null || exit 0", *lines, "wait"])


def _certificates() -> str:
    """Certificates are public; of a file that holds a key too, only the certificate is read."""
    return (
        f"for f in {PKI}/*.crt {ETCD_PKI}/*.crt {PKI}/haproxy-health.pem {KUBELET_CLIENT}; do\n"
        f'[ ! -e $f ] || {{ echo "@$f"; {_CERTIFICATE} $f; }}\ndone\n'
        f"for f in {KUBERNETES}/*.conf; do\n[ -e $f ] || continue\n"
        'echo "@$f#ca"; sed -n "s/^ *certificate-authority-data: //p" $f | base64 -d 2>/dev/null\n'
        f'echo "@$f#client"; sed -n "s/^ *client-certificate-data: //p" $f | base64 -d 2>/dev/null | {_CERTIFICATE}\n'
        "done"
    )


_KEYS = f"""
digest() {{ sha256sum | cut -d' ' -f1; }}
for f in {PKI}/*.key {ETCD_PKI}/*.key; do
  [ ! -e $f ] || echo "$f $(openssl pkey -pubout -outform DER -in $f 2>/dev/null | digest)"
done
f={PKI}/sa.pub; [ ! -e $f ] || echo "$f $(openssl pkey -pubin -pubout -outform DER -in $f 2>/dev/null | digest)\""""


def _ask_etcd(words: str) -> str:
    return f"timeout 4 {ETCDCTL} --endpoints=https://127.0.0.1:2379 --command-timeout=3s {words} 2>&1"


_CONTROL_PLANE = {
    "etcd": _ask_etcd("endpoint status -w json"),
    "members": _ask_etcd("member list --consistency=s --hex"),
    # What is well is not told.
    "readyz": f"timeout 4 {KUBECTL} get --raw='/readyz?verbose' 2>&1 | grep -v ' ok$'",
}


def _at_once(nonce: str, questions: Mapping[str, str]) -> str:
    """Questions that may take their whole time-out; each answer is short enough to be written in one piece."""
    lines = [f"( said=$({text}); printf '\\n{nonce} {name}\\n%s\\n' \"$said\" ) &" for name, text in questions.items()]
    return "\n".join([*lines, "wait"])


OBJECTS = f"""
kubectl() {{ timeout 6 {KUBECTL} "$@" 2>/dev/null || echo '{{"failed": true}}'; }}
kubectl get nodes -o json
echo @
kubectl -n kube-system get pods -l k8s-app=kube-dns -o json
echo @
kubectl -n kube-system get --ignore-not-found -o json \
  deployment/coredns service/kube-dns $(printf 'clusterrolebinding/%s ' hardway:kubelet-api-admin)
"""
"""Asked on one controller whose API server is ready: three answers in JSON, parted by a line with an @."""

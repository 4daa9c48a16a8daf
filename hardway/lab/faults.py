"""Ways to break a lab: each a real fault, made as it happens to people, and the rule by which doctor must name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hardway.errors import UsageError
from hardway.values import Role

Forgery = Literal["expired", "foreign", "without-service-address", "without-own-address"]
"""Of a certificate: over since yesterday; by a CA of the same name that nobody knows; without the first service IP, or
without the machine's address."""

PKI = "/etc/kubernetes/pki"
ETCD_PKI = "/etc/etcd/pki"
UNITS = "/etc/systemd/system"
BRIDGED = ("network.plugin", "bridge")


@dataclass(frozen=True)
class Forged:
    """A certificate that is put on the machine in place of a good one, for the same key and otherwise the same.

    `source` is its path in the workspace without its ending, in which `{name}` is the machine.
    """

    source: str
    path: str
    what: Forgery


@dataclass(frozen=True)
class Fault:
    """`summary` says what a person notices, and not what to do. `rule` is what doctor has to name first.

    `script` is sh, run as root on the last machine of the role (`majority`: on so many of the last that the
    rest is a minority; `through_controller`: on the first controller instead), once `forged` is there. It
    knows, of the machine that is to break, NAME, ADDRESS, PODS; of another worker OTHER_PODS and OTHER_ADDRESS;
    and FIRST, the first controller's address. With fewer than `least` machines of the role it would show nothing, or
    destroy the cluster; nor does it show where the inventory's value at a path is not that of `given`.
    """

    name: str
    summary: str
    role: Role
    rule: str
    script: str = ""
    forged: tuple[Forged, ...] = ()
    power_off: bool = False
    majority: bool = False
    through_controller: bool = False
    least: int = 1
    given: tuple[str, str] | None = None


def _flag(component: str, edit: str) -> str:
    """Edits a unit by sed, as people do, and restarts it without waiting for one that never gets ready."""
    return (
        f"sed -i '{edit}' {UNITS}/{component}.service && systemctl daemon-reload && "
        f"systemctl restart --no-block {component}.service"
    )


def _added(component: str, flag: str) -> str:
    return _flag(component, f"s|^ExecStart=\\([^ ]*\\) .*|ExecStart=\\1 {flag} \\\\|")


def _forget_dns(script: str) -> str:
    """CoreDNS' pods here are recreated, so that they have the fault at once."""
    return (
        f"{script}\ncrictl pods --namespace kube-system --label k8s-app=kube-dns -q | xargs -r crictl rmp -f >/dev/null"
    )


_DROP = (
    "nft -f - <<'E'\ntable inet company {{\n  chain guard {{\n    type filter hook input priority 0;\n"
    "    tcp dport {port} drop\n  }}\n}}\nE"
)
_NEW_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out {path}"
_KUBECTL = "kubectl --kubeconfig=/etc/kubernetes/admin.conf"


def _raise_alarm(alarm: str) -> str:
    """As a member does that finds it by itself; etcdctl can only take alarms away."""
    return f"""
cd {ETCD_PKI}
given="--cacert=ca.crt --cert=healthcheck-client.crt --key=healthcheck-client.key"
id=$(etcdctl $given endpoint status -w json | sed 's/.*"member_id":\\([0-9]*\\).*/\\1/')
body='{{"action":"ACTIVATE","memberID":"'$id'","alarm":"{alarm}"}}'
printf '%s\\r\\n' 'POST /v3/maintenance/alarm HTTP/1.1' 'Host: etcd' 'Connection: close' \\
  "Content-Length: ${{#body}}" '' "$body" |
  openssl s_client -quiet -ign_eof -connect 127.0.0.1:2379 -CAfile ca.crt \\
    -cert healthcheck-client.crt -key healthcheck-client.key 2>/dev/null | grep -q {alarm}"""


MACHINES = (
    Fault("power-off", "a node is gone, and does not answer", "worker", "machine-unreachable", power_off=True),
    Fault(
        "etcd-disk", "one etcd member cannot write any more", "controller", "disk-full",
        # Its data moves to a disk of its own, in memory, which somebody's copies then fill. It stays there: who
        # switches the machine off afterwards has a wiped member.
        "systemctl stop etcd.service && mkdir /var/lib/etcd.was && mv /var/lib/etcd/member /var/lib/etcd.was/\n"
        "size=$(( $(du -sk /var/lib/etcd.was | cut -f1) + 163840 ))\n"
        "mount -t tmpfs -o size=${size}k,mode=0700,uid=$(id -u etcd),gid=$(id -g etcd) tmpfs /var/lib/etcd\n"
        "mv /var/lib/etcd.was/member /var/lib/etcd/ && rmdir /var/lib/etcd.was\n"
        "cat /dev/zero >/var/lib/etcd/copy-of-last-week.db 2>/dev/null || :\n"
        "systemctl start --no-block etcd.service",
        least=3,
    ),
    Fault(
        "bridge-netfilter", "a Service answers, but not pods on the node where its own pod runs", "worker",
        "bridge-netfilter", "echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables",
    ),
    Fault(
        "ip-forward", "pods of one node reach nothing beyond it", "worker", "ip-forward",
        "echo 0 >/proc/sys/net/ipv4/ip_forward",
    ),
    Fault(
        "names", "one machine does not know the others by name", "controller", "hosts-names",
        "sed -i '/^# BEGIN hardway/,/^# END hardway/d' /etc/hosts",
        given=("hosts.resolve", "etc-hosts"),
    ),
    Fault("hostname", "a machine says that it is another one", "worker", "wrong-hostname", "hostname laptop",
          given=("hosts.hostname", "set")),
)  # fmt: skip

NETWORK = (
    Fault(
        "lost-route", "pods of two nodes do not reach each other", "worker", "pod-route",
        "ip route delete $OTHER_PODS via $OTHER_ADDRESS", least=2, given=BRIDGED,
    ),
    Fault(
        "own-route", "one node does not reach its own pods", "worker", "own-route",
        "ip route prepend $PODS via $FIRST proto static", given=BRIDGED,
    ),
    Fault(
        "forward-drop", "pods of one node talk to nobody, though their routes are there", "worker", "firewall-forward",
        "nft add table inet company && "
        "nft 'add chain inet company forward { type filter hook forward priority 0; policy drop; }'",
        given=BRIDGED,
    ),
    Fault(
        "firewall-kubelet", "logs and exec hang for pods of one node", "worker", "firewall-port",
        _DROP.format(port=10250),
    ),
    Fault("firewall-etcd", "one etcd member hears nothing of the others", "controller", "firewall-port",
          _DROP.format(port=2380), least=3),
    Fault("firewall-api", "one API server is there, and nobody reaches it", "controller", "firewall-port",
          _DROP.format(port=6443)),
    Fault(
        "resolver-loop", "CoreDNS on one node crashes again and again", "worker", "dns-loop",
        _forget_dns(
            "f=/run/systemd/resolve/resolv.conf; [ -e $f ] || f=/etc/resolv.conf; echo nameserver 127.0.0.1 >$f"
        ),
    ),
)  # fmt: skip

TRUST = (
    Fault(
        "expired-kubelet", "kubectl logs fails for the pods of one node: x509", "worker", "certificate-expired",
        forged=(Forged("pki/kubelet-{name}", f"{PKI}/kubelet.crt", "expired"),),
    ),
    Fault(
        "expired-apiserver", "every third request fails: x509", "controller", "certificate-expired",
        forged=(Forged("pki/kube-apiserver", f"{PKI}/kube-apiserver.crt", "expired"),),
    ),
    Fault(
        "expired-etcd", "one etcd member is refused by everyone", "controller", "certificate-expired",
        "systemctl restart --no-block etcd.service",
        forged=(
            Forged("pki/etcd/server-{name}", f"{ETCD_PKI}/server.crt", "expired"),
            Forged("pki/etcd/peer-{name}", f"{ETCD_PKI}/peer.crt", "expired"),
        ),
    ),
    Fault(
        "foreign-certificate", "kubectl exec fails for the pods of one node: x509", "worker", "certificate-foreign",
        forged=(Forged("pki/kubelet-{name}", f"{PKI}/kubelet.crt", "foreign"),),
    ),
    Fault(
        "node-address", "kubectl port-forward fails for the pods of one node: x509", "worker", "certificate-address",
        forged=(Forged("pki/kubelet-{name}", f"{PKI}/kubelet.crt", "without-own-address"),),
    ),
    Fault(
        "empty-certificate", "a kubelet does not come back", "worker", "certificate-unreadable",
        f": >{PKI}/kubelet.crt && systemctl restart --no-block kubelet.service",
    ),
    Fault(
        "service-ip-san", "pods get x509 from the API server, and kubectl does not", "controller", "service-ip-san",
        forged=(Forged("pki/kube-apiserver", f"{PKI}/kube-apiserver.crt", "without-service-address"),),
    ),
    Fault(
        "wrong-key", "kube-apiserver does not come back on one controller", "controller", "certificate-key",
        f"{_NEW_KEY.format(path=f'{PKI}/kube-apiserver.key')} && systemctl restart --no-block kube-apiserver.service",
    ),
    Fault(
        "foreign-ca", "a kubelet refuses the API server, and nobody else does", "worker", "ca-foreign",
        f"{_NEW_KEY.format(path='/tmp/ca.key')} && openssl req -x509 -new -key /tmp/ca.key -subj /CN=kubernetes-ca "
        f"-days 30 -out {PKI}/ca.crt && rm /tmp/ca.key && systemctl restart kubelet.service",
    ),
    Fault(
        "service-account-key", "pods are Unauthorized now and then", "controller", "service-account-key",
        f"cd {PKI} && openssl genrsa -out sa.key 2048 2>/dev/null && openssl pkey -in sa.key -pubout -out sa.pub && "
        "systemctl restart --no-block kube-apiserver.service kube-controller-manager.service",
    ),
    Fault(
        "encryption-key", "some Secrets cannot be read, every third time", "controller", "other-encryption-key",
        'cd /etc/kubernetes && sed -i "s|secret: .*|secret: $(openssl rand -base64 32)|" encryption-config.yaml && '
        "systemctl restart --no-block kube-apiserver.service",
    ),
    Fault(
        "dead-endpoint", "one kubelet runs, and its node goes NotReady", "worker", "dead-endpoint",
        "sed -i 's|server: .*|server: https://127.0.0.1:7443|' /etc/kubernetes/kubelet.conf && "
        "systemctl restart kubelet.service",
    ),
)  # fmt: skip

CONTROL_PLANE = (
    Fault("etcd-alarm", "everything can be read and nothing changed", "controller", "etcd-alarm",
          _raise_alarm("NOSPACE")),
    Fault("etcd-corrupt", "etcd runs on all controllers, and nobody gets an answer", "controller", "etcd-corrupt",
          _raise_alarm("CORRUPT"), least=3),
    Fault("etcd-quorum", "nothing answers any more, and pods run on", "controller", "etcd-quorum",
          "systemctl stop etcd.service", majority=True),
    Fault(
        "etcd-wiped", "one etcd member has lost its memory", "controller", "etcd-wiped",
        "systemctl stop etcd.service && rm -rf /var/lib/etcd/member && systemctl start --no-block etcd.service",
        least=3,
    ),
    Fault(
        "service-range", "new Services get addresses that lead nowhere", "controller", "wrong-service-range",
        _flag("kube-apiserver", "s|--service-cluster-ip-range=[^ ]*|--service-cluster-ip-range=10.99.0.0/24|"),
    ),
    Fault(
        "unknown-flag", "kube-apiserver starts again and again on one controller", "controller", "bad-flag",
        _added("kube-apiserver", "--enable-swagger-ui=true"),
    ),
    Fault(
        "port-taken", "kube-scheduler does not come back on one controller", "controller", "port-taken",
        "systemctl stop kube-scheduler.service && systemd-run -q --unit=legacy-agent openssl s_server -nocert "
        "-accept 127.0.0.1:10259 && sleep 0.3 && systemctl start --no-block kube-scheduler.service",
    ),
    Fault(
        "hand-edited", "kubectl logs fails where names of nodes are not known", "controller", "drift",
        _flag("kube-apiserver", "s|\\(--kubelet-preferred-address-types\\)=[^ ]*|\\1=Hostname|"),
    ),
    Fault(
        "kubelet-binding", "kubectl logs and exec are Forbidden everywhere", "controller", "kubelet-binding",
        f"{_KUBECTL} delete clusterrolebinding hardway:kubelet-api-admin",
    ),
    Fault("balancer-down", "nobody reaches the API at its address", "load-balancer", "unit-stopped",
          "systemctl stop kube-apiserver-lb.service"),
    Fault(
        "balancer-backends", "the API's address accepts calls and closes them", "load-balancer", "balancer-backends",
        "sed -i 's|^\\( *server .*\\):6443|\\1:6444|' /etc/kubernetes/haproxy.cfg && "
        "systemctl reload kube-apiserver-lb.service",
    ),
)  # fmt: skip

WORKERS = (
    Fault("containerd-stopped", "a node goes NotReady, though its kubelet runs", "worker", "unit-stopped",
          "systemctl stop containerd.service"),
    Fault("proxy-stopped", "Services answer on all nodes but one", "worker", "unit-stopped",
          "systemctl disable -q --now kube-proxy.service && nft delete table ip kube-proxy",
          given=("network.proxy_mode", "nftables")),
    Fault(
        "damaged-binary", "kube-proxy does not start on one node", "worker", "unit-exec",
        "cd /usr/local/bin && head -c 4096 kube-proxy >half && chmod 755 half && mv half kube-proxy && "
        "systemctl restart --no-block kube-proxy.service",
    ),
    Fault(
        "node-name", "a kubelet runs, and its node does not hear of it", "worker", "foreign-node-name",
        _flag("kubelet", "s|--hostname-override=[^ ]*|--hostname-override=node-of-the-old-days|"),
    ),
    Fault(
        "cluster-dns", "new pods of one node find no name", "worker", "wrong-cluster-dns",
        "sed -i '/^clusterDNS:/,/^[^-]/s|^- .*|- 10.32.0.53|' /var/lib/kubelet/config.yaml && "
        "systemctl restart kubelet.service",
    ),
    Fault(
        "cgroup-driver", "a node counts the memory of its pods wrongly", "worker", "cgroup-driver",
        "sed -i -e 's|^\\(cgroupDriver\\): cgroupfs|\\1: SYSTEMD|' -e 's|^\\(cgroupDriver\\): systemd|\\1: cgroupfs|' "
        "-e 's|SYSTEMD|systemd|' /var/lib/kubelet/config.yaml && systemctl restart --no-block kubelet.service",
    ),
    Fault(
        "cni-config", "a node is NotReady: its network is not", "worker", "cni-config",
        "rm /etc/cni/net.d/10-bridge.conflist", given=BRIDGED,
    ),
    Fault(
        "image-missing", "pods stay in ContainerCreating on one node", "worker", "image-missing",
        _forget_dns("ctr -n k8s.io images ls -q | grep pause | xargs ctr -n k8s.io images rm >/dev/null"),
    ),
    Fault("cordoned", "new pods go to all nodes but one", "worker", "node-cordoned", f"{_KUBECTL} cordon $NAME",
          through_controller=True),
    Fault("node-deleted", "a node has vanished, and its kubelet runs", "worker", "node-missing",
          f"{_KUBECTL} delete node $NAME", through_controller=True),
)  # fmt: skip

ADD_ONS = (
    Fault("dns-scaled", "no pod finds a name any more", "controller", "dns-scaled",
          f"{_KUBECTL} -n kube-system scale deployment coredns --replicas=0"),
    Fault("dns-gone", "no pod finds a name, and nothing is there to answer", "controller", "dns-gone",
          f"{_KUBECTL} -n kube-system delete deployment coredns"),
)  # fmt: skip

NOT_IN_A_LAB = {
    "inventory-differs": "the inventory makes it, and no machine",
    "bad-setting": "the inventory makes it, and no machine",
    "clock": "the machines of a lab have this computer's clock",
    "address-on-none": "the lab of seven machines has one load balancer",
    "address-on-several": "the lab of seven machines has one load balancer",
    "swap-on": "the machines of a lab have this computer's swap",
    "port-blocked": "it is found where no machine's own firewall explains it, and a lab has nothing else in between",
}
"""Causes that doctor knows and that no fault makes, with the reason, by rule."""

FAULTS: tuple[Fault, ...] = (*MACHINES, *NETWORK, *TRUST, *CONTROL_PLANE, *WORKERS, *ADD_ONS)


def fault(name: str) -> Fault:
    """The fault of that name; raises UsageError that says how to see all."""
    for one in FAULTS:
        if one.name == name:
            return one
    raise UsageError(f"no fault is named {name!r}", hint="hardway lab break --list")

"""Whose a path on a machine is: hardway's, a component's data, or what the machine cannot be without.

The names of files that chapters declare are here once more, so that an inventory is judged by itself; a test holds
this against all that chapters declare.
"""

import re

UNITS = (
    "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-apiserver-lb", "kube-apiserver-vip",
    "containerd", "kubelet", "kube-proxy", "pod-routes", "pod-masquerade",
)  # fmt: skip
BINARIES = (
    "containerd", "containerd-shim-runc-v2", "crictl", "ctr", "etcd", "etcdctl", "etcdutl", "kube-apiserver",
    "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet", "runc",
)  # fmt: skip
"""In a folder that hardway shares with others."""

_KUBERNETES = (
    "admin.conf", "admission-config.yaml", "audit-policy.yaml", "controller-manager.conf", "encryption-config.yaml",
    "haproxy.cfg", "keepalived.conf", "kubelet.conf", "pod-masquerade.nft", "proxy.conf", "scheduler.conf",
)  # fmt: skip
_PAIRS = (
    "apiserver-etcd-client", "apiserver-kubelet-client", "ca", "ca-signing", "front-proxy-ca", "front-proxy-client",
    "kube-apiserver", "kubelet",
)  # fmt: skip


def _any(names: tuple[str, ...]) -> str:
    return "|".join(re.escape(name) for name in names)


_HARDWAY = re.compile(
    rf"/etc/kubernetes/(?:{_any(_KUBERNETES)})"
    rf"|/etc/kubernetes/pki/(?:(?:{_any(_PAIRS)})\.(?:crt|key)|sa(?:-\d+)?\.(?:key|pub)|haproxy-health\.pem|etcd/.+)"
    rf"|/etc/etcd/pki/.+|/etc/containerd/config\.toml|/etc/crictl\.yaml|/etc/cni/net\.d/10-bridge\.conflist"
    rf"|/opt/cni/bin/.+|/var/lib/kubelet/config\.yaml|/var/lib/kube-proxy/.+|/var/lib/hardway/.+"
    rf"|/etc/systemd/system/(?:{_any(UNITS)})\.service(?:\.d/10-proxy\.conf)?"
    rf"|/etc/sysctl\.d/(?:10-hardway-limits|90-hardway)\.conf|/etc/modules-load\.d/hardway\.conf"
    rf"|/etc/systemd/networkd\.conf\.d/10-hardway\.conf|/usr/local/bin/(?:{_any(BINARIES)})|/etc/hosts"
)
_DATA = re.compile(r"/var/lib/(etcd|containerd|cni)/.+|/var/lib/kubelet/(?:pods|pki|plugins|device-plugins)/.+")
_SYSTEM = re.compile(
    r"/etc/(?:passwd|shadow|group|gshadow|sub[ug]id|fstab|sudoers|hostname|machine-id|resolv\.conf|nsswitch\.conf|crypttab"
    r"|ld\.so\.(?:conf|preload)|os-release|ssh/(?:sshd_config|ssh_host_.+)|(?:pam|sudoers)\.d/.+)[-~]?"
    r"|/root/\.ssh/.+|/var/lib/(?:dpkg|rpm|apt|systemd)/.+"
)


def by(path: str) -> str:
    """Who has this path, as a message begins: empty where an operator's file may go there."""
    if _HARDWAY.fullmatch(path):
        return "hardway writes that file itself"
    if _DATA.fullmatch(path):
        return "a component keeps its data there"
    if _SYSTEM.fullmatch(path):
        return "the machine cannot be without its own"
    return ""

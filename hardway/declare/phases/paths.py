"""Where things are on a machine: kubeadm's and the tutorial's places, where auditors look for them."""

BIN = "/usr/local/bin"
UNITS = "/etc/systemd/system"
KUBERNETES = "/etc/kubernetes"
PKI = "/etc/kubernetes/pki"
ETCD_PKI = "/etc/etcd/pki"
API_ETCD_CA = "/etc/kubernetes/pki/etcd/ca.crt"
ADMIN_CONF = "/etc/kubernetes/admin.conf"
KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
PROXY_CONF = "/etc/kubernetes/proxy.conf"
CONTROLLER_MANAGER_CONF = "/etc/kubernetes/controller-manager.conf"
SCHEDULER_CONF = "/etc/kubernetes/scheduler.conf"
ENCRYPTION_CONFIG = "/etc/kubernetes/encryption-config.yaml"
AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"
ADMISSION_CONFIG = "/etc/kubernetes/admission-config.yaml"
HAPROXY_CFG = "/etc/kubernetes/haproxy.cfg"
KEEPALIVED_CONF = "/etc/kubernetes/keepalived.conf"
HAPROXY_SOCKET = "/run/kube-apiserver-lb/admin.sock"

KUBECTL = f"{BIN}/kubectl --kubeconfig={ADMIN_CONF} --request-timeout=5s"
"""As an administrator, on a controller: it asks the API server there."""

TLS_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
)
"""For TLS 1.2; TLS 1.3 has only good ones and takes no choice."""


def unit_path(unit: str) -> str:
    return f"{UNITS}/{unit}.service"


def unit_inputs(unit: str, *others: str) -> tuple[str, ...]:
    """What a service is stale without: its unit, its drop-in folder, and what else is named."""
    return (unit_path(unit), f"{unit_path(unit)}.d", *others)

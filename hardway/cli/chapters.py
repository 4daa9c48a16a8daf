"""The chapters as the command line shows them: light, since `--help` must answer at once.

A test holds this table against `hardway.declare.phases.CHAPTERS`.
"""

SUMMARIES: dict[str, str] = {
    "hosts": "names, swap, kernel settings, packages",
    "certs": "three CAs and every certificate",
    "kubeconfigs": "who each component is to the API",
    "encryption": "Secrets unreadable in etcd",
    "etcd": "the cluster's memory",
    "control-plane": "API server, controller manager, scheduler",
    "load-balancer": "one address for all API servers",
    "workers": "containerd, kubelet, kube-proxy",
    "access": "kubectl for the operator",
    "routes": "pods reach pods on other machines",
    "dns": "names for Services",
    "smoke-test": "everything at once, from a pod's eyes",
}

FIRST_NUMBER = 1


def numbered(name: str) -> str:
    """The help line of a chapter."""
    number = list(SUMMARIES).index(name) + FIRST_NUMBER
    return f"{number:2}  {SUMMARIES[name]}"

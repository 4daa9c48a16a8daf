"""Chapter workers: container runtime, pod network, kubelet and kube-proxy on every worker."""

from collections.abc import Iterator

import yaml

from hardway.artifacts.catalogue import IMAGES
from hardway.declare import trials
from hardway.declare.generations import KUBERNETES
from hardway.declare.network import BRIDGE, CNI_CONFIG, cni_config, plugins
from hardway.declare.network.proxy import direct
from hardway.declare.phases.base import Declared, Model, Phase, Proof, fact_placeholder
from hardway.declare.phases.certs import TRUST, signs, verify_by
from hardway.declare.phases.paths import ADMIN_CONF, BIN, KUBECTL, KUBELET_CONF, PROXY_CONF, unit_inputs, unit_path
from hardway.declare.render import merge_toml, merge_yaml, render
from hardway.declare.resources import (
    ApiObjects,
    Binary,
    Check,
    Directory,
    File,
    Group,
    Image,
    NodeTaints,
    Resource,
    Service,
    stays_up,
)
from hardway.inventory.model import Machine, joined
from hardway.values import host_port

CONTAINERD_CONFIG = "/etc/containerd/config.toml"
CONTAINERD_PROXY = f"{unit_path('containerd')}.d/10-proxy.conf"
KUBELET_CONFIG = "/var/lib/kubelet/config.yaml"
PROXY_CONFIG = "/var/lib/kube-proxy/kube-proxy-config.yaml"
REMOVE_PODS = f"""\
[ ! -S /run/containerd/containerd.sock ] || timeout 120 {BIN}/crictl rmp --all --force >/dev/null 2>&1 || true
# Chains that a kubelet makes where it finds iptables; `kube-proxy --cleanup` does not know them.
for tool in iptables ip6tables; do
  command -v $tool >/dev/null 2>&1 || continue
  for table in filter mangle nat; do
    for chain in KUBE-FIREWALL KUBE-KUBELET-CANARY KUBE-IPTABLES-HINT; do
      $tool -w -t $table -S 2>/dev/null | sed -n "s/^-A \\(.* -j $chain\\)$/-D \\1/p" | while read -r rule; do
        # shellcheck disable=SC2086
        $tool -w -t $table $rule 2>/dev/null || true
      done
      $tool -w -t $table -F $chain 2>/dev/null || true
      $tool -w -t $table -X $chain 2>/dev/null || true
    done
  done
done"""
KILL_CONTAINERS = f"""\
shims=
for process in /proc/[0-9]*; do
  case $(readlink "$process/exe" 2>/dev/null) in
  {BIN}/containerd-shim-runc-v2*) shims="$shims ${{process#/proc/}}" ;;
  esac
done
for process in ${{shims:+/proc/[0-9]*}}; do
  parent=$(sed -n 's/^PPid:[[:space:]]*//p' "$process/status" 2>/dev/null) || continue
  case " $shims " in *" $parent "*) kill -9 "${{process#/proc/}}" 2>/dev/null || true ;; esac
done
for shim in $shims; do kill -9 "$shim" 2>/dev/null || true; done
ip link delete {BRIDGE} 2>/dev/null || true
find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {{}} ';' 2>/dev/null || true"""
REMOVE_RULES = f"{BIN}/kube-proxy --cleanup >/dev/null 2>&1 || true"


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.workers:
        for part in (_runtime, _network, _kubelet, _proxy):
            for resource in part(model, machine):
                yield machine.name, resource
        for resource in _services(model, machine):
            yield machine.name, resource
    if labels := node_labels(model):
        yield model.api_servers[0].name, ApiObjects("node-labels", labels, ADMIN_CONF)
    if any(machine.taints for machine in model.cluster.workers):
        nodes = tuple((machine.name, machine.taints) for machine in model.cluster.workers if machine.taints)
        yield model.api_servers[0].name, NodeTaints(nodes)


def _runtime(model: Model, machine: Machine) -> Iterator[Resource]:
    for name in ("containerd", "containerd-shim-runc-v2", "ctr"):
        yield Binary(f"{BIN}/{name}", name, model.versions["containerd"])
    yield Binary(f"{BIN}/runc", "runc", model.versions["runc"])
    yield Binary(f"{BIN}/crictl", "crictl", model.versions["cri-tools"])
    yield Directory("/etc/containerd")
    yield Directory("/var/lib/containerd", 0o700, data=True)
    yield File(CONTAINERD_CONFIG, containerd_config(model, machine))
    yield File("/etc/crictl.yaml", render("configs/crictl.yaml"))
    yield File(unit_path("containerd"), render("units/containerd.service"), mode=0o600)
    if model.cluster.proxy:
        no_proxy = ",".join(direct(model.cluster))
        yield File(
            CONTAINERD_PROXY, render("units/containerd-proxy.conf", proxy=model.cluster.proxy, no_proxy=no_proxy)
        )


def _network(model: Model, machine: Machine) -> Iterator[Resource]:
    yield Directory("/opt/cni/bin")
    for name in plugins(model.cluster):
        yield Binary(f"/opt/cni/bin/{name}", name, model.versions["cni-plugins"])
    yield Directory("/etc/cni/net.d")
    if model.cluster.network.plugin == "bridge":
        yield File(CNI_CONFIG, cni_config(model.cluster, machine), mode=0o600)
    yield Directory("/var/lib/cni", data=True)


def _kubelet(model: Model, machine: Machine) -> Iterator[Resource]:
    yield Binary(f"{BIN}/kubelet", "kubelet", model.kubernetes(machine.name))
    yield Directory("/var/lib/kubelet", 0o700, data=True)
    yield File(KUBELET_CONFIG, kubelet_config(model, machine), mode=0o600)
    yield File(unit_path("kubelet"), _kubelet_unit(machine), mode=0o600)


def _kubelet_unit(machine: Machine) -> str:
    return render("units/kubelet.service", name=machine.name, address=joined(machine.addresses))


def _proxy(model: Model, machine: Machine) -> Iterator[Resource]:
    yield Binary(f"{BIN}/kube-proxy", "kube-proxy", model.kubernetes(machine.name))
    yield Directory("/var/lib/kube-proxy")
    yield File(PROXY_CONFIG, proxy_config(model, machine), mode=0o600)
    yield File(unit_path("kube-proxy"), render("units/kube-proxy.service"), mode=0o600)


def _services(model: Model, machine: Machine) -> Iterator[Service | Image]:
    # containerd watches for network configurations that are written or removed, and overlooks one that is
    # renamed into place.
    network = (CNI_CONFIG,) if model.cluster.network.plugin == "bridge" else ()
    proxy = (CONTAINERD_PROXY,) if model.cluster.proxy else ()
    yield Service(
        "containerd.service",
        inputs=unit_inputs("containerd", f"{BIN}/containerd", CONTAINERD_CONFIG, *network, *proxy),
        group=Group("containerd"),
        trial=trials.containerd(CONTAINERD_CONFIG),
        ready=Check("containerd answers", "[ -S /run/containerd/containerd.sock ]", limit=60),
    )
    yield Image(IMAGES["image/pause"].ref, "image/pause", model.versions["pause"])
    yield Service(
        "kubelet.service",
        # The serving certificate is read again when it changes.
        inputs=unit_inputs("kubelet", f"{BIN}/kubelet", KUBELET_CONFIG, KUBELET_CONF),
        group=Group("kubelet"),
        trial=trials.kubelet(_kubelet_unit(machine)),
        ready=Check("the kubelet runs", "systemctl is-active kubelet.service", limit=60),
    )
    yield Service(
        "kube-proxy.service",
        inputs=unit_inputs("kube-proxy", f"{BIN}/kube-proxy", PROXY_CONFIG, PROXY_CONF),
        group=Group("kube-proxy"),
        trial=trials.proxy(render("units/kube-proxy.service")),
        ready=stays_up("kube-proxy.service"),
    )


def containerd_config(model: Model, machine: Machine) -> str:
    text = render(
        "configs/containerd-config.toml",
        pause=IMAGES["image/pause"].ref,
        restrict_oom_score_adj=fact_placeholder("restrict-oom-score-adj"),
        systemd_cgroup=fact_placeholder("systemd-cgroup"),
    )
    return merge_toml(text, model.overrides("containerd", machine))


def kubelet_config(model: Model, machine: Machine) -> str:
    network = model.cluster.network
    text = render(
        "configs/kubelet-config.yaml",
        cgroup_driver=fact_placeholder("cgroup-driver"),
        fail_cgroup_v1=fact_placeholder("fail-cgroup-v1"),
        cluster_domain=network.cluster_domain,
        dns_address=network.dns_address,
        resolv_conf=fact_placeholder("resolv-conf"),
        pod_cidr=joined(machine.pod_cidrs),
    )
    if machine.taints:
        # From its first moment, before any pod could go there; on a node that is there already it changes nothing.
        text = merge_yaml(text, {"registerWithTaints": [_taint(one) for one in machine.taints]})
    if not signs(model, KUBERNETES):
        # Nobody would answer its requests; the certificate in its kubeconfig is the operator's to renew.
        text = merge_yaml(text, {"rotateCertificates": False})
    return merge_yaml(text, model.overrides("kubelet", machine))


def _taint(text: str) -> dict[str, str]:
    """As the kubelet's configuration has it."""
    pair, _, effect = text.rpartition(":")
    key, _, value = pair.partition("=")
    return {"key": key, **({"value": value} if value else {}), "effect": effect}


def node_labels(model: Model) -> str:
    """Node objects with the inventory's labels and nothing else.

    An administrator gives them, not the kubelet: it may not give itself every label, and it gives those
    that it may only when it first registers.
    """
    nodes = [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": machine.name, "labels": dict(machine.labels)}}
        for machine in model.cluster.workers
        if machine.labels
    ]
    return yaml.safe_dump_all(nodes, sort_keys=False) if nodes else ""


def proxy_config(model: Model, machine: Machine) -> str:
    text = render(
        "configs/kube-proxy-config.yaml",
        name=machine.name,
        mode=model.cluster.network.proxy_mode,
        pod_cidr=joined(model.cluster.network.pod_cidrs),
        conntrack_max_per_core=fact_placeholder("conntrack-max-per-core"),
        conntrack_min=fact_placeholder("conntrack-min"),
    )
    return merge_yaml(text, model.overrides("kube-proxy", machine))


def proofs(model: Model) -> Iterator[Proof]:
    for machine in model.cluster.workers:
        for unit in ("containerd", "kubelet", "kube-proxy"):
            yield Proof(
                machine.name,
                f"{unit} runs",
                f"systemctl is-active {unit}.service",
                "a node without it runs no pod, or no Service reaches one",
                "equals",
                "active",
            )
        if model.cluster.network.plugin == "bridge":
            yield _node_is_ready(model, machine)
        yield Proof(
            machine.name,
            "the kubelet serves with a certificate of this cluster",
            f"openssl s_client -connect {host_port(machine.ip, 10250)} {verify_by(model, KUBERNETES, TRUST)} "
            f"-verify_return_error -verify_ip {machine.ip} -brief </dev/null 2>&1",
            "kubectl logs and exec end in the API server's own connection to this port",
            "contains",
            "Verification: OK",
            within=10,
        )


def _node_is_ready(model: Model, machine: Machine) -> Proof:
    return Proof(
        model.cluster.controller_for(model.cluster.workers.index(machine)).name,
        f"node {machine.name} is Ready with the version asked for",
        f"{KUBECTL} get node {machine.name} -o "
        "jsonpath='{.status.nodeInfo.kubeletVersion} "
        '{.status.conditions[?(@.type=="Ready")].status}\'',
        "its kubelet has registered, its runtime answers, its pod network is configured",
        "equals",
        f"v{model.kubernetes(machine.name)} True",
        within=60,
    )


PHASE = Phase(
    "workers",
    "Bootstrapping the Kubernetes worker nodes",
    "Here pods run: the kubelet has containerd make them, a bridge joins them, kube-proxy makes Services.",
    resources,
    proofs,
)

"""The trials of the smoke test, as proofs about what it has made. Pure: nothing here performs I/O.

Pods run agnhost's `netexec`, the test server of Kubernetes' own tests: its `/dial` makes a request from
inside the pod and answers with what came back. A pod is asked through the API server's proxy, so none
of this needs a shell in the image, or curl on a machine.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from hardway.declare.phases.base import Proof
from hardway.declare.phases.etcd import ETCDCTL
from hardway.declare.phases.paths import ADMIN_CONF, BIN
from hardway.inventory.model import Cluster, Machine
from hardway.values import host_port

NAMESPACE = "hardway-smoke-test"
KUBECTL = f"{BIN}/kubectl --kubeconfig={ADMIN_CONF}"
ASK = f"{KUBECTL} --request-timeout=15s"
POD_PORT = 8080
IPV6_SERVICE = "echo-ipv6"
"""A Service that has no IPv4 address, so that what reaches it does so over IPv6."""
CLOSED_PORT = 9
"""A port that no Service has."""

PODS_WITHIN = 120
"""Seconds for pods to start: where no image was preloaded they are pulled."""
RULES_WITHIN = 20
"""Seconds for kube-proxy and CoreDNS to have heard of a new Service."""


@dataclass(frozen=True)
class Pod:
    name: str
    node: str
    address: str
    address6: str = ""


@dataclass(frozen=True)
class Echo:
    """The Deployment's pods, by node, and the Service in front of them; with IPv6, the one of IPv6 alone, too."""

    pods: tuple[Pod, ...]
    service_address: str
    node_port: int
    service_address6: str = ""
    node_port6: int = 0


def echo(answer: str) -> Echo:
    """From `kubectl get pods,services -o json`; pods that are going away are left out."""
    items = json.loads(answer)["items"]
    pods = [
        Pod(one["metadata"]["name"], one["spec"]["nodeName"], one["status"]["podIP"], _second(one["status"]))
        for one in items
        if one["kind"] == "Pod" and one["status"].get("podIP") and "deletionTimestamp" not in one["metadata"]
    ]
    services = [_dialled(one["spec"]) for one in items if one["kind"] == "Service"]
    # IPv4 first: only the other one has a colon.
    first, *others = sorted(services, key=lambda service: ":" in service[0])
    address6, port6 = others[0] if others else ("", 0)
    return Echo(tuple(sorted(pods, key=lambda pod: pod.node)), *first, address6, port6)


def _dialled(service: Mapping[str, Any]) -> tuple[str, int]:
    return service["clusterIP"], service["ports"][0]["nodePort"]


def _second(status: Mapping[str, Any]) -> str:
    """The pod's address of the other family."""
    addresses = [one["ip"] for one in status.get("podIPs", ())]
    return addresses[1] if len(addresses) > 1 else ""


def begun(cluster: Cluster, versions: Mapping[str, str]) -> Iterator[Proof]:
    """What must hold before pods can be asked anything."""
    first = cluster.controllers[0].name
    for controller in cluster.controllers:
        yield Proof(
            controller.name,
            "its API server runs the version asked for",
            f"{ASK} get --raw=/version | grep -o 'v[0-9][0-9.]*' | head -n 1",
            "an old process goes on after its file was replaced; look at: hardway control-plane",
            "equals",
            f"v{versions['kubernetes']}",
        )
    yield Proof(
        first,
        "a Secret is encrypted in etcd",
        f"{ETCDCTL} --endpoints=https://127.0.0.1:2379 get /registry/secrets/{NAMESPACE}/canary --print-value-only "
        "| head -c 64 | tr -cd '[:print:]' | cut -d: -f1-5",
        "who steals etcd's disk must not read Secrets; look at: hardway encryption",
        "starts-with",
        f"k8s:enc:{cluster.encryption.provider}:",
    )
    yield Proof(
        first,
        "a Deployment runs a pod on every worker",
        f"if said=$({KUBECTL} -n {NAMESPACE} rollout status deployment/echo --timeout=10s 2>&1)\n"
        "then printf '%s\\n' \"$said\" | tail -n 1\n"
        "else\n"
        "  printf '%s\\n' \"$said\" | tail -n 1\n"
        f"  {ASK} -n {NAMESPACE} get events --field-selector=type=Warning --no-headers "
        "-o custom-columns=:.involvedObject.name,:.message | tail -n 3\n"
        "  exit 1\nfi",
        "scheduler, controller manager, kubelets, runtime and pod network have all done their part; "
        "look at: hardway workers, and the kubelet's journal on the worker that has no pod",
        within=PODS_WITHIN,
    )


def from_controllers(cluster: Cluster, made: Echo) -> Iterator[Proof]:
    """What goes from a controller to a pod or to its kubelet."""
    for controller in cluster.controllers:
        for pod in made.pods:
            yield Proof(
                controller.name,
                f"its API server reaches the pod on {pod.node}",
                _get(pod, "hostname"),
                "webhooks and aggregated APIs are pods that an API server calls; look at: hardway routes",
                "equals",
                pod.name,
                within=RULES_WITHIN,
            )
    for number, pod in enumerate(made.pods):
        via = _by_turns(cluster, number)
        yield Proof(
            via.name,
            f"logs of the pod on {pod.node}",
            f"{ASK} -n {NAMESPACE} logs {pod.name} | head -n 1",
            "the API server dials the kubelet's address with its own certificate; look at: hardway workers",
            "contains",
            "Started HTTP server",
        )
        yield Proof(
            via.name,
            f"exec in the pod on {pod.node}: it asks the cluster's DNS",
            f"{ASK} -n {NAMESPACE} exec {pod.name} -- /agnhost dns-server-list",
            "the kubelet gives every pod its nameserver; look at: hardway workers",
            "equals",
            str(cluster.network.dns_address),
        )
    if made.pods:
        pod = made.pods[0]
        yield Proof(
            cluster.controllers[0].name,
            f"port-forward to the pod on {pod.node}",
            _port_forward(pod),
            "people reach a pod through the API server and the kubelet; look at: hardway workers",
            "equals",
            pod.name,
        )


def from_pods(cluster: Cluster, made: Echo) -> Iterator[Proof]:
    """What pods see of each other, of Services and of names, and what comes in through nodes."""
    for number, pod in enumerate(made.pods):
        via = _by_turns(cluster, number).name
        for other in made.pods:
            if other != pod:
                yield _other_pod(via, pod, other, other.address)
            if other != pod and other.address6:
                yield _other_pod(via, pod, other, other.address6)
        yield _service(via, pod, made.service_address)
        if made.service_address6:
            yield _service(via, pod, made.service_address6)
            yield _name6(via, pod, cluster)
        yield _api(via, pod, str(cluster.first_service_address))
        yield _name(via, pod, cluster)
    yield from _node_ports(cluster, made)


def _other_pod(via: str, pod: Pod, other: Pod, address: str) -> Proof:
    return Proof(
        via,
        f"the pod on {pod.node} reaches the pod on {other.node}{_by(address)}",
        _dial(pod, address, POD_PORT),
        f"{pod.node} must have a route to the pods of {other.node}, and the other way; look at: hardway routes",
        "contains",
        f'"{other.name}"',
        within=RULES_WITHIN,
    )


def _service(via: str, pod: Pod, address: str) -> Proof:
    return Proof(
        via,
        f"the pod on {pod.node} reaches a Service by its address{_by(address)}",
        _dial(pod, address, 80),
        f"kube-proxy on {pod.node} writes the rules that lead to a pod behind it; look at: hardway workers",
        "contains",
        '"responses":["echo-',
        within=RULES_WITHIN,
    )


def _by(address: str) -> str:
    """What is proved over the family that everything uses is not said to be."""
    return " over IPv6" if ":" in address else ""


def _name6(via: str, pod: Pod, cluster: Cluster) -> Proof:
    name = f"{IPV6_SERVICE}.{NAMESPACE}.svc.{cluster.network.cluster_domain}"
    return Proof(
        via,
        f"the pod on {pod.node} finds the IPv6 address of a Service by its name",
        _dial(pod, name, 80),
        "CoreDNS must answer with an AAAA record: this Service has no IPv4 address; look at: hardway dns",
        "contains",
        '"responses":["echo-',
        within=RULES_WITHIN,
    )


def _api(via: str, pod: Pod, address: str) -> Proof:
    return Proof(
        via,
        f"the pod on {pod.node} reaches the API at {address}",
        _dial(pod, address, 443),
        "programs in pods dial the API's Service, which leads to the controllers; look at: hardway routes",
        # What a TLS server says to those who forget TLS.
        "contains",
        "to an HTTPS server",
        within=RULES_WITHIN,
    )


def _name(via: str, pod: Pod, cluster: Cluster) -> Proof:
    name = f"kubernetes.default.svc.{cluster.network.cluster_domain}"
    return Proof(
        via,
        f"the pod on {pod.node} finds {name}",
        # Nobody listens on that port: the failure names the address that the name led to.
        f"{_dial(pod, name, CLOSED_PORT, 'udp')} | sed 's/.*u003e\\[*\\([0-9a-f.:]*\\)\\]*:{CLOSED_PORT}.*/\\1/'",
        "CoreDNS must answer, and give the address that the API's certificate holds; look at: hardway dns",
        "equals",
        str(cluster.first_service_address),
        within=RULES_WITHIN,
    )


def _node_ports(cluster: Cluster, made: Echo) -> Iterator[Proof]:
    for number, worker in enumerate(cluster.workers):
        others = [controller for controller in cluster.controllers if controller != worker]
        via = (others or [worker])[number % max(1, len(others))]
        yield _node_port(via, worker, str(worker.ip), made.node_port)
        if made.node_port6 and worker.address6:
            yield _node_port(via, worker, str(worker.address6), made.node_port6)


def _node_port(via: Machine, worker: Machine, host: str, port: int) -> Proof:
    return Proof(
        via.name,
        f"NodePort {port} of {worker.name}, seen from {via.name}{_by(host)}",
        f"{BIN}/kubectl --kubeconfig=/dev/null --server=http://{host_port(host, port)} --request-timeout=5s "
        "get --raw=/hostname",
        f"kube-proxy on {worker.name}, and its firewall, must let it in; look at: hardway workers",
        "starts-with",
        "echo-",
        within=RULES_WITHIN,
    )


def _by_turns(cluster: Cluster, number: int) -> Machine:
    return cluster.controllers[number % len(cluster.controllers)]


def _get(pod: Pod, path: str) -> str:
    return f"{ASK} get --raw={shlex.join([f'/api/v1/namespaces/{NAMESPACE}/pods/{pod.name}:{POD_PORT}/proxy/{path}'])}"


def _dial(pod: Pod, host: str, port: int, protocol: str = "http") -> str:
    question = {"host": host, "port": port, "protocol": protocol, "request": "hostname", "tries": 1}
    return _get(pod, f"dial?{urlencode(question)}")


def _port_forward(pod: Pod) -> str:
    return f"""\
said=$(mktemp)
{KUBECTL} -n {NAMESPACE} port-forward pod/{pod.name} :{POD_PORT} >"$said" 2>&1 &
forward=$!
trap 'kill $forward 2>/dev/null; wait $forward 2>/dev/null || true; rm -f "$said"' EXIT
port= tries=0
while [ -z "$port" ]; do
  sleep 0.1; tries=$((tries + 1))
  [ $tries -lt 80 ] || {{ cat "$said"; exit 1; }}
  port=$(sed -n 's/^Forwarding from 127.0.0.1:\\([0-9]*\\) .*/\\1/p' "$said")
done
{BIN}/kubectl --kubeconfig=/dev/null --server=http://127.0.0.1:$port --request-timeout=5s get --raw=/hostname"""

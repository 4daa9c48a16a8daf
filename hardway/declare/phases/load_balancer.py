"""Chapter load-balancer: HAProxy in front of the API servers.

It runs under a unit and a configuration of our own: the package's haproxy.service and haproxy.cfg are
the machine's, and may serve something else.
"""

from collections.abc import Iterator

from hardway.declare.generations import KUBERNETES
from hardway.declare.haproxy import merge_sections
from hardway.declare.phases import virtual_address
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.certs import TRUST, server_trust_path, verify_by
from hardway.declare.phases.paths import HAPROXY_CFG, PKI, unit_inputs, unit_path
from hardway.declare.render import render
from hardway.declare.resources import Check, File, Service
from hardway.inventory.model import API_PORT, Machine
from hardway.values import host_port

UNIT = "kube-apiserver-lb"
HEALTH = "/readyz?exclude=etcd&exclude=etcd-readiness"
"""What HAProxy asks each server: itself, and not the etcd that all of them share."""
HAPROXY = "/usr/sbin/haproxy"
ENDPOINT_ANSWERS = "the endpoint answers with the cluster's certificate"
"""A handshake through HAProxy: it runs, and has an API server whose /readyz is good; without one it lets nobody in."""
UNFAILING = 1_000_000
"""So many health checks in a row never fail."""
HEALTH_PAIR = f"{PKI}/haproxy-health.pem"
"""The client certificate of its health checks, and the key: HAProxy reads both from one file."""


def haproxy_cfg(model: Model, machine: Machine) -> str:
    # Nobody is better off without the only one: callers of a server that is slow would have their connections closed.
    alone = f" fall {UNFAILING}" if len(model.api_servers) == 1 else ""
    servers = "\n".join(f"  server {one.name} {host_port(one.ip, API_PORT)}{alone}" for one in model.api_servers)
    trust, port = server_trust_path(model), model.cluster.endpoint_port
    bind = f":::{port} v4v6" if any(one.version == 6 for one in machine.addresses) else f"*:{port}"
    text = render("configs/haproxy.cfg", bind=bind, servers=servers, health=HEALTH, trust=trust)
    return merge_sections(text, model.overrides("haproxy", machine))


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.load_balancers:
        yield machine.name, _configuration(model, machine)
        yield machine.name, File(unit_path(UNIT), render(f"units/{UNIT}.service", haproxy=HAPROXY), mode=0o600)
        yield (
            machine.name,
            Service(
                f"{UNIT}.service",
                inputs=unit_inputs(UNIT),
                reload_inputs=(HAPROXY_CFG, server_trust_path(model), HEALTH_PAIR),
                group=virtual_address.group(model.cluster, "haproxy"),
                ready=Check("HAProxy runs", f"systemctl is-active {UNIT}.service", limit=30),
            ),
        )
        yield from virtual_address.resources(model, machine)


def _configuration(model: Model, machine: Machine) -> File:
    """HAProxy itself tries it: with one that it does not take, it would not come back after a reboot."""
    return File(HAPROXY_CFG, haproxy_cfg(model, machine), mode=0o600, tried_by=(HAPROXY, "-c", "-f"))


def proofs(model: Model) -> Iterator[Proof]:
    cluster = model.cluster
    trust = verify_by(model, KUBERNETES, TRUST)
    for machine in cluster.load_balancers:
        yield Proof(
            machine.name,
            ENDPOINT_ANSWERS,
            # s_client ends with status 0 only when the chain and the name are good.
            f"openssl s_client -connect {host_port(machine.ip, cluster.endpoint_port)} {trust} "
            f"-verify_return_error -verify_ip {machine.ip} -brief </dev/null 2>&1",
            "kubelets and people dial here; it passes TLS on unopened, so what they see is an API server's own",
            within=10,
        )
        for controller in model.api_servers:
            yield Proof(
                machine.name,
                f"{controller.name} is ready behind it",
                # Its own health check, made by a connection as the balancer makes it.
                f"printf 'GET {HEALTH} HTTP/1.0\\r\\nHost: kubernetes\\r\\n\\r\\n' | openssl s_client -quiet "
                f"-connect {host_port(controller.ip, API_PORT)} {trust} -cert {PKI}/haproxy-health.pem "
                f"-key {PKI}/haproxy-health.pem -verify_return_error -ign_eof 2>/dev/null | tail -n 1",
                "a server that is not ready gets no connections; with one gone the others must be there",
                "equals",
                "ok",
            )
    yield from virtual_address.proofs(model)


PHASE = Phase(
    "load-balancer",
    "The Kubernetes frontend load balancer",
    "One address for all API servers: when a controller dies, its own connections are all that is lost.",
    resources,
    proofs,
)

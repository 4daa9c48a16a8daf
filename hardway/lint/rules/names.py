"""Rules about the names in certificates: who is dialled under which, and who says to be whom."""

from __future__ import annotations

from collections.abc import Iterator

from hardway.inventory.model import Cluster
from hardway.lint.rules.common import (
    NODE_PREFIX,
    SETUP,
    address,
    api_servers,
    clients,
    dialled_name,
    host,
    listed,
    node_name,
    service_range,
    setup_of,
    stem,
)
from hardway.probe.setup.model import Certificate, Component, MachineSetup
from hardway.rules import Evidence, Found, Rule

USERS = {
    "kube-controller-manager": "system:kube-controller-manager",
    "kube-scheduler": "system:kube-scheduler",
    "kube-proxy": "system:kube-proxy",
}
"""Whom Kubernetes' own roles are bound to."""


def api_server_names(evidence: Evidence) -> Iterator[Found]:
    domain = evidence.cluster.network.cluster_domain
    service = "kubernetes.default.svc"
    first = str(service_range(evidence).network_address + 1)
    wanted = (first, "kubernetes", "kubernetes.default", service, f"{service}.{domain}")
    for machine, certificate in api_servers(setup_of(evidence)):
        missing = [name for name in wanted if not certificate.covers(name)]
        if missing:
            yield Found(
                machine.name,
                f"{certificate.where}, what kube-apiserver shows, lacks {', '.join(missing)}",
                f"issue it again with {', '.join(missing)} among its SANs",
                symptom=_refused("dns", certificate, missing[0]),
            )


def kubeconfig_servers(evidence: Evidence) -> Iterator[Found]:
    servers = list(api_servers(setup_of(evidence)))
    for machine, _, config in setup_of(evidence).all_kubeconfigs():
        dialled = host(config.server)
        if not config.server.startswith("https://") or not dialled:
            said = f"dials {config.server or 'nobody'}: an API server is dialled by https://"
            yield Found(
                machine.name, f"{config.where} {said}", f"set its server: https://{evidence.cluster.endpoint_host}"
            )
            continue
        found = address(dialled)
        loopback = dialled == "localhost" or (found is not None and found.is_loopback)
        asked = [one for one in servers if one[0].name == machine.name] if loopback else []
        refused = [(other, one) for other, one in asked or servers if not one.covers(dialled)]
        if refused:
            where = ", ".join(dict.fromkeys(f"{other.name}:{one.where}" for other, one in refused))
            yield Found(
                machine.name,
                f"{config.where} dials {dialled}, which is not among the SANs of {where}",
                f"issue that certificate again with {dialled}, or dial a name that it holds",
                symptom=_refused("workers", refused[0][1], dialled),
            )


def node_names(evidence: Evidence) -> Iterator[Found]:
    for machine in setup_of(evidence).machines.values():
        node = node_name(machine)
        for certificate in _node_certificates(machine):
            named = certificate.common_name.removeprefix(NODE_PREFIX)
            if not certificate.common_name.startswith(NODE_PREFIX):
                yield Found(machine.name, f"{certificate.where} has CN {certificate.common_name}, not {NODE_PREFIX}…",
                            f"issue it again with CN {NODE_PREFIX}{node or 'NODE'}")  # fmt: skip
            elif node and named != node and "kubelet" in machine.components:
                yield Found(
                    machine.name,
                    f"its kubelet registers as {node}, and {certificate.where} says to be {named}",
                    f"issue it again with CN {NODE_PREFIX}{node}, or give the kubelet --hostname-override={named}",
                    symptom=f'workers: nodes "{node}" is forbidden: node "{named}" '
                    f'is not allowed to modify node "{node}"',
                )
            elif named not in _workers(evidence.cluster, node):
                yield Found(machine.name, f"{certificate.where} is for node {named}, and no worker is called that",
                            f"issue it again for one of {', '.join(_workers(evidence.cluster, node))}")  # fmt: skip
            if "system:nodes" not in certificate.organizations:
                have = ", ".join(certificate.organizations) or "no O at all"
                yield Found(
                    machine.name,
                    f"{certificate.where} has {have}, not O system:nodes",
                    "issue it again with O system:nodes",
                    symptom=f'workers: nodes "{named}" is forbidden: User "system:node:{named}" cannot get resource',
                )


def _node_certificates(machine: MachineSetup) -> Iterator[Certificate]:
    """What kubelets show to API servers, or are meant to."""
    config = machine.kubeconfigs.get("kubelet")
    if config and config.client:
        yield config.client
    loose = [one.client for one in machine.loose_kubeconfigs if one.client]
    for one in (*machine.loose, *loose):
        if one.common_name.startswith(NODE_PREFIX):
            yield one


def _workers(cluster: Cluster, node: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(one.name for one in cluster.workers), *((node,) if node else ()))))


def proxy_names(evidence: Evidence) -> Iterator[Found]:
    for machine, proxy in setup_of(evidence).each("kube-proxy"):
        given = str(proxy.config.get("hostnameOverride") or proxy.flags.get("hostname-override") or machine.hostname)
        node = node_name(machine)
        if node and given and given.lower() != node:
            yield Found(
                machine.name,
                f"its kubelet registers as {node}, and kube-proxy looks for node {given}",
                f"hostnameOverride: {node} in kube-proxy's configuration",
            )


def kubelet_names(evidence: Evidence) -> Iterator[Found]:
    """Only where API servers ask who a kubelet is."""
    setup = setup_of(evidence)
    asking = [one for _, one in setup.each("kube-apiserver") if one.flags.get("kubelet-certificate-authority")]
    if not asking:
        return
    for machine, kubelet in setup.each("kubelet"):
        certificate = machine.presents.get("kubelet/server")
        if certificate is None:
            if not _has_server_certificate(kubelet):
                yield Found(machine.name, "its kubelet names no tlsCertFile, and makes itself a certificate",
                            "give it one of the cluster's CA: tlsCertFile and tlsPrivateKeyFile")  # fmt: skip
            continue
        first = (asking[0].items("kubelet-preferred-address-types") or ("Hostname",))[0]
        dialled = dialled_name(evidence.cluster, machine) if first.endswith("IP") else node_name(machine)
        if dialled and not certificate.covers(dialled):
            yield Found(
                machine.name,
                f"API servers dial its kubelet as {dialled}, which {certificate.where} does not hold",
                f"issue it again with {dialled} among its SANs",
                symptom=_refused("smoke-test (kubectl logs, exec)", certificate, dialled),
            )


def _has_server_certificate(kubelet: Component) -> bool:
    named = kubelet.config.get("tlsCertFile") or kubelet.flags.get("tls-cert-file")
    return bool(named or kubelet.config.get("serverTLSBootstrap"))


def etcd_names(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    servers: set[str] = set()
    for _, one in setup.each("kube-apiserver"):
        servers.update(one.items("etcd-servers"))
    for machine, etcd in setup.each("etcd"):
        own = {dialled_name(evidence.cluster, machine), machine.name, machine.hostname} - {""}
        called = {url for url in servers if host(url) in own}
        urls = {"server": {*etcd.items("advertise-client-urls"), *called},
                "peer": set(etcd.items("initial-advertise-peer-urls"))}  # fmt: skip
        for purpose, dialled in urls.items():
            certificate = machine.presents.get(f"etcd/{purpose}")
            hosts = sorted({host(url) for url in dialled if url.startswith("https://")})
            missing = [one for one in hosts if certificate and not certificate.covers(one)]
            if certificate and missing:
                who = "API servers" if purpose == "server" else "the other members"
                yield Found(
                    machine.name,
                    f"{who} dial its etcd as {', '.join(missing)}, which {certificate.where} does not hold",
                    f"issue it again with {', '.join(missing)} among its SANs",
                    symptom=_refused("control-plane" if purpose == "server" else "etcd", certificate, missing[0]),
                )


def component_users(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    shown = [(machine, component, config.where, config.client)
             for machine, component, config in clients(setup) if config.client]  # fmt: skip
    for machine in setup.machines.values():
        shown += [(machine, stem(one.where), one.where, one) for one in machine.loose]
    for machine, component, where, client in shown:
        wanted = USERS.get(component)
        if wanted and client.common_name != wanted:
            said = client.common_name or "nobody"
            yield Found(
                machine.name,
                f"{where} says to be {said}; Kubernetes' role for {component} is bound to {wanted}",
                f"issue {'it' if where == client.where else 'its client certificate'} again with CN {wanted}",
                symptom=f'control-plane: User "{said}" cannot list resource',
            )


def _refused(phase: str, certificate: Certificate, name: str) -> str:
    """What a Go program says of a certificate that does not hold the name it dialled."""
    is_address = address(name) is not None
    held = list(certificate.addresses if is_address else certificate.dns_names)
    if held:
        return f"{phase}: x509: certificate is valid for {listed(held)}, not {name}"
    if is_address:
        return f"{phase}: x509: cannot validate certificate for {name} because it doesn't contain any IP SANs"
    return f"{phase}: x509: certificate is not valid for any names, but wanted to match {name}"


RULES = (
    Rule(
        "api-server-names", SETUP, api_server_names,
        "pods dial the first address of the service range, and check these names", "issue the certificate again",
        layer="trust", detects="an API server's certificate without the first service address, or without one of "
        "kubernetes, kubernetes.default, kubernetes.default.svc, kubernetes.default.svc.DOMAIN",
        symptom="dns: x509: certificate is valid for …, not 10.32.0.1",
    ),
    Rule(
        "kubeconfig-server", SETUP, kubeconfig_servers,
        "a client compares the host that it dials with the names in the certificate that it is shown",
        "dial a name that the certificate holds, or issue it again", layer="trust",
        detects="a kubeconfig whose server is not among the SANs of the API servers' certificates",
        symptom="workers: x509: certificate is valid for …, not …",
    ),
    Rule(
        "node-name", SETUP, node_names,
        "the Node authorizer lets a kubelet touch only the node that its certificate names",
        "one name in certificate, kubelet and inventory", layer="trust",
        detects="a kubelet's client certificate whose CN is not system:node:NODE, or without O system:nodes",
        symptom='workers: nodes "…" is forbidden: node "…" is not allowed to modify node "…"',
    ),
    Rule(
        "proxy-node-name", SETUP, proxy_names,
        "kube-proxy looks its own node up by name, and without it does not know which addresses are its own",
        "the same name for kubelet and kube-proxy", layer="workers",
        detects="a kube-proxy that looks for another node than the kubelet beside it registers",
        symptom='workers: Failed to retrieve node info: nodes "…" not found',
    ),
    Rule(
        "kubelet-names", SETUP, kubelet_names,
        "logs, exec and port-forward are connections from an API server to this name", "issue the certificate again",
        layer="trust", detects="a kubelet's serving certificate without the name or address that API servers dial",
        symptom="smoke-test: error dialing backend: tls: failed to verify certificate: x509: …",
    ),
    Rule(
        "etcd-names", SETUP, etcd_names, "members and API servers check whom they reach", "issue the certificate again",
        layer="trust",
        detects="an etcd server or peer certificate without an address under which the member is dialled",
        symptom="etcd: rejected connection: x509: certificate is valid for …, not …",
    ),
    Rule(
        "component-user", SETUP, component_users,
        "rights follow from the CN of the client's certificate, not from a file's name",
        "issue the client certificate again", layer="trust",
        detects="a kubeconfig of controller manager, scheduler or kube-proxy that says to be somebody else",
        symptom='control-plane: User "…" cannot list resource "…" at the cluster scope',
    ),
)  # fmt: skip

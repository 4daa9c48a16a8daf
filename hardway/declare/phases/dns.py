"""Chapter dns: CoreDNS answers for Services, and asks the machines' own resolvers about the rest."""

import re
from collections.abc import Iterator, Sequence
from textwrap import indent

from hardway import yaml_text
from hardway.artifacts.catalogue import IMAGES
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.paths import ADMIN_CONF, KUBECTL
from hardway.declare.render import merge_yaml, render
from hardway.declare.resources import ApiObjects, Image
from hardway.inventory.model import Cluster


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.workers:
        yield machine.name, Image(IMAGES["image/coredns"].ref, "image/coredns", model.versions["coredns"])
    yield model.api_servers[0].name, ApiObjects("coredns", manifest(model), ADMIN_CONF)


def manifest(model: Model) -> str:
    """CoreDNS' objects; `settings: coredns` is merged into the Deployment."""
    network = model.cluster.network
    text = render(
        "manifests/coredns.yaml",
        corefile=indent(corefile(model.cluster), "    ").strip(),
        dns_address=network.dns_address,
        image=IMAGES["image/coredns"].ref,
    )
    overlay = model.overrides("coredns", model.cluster.controllers[0])
    documents = re.split(r"(?m)^---\n", text)
    return "---\n".join(
        merge_yaml(one, overlay if yaml_text.document(one)["kind"] == "Deployment" else {}) for one in documents
    )


def corefile(cluster: Cluster) -> str:
    """What CoreDNS answers, and whom it asks: the operator's own, or hardway's with the operator's servers."""
    dns = cluster.dns
    if dns.corefile is not None:
        return dns.text
    return render(
        "configs/Corefile",
        cluster_domain=cluster.network.cluster_domain,
        upstream=" ".join(dns.upstream) or "/etc/resolv.conf",
        stub_domains="".join(_stub(domain, servers) for domain, servers in dns.stub_domains.items()),
    )


def _stub(domain: str, servers: Sequence[str]) -> str:
    return f"{domain}:53 {{\n    errors\n    cache 30\n    forward . {' '.join(servers)}\n}}\n"


def proofs(model: Model) -> Iterator[Proof]:
    network = model.cluster.network
    yield Proof(
        model.cluster.controller_for(1).name,
        "Service kube-dns has the address that kubelets give to pods",
        f"{KUBECTL} -n kube-system get service kube-dns -o jsonpath='{{.spec.clusterIP}}'",
        "pods ask this address, whatever the Service says",
        "equals",
        str(network.dns_address),
    )
    if network.plugin == "bridge":
        yield Proof(
            model.cluster.controller_for(2).name,
            "all of CoreDNS' pods are ready",
            f"set -- $({KUBECTL} -n kube-system get deployment coredns "
            "-o jsonpath='{.spec.replicas} {.status.readyReplicas}'); "
            'echo "${2:-0} of ${1:-0} are ready"; [ "${1:-0}" -gt 0 ] && [ "${2:-0}" = "$1" ]',
            "without DNS most programs find nothing in the cluster",
            within=120,
        )


PHASE = Phase(
    "dns",
    "Deploying the DNS cluster add-on",
    "Programs find Services by name; who answers is itself a Service of the cluster.",
    resources,
    proofs,
)

"""Chapter dns: CoreDNS answers for Services, and asks the machines' own resolvers about the rest."""

from collections.abc import Iterator

from hardway import yaml_text
from hardway.artifacts.catalogue import IMAGES
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.paths import ADMIN_CONF, KUBECTL
from hardway.declare.render import merge_yaml, render
from hardway.declare.resources import ApiObjects, Image


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.workers:
        yield machine.name, Image(IMAGES["image/coredns"].ref, "image/coredns", model.versions["coredns"])
    yield model.cluster.controllers[0].name, ApiObjects("coredns", manifest(model), ADMIN_CONF)


def manifest(model: Model) -> str:
    """CoreDNS' objects; `settings: coredns` is merged into the Deployment."""
    network = model.cluster.network
    text = render(
        "manifests/coredns.yaml",
        cluster_domain=network.cluster_domain,
        dns_address=network.dns_address,
        image=IMAGES["image/coredns"].ref,
    )
    overlay = model.overrides("coredns", model.cluster.controllers[0])
    documents = text.split("---\n")
    return "---\n".join(
        merge_yaml(one, overlay if yaml_text.document(one)["kind"] == "Deployment" else {}) for one in documents
    )


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

"""Chapter smoke-test: what can be seen of a working cluster without making anything in it.

What must make something to prove something (a Secret, a Deployment) is a trial: `hardway/actions/`.
"""

from collections.abc import Iterator

from hardway.artifacts.catalogue import IMAGES
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.resources import Image

AGNHOST = "image/agnhost"


def resources(model: Model) -> Iterator[Declared]:
    """The trials' own image, for workers that reach no registry."""
    for worker in model.cluster.workers:
        yield worker.name, Image(IMAGES[AGNHOST].ref, AGNHOST, model.versions["agnhost"])


def proofs(model: Model) -> Iterator[Proof]:
    cluster = model.cluster
    yield Proof(
        cluster.controller_for(1).name,
        "Service kubernetes has the first service address",
        f"{KUBECTL} get service kubernetes -o jsonpath='{{.spec.clusterIP}}'",
        "the API server's certificate holds this address, and pods dial it",
        "equals",
        str(cluster.first_service_address),
    )
    yield Proof(
        cluster.controller_for(2).name,
        "Service kubernetes leads to every controller",
        f"{KUBECTL} get endpointslices -l kubernetes.io/service-name=kubernetes "
        "-o jsonpath='{.items[*].endpoints[*].addresses[*]}' | tr ' ' '\\n' | sort | tr '\\n' ' '",
        "an API server that is missing here gets no requests from pods",
        "equals",
        " ".join(sorted(str(machine.ip) for machine in cluster.controllers)),
        within=30,
    )


PHASE = Phase(
    "smoke-test",
    "Smoke test",
    "A cluster works when its users' things work: Secrets, Deployments, logs, exec, Services, names.",
    resources,
    proofs,
)

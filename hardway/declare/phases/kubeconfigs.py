"""Chapter kubeconfigs: whom each component dials, and as whom."""

from collections.abc import Iterator

from hardway.declare.generations import KUBERNETES
from hardway.declare.kube.kubeconfig import kubeconfig
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.certs import ADMIN_USER, BREAK_GLASS_USER, is_own
from hardway.declare.phases.paths import ADMIN_CONF, CONTROLLER_MANAGER_CONF, KUBELET_CONF, PROXY_CONF, SCHEDULER_CONF
from hardway.declare.resources import File, Local, WorkspaceFile
from hardway.inventory.model import API_PORT, Machine

LOCAL_API = f"https://127.0.0.1:{API_PORT}"
"""A controller's components ask the API server beside them: they go down with it, and nothing else does."""

BREAK_GLASS = "kubeconfigs/break-glass.conf"


def controller_kubeconfigs(model: Model) -> dict[str, str]:
    """Path on every controller to its text."""
    return {
        ADMIN_CONF: of_user(model, LOCAL_API, ADMIN_USER, "admin"),
        CONTROLLER_MANAGER_CONF: _component(model, LOCAL_API, "kube-controller-manager"),
        SCHEDULER_CONF: _component(model, LOCAL_API, "kube-scheduler"),
    }


def worker_kubeconfigs(model: Model, machine: Machine) -> dict[str, str]:
    """Path on one worker to its text."""
    cluster = model.cluster
    node = of_user(model, cluster.api_url, f"system:node:{machine.name}", f"kubelet-{machine.name}")
    return {KUBELET_CONF: node, PROXY_CONF: _component(model, cluster.api_url, "kube-proxy")}


def _component(model: Model, server: str, component: str) -> str:
    return of_user(model, server, f"system:{component}", component)


def break_glass(model: Model, server: str) -> str:
    """For system:masters, whom no RBAC can shut out."""
    return of_user(model, server, BREAK_GLASS_USER, "break-glass")


def of_user(model: Model, server: str, user: str, certificate: str, context: str = "") -> str:
    """A kubeconfig that knows the API servers by all that the cluster trusts now."""
    bundle = KUBERNETES.bundle(model.state, own=is_own(model, KUBERNETES))
    return kubeconfig(model.cluster.name, server, bundle, user, certificate, context)


def local(model: Model) -> Iterator[Local]:
    for path, text in controller_kubeconfigs(model).items():
        yield WorkspaceFile(f"kubeconfigs/{path.rpartition('/')[2]}", text)
    for machine in model.cluster.workers:
        for path, text in worker_kubeconfigs(model, machine).items():
            name = path.rpartition("/")[2]
            if path == KUBELET_CONF:
                yield WorkspaceFile(f"kubeconfigs/{machine.name}-{name}", text)
    if model.cluster.workers:
        yield WorkspaceFile("kubeconfigs/proxy.conf", _component(model, model.cluster.api_url, "kube-proxy"))
    yield WorkspaceFile(BREAK_GLASS, break_glass(model, model.cluster.api_url))


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.controllers:
        for path, text in controller_kubeconfigs(model).items():
            yield machine.name, File(path, text, mode=0o600)
    for machine in model.cluster.workers:
        for path, text in worker_kubeconfigs(model, machine).items():
            yield machine.name, File(path, text, mode=0o600)


def proofs(model: Model) -> Iterator[Proof]:
    for machine in model.cluster.controllers:
        for path in controller_kubeconfigs(model):
            yield Proof(
                machine.name,
                f"{path} dials the API server beside it",
                f"sed -n 's/^ *server: //p' {path}",
                "with any other one it would go down with a machine that is not its own",
                "equals",
                LOCAL_API,
            )
    for machine in model.cluster.workers:
        for path in worker_kubeconfigs(model, machine):
            yield Proof(
                machine.name,
                f"{path} dials the endpoint",
                f"sed -n 's/^ *server: //p' {path}",
                "a worker that dials one controller goes silent with it",
                "equals",
                model.cluster.api_url,
            )


PHASE = Phase(
    "kubeconfigs",
    "Kubernetes configuration files",
    "Each component is told which API server to dial, which CA to trust, and who it is.",
    resources,
    proofs,
    local,
)

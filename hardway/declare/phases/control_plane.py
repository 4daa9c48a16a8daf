"""Chapter control-plane: API server, controller manager and scheduler on every controller."""

from collections.abc import Iterator

from packaging.version import Version

from hardway.declare import trials
from hardway.declare.generations import KUBERNETES, token_key
from hardway.declare.phases import handover
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.certs import ADMIN_USER, ADMINS_GROUP, KUBELET_CLIENT_USER, server_trust_path, signs
from hardway.declare.phases.etcd import client_url
from hardway.declare.phases.kubeconfigs import LOCAL_API, break_glass
from hardway.declare.phases.load_balancer import HEALTH
from hardway.declare.phases.paths import (
    ADMIN_CONF,
    ADMISSION_CONFIG,
    API_ETCD_CA,
    AUDIT_POLICY,
    BIN,
    CONTROLLER_MANAGER_CONF,
    KUBECTL,
    PKI,
    SCHEDULER_CONF,
    TLS_CIPHERS,
    unit_inputs,
    unit_path,
)
from hardway.declare.render import flags, merge_flags, render
from hardway.declare.resources import (
    ApiObjects,
    Binary,
    Check,
    Directory,
    File,
    Group,
    Resource,
    Service,
    Trial,
    stays_up,
)
from hardway.declare.resources.base import quote
from hardway.inventory.model import API_PORT, Machine, joined
from hardway.state import API_SERVERS, CONTROLLERS, Generations
from hardway.values import host_port, minor

COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
SIGNING = ("cluster-signing-cert-file", "cluster-signing-key-file")
"""Of the controller manager, which then signs; without them it leaves requests to others."""
CACHE_GATE = "WatchCacheInitializationPostStartHook"
LEASES = COMPONENTS[1:]
"""Only who holds the lease of its component acts."""


def unit(model: Model, machine: Machine, component: str) -> str:
    """The unit of one of COMPONENTS on one controller."""
    cluster, network, tokens = model.cluster, model.cluster.network, model.state.service_account_keys
    text = render(
        f"units/{component}.service",
        address=machine.ip,
        every_address="0.0.0.0" if network.family == 4 else "::",
        cluster=cluster.name,
        cluster_domain=network.cluster_domain,
        service_cidr=joined(network.service_cidrs),
        pod_cidr=joined(network.pod_cidrs),
        # The member on the same machine first; another one where that is down.
        etcd_servers=",".join(client_url(one) for one in model.asked_by(machine)),
        cipher_suites=",".join(TLS_CIPHERS),
        # Else all clients stay with the server that came back first. With one server there is no other to go to.
        goaway_chance="0.001" if len(model.asked_by(machine)) > 1 else "0",
        root_ca=server_trust_path(model),
        token_key=f"{PKI}/{token_key(tokens.signing)}.key",
        # The flag is given once for each.
        token_keys=" \\\n  --service-account-key-file=".join(_token_verifiers(tokens)),
    )
    if component == "kube-controller-manager" and not signs(model, KUBERNETES):
        text = merge_flags(text, component, dict.fromkeys(SIGNING))
    text = merge_flags(text, component, _emulation(model, component))
    text = merge_flags(text, component, model.overrides(component, machine))
    return _ready_when_cached(model, text) if component == "kube-apiserver" else text


def _part(component: str) -> str:
    return API_SERVERS if component == "kube-apiserver" else CONTROLLERS


def _emulation(model: Model, component: str) -> dict[str, str]:
    """A newer release behaves as the one before until an upgrade is finished, and stores what both can read."""
    emulated = model.emulated(_part(component))
    return dict.fromkeys(("emulated-version", "min-compatibility-version"), emulated) if emulated else {}


def _ready_when_cached(model: Model, text: str) -> str:
    """Before 1.36 a server says that it is ready before its watch cache is, and answers early lists with 429."""
    behaves = model.emulated(API_SERVERS) or minor(model.kubernetes(API_SERVERS))
    given = flags(text).get("feature-gates", "")
    if Version(behaves) >= Version("1.36") or CACHE_GATE in given:
        return text
    gates = ",".join(filter(None, [given, f"{CACHE_GATE}=true"]))
    return merge_flags(text, "kube-apiserver", {"feature-gates": gates})


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.api_servers:
        for resource in _controller(model, machine):
            yield machine.name, resource
    yield model.api_servers[0].name, rbac(model)


def _controller(model: Model, machine: Machine) -> Iterator[Resource]:
    for name in (*COMPONENTS, "kubectl"):
        yield Binary(f"{BIN}/{name}", name, model.kubernetes(_part(name)))
    yield Directory("/var/log/kubernetes", 0o700, data=True)
    yield File(AUDIT_POLICY, render("configs/audit-policy.yaml"), mode=0o600)
    yield File(ADMISSION_CONFIG, render("configs/admission-config.yaml"), mode=0o600)
    for component in COMPONENTS:
        yield File(unit_path(component), unit(model, machine, component), mode=0o600)
    yield _api_server(model, machine)
    yield _controller_manager(model, machine)
    trial = trials.scheduler(unit(model, machine, "kube-scheduler"))
    yield _beside_it(model, "kube-scheduler", trial, SCHEDULER_CONF)


def _token_verifiers(tokens: Generations) -> list[str]:
    return [f"{PKI}/{token_key(number)}.pub" for number in tokens.trusted]


def _api_server(model: Model, machine: Machine) -> Service:
    tokens = model.state.service_account_keys
    # All that it reads once (Kubernetes 1.36; 1.35 does the same). What else it reads it takes up by itself: its own
    # certificates and the CAs of clients at the next handshake (dynamiccertificates/dynamic_serving_content.go,
    # dynamic_cafile_content.go), and the encryption configuration within a minute (encryptionconfig/controller).
    # --kubelet-certificate-authority is taken up by 1.36 only, and there not for exec (client-go ca_rotation.go).
    keys = (*_token_verifiers(tokens), f"{PKI}/{token_key(tokens.signing)}.key")
    read_once = (ADMISSION_CONFIG, AUDIT_POLICY, f"{PKI}/ca.crt", API_ETCD_CA, *keys)
    return Service(
        "kube-apiserver.service",
        inputs=unit_inputs("kube-apiserver", f"{BIN}/kube-apiserver", *read_once),
        trial=trials.api_server(unit(model, machine, "kube-apiserver")),
        group=_api_servers(model, machine),
        ready=Check("/readyz answers ok", f"{KUBECTL} get --raw=/readyz 2>&1", limit=120, every=0.5),
    )


def _api_servers(model: Model, machine: Machine) -> Group:
    """What leads on this machine dials the API server here: it is stopped first, and started when that is back."""
    if len(model.api_servers) == 1:
        return Group("kube-apiserver", keep=1)
    asked = "".join(f"ask {quote(one.name, host_port(one.ip, API_PORT))} &\n" for one in model.api_servers)
    units = quote(*(f"{lease}.service" for lease in LEASES))
    balancers = [one.name for one in model.cluster.load_balancers]
    return Group(
        "kube-apiserver",
        keep=1,
        standing=f"{_ASK}{asked}wait\n",
        leads=handover.holds_any(LEASES),
        hand_over=handover.release(LEASES),
        after=f"systemctl start -- {units}\n",
        drained=handover.drained(balancers, machine.name) if balancers else None,
    )


# A connection that is refused says that nobody listens there. A server that answers otherwise may serve in a moment.
_ASK = f"""\
ask() {{
  said=$({KUBECTL} --server="https://$2" get --raw='{HEALTH}' 2>&1) || :
  case $said in
  ok) echo "$1 serves" ;;
  *'was refused'*) echo "$1 down" ;;
  *) echo "$1 unknown" ;;
  esac
}}
"""


def _controller_manager(model: Model, machine: Machine) -> Service:
    # --root-ca-file and the service-account key are read once (controller-manager app: certificates.go,
    # service_accounts.go); the signing pair and the CAs of clients are not (signer/ca_provider.go).
    signing = f"{PKI}/{token_key(model.state.service_account_keys.signing)}.key"
    trial = trials.controller_manager(unit(model, machine, "kube-controller-manager"))
    read = (CONTROLLER_MANAGER_CONF, server_trust_path(model), signing)
    return _beside_it(model, "kube-controller-manager", trial, *read)


def _beside_it(model: Model, component: str, trial: Trial, *read: str) -> Service:
    """A kubeconfig is read once where certificates stand in it (client-go transport.go: only files are read again)."""
    group = Group(component)
    if len(model.api_servers) > 1:
        group = Group(component, leads=handover.holds_any([component]), hand_over=handover.release([component]))
    return Service(
        f"{component}.service",
        inputs=unit_inputs(component, f"{BIN}/{component}", *read),
        group=group,
        ready=stays_up(f"{component}.service"),
        trial=trial,
    )


def rbac(model: Model) -> ApiObjects:
    """What the first administrators need before they are any: so the break-glass identity applies it."""
    servers = " ".join(f"https://{host_port(one.ip, API_PORT)}" for one in model.api_servers)
    return ApiObjects(
        "rbac",
        render("manifests/rbac.yaml", admins=ADMINS_GROUP, kubelet_client=KUBELET_CLIENT_USER),
        ADMIN_CONF,
        bootstrap_kubeconfig=break_glass(model, LOCAL_API),
        # Each API server learns of it from its own watch, a moment later.
        settled=(
            f"for s in {servers}; do for i in 1 2 3 4 5 6 7 8 9 10; do "
            f"{KUBECTL} --server=$s auth can-i '*' '*' -q && break; sleep 0.2; done; done"
        ),
    )


def proofs(model: Model) -> Iterator[Proof]:
    for machine in model.api_servers:
        yield Proof(
            machine.name,
            "the API server is ready",
            f"{KUBECTL} get --raw='/readyz?verbose'",
            "every check of its own passed: etcd, informers, bootstrap roles",
            "contains",
            "readyz check passed",
        )
        yield Proof(
            machine.name,
            "admin.conf speaks for the administrators",
            f"{KUBECTL} auth whoami -o jsonpath='{{.status.userInfo.username}}'",
            "a real request shows that server, CA and subject belong together",
            "equals",
            ADMIN_USER,
        )
        for component in COMPONENTS[1:]:
            yield Proof(
                machine.name,
                f"{component} runs",
                f"systemctl is-active {component}.service",
                "one leads, the others wait to take over",
                "equals",
                "active",
            )
    first = model.api_servers[0].name
    for component in COMPONENTS[1:]:
        yield Proof(
            first,
            f"{component} has a leader",
            f"{KUBECTL} -n kube-system get lease {component} -o jsonpath='{{.spec.holderIdentity}}' | grep .",
            "without one no pod is scheduled, no endpoint kept",
            within=20,
        )
    yield Proof(
        first,
        "the API server may ask kubelets",
        f"{KUBECTL} auth can-i get nodes/proxy --as={KUBELET_CLIENT_USER}",
        "kubectl logs and exec are refused by the kubelet without it",
        "equals",
        "yes",
    )


PHASE = Phase(
    "control-plane",
    "Bootstrapping the Kubernetes control plane",
    "The API server is the only one that speaks with etcd; all others speak with it.",
    resources,
    proofs,
)

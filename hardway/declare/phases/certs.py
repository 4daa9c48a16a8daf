"""Chapter certs: three CAs, the service-account key pair, and every certificate.

Three CAs, as kubeadm makes them: with the tutorial's one, anyone who holds a key signed for one purpose
(reading etcd, speaking for the aggregation layer) would be believed for every other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from hardway.declare.generations import CA, CAS, token_key
from hardway.declare.generations import ETCD as ETCD_CA
from hardway.declare.generations import FRONT_PROXY as FRONT_PROXY_CA
from hardway.declare.generations import KUBERNETES as KUBERNETES_CA
from hardway.declare.phases.base import Declared, Model, Phase, Proof, pki_placeholder
from hardway.declare.phases.paths import API_ETCD_CA, ETCD_PKI, KUBERNETES, PKI
from hardway.declare.pki import CertificateSpec, KeyAlgorithm, Usage
from hardway.declare.resources import (
    Certificate,
    Chain,
    Directory,
    File,
    Key,
    Local,
    OwnCertificate,
    OwnKey,
    PublicKey,
    RequestedCertificate,
    User,
    WorkspaceFile,
)
from hardway.inventory.model import GIVEN_CERTIFICATE, GIVEN_KEY, Machine, OwnAuthority
from hardway.state import State, own_authorities
from hardway.values import Placeholder

TRUST = f"{PKI}/ca.crt"
ADMINS_GROUP = "hardway:cluster-admins"
ADMIN_USER, BREAK_GLASS_USER, HEALTH_USER = "hardway-admin", "hardway-break-glass", "haproxy-health"
KUBELET_CLIENT_USER = "kube-apiserver-kubelet-client"
BOTH: frozenset[Usage] = frozenset(("server", "client"))
SERVER: frozenset[Usage] = frozenset(("server",))
CLIENT: frozenset[Usage] = frozenset(("client",))


@dataclass(frozen=True)
class Issued:
    """A certificate and its CA, both as workspace paths without their ending."""

    path: str
    ca: str
    spec: CertificateSpec


def certificates(model: Model) -> list[Issued]:
    """Every certificate that is no CA, in the order of the chapter's page."""
    cluster = model.cluster
    kubernetes, etcd, front_proxy = (ca.signer(model.state) for ca in CAS)

    def client(name: str, ca: str, common_name: str, *organizations: str) -> Issued:
        return Issued(f"pki/{name}", ca, _spec(model, common_name, organizations, CLIENT))

    issued = [
        Issued("pki/kube-apiserver", kubernetes, api_server_spec(model)),
        client("apiserver-kubelet-client", kubernetes, KUBELET_CLIENT_USER),
        client("kube-controller-manager", kubernetes, "system:kube-controller-manager"),
        client("kube-scheduler", kubernetes, "system:kube-scheduler"),
        client("kube-proxy", kubernetes, "system:kube-proxy", "system:node-proxier"),
        client("admin", kubernetes, ADMIN_USER, ADMINS_GROUP),
        client("break-glass", kubernetes, BREAK_GLASS_USER, "system:masters"),
        client("apiserver-etcd-client", etcd, "kube-apiserver-etcd-client"),
        client("etcd/healthcheck-client", etcd, "kube-etcd-healthcheck-client"),
        client("front-proxy-client", front_proxy, "front-proxy-client"),
    ]
    if cluster.load_balancers:
        issued.append(client("haproxy-health", kubernetes, HEALTH_USER))
    for machine in cluster.workers:
        spec = _spec(model, f"system:node:{machine.name}", ("system:nodes",), BOTH, *_names(model, machine))
        issued.append(Issued(f"pki/kubelet-{machine.name}", kubernetes, spec))
    for machine in cluster.controllers:
        spec = _spec(model, machine.name, (), BOTH, *_names(model, machine), "localhost", "127.0.0.1")
        issued.append(Issued(f"pki/etcd/server-{machine.name}", etcd, spec))
        issued.append(Issued(f"pki/etcd/peer-{machine.name}", etcd, spec))
    return issued


def api_server_spec(model: Model) -> CertificateSpec:
    """The names under which the API is dialled: by pods, by machines, by people."""
    cluster = model.cluster
    service = "kubernetes.default.svc"
    names = [
        "kubernetes", "kubernetes.default", service, f"{service}.{cluster.network.cluster_domain}",
        *map(str, cluster.first_service_addresses), "localhost", "127.0.0.1",
    ]  # fmt: skip
    for machine in (*cluster.controllers, *cluster.load_balancers):
        names += _names(model, machine)
    names += [cluster.endpoint_host, *cluster.certs.extra_sans]
    return _spec(model, "kube-apiserver", (), SERVER, *names)


def _names(model: Model, machine: Machine) -> tuple[str, ...]:
    return machine.name, model.cluster.fqdn(machine), *map(str, machine.addresses)


def _spec(
    model: Model, common_name: str, organizations: tuple[str, ...], usages: frozenset[Usage], *names: str
) -> CertificateSpec:
    distinct = list(dict.fromkeys(names))
    addresses = [name for name in distinct if _is_address(name)]
    return CertificateSpec(
        common_name,
        organizations,
        tuple(name for name in distinct if name not in addresses),
        tuple(addresses),
        usages,
        days=model.cluster.certs.leaf_days,
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def local(model: Model) -> Iterator[Local]:
    algorithm = model.cluster.certs.key
    for ca in CAS:
        yield from _authority(model, ca)
    # Tokens are signed RS256 by RSA keys: every verifier of OpenID tokens knows that.
    tokens = model.state.service_account_keys
    for number in sorted({*tokens.trusted, tokens.signing}):
        path = f"pki/{token_key(number)}"
        yield Key(f"{path}.key", "rsa-2048")
        yield PublicKey(f"{path}.pub", f"{path}.key")
    for one in certificates(model):
        yield Key(f"{one.path}.key", algorithm)
        yield _certificate(model, one)


def _certificate(model: Model, issued: Issued) -> Certificate:
    path, algorithm = f"{issued.path}.crt", model.cluster.certs.key
    [ca] = [one for one in CAS if one.signer(model.state) == issued.ca]
    if signs(model, ca):
        return Certificate(path, issued.spec, algorithm, issued.ca)
    return RequestedCertificate(path, issued.spec, algorithm, issued.ca)


def own_generations(model: Model, ca: CA) -> Mapping[int, bool]:
    """Those generations of a CA that are the operator's, and whether their keys are here."""
    own = own_authorities(model.cluster, model.state)
    stems = {number: ca.generation(number) for number in ca.generations(model.state)}
    return {number: own[stem] for number, stem in stems.items() if stem in own}


def is_own(model: Model, ca: CA) -> bool:
    """Whether a CA of the operator's is trusted or signs."""
    return bool(own_generations(model, ca))


def signs(model: Model, ca: CA) -> bool:
    """Whether the key of the CA that signs is here; without it certificates are asked for and come back."""
    return own_generations(model, ca).get(model.state.authority(ca.name).signing, True)


def server_trust_path(model: Model) -> str:
    """The file on machines for what checks API servers and may have OpenSSL: pods, HAProxy."""
    return f"{PKI}/ca-bundle.crt" if is_own(model, KUBERNETES_CA) else TRUST


def verify_by(model: Model, ca: CA, path: str) -> str:
    """OpenSSL's flags to check by a file of trusted CAs: what an operator brings need not be a root."""
    return f"-partial_chain -CAfile {path}" if is_own(model, ca) else f"-CAfile {path}"


def server_trust(model: Model, ca: CA) -> str:
    """For who checks servers, OpenSSL among them, which believes nothing without the root.

    Who checks clients gets the issuing CA alone (`CA.trust`): with a company's root there, anybody of whom the company
    knows would be believed to be whatever its certificate says.
    """
    own, trusted = own_generations(model, ca), model.state.authority(ca.name).trusted
    above = "".join(str(Placeholder(ca.above(number))) for number in trusted if number in own)
    return ca.trust(model.state) + above


def _authority(model: Model, ca: CA) -> Iterator[Local]:
    algorithm = model.cluster.certs.key
    own = own_generations(model, ca)
    for number in ca.generations(model.state):
        if number in own:
            # The inventory names the newest one; what was before it is as the workspace has it.
            given = model.cluster.certs.authorities.get(ca.name) if number == max(own) else None
            yield from _own(ca, number, given, algorithm, key_is_here=own[number])
            continue
        spec = CertificateSpec(ca.common_name_of(number), is_ca=True, days=model.cluster.certs.ca_days)
        yield Key(f"{ca.generation(number)}.key", algorithm)
        # A new certificate for a CA restarts all that trusts it: in a running cluster, a command of its own does that.
        lasting = model.state.etcd != "absent"
        yield Certificate(f"{ca.generation(number)}.crt", spec, algorithm, None, lasting)
    if own or len(ca.trusted(model.state)) > 1:
        bundle = ca.bundle(model.state, own=bool(own))
        yield WorkspaceFile(bundle, server_trust(model, ca), mode=0o644)


def _own(
    ca: CA, number: int, own: OwnAuthority | None, algorithm: KeyAlgorithm, *, key_is_here: bool
) -> Iterator[Local]:
    """`own` None: only the workspace's copies of it are left."""
    certificate, stem = str(own.certificate) if own else "", ca.generation(number)
    given = GIVEN_CERTIFICATE.format(ca.name) if own else ""
    if key_is_here:
        key = str(own.key) if own and own.key else ""
        yield OwnKey(f"{stem}.key", algorithm, given=GIVEN_KEY.format(ca.name) if key else "", file=key)
    called = own.certificate.name if own else "it"
    yield OwnCertificate(
        f"{stem}.crt",
        CertificateSpec(f"as {called} says", is_ca=True),
        algorithm,
        None,
        given=given,
        file=certificate,
    )
    yield Chain(ca.above(number), given, certificate)
    yield Chain(ca.served(number), given, certificate, served=True)


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.machines:
        for resource in _on(model, machine):
            yield machine.name, resource


def _on(model: Model, machine: Machine) -> Iterator[User | Directory | File]:
    state = model.state
    if machine.is_controller:
        yield User("etcd", "/var/lib/etcd")
    yield Directory(KUBERNETES)
    yield Directory(PKI)
    yield File(f"{PKI}/ca.crt", KUBERNETES_CA.trust(state))
    if server_trust_path(model) != TRUST and (machine.is_controller or machine.is_load_balancer):
        yield File(server_trust_path(model), server_trust(model, KUBERNETES_CA))
    if machine.is_controller:
        yield from _controller(model)
        yield from _etcd(state, machine)
    if machine.is_worker:
        yield from _pair(PKI, "kubelet", f"kubelet-{machine.name}")
    if machine.is_load_balancer:
        # HAProxy reads a client's certificate and key from one file.
        both = pki_placeholder("haproxy-health.crt") + pki_placeholder("haproxy-health.key")
        yield File(f"{PKI}/haproxy-health.pem", both, mode=0o600)


def _controller(model: Model) -> Iterator[Directory | File]:
    state = model.state
    if signs(model, KUBERNETES_CA):
        # The controller manager takes one certificate to sign with, while ca.crt may hold several that are trusted.
        signer = KUBERNETES_CA.signer(state).removeprefix("pki/")
        yield File(f"{PKI}/ca-signing.crt", pki_placeholder(f"{signer}.crt"))
        yield File(f"{PKI}/ca-signing.key", pki_placeholder(f"{signer}.key"), 0o600)
    # People and programs that know the root alone dial the API server, too.
    signing = state.authority(KUBERNETES_CA.name).signing
    own = signing in own_generations(model, KUBERNETES_CA)
    served = str(Placeholder(KUBERNETES_CA.served(signing))) if own else ""
    yield File(f"{PKI}/kube-apiserver.crt", pki_placeholder("kube-apiserver.crt") + served)
    yield File(f"{PKI}/kube-apiserver.key", pki_placeholder("kube-apiserver.key"), 0o600)
    yield from _pair(PKI, "apiserver-kubelet-client")
    yield from _pair(PKI, "apiserver-etcd-client")
    yield File(f"{PKI}/front-proxy-ca.crt", FRONT_PROXY_CA.trust(state))
    yield from _pair(PKI, "front-proxy-client")
    tokens = state.service_account_keys
    yield File(f"{PKI}/{token_key(tokens.signing)}.key", pki_placeholder(f"{token_key(tokens.signing)}.key"), 0o600)
    for number in tokens.trusted:
        yield File(f"{PKI}/{token_key(number)}.pub", pki_placeholder(f"{token_key(number)}.pub"))
    yield Directory(f"{PKI}/etcd")
    yield File(API_ETCD_CA, ETCD_CA.trust(state))


def _etcd(state: State, machine: Machine) -> Iterator[Directory | File]:
    """Apart from the API server's: below /etc/kubernetes/pki all is root's (CIS 1.1.19), and etcd is not root."""
    yield Directory("/etc/etcd")
    yield Directory(ETCD_PKI)
    yield File(f"{ETCD_PKI}/ca.crt", ETCD_CA.trust(state))
    yield from _pair(ETCD_PKI, "server", f"etcd/server-{machine.name}", owner="etcd")
    yield from _pair(ETCD_PKI, "peer", f"etcd/peer-{machine.name}", owner="etcd")
    yield from _pair(ETCD_PKI, "healthcheck-client", "etcd/healthcheck-client")


def _pair(folder: str, name: str, source: str = "", owner: str = "root") -> Iterator[File]:
    yield File(f"{folder}/{name}.crt", pki_placeholder(f"{source or name}.crt"))
    yield File(f"{folder}/{name}.key", pki_placeholder(f"{source or name}.key"), 0o600, owner, owner)


def proofs(model: Model) -> Iterator[Proof]:
    """Each certificate is asked where it is: its chain, its purpose, its key, a name that it must hold."""
    cluster = model.cluster
    trusts = {
        KUBERNETES_CA: _trust(model, KUBERNETES_CA, TRUST),
        ETCD_CA: _trust(model, ETCD_CA, f"{ETCD_PKI}/ca.crt"),
    }
    for machine in cluster.controllers:
        if signs(model, KUBERNETES_CA):
            yield _one_signer(machine)
        first = f"-verify_ip {cluster.first_service_address}"
        yield _proof(machine, trusts[KUBERNETES_CA], f"{PKI}/kube-apiserver", "sslserver", first,
                     "what pods dial; without that name CoreDNS is the first to fail")  # fmt: skip
        for name in ("server", "peer"):
            for purpose in ("sslserver", "sslclient"):
                yield _proof(machine, trusts[ETCD_CA], f"{ETCD_PKI}/{name}", purpose, f"-verify_ip {machine.ip}",
                             "a member is server to some of the others and client of the rest")  # fmt: skip
        for path, ca in (
            (f"{PKI}/apiserver-kubelet-client", trusts[KUBERNETES_CA]),
            (f"{PKI}/apiserver-etcd-client", _trust(model, ETCD_CA, API_ETCD_CA)),
            (f"{ETCD_PKI}/healthcheck-client", trusts[ETCD_CA]),
            (f"{PKI}/front-proxy-client", _trust(model, FRONT_PROXY_CA, f"{PKI}/front-proxy-ca.crt")),
        ):  # fmt: skip
            yield _proof(machine, ca, path, "sslclient", "", "who shows it must be believed")
    for machine in cluster.workers:
        yield _proof(machine, trusts[KUBERNETES_CA], f"{PKI}/kubelet", "sslserver", f"-verify_ip {machine.ip}",
                     "the API server dials the node's address for logs and exec")  # fmt: skip
        yield Proof(
            machine.name,
            "kubelet.crt names its node",
            f"openssl x509 -noout -subject -nameopt RFC2253 -in {PKI}/kubelet.crt",
            "the Node authorizer lets a kubelet touch its own node only; the CN is which one that is",
            "equals",
            f"subject=CN=system:node:{machine.name},O=system:nodes",
        )


def _one_signer(machine: Machine) -> Proof:
    crt, key = f"{PKI}/ca-signing.crt", f"{PKI}/ca-signing.key"
    return Proof(
        machine.name,
        "ca-signing.crt is one certificate, with its key",
        f'[ "$(grep -c BEGIN {crt})" = 1 ] && {_belongs(crt, key)}',
        "the controller manager signs with it; with two in it, it does not start",
    )


def _trust(model: Model, ca: CA, path: str) -> str:
    """OpenSSL is strict with what hardway made; not every CA elsewhere has all that RFC 5280 asks for."""
    strict = "" if is_own(model, ca) else "-x509_strict "
    return strict + verify_by(model, ca, path)


def _proof(
    machine: Machine, trust: str, path: str, purpose: Literal["sslserver", "sslclient"], more: str, why: str
) -> Proof:
    """`path` is the certificate's and its key's, without an ending."""
    query = f"openssl verify {trust} -purpose {purpose} {more} {path}.crt"
    # Of a pair that is both, the key is compared once.
    if (path, purpose) not in ((f"{ETCD_PKI}/server", "sslclient"), (f"{ETCD_PKI}/peer", "sslclient")):
        query += f" && {_belongs(f'{path}.crt', f'{path}.key')}"
    name = f"etcd/{path.rpartition('/')[2]}" if path.startswith(ETCD_PKI) else path.rpartition("/")[2]
    return Proof(machine.name, f"{name}.crt is a good {purpose.removeprefix('ssl')} certificate", query, why)


def _belongs(crt: str, key: str) -> str:
    return f'[ "$(openssl x509 -noout -pubkey -in {crt})" = "$(openssl pkey -pubout -in {key})" ]'


PHASE = Phase(
    "certs",
    "Certificate authorities and TLS certificates",
    "Nobody trusts the network: each end proves who it is with a certificate.",
    resources,
    proofs,
    local,
)

"""Chapter certs: three CAs, the service-account key pair, and every certificate.

Three CAs, as kubeadm makes them: with the tutorial's one, anyone who holds a key signed for one purpose
(reading etcd, speaking for the aggregation layer) would be believed for every other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal

from hardway.declare.phases.base import Declared, Model, Phase, Proof, pki_placeholder
from hardway.declare.phases.paths import ETCD_PKI, KUBERNETES, PKI
from hardway.declare.pki import CertificateSpec, Usage
from hardway.declare.resources import Certificate, Directory, File, Key, Local, PublicKey, User
from hardway.inventory.model import Machine

KUBERNETES_CA, ETCD_CA, FRONT_PROXY_CA = "pki/ca", "pki/etcd/ca", "pki/front-proxy-ca"
CA_NAMES = {KUBERNETES_CA: "kubernetes-ca", ETCD_CA: "etcd-ca", FRONT_PROXY_CA: "kubernetes-front-proxy-ca"}
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

    def client(name: str, ca: str, common_name: str, *organizations: str) -> Issued:
        return Issued(f"pki/{name}", ca, _spec(model, common_name, organizations, CLIENT))

    issued = [
        Issued("pki/kube-apiserver", KUBERNETES_CA, api_server_spec(model)),
        client("apiserver-kubelet-client", KUBERNETES_CA, KUBELET_CLIENT_USER),
        client("kube-controller-manager", KUBERNETES_CA, "system:kube-controller-manager"),
        client("kube-scheduler", KUBERNETES_CA, "system:kube-scheduler"),
        client("kube-proxy", KUBERNETES_CA, "system:kube-proxy", "system:node-proxier"),
        client("admin", KUBERNETES_CA, ADMIN_USER, ADMINS_GROUP),
        client("break-glass", KUBERNETES_CA, BREAK_GLASS_USER, "system:masters"),
        client("apiserver-etcd-client", ETCD_CA, "kube-apiserver-etcd-client"),
        client("etcd/healthcheck-client", ETCD_CA, "kube-etcd-healthcheck-client"),
        client("front-proxy-client", FRONT_PROXY_CA, "front-proxy-client"),
    ]
    if cluster.load_balancers:
        issued.append(client("haproxy-health", KUBERNETES_CA, HEALTH_USER))
    for machine in cluster.workers:
        spec = _spec(model, f"system:node:{machine.name}", ("system:nodes",), BOTH, *_names(model, machine))
        issued.append(Issued(f"pki/kubelet-{machine.name}", KUBERNETES_CA, spec))
    for machine in cluster.controllers:
        spec = _spec(model, machine.name, (), BOTH, *_names(model, machine), "localhost", "127.0.0.1")
        issued.append(Issued(f"pki/etcd/server-{machine.name}", ETCD_CA, spec))
        issued.append(Issued(f"pki/etcd/peer-{machine.name}", ETCD_CA, spec))
    return issued


def api_server_spec(model: Model) -> CertificateSpec:
    """The names under which the API is dialled: by pods, by machines, by people."""
    cluster = model.cluster
    service = "kubernetes.default.svc"
    names = [
        "kubernetes", "kubernetes.default", service, f"{service}.{cluster.network.cluster_domain}",
        str(cluster.first_service_address), "localhost", "127.0.0.1",
    ]  # fmt: skip
    for machine in (*cluster.controllers, *cluster.load_balancers):
        names += _names(model, machine)
    names += [cluster.endpoint_host, *cluster.certs.extra_sans]
    return _spec(model, "kube-apiserver", (), SERVER, *names)


def _names(model: Model, machine: Machine) -> tuple[str, str, str]:
    return machine.name, model.cluster.fqdn(machine), str(machine.ip)


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
    for path, common_name in CA_NAMES.items():
        spec = CertificateSpec(common_name, is_ca=True, days=model.cluster.certs.ca_days)
        yield Key(f"{path}.key", algorithm)
        yield Certificate(f"{path}.crt", spec, algorithm, None)
    # Tokens are signed RS256 by RSA keys: every verifier of OpenID tokens knows that.
    yield Key("pki/sa.key", "rsa-2048")
    yield PublicKey("pki/sa.pub", "pki/sa.key")
    for one in certificates(model):
        yield Key(f"{one.path}.key", algorithm)
        yield Certificate(f"{one.path}.crt", one.spec, algorithm, one.ca)


def resources(model: Model) -> Iterator[Declared]:
    for machine in model.cluster.machines:
        for resource in _on(machine):
            yield machine.name, resource


def _on(machine: Machine) -> Iterator[User | Directory | File]:
    if machine.is_controller:
        yield User("etcd", "/var/lib/etcd")
    yield Directory(KUBERNETES)
    yield Directory(PKI)
    yield _public("ca.crt")
    if machine.is_controller:
        yield Directory(ETCD_PKI)
        yield from _controller(machine)
    if machine.is_worker:
        yield from _pair("kubelet", f"kubelet-{machine.name}")
    if machine.is_load_balancer:
        # HAProxy reads a client's certificate and key from one file.
        both = pki_placeholder("haproxy-health.crt") + pki_placeholder("haproxy-health.key")
        yield File(f"{PKI}/haproxy-health.pem", both, mode=0o600)


def _controller(machine: Machine) -> Iterator[File]:
    yield _secret("ca.key")
    yield from _pair("kube-apiserver")
    yield from _pair("apiserver-kubelet-client")
    yield from _pair("apiserver-etcd-client")
    yield _public("front-proxy-ca.crt")
    yield from _pair("front-proxy-client")
    yield _secret("sa.key")
    yield _public("sa.pub")
    yield _public("etcd/ca.crt")
    yield from _pair("etcd/server", f"etcd/server-{machine.name}", owner="etcd")
    yield from _pair("etcd/peer", f"etcd/peer-{machine.name}", owner="etcd")
    yield from _pair("etcd/healthcheck-client")


def _pair(name: str, source: str = "", owner: str = "root") -> Iterator[File]:
    yield _public(f"{name}.crt", f"{source or name}.crt")
    yield _secret(f"{name}.key", f"{source or name}.key", owner)


def _public(name: str, source: str = "") -> File:
    return File(f"{PKI}/{name}", pki_placeholder(source or name))


def _secret(name: str, source: str = "", owner: str = "root") -> File:
    return File(f"{PKI}/{name}", pki_placeholder(source or name), 0o600, owner, owner)


def proofs(model: Model) -> Iterator[Proof]:
    """Each certificate is asked where it is: its chain, its purpose, its key, a name that it must hold."""
    cluster = model.cluster
    for machine in cluster.controllers:
        yield _proof(machine, "ca.crt", "kube-apiserver", "sslserver", f"-verify_ip {cluster.first_service_address}",
                     "what pods dial; without that name CoreDNS is the first to fail")  # fmt: skip
        for name in ("server", "peer"):
            for purpose in ("sslserver", "sslclient"):
                yield _proof(machine, "etcd/ca.crt", f"etcd/{name}", purpose, f"-verify_ip {machine.ip}",
                             "a member is server to some of the others and client of the rest")  # fmt: skip
        for name, ca in (
            ("apiserver-kubelet-client", "ca.crt"), ("apiserver-etcd-client", "etcd/ca.crt"),
            ("etcd/healthcheck-client", "etcd/ca.crt"), ("front-proxy-client", "front-proxy-ca.crt"),
        ):  # fmt: skip
            yield _proof(machine, ca, name, "sslclient", "", "who shows it must be believed")
    for machine in cluster.workers:
        yield _proof(machine, "ca.crt", "kubelet", "sslserver", f"-verify_ip {machine.ip}",
                     "the API server dials the node's address for logs and exec")  # fmt: skip
        yield Proof(
            machine.name,
            "kubelet.crt names its node",
            f"openssl x509 -noout -subject -nameopt RFC2253 -in {PKI}/kubelet.crt",
            "the Node authorizer lets a kubelet touch its own node only; the CN is which one that is",
            "equals",
            f"subject=CN=system:node:{machine.name},O=system:nodes",
        )


def _proof(
    machine: Machine, ca: str, name: str, purpose: Literal["sslserver", "sslclient"], more: str, why: str
) -> Proof:
    crt, key = f"{PKI}/{name}.crt", f"{PKI}/{name}.key"
    query = f"openssl verify -x509_strict -CAfile {PKI}/{ca} -purpose {purpose} {more} {crt}"
    # Of a pair that is both, the key is compared once.
    if (name, purpose) not in (("etcd/server", "sslclient"), ("etcd/peer", "sslclient")):
        query += f' && [ "$(openssl x509 -noout -pubkey -in {crt})" = "$(openssl pkey -pubout -in {key})" ]'
    return Proof(machine.name, f"{name}.crt is a good {purpose.removeprefix('ssl')} certificate", query, why)


PHASE = Phase(
    "certs",
    "Certificate authorities and TLS certificates",
    "Nobody trusts the network: each end proves who it is with a certificate.",
    resources,
    proofs,
    local,
)

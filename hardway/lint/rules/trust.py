"""Rules about who believes whom: issuers, key pairs, and what a certificate may be used for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from hardway.lint.rules.common import SETUP, api_servers, setup_of
from hardway.probe.setup.model import Certificate, MachineSetup
from hardway.rules import Evidence, Found, Rule


@dataclass(frozen=True)
class Call:
    """One component calls another: what each presents and trusts, as `MachineSetup` names it."""

    client: str
    client_certificate: str
    client_trusts: str
    server: str
    server_certificate: str
    server_trusts: str
    phase: str


CALLS = (
    Call("kube-apiserver", "kube-apiserver/etcd-client", "kube-apiserver/etcd", "etcd", "etcd/server", "etcd/clients",
         "control-plane"),
    Call("etcd", "etcd/peer", "etcd/peers", "another etcd", "etcd/peer", "etcd/peers", "etcd"),
    Call("kube-apiserver", "kube-apiserver/kubelet-client", "kube-apiserver/kubelets", "kubelet", "kubelet/server",
         "kubelet/clients", "smoke-test"),
)  # fmt: skip

USES = {
    "kube-apiserver/server": {"server"}, "kube-apiserver/kubelet-client": {"client"},
    "kube-apiserver/etcd-client": {"client"}, "kube-apiserver/proxy-client": {"client"}, "kubelet/server": {"server"},
    "etcd/server": {"server", "client"}, "etcd/peer": {"server", "client"},
}  # fmt: skip
"""What each has to be good for; etcd's gateway is a client of its own server."""


def etcd_trust(evidence: Evidence) -> Iterator[Found]:
    for call in CALLS[:2]:
        yield from _strangers(evidence, call)


def kubelet_trust(evidence: Evidence) -> Iterator[Found]:
    yield from _strangers(evidence, CALLS[2])


def _strangers(evidence: Evidence, call: Call) -> Iterator[Found]:
    """Where one end's certificate was issued by nobody whom the other end trusts."""
    setup = setup_of(evidence)
    shown = list(setup.presented(call.server_certificate))
    for machine, trusted in setup.trusted(call.client_trusts):
        yield from _unbelieved(machine, call.client, trusted, call.server, shown, call.phase)
    shown = list(setup.presented(call.client_certificate))
    for machine, trusted in setup.trusted(call.server_trusts):
        if call.client_trusts != call.server_trusts:
            yield from _unbelieved(machine, call.server, trusted, call.client, shown, call.phase)


def _unbelieved(
    machine: MachineSetup, who: str, trusted: Sequence[Certificate], whom: str,
    shown: Sequence[tuple[MachineSetup, Certificate]], phase: str,
) -> Iterator[Found]:  # fmt: skip
    if not trusted:
        return
    for other, certificate in shown:
        if not any(certificate.issued_by(ca) for ca in trusted):
            names = ", ".join(ca.where for ca in trusted)
            yield Found(
                machine.name,
                f"{who} trusts {names}, which did not issue {certificate.where} of {whom} on {other.name}",
                "give both of them the same CA",
                symptom=f"{phase}: x509: certificate signed by unknown authority",
            )


def kubeconfig_authorities(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    servers = list(api_servers(setup))
    for machine, _, config in setup.all_kubeconfigs():
        if not config.authorities:
            yield Found(machine.name, f"{config.where} holds no CA", "put the cluster's CA into it",
                        symptom="kubeconfigs: x509: certificate signed by unknown authority")  # fmt: skip
            continue
        conflicts = [f"{other.name}:{one.where}" for other, one in servers
                     if not one.issued_by_any(config.authorities)]  # fmt: skip
        if conflicts:
            yield Found(
                machine.name,
                f"{config.where} trusts a CA that did not issue {', '.join(conflicts)}",
                "put the CA into it that issued the API servers' certificate",
            )


def kubeconfig_clients(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    trusting = [(machine, trusted) for machine, trusted in setup.trusted("kube-apiserver/clients") if trusted]
    for machine, _, config in setup.all_kubeconfigs():
        client = config.client
        if client is None:
            continue
        refusing = [other.name for other, trusted in trusting if not client.issued_by_any(trusted)]
        if refusing:
            yield Found(
                machine.name,
                f"the client certificate in {config.where} was not issued by the client CA of {', '.join(refusing)}",
                "issue it again by the CA that kube-apiserver names in --client-ca-file",
            )


def key_pairs(evidence: Evidence) -> Iterator[Found]:
    for machine in setup_of(evidence).machines.values():
        for purpose, certificate in machine.presents.items():
            key = machine.keys.get(purpose)
            if key and certificate.key and key != certificate.key:
                yield Found(
                    machine.name,
                    f"{certificate.where} does not belong to the key that {purpose.partition('/')[0]} has beside it",
                    "issue the certificate again for that key",
                )
        for one in machine.loose:
            beside = next((path for path in key_files(one.where) if path in machine.loose_keys), "")
            if beside and machine.loose_keys[beside] != one.key:
                yield Found(machine.name, f"{one.where} does not belong to the key in {beside}",
                            "issue the certificate again for that key")  # fmt: skip
        for config in (*machine.kubeconfigs.values(), *machine.loose_kubeconfigs):
            if config.client and config.key and config.client.key and config.key != config.client.key:
                yield Found(
                    machine.name, f"client certificate and key in {config.where} do not belong together",
                    "write the kubeconfig again with the pair",
                )  # fmt: skip


def key_files(certificate: str) -> tuple[str, str]:
    """Where tutorials put the key that belongs to a certificate's file."""
    base = certificate.rpartition(".")[0]
    return f"{base}-key.pem", f"{base}.key"


def usages(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    for machine in setup.machines.values():
        wanted = [(machine.presents[purpose], uses) for purpose, uses in USES.items() if purpose in machine.presents]
        wanted += [(one.client, {"client"})
                   for one in (*machine.kubeconfigs.values(), *machine.loose_kubeconfigs) if one.client]  # fmt: skip
        for certificate, uses in wanted:
            lacking = sorted(uses - certificate.usages) if certificate.usages else []
            if lacking:
                words = " and ".join(f"{one}Auth" for one in lacking)
                yield Found(
                    machine.name, f"{certificate.where} is not good for {words}",
                    f"issue it again with extendedKeyUsage {words}",
                )  # fmt: skip
        authorities = [*chain.from_iterable(machine.trusts.values())]
        for config in machine.kubeconfigs.values():
            authorities += config.authorities
        if (signer := machine.presents.get("kube-controller-manager/signer")) is not None:
            authorities.append(signer)
        for ca in {one.where: one for one in authorities}.values():
            if not ca.is_ca:
                yield Found(machine.name, f"{ca.where} is trusted as a CA, and is none",
                            "issue it again with basicConstraints CA:TRUE, or name the CA's file")  # fmt: skip


def front_proxy(evidence: Evidence) -> Iterator[Found]:
    for machine, server in setup_of(evidence).each("kube-apiserver"):
        proxies, trusted = (
            machine.trusts.get("kube-apiserver/proxies", ()),
            machine.trusts.get("kube-apiserver/clients"),
        )
        keys = {other.key for other in trusted or ()}
        shared = [ca for ca in proxies if ca.key in keys]
        if shared:
            yield Found(
                machine.name,
                f"--requestheader-client-ca-file and --client-ca-file are one CA ({shared[0].where})",
                "a CA of its own for the front proxy",
            )
        client = machine.presents.get("kube-apiserver/proxy-client")
        if client is None or not proxies:
            continue
        allowed = server.items("requestheader-allowed-names")
        if not client.issued_by_any(proxies):
            yield Found(machine.name, f"{client.where} was not issued by the CA of --requestheader-client-ca-file",
                        "issue it again by the front proxy's CA")  # fmt: skip
        elif allowed and client.common_name not in allowed:
            yield Found(
                machine.name,
                f"{client.where} has CN {client.common_name}; --requestheader-allowed-names has {', '.join(allowed)}",
                f"issue it again with CN {allowed[0]}",
            )


def kubelet_client_user(evidence: Evidence) -> Iterator[Found]:
    setup = setup_of(evidence)
    if setup.kubelet_users is None:
        return
    for machine, client in setup.presented("kube-apiserver/kubelet-client"):
        called = {client.common_name, *client.organizations}
        if not called & {*setup.kubelet_users, "system:masters"}:
            yield Found(
                machine.name,
                f"kube-apiserver asks kubelets as {client.common_name}, to whom no rights on kubelets are bound",
                f"kubectl create clusterrolebinding kube-apiserver-to-kubelet --clusterrole=system:kubelet-api-admin "
                f"--user={client.common_name}",
                symptom=f"smoke-test: Forbidden "
                f"(user={client.common_name}, verb=get, resource=nodes, subresource=proxy)",
            )


RULES = (
    Rule(
        "etcd-trust", SETUP, etcd_trust, "each end shows a certificate, and takes one only of the CA that it was given",
        "give both of them the same CA", layer="trust",
        detects="API servers and etcd members that were given different CAs",
        symptom="control-plane: transport: authentication handshake failed: x509: certificate "
        "signed by unknown authority",
    ),
    Rule(
        "kubelet-trust", SETUP, kubelet_trust, "API server and kubelet check each other when somebody asks for logs",
        "give both of them the same CA", layer="trust",
        detects="API servers and kubelets that were given different CAs",
        symptom="smoke-test: x509: certificate signed by unknown authority",
    ),
    Rule(
        "kubeconfig-ca", SETUP, kubeconfig_authorities, "a client trusts only the CA in its kubeconfig",
        "write the kubeconfig again with the right CA", layer="trust",
        detects="a kubeconfig with no CA, or with one that did not issue the API servers' certificate",
        symptom="kubeconfigs: x509: certificate signed by unknown authority",
    ),
    Rule(
        "kubeconfig-client", SETUP, kubeconfig_clients,
        "API servers believe only clients of the CA that they were given",
        "issue the client certificate again", layer="trust",
        detects="a kubeconfig whose client certificate is not of kube-apiserver's client CA",
        symptom="kubeconfigs: error: You must be logged in to the server (Unauthorized)",
    ),
    Rule(
        "key-pair", SETUP, key_pairs, "who shows a certificate must prove to have its key",
        "issue the certificate again for the key", layer="trust",
        detects="a certificate beside another certificate's key",
        symptom="etcd: tls: private key does not match public key",
    ),
    Rule(
        "usage", SETUP, usages, "each end asks whether the other's certificate was issued for this purpose",
        "issue the certificate again", layer="trust",
        detects="a certificate that is not good for what it is used for (serverAuth, clientAuth, CA)",
        symptom="etcd: x509: certificate specifies an incompatible key usage",
    ),
    Rule(
        "front-proxy", SETUP, front_proxy,
        "who holds a certificate of this CA may say to be anybody: no other client may have one",
        "a CA of its own for the front proxy", layer="trust",
        detects="a front-proxy CA that is the client CA too, or a proxy's certificate that it does not admit",
        symptom="smoke-test: aggregated APIs: x509: subject with cn=… is not in the allowed list",
    ),
    Rule(
        "kubelet-client-user", SETUP, kubelet_client_user, "a kubelet asks the API server whether its caller may",
        "bind the user to system:kubelet-api-admin", layer="control plane",
        detects="an API server's kubelet client to whose name no rights on kubelets are bound",
        symptom="smoke-test: Forbidden (user=…, verb=get, resource=nodes, subresource=proxy)",
    ),
)  # fmt: skip

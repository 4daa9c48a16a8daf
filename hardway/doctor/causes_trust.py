"""Causes in what ends know each other by: certificates, keys, and whom a kubeconfig dials."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from itertools import chain

from hardway.declare.phases.kubeconfigs import LOCAL_API
from hardway.declare.phases.paths import ENCRYPTION_CONFIG, ETCD_PKI, KUBELET_CONF, PKI, PROXY_CONF
from hardway.declare.pki import Certificate
from hardway.doctor.remedies import CONTROLLER, HERE, SYMPTOMS, apply, differs, lines, odd_ones, on, seen, snapshot
from hardway.inventory.model import Machine
from hardway.probe.certificates import KUBELET_CLIENT
from hardway.probe.symptoms import Symptoms
from hardway.rules import Evidence, Found, Rule

API_SERVER = f"{PKI}/kube-apiserver.crt"
ETCD_CLIENTS = ("apiserver-etcd-client.crt",)


def foreign_authorities(evidence: Evidence) -> Iterator[Found]:
    """A CA that is not the workspace's, where it is by itself; those in kubeconfigs come with their file."""
    for machine, there in seen(evidence):
        for path, found in _certificates(there):
            trusted = snapshot(evidence).trusted.get(_pki_name(path), ())
            if trusted and found.public_key_digest not in {one.public_key_digest for one in trusted}:
                yield Found(
                    machine.name, f"the CA in {path} is not this cluster's", apply(evidence, machine, "certs"),
                    lines(f"there:     {_ca(found)}", f"should be: {' or '.join(map(_ca, trusted))}"),
                )  # fmt: skip


def expired(evidence: Evidence) -> Iterator[Found]:
    now = datetime.fromtimestamp(snapshot(evidence).now, UTC)
    for machine, there in seen(evidence):
        over = {path: one for path, one in _certificates(there) if now >= one.not_after}
        early = {path: one for path, one in _certificates(there) if now < one.not_before}
        for what, those in (("has expired", over), ("is not valid yet", early)):
            told = [
                f"{path}: valid from {one.not_before:%Y-%m-%d %H:%M} to {one.not_after:%Y-%m-%d %H:%M} UTC"
                for path, one in those.items()
            ]
            if those:
                yield Found(
                    machine.name, f"{_which(those)} {what}", _renewal(evidence, machine, there, those),
                    lines(told, f"now it is {now:%Y-%m-%d %H:%M} UTC", _said(there)),
                )  # fmt: skip


def conflicts(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        those: dict[str, Certificate] = {}
        told: list[str] = []
        ours: dict[str, None] = {}
        for path, one in _certificates(there):
            trusted = snapshot(evidence).trusted.get(_authority(path), ())
            keys = {ca.subject_key_id for ca in trusted}
            # An operator's CA may be an intermediate, issued by nobody of this cluster, and may have no identifier.
            if None in keys or one.public_key_digest in {ca.public_key_digest for ca in trusted}:
                continue
            if trusted and one.authority_key_id not in (None, *keys):
                those[path] = one
                told.append(f"{path}: by {one.issuer}, key {one.authority_key_id}")
                for ca in trusted:
                    ours[f"this cluster's {ca.common_name} has key {ca.subject_key_id}"] = None
        if those:
            yield Found(
                machine.name, f"{_which(those)} is not of this cluster's CA",
                _renewal(evidence, machine, there, those), lines(told, ours, _said(there)),
            )  # fmt: skip


def _certificates(there: Symptoms) -> list[tuple[str, Certificate]]:
    return [(path, found) for path, found in there.certificates.items() if found]


def _which(paths: Collection[str]) -> str:
    """`the certificate server.crt`, or how many there are: the evidence names them."""
    names = [_name(path) for path in paths]
    return f"the certificate {names[0]}" if len(names) == 1 else f"each of {', '.join(names)}"


def _name(path: str) -> str:
    return path.removeprefix(f"{PKI}/").replace("#client", "'s client certificate").replace("#ca", "'s CA")


def service_address(evidence: Evidence) -> Iterator[Found]:
    first = str(evidence.cluster.first_service_address)
    dns_logs = [*chain.from_iterable(there.dns_log for _, there in seen(evidence))]
    for machine, there in seen(evidence, "controller"):
        found = there.certificates.get(API_SERVER)
        if found and first not in found.addresses:
            yield Found(
                machine.name, f"the API server's certificate does not hold {first}, the first service address",
                apply(evidence, machine, "certs"),
                lines(
                    f"{API_SERVER}: DNS {', '.join(found.dns_names)}; IP {', '.join(found.addresses)}",
                    [line for line in dns_logs if "x509" in line][-1:],
                ),
            )  # fmt: skip


def addresses(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        own = [f"{PKI}/kubelet.crt"] if machine.is_worker else []
        own += [API_SERVER, f"{ETCD_PKI}/server.crt", f"{ETCD_PKI}/peer.crt"] if machine.is_controller else []
        for path in own:
            found = there.certificates.get(path)
            if found and str(machine.ip) not in found.addresses:
                yield Found(
                    machine.name, f"the certificate {path} does not hold the machine's own address",
                    apply(evidence, machine, "certs"),
                    lines(f"{path}: IP {', '.join(found.addresses) or '(none)'}; it is dialled at {machine.ip}"),
                )  # fmt: skip


def other_keys(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        for path, found in there.certificates.items():
            key = there.keys.get(f"{path.removesuffix('.crt')}.key")
            if found and path.endswith(".crt") and key and key != found.public_key_digest:
                yield Found(
                    machine.name, f"{path} and its key do not belong together", apply(evidence, machine, "certs"),
                    lines(
                        f"{path}: public key sha256 {found.public_key_digest[:16]}…",
                        f"{path.removesuffix('.crt')}.key: public half sha256 {key[:16]}…", _said(there),
                    ),
                )  # fmt: skip


def unreadable(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        those = [path for path, found in there.certificates.items() if found is None]
        if those:
            yield Found(
                machine.name, f"{_which(those)} cannot be read", _renewal(evidence, machine, there, those),
                lines([f"{path}: no PEM certificate" for path in those], _said(there)),
            )  # fmt: skip


def token_keys(evidence: Evidence) -> Iterator[Found]:
    keys = {machine.name: "".join(_token_keys(there).values()) for machine, there in seen(evidence, "controller")}
    odd = odd_ones(keys)
    for machine, there in seen(evidence, "controller"):
        other = [
            path
            for path, key in _token_keys(there).items()
            if differs(evidence, machine, path) or there.keys.get(path.replace(".key", ".pub"), key) != key
        ]
        if machine.name in odd or other:
            yield Found(
                machine.name, "it signs pods' tokens with another key than the other controllers",
                apply(evidence, machine, "certs", "control-plane"),
                lines([f"{name}: sa.key, public half sha256 {key[:16]}…" for name, key in keys.items() if key]),
            )  # fmt: skip


def _token_keys(there: Symptoms) -> dict[str, str]:
    """The private keys of tokens: one, but for a second generation while keys are rotated."""
    return {path: key for path, key in there.keys.items() if path.startswith(f"{PKI}/sa") and path.endswith(".key")}


def encryption_keys(evidence: Evidence) -> Iterator[Found]:
    digests = {machine.name: there.encryption for machine, there in seen(evidence, "controller")}
    odd = odd_ones(digests)
    for machine, there in seen(evidence, "controller"):
        if machine.name in odd or differs(evidence, machine, ENCRYPTION_CONFIG):
            said = there.units["kube-apiserver"].said("unable to transform", "decrypt") if there.units else ()
            yield Found(
                machine.name, "its API server encrypts Secrets with another key than was declared",
                apply(evidence, machine, "encryption", "control-plane"),
                lines([f"{name}: keys sha256 {digest[:16]}…" for name, digest in digests.items()], said),
            )  # fmt: skip


def servers(evidence: Evidence) -> Iterator[Found]:
    for machine, there in seen(evidence):
        for path, server in there.servers.items():
            wanted = evidence.cluster.api_url if path in (KUBELET_CONF, PROXY_CONF) else LOCAL_API
            if server != wanted:
                unit = there.units.get("kubelet" if path == KUBELET_CONF else "kube-proxy")
                yield Found(
                    machine.name, f"{path} dials {server}, where no API server of this cluster is",
                    apply(evidence, machine, "kubeconfigs"),
                    lines(f"{path}: server: {server}", f"should be: {wanted}",
                          unit.said("connection refused", "dial tcp") if unit else ()),
                )  # fmt: skip


def _renewal(evidence: Evidence, machine: Machine, there: Symptoms, paths: Collection[str]) -> str:
    phases = {"kubeconfigs" if "#" in path else "certs" for path in paths if path != KUBELET_CLIENT}
    dead = there.units.get("etcd")
    steps = [apply(evidence, machine, *phases, *(["etcd"] if dead and not dead.runs else []))] if phases else []
    if KUBELET_CLIENT in paths:
        # What the kubelet renewed by itself goes before what its kubeconfig holds.
        steps.append(on(machine, f"rm {KUBELET_CLIENT} && systemctl restart kubelet.service"))
    return "\n".join(steps)


def _authority(path: str) -> str:
    """The CA by which a certificate must be signed, as Snapshot.trusted names it; of a CA itself none."""
    name = _pki_name(path)
    if name.endswith("ca.crt") or path.endswith("#ca"):
        return ""
    if name.startswith("etcd/") or name in ETCD_CLIENTS:
        return "etcd/ca.crt"
    return "front-proxy-ca.crt" if name.startswith("front-proxy") else "ca.crt"


def _pki_name(path: str) -> str:
    """The name below /etc/kubernetes/pki, etcd's own as `etcd/NAME`."""
    return path.replace(f"{ETCD_PKI}/", "etcd/").removeprefix(f"{PKI}/")


def _ca(found: Certificate) -> str:
    return f"CN={found.common_name}, key {found.subject_key_id}"


def _said(there: Symptoms) -> tuple[str, ...]:
    said: list[str] = []
    for unit in there.units.values():
        said += unit.said("x509")
    return tuple(said[-2:])


RULES = (
    Rule(
        "ca-foreign", SYMPTOMS, foreign_authorities, "who trusts another CA refuses all who have this cluster's", "",
        layer="trust", explains=HERE | {"certificate-foreign", "certificate-key"}, reaches=CONTROLLER,
    ),
    Rule(
        "certificate-unreadable", SYMPTOMS, unreadable, "a component that cannot read its certificate does not start",
        "", layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "certificate-expired", SYMPTOMS, expired, "nobody believes a certificate outside of its time", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "certificate-foreign", SYMPTOMS, conflicts, "it is refused: signed by unknown authority", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "certificate-key", SYMPTOMS, other_keys, "a component whose pair does not match does not start", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "service-ip-san", SYMPTOMS, service_address,
        "pods dial the API at that address, and nobody else does: CoreDNS is the first to fail", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "certificate-address", SYMPTOMS, addresses, "who dials that address is told: certificate is valid for others",
        "", layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "service-account-key", SYMPTOMS, token_keys, "tokens that one controller signs are refused by the others", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "other-encryption-key", SYMPTOMS, encryption_keys,
        "it cannot read what the others wrote; what it writes itself, the others cannot", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
    Rule(
        "dead-endpoint", SYMPTOMS, servers, "a component that dials a wrong address hears nothing and says nothing", "",
        layer="trust", explains=HERE, reaches=CONTROLLER,
    ),
)  # fmt: skip

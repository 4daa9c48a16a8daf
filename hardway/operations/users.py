"""`access user`: kubeconfigs for people, signed through the cluster's own API of certificate requests.

The private key is made here and leaves this computer in the kubeconfig alone.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from hardway.declare import pki
from hardway.declare.phases.paths import KUBECTL
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import HardwayError, UsageError
from hardway.workspace import Workspace, write_file

SIGNER = "kubernetes.io/kube-apiserver-client"
SHORTEST = timedelta(minutes=10)
"""The API takes no shorter life (apis/certificates/validation)."""
RECORD = "users.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")


@dataclass(frozen=True)
class User:
    """Somebody who was given a kubeconfig. `until` is when its certificate ends (ISO 8601, UTC).

    `trusts` has the fingerprints of the CAs in it, by which it knows API servers; empty where that was not noted.
    """

    name: str
    groups: tuple[str, ...]
    until: str
    serial: str
    kubeconfig: str
    revoked: bool = False
    trusts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binding:
    """A binding of RBAC. `namespace` is empty for one of the whole cluster."""

    kind: str
    namespace: str
    name: str
    role: str

    @property
    def words(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind} {self.name}{where} ({self.role})"


@dataclass(frozen=True)
class Revoked:
    """What was taken away, and what was not: bindings of the user's groups, which others may need."""

    user: User
    taken: tuple[Binding, ...]
    left: tuple[Binding, ...]


@dataclass(frozen=True)
class Users:
    """Those who were given a kubeconfig with this workspace, in that order."""

    users: tuple[User, ...]


def add(
    session: Session, machine: str, name: str, groups: Sequence[str], life: timedelta, kubeconfig: Path
) -> User:  # fmt: skip
    """Has a certificate signed for a user, and writes the kubeconfig with it. Raises UsageError, HardwayError."""
    for word in (name, *groups):
        if word.startswith("system:"):
            raise UsageError(
                f"{word} is one of Kubernetes' own names; the API signs no certificate for it",
                hint="give a group of your own, and bind a role to it: kubectl create clusterrolebinding",
            )
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a user", hint="letters, digits, and . _ @ - between them; at most 63"
        )
    if life < SHORTEST:
        raise UsageError("a certificate lives for ten minutes at least", hint="--ttl 10m")
    if kubeconfig.exists():
        raise UsageError(f"{kubeconfig} is there already", hint="give another file with --to, or remove it")
    if not session.workspace.kubeconfig.exists():
        raise HardwayError("there is no kubeconfig yet", hint="hardway access")
    known = users(session.workspace)
    key = pki.new_key("ecdsa-p256")
    certificate = _signed(session, machine, _request(key, name, groups), life)
    found = pki.read(certificate)
    until = found.not_after.isoformat(timespec="seconds")
    config: dict[str, Any] = yaml.safe_load(session.workspace.kubeconfig.read_text(encoding="utf-8"))
    trusts = tuple(pki.fingerprint(pem) for pem in pki.split(_trust(config)))
    user = User(name, tuple(groups), until, f"{found.serial:X}", str(kubeconfig), trusts=trusts)
    # An earlier one of that name goes on to be good until it ends.
    _record(session.workspace, [*known, user])
    _write(config, kubeconfig, name, certificate, key)
    return user


def without(known: Sequence[User], ca: bytes, now: datetime) -> list[str]:
    """The names of those who have a certificate that is good, and no kubeconfig that trusts this CA."""
    wanted = pki.fingerprint(ca)
    have = {one.name for one in known if wanted in one.trusts}
    good = [one for one in known if not one.revoked and datetime.fromisoformat(one.until) > now]
    return list(dict.fromkeys(one.name for one in good if one.name not in have))


def _trust(config: Mapping[str, Any]) -> bytes:
    [cluster] = config["clusters"]
    return base64.b64decode(cluster["cluster"]["certificate-authority-data"])


def _request(key: bytes, name: str, groups: Sequence[str]) -> bytes:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    private = serialization.load_pem_private_key(key, None)
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    return built.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]


def _signed(session: Session, machine: str, request: bytes, life: timedelta) -> bytes:
    name = f"hardway-user-{secrets.token_hex(6)}"
    wanted = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": SIGNER,
            "expirationSeconds": int(life.total_seconds()),
            "usages": ["client auth"],
        },
    }
    script = f"""\
remove() {{ {KUBECTL} delete csr {name} --ignore-not-found >/dev/null; }}
trap remove EXIT
trap 'exit 1' HUP INT TERM
remove
printf %s {quote(json.dumps(wanted))} | {KUBECTL} create -f - >&2
{KUBECTL} certificate approve {name} >&2
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  signed=$({KUBECTL} get csr {name} -o jsonpath='{{.status.certificate}}')
  [ -z "$signed" ] || break
  sleep 0.5
done
echo "$signed"
"""
    answer = session.run(machine, script, what=f"have a certificate signed for {name}").stdout.decode().strip()
    if not answer:
        raise HardwayError(
            "no controller manager has signed the request within 10 s",
            machine=machine,
            said="nothing was written",
            hint="hardway doctor",
        )
    return base64.b64decode(answer)


def _write(config: dict[str, Any], path: Path, name: str, certificate: bytes, key: bytes) -> None:
    """The operator's own kubeconfig with another user in it."""
    data = {"client-certificate-data": certificate, "client-key-data": key}
    inside = {field: base64.b64encode(value).decode() for field, value in data.items()}
    [cluster] = config["clusters"]
    context = f"{name}@{cluster['name']}"
    config["users"] = [{"name": name, "user": inside}]
    config["contexts"] = [{"name": context, "context": {"cluster": cluster["name"], "user": name}}]
    config["current-context"] = context
    write_file(path, yaml.safe_dump(config, sort_keys=False).encode())


def users(workspace: Workspace) -> tuple[User, ...]:
    """Those who were given a kubeconfig with this workspace, in that order. Raises HardwayError for a damaged list."""
    path = workspace.root / RECORD
    if not path.exists():
        return ()
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        known = []
        for one in told:
            lists = {"groups": tuple(one["groups"]), "trusts": tuple(one.get("trusts", ()))}
            known.append(User(**{**one, **lists}))
        return tuple(known)
    except (ValueError, TypeError, KeyError) as error:
        raise HardwayError(f"{path} is damaged: {error}", hint="restore it from a backup, or remove it") from error


def _record(workspace: Workspace, known: Sequence[User]) -> None:
    text = json.dumps([asdict(one) for one in known], indent=1) + "\n"
    workspace.write(RECORD, text.encode(), 0o600)


def revoke(session: Session, machine: str, name: str) -> Revoked:
    """Takes a user out of all bindings of RBAC; what the user's groups may do stays. Raises UsageError."""
    known = users(session.workspace)
    given_to = [one for one in known if one.name == name]
    if not given_to:
        given = ", ".join(one.name for one in known) or "nobody"
        raise UsageError(f"{name} was given no kubeconfig with this workspace", hint=f"was given one: {given}")
    listed = session.run(
        machine,
        f"{KUBECTL} get clusterrolebindings,rolebindings -A -o json",
        what="look who may do what",
    )
    items = json.loads(listed.stdout)["items"]
    groups = list(dict.fromkeys(group for one in given_to for group in one.groups))
    taken, left = [], []
    for item in items:
        binding = _binding(item)
        if numbers := list(_subjects(item, "User", [name])):
            session.run(machine, _without(binding, name, numbers), what=f"take {name} out of {binding.name}")
            taken.append(binding)
        if any(_subjects(item, "Group", groups)):
            left.append(binding)
    _record(session.workspace, [replace(one, revoked=True) if one.name == name else one for one in known])
    last = max(given_to, key=lambda one: one.until)
    return Revoked(replace(last, groups=tuple(groups), revoked=True), tuple(taken), tuple(left))


def _binding(item: Mapping[str, Any]) -> Binding:
    metadata, role = item["metadata"], item["roleRef"]
    return Binding(item["kind"], metadata.get("namespace", ""), metadata["name"], f"{role['kind']} {role['name']}")


def _subjects(item: Mapping[str, Any], kind: str, names: Sequence[str]) -> Iterator[int]:
    """The numbers of a binding's subjects that are one of these, from 1."""
    for number, subject in enumerate(item.get("subjects") or (), 1):
        if subject["kind"] == kind and subject["name"] in names:
            yield number


def _without(binding: Binding, name: str, numbers: Sequence[int]) -> str:
    """Tested in the same patch: somebody else may have changed the list meanwhile."""
    steps: list[dict[str, str]] = []
    for number in reversed(numbers):
        path = f"/subjects/{number - 1}"
        steps += [{"op": "test", "path": f"{path}/name", "value": name}, {"op": "remove", "path": path}]
    where = f"-n {quote(binding.namespace)} " if binding.namespace else ""
    patch = quote(json.dumps(steps))
    return f"{KUBECTL} patch {binding.kind.lower()} {quote(binding.name)} {where}--type=json -p {patch}"

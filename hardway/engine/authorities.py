"""CAs and certificates that hardway did not make: what a run would write over, and what an operator's CA lacks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hardway.declare import authority
from hardway.declare.declaration import Declaration
from hardway.declare.generations import CAS
from hardway.declare.pki import PemError, is_issued_by, key_algorithm, read, renewal_margin
from hardway.declare.resources import Certificate, Chain, Key, Local, OwnCertificate, OwnKey, RequestedCertificate
from hardway.engine.blockers import Blocker
from hardway.rules import Finding
from hardway.state import State
from hardway.values import OPERATOR
from hardway.workspace import Workspace

_OURS = re.compile(rf"CN=({'|'.join(ca.common_name for ca in CAS)})(-[0-9]+)?")
"""Issuers that hardway made, as RFC 4514 writes them."""


Wanted = tuple[Local, tuple[str, ...]]
"""A file of the workspace that is to be made, and why."""


@dataclass(frozen=True)
class _Found:
    declaration: Declaration
    values: Mapping[str, bytes]
    state: State
    workspace: Workspace
    now: datetime


def own_blockers(
    to_make: Sequence[Wanted],
    declaration: Declaration,
    values: Mapping[str, bytes],
    state: State,
    workspace: Workspace,
    now: datetime,
) -> Iterator[Blocker]:
    """What speaks against making these files of the workspace, which holds `values`."""
    found = _Found(declaration, values, state, workspace, now)
    own = [one for _, one in declaration.local if isinstance(one, OwnCertificate)]
    for one in own:
        if any(_is_of(local, one) for local, _ in to_make):
            yield from _wrong(one, found)
    if to_make:
        yield from _shared(own, values)
    unsigned = [(one, why) for one, why in to_make if isinstance(one, RequestedCertificate)]
    if unsigned:
        yield _unsigned(unsigned)
    for local, _ in to_make:
        if isinstance(local, RequestedCertificate):
            continue
        if isinstance(local, OwnCertificate) and state.etcd != "absent":
            yield from _another_ca(local, found)
        elif isinstance(local, Certificate) and not _is_ours(local, found):
            yield _in_the_way(local, found)
        elif isinstance(local, OwnKey) and not _may_go(local, found):
            yield _key_in_the_way(local, workspace)


def own_findings(declaration: Declaration, values: Mapping[str, bytes], now: datetime) -> Iterator[Finding]:
    """CAs of the operator's that end soon: hardway cannot renew them."""
    for _, one in declaration.local:
        if isinstance(one, RequestedCertificate) and (ends := _ends_soon(values.get(one.path), now)):
            yield Finding(
                OPERATOR,
                "certificate-ends",
                f"{one.path} ends on {ends:%Y-%m-%d}, and its CA's key is not here",
                f"{CSR}, then {IMPORT}",
                "warning",
            )
        if not isinstance(one, OwnCertificate) or not one.file:
            continue
        try:
            ends = authority.ends_soon(values.get(one.given, values.get(one.path, b"")), now)
        except PemError:
            continue
        if ends is not None:
            yield Finding(
                OPERATOR,
                "authority-ends",
                f"the CA in {one.file} ends on {ends:%Y-%m-%d}, and every certificate that it signed with it",
                f"have it renewed with the same key and put the new certificate into {one.file}",
                "warning",
            )


def _is_of(local: Local, ca: OwnCertificate) -> bool:
    """Whether it is a part of the CA, or signed by it."""
    if isinstance(local, Chain):
        return local.given == ca.given
    return local.path in (ca.path, ca.key_path) or (isinstance(local, Certificate) and local.ca == ca.stem)


def _ends_soon(text: bytes | None, now: datetime) -> datetime | None:
    """When a certificate ends that hardway would renew by now, were it one of its own."""
    try:
        found = read(text or b"")
    except PemError:
        return None
    due = found.not_after - renewal_margin(found.not_before, found.not_after)
    return found.not_after if now >= due else None


def _unsigned(unsigned: Sequence[Wanted]) -> Blocker:
    """Certificates that are missing or no longer good, and whose CA's key is not here."""
    lines = [f"{one.path}: {'; '.join(why)}" for one, why in unsigned]
    return Blocker(
        "unsigned",
        f"{len(unsigned)} certificates are needed that nobody can sign here: the keys of their CAs are elsewhere",
        said="\n".join([*lines, "nothing was changed"]),
        hint=f"write the requests, have them signed, and take the answers:\n    {CSR}\n    {IMPORT}",
        command=CSR,
        subjects=tuple(one.path for one, _ in unsigned),
    )


CSR, IMPORT = "hardway certs csr requests", "hardway certs import answers"


def _wrong(one: OwnCertificate, found: _Found) -> Iterator[Blocker]:
    """The operator's file, where it is there; else the copy of it that the workspace has."""
    text = found.values.get(one.given)
    key = next((local for _, local in found.declaration.local if local.path == one.key_path), None)
    if text is None and one.path not in found.values:
        yield _authority(one.file, "is not there", f"certs.authorities names it: {_HOW}")
    if isinstance(key, OwnKey):
        yield from _wrong_key(key, found)
    if text is None:
        return
    held = found.values.get(key.given, found.values.get(key.path)) if isinstance(key, OwnKey) else None
    problems = authority.problems(text, held, found.now) or _forbidden(one, text, found.declaration)
    for problem in problems:
        yield _authority(one.file, problem, "put that right, then run the same command again")
    if found.state.etcd == "absent" and not authority.problems(text, None, found.now):
        ends = authority.ends_soon(text, found.now)
        if ends is not None:
            yield _authority(
                one.file,
                f"ends on {ends:%Y-%m-%d}, and so would every certificate of this cluster",
                "have the CA renewed first",
            )


def _forbidden(ca: OwnCertificate, text: bytes, declaration: Declaration) -> list[str]:
    dns_names: dict[str, None] = {}
    addresses: dict[str, None] = {}
    for _, one in declaration.local:
        if isinstance(one, Certificate) and one.ca == ca.stem:
            dns_names.update(dict.fromkeys(one.spec.dns_names))
            addresses.update(dict.fromkeys(one.spec.addresses))
    return authority.forbidden(text, dns_names, addresses)


def _wrong_key(key: OwnKey, found: _Found) -> Iterator[Blocker]:
    text = found.values.get(key.given)
    if text is None and key.path not in found.values:
        yield _authority(key.file, "is not there", f"certs.authorities names it: {_HOW}")
    if text is None:
        return
    try:
        key_algorithm(text)
    except PemError as error:
        hint = "openssl pkey -in FILE -out NEW writes it as PEM without a passphrase"
        yield _authority(key.file, str(error), hint)


_HOW = "right is a path beside the inventory, or an absolute one"


def _authority(file: str, problem: str, hint: str) -> Blocker:
    return Blocker("authority", f"{file}: {problem}", said="nothing was changed", hint=hint, subjects=(file,))


def _shared(own: Sequence[OwnCertificate], values: Mapping[str, bytes]) -> Iterator[Blocker]:
    """With one CA for two purposes a kubelet's certificate would open etcd, or speak for any user."""
    seen: dict[str, OwnCertificate] = {}
    for one in own:
        try:
            key = read(values[one.given]).public_key_digest
        except (KeyError, PemError):
            continue
        first = seen.setdefault(key, one)
        if first is not one:
            yield _authority(
                one.file,
                f"is the CA of {first.path} and of {one.path}: who has a certificate of one would be believed by the "
                "other, and a kubelet could read etcd",
                "use another intermediate for each; their root may be the same",
            )


def _another_ca(local: OwnCertificate, found: _Found) -> Iterator[Blocker]:
    """A running cluster keeps its CA; a new certificate of the same CA is one that was renewed."""
    try:
        there, wanted = found.values[local.path], found.values[local.given]
        if authority.same_authority(there, wanted):
            return
        what = f"the cluster's CA is {authority.name(there)}, and {local.file} has {authority.name(wanted)}"
    except (KeyError, PemError):
        return  # the file itself is what is wrong, or the workspace's copy is lost
    [ca] = [one for one in CAS if local.stem in map(one.generation, one.generations(found.state))]
    command = f"hardway certs rotate-ca {ca.name}"
    yield Blocker(
        "other-ca",
        what,
        said="nothing was changed: with another CA nothing in a running cluster would believe anything else",
        hint=f"exchange it: {command}\nor put the former certificate back into {local.file}",
        command=command,
        subjects=(local.path,),
    )


def _is_ours(local: Certificate, found: _Found) -> bool:
    """Whether hardway made the certificate that is there. One that its own CA signed it would sign again."""
    text = found.values.get(local.path)
    if text is None:
        return True
    try:
        there = read(text)
        if _OURS.fullmatch(there.issuer):
            return True
        if local.ca is None:
            return isinstance(local, OwnCertificate) and authority.same_authority(text, found.values[local.given])
        own = [one.path for _, one in found.declaration.local if isinstance(one, OwnCertificate)]
        cas = [found.values[path] for path in (f"{local.ca}.crt", *own) if path in found.values]
        return any(is_issued_by(text, ca) for ca in cas)
    except (KeyError, PemError):
        return local.ca is not None or local.path in found.state.fingerprints


def _may_go(local: OwnKey, found: _Found) -> bool:
    """Whether the key that is there was made here for a cluster that does not exist yet."""
    certificate = f"{local.path.removesuffix('.key')}.crt"
    text = found.values.get(certificate)
    if local.path not in found.values:
        return True
    return found.state.etcd == "absent" and text is not None and bool(_OURS.fullmatch(_issuer(text)))


def _issuer(text: bytes) -> str:
    try:
        return read(text).issuer
    except PemError:
        return ""


def _in_the_way(local: Certificate, found: _Found) -> Blocker:
    text, path = found.values[local.path], found.workspace.root / local.path
    try:
        whose = f"{read(text).common_name or 'a certificate'}, issued by {read(text).issuer}"
    except PemError as error:
        whose = str(error)
    ca = next((one for one in CAS if f"{one.path}.crt" == local.path), None)
    away = [local.path, *([local.key_path] if local.key_path in found.values else [])]
    moves = "\n    ".join(_move(one, found.workspace) for one in away)
    if ca is None:
        hint = f"move it away, and hardway makes its own:\n    {moves}"
    else:
        key = f", key: {_beside(local.key_path)}" if local.key_path in found.values else ""
        hint = (
            "to use it, move it beside the inventory and name it there; to do without it, only move it:\n"
            f"    {moves}\n    certs: {{authorities: {{{ca.name}: {{certificate: {_beside(local.path)}{key}}}}}}}"
        )
    return Blocker(
        "foreign-certificate",
        f"{path} was not made by hardway ({whose}), and this run would write over it",
        said="nothing was changed",
        hint=hint,
        subjects=(local.path,),
    )


def _beside(path: str) -> str:
    return path.removeprefix("pki/").replace("/", "-")


def _move(path: str, workspace: Workspace) -> str:
    """What takes a file of the workspace out of the way and beside the inventory, where it writes over nothing."""
    return shlex.join(["mv", "-n", str(workspace.root / path), str(workspace.beside / _beside(path))])


def _key_in_the_way(local: Key, workspace: Workspace) -> Blocker:
    return Blocker(
        "foreign-key",
        f"{workspace.root / local.path} is another key than the one that the inventory names, and this run would write "
        "over it",
        said="nothing was changed",
        hint=f"if nothing needs it, move it away:\n    {_move(local.path, workspace)}",
        subjects=(local.path,),
    )

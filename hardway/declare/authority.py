"""CAs that the operator brings: their file taken apart, and what keeps one from signing a cluster's certificates. Pure.

A file holds the CA's own certificate first, and after it those above it, up to the self-signed root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from hardway.declare import pki

SHORTEST_LEFT = timedelta(days=30)
"""A new cluster is not begun with a CA that ends sooner: no certificate lives longer than its CA."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_WEAK = (hashes.MD5, hashes.SHA1)
_DER = "is not PEM; if it is DER: openssl x509 -inform der -in FILE -out FILE.pem"


def certificates(text: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM text, in its order; whatever else stands in it is passed over. Raises PemError."""
    blocks = pki.split(text)
    if not blocks:
        raise pki.PemError(f"holds no certificate: it {_DER}" if text.strip() else "is empty")
    found = []
    for number, block in enumerate(blocks, 1):
        try:
            certificate = x509.load_pem_x509_certificate(block)
            _ = certificate.extensions  # parsed lazily: a broken one is to be found here
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise pki.PemError(f"certificate {number} in it is damaged") from error
        found.append(certificate)
    return found


def issuing(text: bytes) -> bytes:
    """The CA's own certificate, as PEM. Raises PemError."""
    return pem(certificates(text)[:1])


def above(text: bytes) -> bytes:
    """The certificates above the CA, up to the root, as PEM; nothing for a root. Raises PemError."""
    return pem(certificates(text)[1:])


def served(text: bytes) -> bytes:
    """What a server sends after its own certificate: all but the root, which who checks must have already."""
    return pem([one for one in certificates(text) if one.subject != one.issuer])


def pem(found: Sequence[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found)


def same_authority(one: bytes, other: bytes) -> bool:
    """Whether two certificates are of one CA: of the same name and the same key. Raises PemError."""
    first, second = certificates(one)[0], certificates(other)[0]
    return first.subject == second.subject and first.public_key() == second.public_key()


def name(text: bytes) -> str:
    """The subject of the first certificate, as RFC 4514 writes it. Raises PemError."""
    return certificates(text)[0].subject.rfc4514_string()


def problems(text: bytes, key: bytes | None, now: datetime) -> list[str]:
    """What keeps the CA of this file from signing or being believed, one sentence each; nothing when it is good.

    `key` None: nobody here has it.
    """
    try:
        chain = certificates(text)
    except pki.PemError as error:
        return [str(error)]
    found = list(_own_problems(chain[0], now))
    found += _chain_problems(chain, now)
    return found + list(_key_problems(chain[0], key))


def forbidden(text: bytes, dns_names: Iterable[str], addresses: Iterable[str]) -> list[str]:
    """Of these names and addresses, those that the name constraints of a CA in this file do not allow, with that CA.

    Nobody believes a certificate that has one of them. Raises PemError.
    """
    found = []
    for ca in certificates(text):
        limits = extension(ca, x509.NameConstraints)
        if limits is None:
            continue
        permitted, excluded = (_subtrees(some) for some in (limits.permitted_subtrees, limits.excluded_subtrees))
        for kind, names in (("dns", dns_names), ("ip", addresses)):
            for one in names:
                outside = permitted[kind] and not any(_inside(one, tree) for tree in permitted[kind])
                if outside or any(_inside(one, tree) for tree in excluded[kind]):
                    found.append(f"{called(ca)} allows no certificate for {one} (name constraints)")
    return found


Network = IPv4Network | IPv6Network


def _subtrees(names: Iterable[x509.GeneralName] | None) -> dict[str, list[str | Network]]:
    found: dict[str, list[str | Network]] = {"dns": [], "ip": []}
    for one in names or ():
        if isinstance(one, x509.DNSName):
            found["dns"].append(one.value.lower())
        elif isinstance(one, x509.IPAddress) and isinstance(one.value, IPv4Network | IPv6Network):
            found["ip"].append(one.value)
    return found


def _inside(name: str, tree: str | Network) -> bool:
    """RFC 5280, 4.2.1.10: a domain and all below it; with a dot before it only what is below."""
    if isinstance(tree, str):
        return name == tree or name.endswith(tree if tree.startswith(".") else f".{tree}") or not tree
    return ip_address(name) in tree


def ends_soon(text: bytes, now: datetime) -> datetime | None:
    """When the first of these certificates ends, where that is soon. Raises PemError."""
    ends = min(one.not_valid_after_utc for one in certificates(text))
    return ends if ends - now < SHORTEST_LEFT else None


def _own_problems(ca: x509.Certificate, now: datetime) -> Iterator[str]:
    named = called(ca)
    constraints = extension(ca, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        yield f"{named} is no CA (basicConstraints without CA:TRUE); the issuing CA's certificate comes first"
        return
    usage = extension(ca, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        yield f"{named} may not sign certificates: its keyUsage lacks keyCertSign"
    extended = extension(ca, x509.ExtendedKeyUsage)
    for oid, word in ((ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth"), (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth")):
        if extended is not None and not {oid, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(extended):
            yield f"{named} may not issue for {word}: its extendedKeyUsage lacks it, and that binds what it signs"
    if not ca.subject.rfc4514_string():
        yield "its CA has an empty subject, which no certificate can name as its issuer"
    yield from _time_problems(ca, now)


def _chain_problems(chain: Sequence[x509.Certificate], now: datetime) -> Iterator[str]:
    for number, (below, ca) in enumerate(pairwise(chain), 1):
        if not issued(below, ca):
            instead = "its issuer is not in the file: add it"
            if any(issued(below, one) for one in chain):
                instead = "the order is: the issuing CA, who issued that, …, the root"
            yield f"{called(ca)} stands after {called(below)} and did not issue it; {instead}"
            return
        constraints = extension(ca, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            yield f"{called(ca)} is no CA (basicConstraints without CA:TRUE)"
        elif constraints.path_length is not None and constraints.path_length < number:
            yield (
                f"{called(ca)} allows {constraints.path_length} CAs below it (pathlen), and there are {number}: "
                "nobody would believe what they sign"
            )
        yield from _time_problems(ca, now)
    if chain[-1].subject != chain[-1].issuer:
        yield (
            f"the chain ends at {called(chain[-1])}, issued by {chain[-1].issuer.rfc4514_string()}; add that one's "
            "certificate: programs with OpenSSL believe nothing without the root"
        )


def _time_problems(ca: x509.Certificate, now: datetime) -> Iterator[str]:
    if now >= ca.not_valid_after_utc:
        yield f"{called(ca)} expired on {ca.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    elif now < ca.not_valid_before_utc:
        yield f"{called(ca)} is not valid before {ca.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if ca.subject != ca.issuer and is_weak(ca):
        yield f"{called(ca)} is signed with SHA1 or MD5, which no component believes"


def _key_problems(ca: x509.Certificate, key: bytes | None) -> Iterator[str]:
    if key is None:
        return
    try:
        public = pki.public_key_digest(pki.public_key_pem(key))
    except pki.PemError:
        return  # said of the key's own file
    if public != pki.read(pem([ca])).public_key_digest:
        yield f"its key is not the key of {called(ca)}"


def issued(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Whether the CA's key signed it, and its name is the issuer's."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def is_weak(certificate: x509.Certificate) -> bool:
    """Whether its signature is of a kind that Go no longer believes."""
    return isinstance(certificate.signature_hash_algorithm, _WEAK)


def called(certificate: x509.Certificate) -> str:
    """A certificate by its subject; what has none by its serial number."""
    return certificate.subject.rfc4514_string() or f"certificate {certificate.serial_number:x}"


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """An extension of a certificate by its class; None where it has none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None

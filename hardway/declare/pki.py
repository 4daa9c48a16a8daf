"""Keys and X.509 certificates: made, read back, and compared with what was specified. Pure: no files.

Everything goes in and out as PEM bytes. Certificates are compared by specification (issuer key,
names, usages, key match, time left), never by bytes, so a hand-made certificate can be as specified.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hardway.values import sha256

KeyAlgorithm = Literal["ecdsa-p256", "rsa-2048", "rsa-3072", "rsa-4096"]
Usage = Literal["server", "client"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CA_DAYS, LEAF_DAYS = 3650, 365
BACKDATING = timedelta(minutes=5)
"""How far NotBefore is in the past: machines' clocks may be that much behind the operator's."""
RENEW_AT_MOST = timedelta(days=30)
"""What is left at most of a certificate's life when it is due for renewal; of a shorter life it is a third."""

_EXTENDED = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_USAGES = {oid: usage for usage, oid in _EXTENDED.items()}
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\s*", re.DOTALL)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class PemError(ValueError):
    """A PEM text that is no certificate or key, or not one that can be used here."""


@dataclass(frozen=True)
class CertificateSpec:
    """What a certificate has to say. `days` is its life; a CA of ours signs leaves only (pathlen 0)."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    usages: frozenset[Usage] = frozenset()
    is_ca: bool = False
    days: int = LEAF_DAYS


@dataclass(frozen=True)
class Certificate:
    """What a certificate says. Times are aware (UTC); identifiers and digests are hexadecimal.

    `usages` holds `server`, `client`, or the dotted OID of any other extended key usage;
    `public_key_digest` is the SHA-256 of the DER SubjectPublicKeyInfo.
    """

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    usages: frozenset[str]
    is_ca: bool
    not_before: datetime
    not_after: datetime
    serial: int
    issuer: str
    subject_key_id: str | None
    authority_key_id: str | None
    public_key_digest: str
    fingerprint: str
    subject: str = ""


def new_key(algorithm: KeyAlgorithm) -> bytes:
    """A fresh private key as unencrypted PKCS #8 PEM, which Go, openssl and etcd all read."""
    key: PrivateKey
    if algorithm == "ecdsa-p256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(65537, int(algorithm.removeprefix("rsa-")))
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_pem(key_pem: bytes) -> bytes:
    """The public half of a private key, such as `sa.pub`. Raises PemError."""
    return (
        _key(key_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def plain_key(key_pem: bytes) -> bytes:
    """A private key in the form of `new_key`, whatever form it has. Raises PemError."""
    return _key(key_pem).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def private_key(key_pem: bytes) -> PrivateKey:
    """A private key, to sign with. Raises PemError."""
    return _key(key_pem)


def public_key_digest(public_pem: bytes) -> str:
    """SHA-256 of a public key's DER SubjectPublicKeyInfo, as `Certificate.public_key_digest`. Raises PemError."""
    try:
        return sha256(_public_der(serialization.load_pem_public_key(public_pem)))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PemError("not a PEM public key, or a damaged one") from error


def key_algorithm(key_pem: bytes) -> str:
    """`ecdsa-p256`, `rsa-2048` … of a private key. Raises PemError."""
    key = _key(key_pem)
    if isinstance(key, rsa.RSAPrivateKey):
        return f"rsa-{key.key_size}"
    return "ecdsa-p256" if key.curve.name == "secp256r1" else f"ecdsa-{key.curve.name}"


def issue_ca(spec: CertificateSpec, key_pem: bytes, now: datetime) -> bytes:
    """A self-signed CA certificate for this key. Raises PemError."""
    key = _key(key_pem)
    name = subject(spec)
    builder = _builder(spec, key, now).issuer_name(name)
    builder = builder.not_valid_before(now - BACKDATING).not_valid_after(now + timedelta(days=spec.days))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    return _sign(builder.add_extension(identifier, critical=False), key)


def issue(spec: CertificateSpec, key_pem: bytes, ca_cert_pem: bytes, ca_key_pem: bytes, now: datetime) -> bytes:
    """A certificate for this key, signed by this CA, valid no longer than the CA itself.

    Raises PemError when the CA's key and certificate do not belong together, or the CA has expired.
    """
    ca, ca_key = _certificate(ca_cert_pem), _key(ca_key_pem)
    if ca.public_key() != ca_key.public_key():
        raise PemError("the CA's key is not the key of the CA's certificate")
    if now >= ca.not_valid_after_utc:
        raise PemError(f"the CA expired on {ca.not_valid_after_utc:%Y-%m-%d %H:%M} UTC and can sign nothing")
    builder = _builder(spec, _key(key_pem), now).issuer_name(ca.subject)
    builder = builder.not_valid_before(max(now - BACKDATING, ca.not_valid_before_utc))
    builder = builder.not_valid_after(min(now + timedelta(days=spec.days), ca.not_valid_after_utc))
    return _sign(builder.add_extension(_identifier_of(ca), critical=False), ca_key)


def read(pem: bytes) -> Certificate:
    """The first certificate of a PEM text. Raises PemError."""
    certificate = _certificate(pem)
    names = _extension(certificate, x509.SubjectAlternativeName)
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    own = _extension(certificate, x509.SubjectKeyIdentifier)
    authority = _extension(certificate, x509.AuthorityKeyIdentifier)
    constraints = _extension(certificate, x509.BasicConstraints)
    return Certificate(
        common_name=next(iter(_attributes(certificate, NameOID.COMMON_NAME)), ""),
        organizations=_attributes(certificate, NameOID.ORGANIZATION_NAME),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        addresses=tuple(str(a) for a in names.get_values_for_type(x509.IPAddress)) if names else (),
        usages=frozenset(_USAGES.get(oid, oid.dotted_string) for oid in usages or ()),
        is_ca=bool(constraints and constraints.ca),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        serial=certificate.serial_number,
        issuer=certificate.issuer.rfc4514_string(),
        subject_key_id=own.digest.hex() if own else None,
        authority_key_id=authority.key_identifier.hex() if authority and authority.key_identifier else None,
        public_key_digest=sha256(_public_der(certificate.public_key())),
        fingerprint=_fingerprint(certificate),
        subject=certificate.subject.rfc4514_string(),
    )


def subject_of(pem: bytes) -> str:
    """Whom the first certificate of a PEM text names, as RFC 4514 writes it. Raises PemError."""
    return _certificate(pem).subject.rfc4514_string()


def split(text: bytes) -> list[bytes]:
    """The PEM certificates of a text, such as a bundle of CAs, one by one and unread."""
    return _BLOCK.findall(text)


def is_issued_by(pem: bytes, ca_pem: bytes) -> bool:
    """Whether the CA's key signed a certificate, and its name is the issuer's. Raises PemError."""
    return not _issuer_differences(pem, ca_pem)


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the certificate as `openssl x509 -fingerprint -sha256` writes it. Raises PemError."""
    return _fingerprint(_certificate(pem))


def renewal_margin(not_before: datetime | None, not_after: datetime) -> timedelta:
    """How long before its end a certificate is due for renewal; of one whose beginning is unknown the longest."""
    return min((not_after - not_before) / 3, RENEW_AT_MOST) if not_before else RENEW_AT_MOST


def differences(
    spec: CertificateSpec,
    algorithm: KeyAlgorithm,
    cert_pem: bytes,
    key_pem: bytes,
    ca_cert_pem: bytes,
    now: datetime | None,
) -> list[str]:
    """What is not as specified, one phrase each; empty when all of it is. Raises PemError.

    A CA is compared with itself as `ca_cert_pem`. A leaf that lives as long as its CA is not called
    due for renewal before it has expired: a new one would end on the same day. Without `now` its dates do not count.
    """
    found = read(cert_pem)
    return [
        *_key_differences(algorithm, found, key_pem),
        *_issuer_differences(cert_pem, ca_cert_pem),
        *_name_differences(spec, found),
        *_usage_differences(spec, cert_pem, found),
        *(_time_differences(found, read(ca_cert_pem).not_after, now) if now else ()),
    ]


def _key_differences(algorithm: KeyAlgorithm, found: Certificate, key_pem: bytes) -> list[str]:
    lines = []
    if found.public_key_digest != sha256(_public_der(_key(key_pem).public_key())):
        lines.append("the certificate belongs to another key")
    if (actual := key_algorithm(key_pem)) != algorithm:
        lines.append(f"key is {actual}, should be {algorithm}")
    return lines


def _issuer_differences(cert_pem: bytes, ca_cert_pem: bytes) -> list[str]:
    certificate, ca = _certificate(cert_pem), _certificate(ca_cert_pem)
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError):
        issuer, wanted = certificate.issuer.rfc4514_string(), ca.subject.rfc4514_string()
        return [f"signed by {issuer}, not by the key of {wanted}"]
    return []


def _name_differences(spec: CertificateSpec, found: Certificate) -> list[str]:
    lines = subject_differences(spec, found)
    lines += _set_differences("DNS name", spec.dns_names, found.dns_names)
    return lines + _set_differences("address", _normal(spec.addresses), found.addresses)


def subject_differences(spec: CertificateSpec, found: Certificate) -> list[str]:
    """Where a certificate's holder is not the one specified: to Kubernetes the CN is a user, and each O a group."""
    lines = []
    if found.common_name != spec.common_name:
        lines.append(f"CN is {found.common_name or 'absent'}, should be {spec.common_name}")
    return lines + _set_differences("O", spec.organizations, found.organizations)


def _set_differences(kind: str, wanted: Iterable[str], found: Iterable[str]) -> list[str]:
    missing, surplus = sorted({*wanted} - {*found}), sorted({*found} - {*wanted})
    return [*(f"{kind} {name} is missing" for name in missing), *(f"unexpected {kind}: {name}" for name in surplus)]


def _usage_differences(spec: CertificateSpec, cert_pem: bytes, found: Certificate) -> list[str]:
    lines = []
    if found.is_ca != spec.is_ca:
        lines.append("is a CA, should not be" if found.is_ca else "is no CA, should be")
    usage = _extension(_certificate(cert_pem), x509.KeyUsage)
    if spec.is_ca and usage and not usage.key_cert_sign:
        lines.append("may not sign certificates (key usage)")
    if not spec.is_ca and usage and not usage.digital_signature:
        lines.append("may not sign handshakes (key usage)")
    if found.usages != spec.usages:
        lines.append(f"is for {_words(found.usages)}, should be for {_words(spec.usages)}")
    return lines


def _time_differences(found: Certificate, ca_not_after: datetime, now: datetime) -> list[str]:
    if now < found.not_before:
        return [f"not valid before {found.not_before:%Y-%m-%d %H:%M} UTC"]
    left = found.not_after - now
    if left <= timedelta(0):
        return [f"expired on {found.not_after:%Y-%m-%d %H:%M} UTC"]
    as_long_as_possible = not found.is_ca and found.not_after >= ca_not_after
    if left <= renewal_margin(found.not_before, found.not_after) and not as_long_as_possible:
        return [f"expires in {in_time(left)}, on {found.not_after:%Y-%m-%d}"]
    return []


def in_time(left: timedelta) -> str:
    """`12 days`; of less than two days `30 hours`."""
    return f"{left.days} days" if left.days > 1 else f"{left // timedelta(hours=1)} hours"


def _words(usages: Iterable[str]) -> str:
    return " and ".join(sorted(usages)) or "no extended usage"


def _normal(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_address(address)) for address in addresses)


def subject(spec: CertificateSpec) -> x509.Name:
    """Whom a certificate of this specification names."""
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in spec.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, spec.common_name)])


def _builder(spec: CertificateSpec, key: PrivateKey, now: datetime) -> x509.CertificateBuilder:
    if now.tzinfo is None:
        raise ValueError("certificates need an aware time")
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(spec))
        .public_key(public)
        .serial_number(x509.random_serial_number())  # 159 bits
        .add_extension(x509.BasicConstraints(spec.is_ca, 0 if spec.is_ca else None), critical=True)
        .add_extension(key_usage(spec, key), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    if spec.usages:
        builder = builder.add_extension(extended_usage(spec), critical=False)
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in spec.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in spec.addresses]
    return builder.add_extension(x509.SubjectAlternativeName(names), critical=False) if names else builder


def extended_usage(spec: CertificateSpec) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([_EXTENDED[usage] for usage in sorted(spec.usages)])


def key_usage(spec: CertificateSpec, key: PrivateKey) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not spec.is_ca,
        # only TLS 1.2 without forward secrecy encrypts to a key, and only an RSA one can
        key_encipherment=not spec.is_ca and isinstance(key, rsa.RSAPrivateKey),
        key_cert_sign=spec.is_ca,
        crl_sign=spec.is_ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _sign(builder: x509.CertificateBuilder, key: PrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _identifier_of(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = _extension(ca, x509.SubjectKeyIdentifier)
    if own is not None:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    public = ca.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)  # issue() matched it with _key()
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(public)


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        _ = certificate.extensions  # parsed lazily: a broken one is to be found here
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise PemError("not a PEM certificate, or a damaged one") from error
    return certificate


@lru_cache(maxsize=256)
def _key(pem: bytes) -> PrivateKey:
    """Never chains the cause: what the parser says could quote the key."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise PemError("the private key has a passphrase; components need it without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PemError("not a PEM private key, or a damaged one") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise PemError("the private key is neither ECDSA nor RSA")
    return key


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _attributes(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid))


def _public_der(public: object) -> bytes:
    der: bytes = public.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return der


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()

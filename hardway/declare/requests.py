"""Certificates that a CA elsewhere signs: requests for them, and answers held against what was asked for. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from hardway.declare import authority, pki
from hardway.declare.pki import CertificateSpec, PemError

ANY_USAGE = "2.5.29.37.0"
_PKCS7 = b"-----BEGIN PKCS7-----"


def request(spec: CertificateSpec, key_pem: bytes) -> bytes:
    """A PKCS #10 request for this key with subject, SANs and usages, as PEM. Raises PemError."""
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in spec.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in spec.addresses]
    key = pki.private_key(key_pem)
    builder = x509.CertificateSigningRequestBuilder().subject_name(pki.subject(spec))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    builder = builder.add_extension(pki.key_usage(spec, key), critical=True)
    builder = builder.add_extension(pki.extended_usage(spec), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def certificates(content: bytes) -> list[bytes]:
    """The certificates of a file in any form that CAs answer in (PEM, DER, PKCS #7), each as PEM. Raises PemError."""
    if pki.split(content):
        return [authority.pem([one]) for one in authority.certificates(content)]
    forms: tuple[Callable[[bytes], list[x509.Certificate]], ...] = (
        lambda der: [x509.load_der_x509_certificate(der)],
        pkcs7.load_pem_pkcs7_certificates if _PKCS7 in content else pkcs7.load_der_pkcs7_certificates,
    )
    for read in forms:
        try:
            return [authority.pem([one]) for one in read(content)]
        except ValueError:
            continue
    raise PemError("holds no certificate in PEM, DER or PKCS #7")


def shortcomings(spec: CertificateSpec, cert_pem: bytes, key_pem: bytes, ca_pem: bytes, now: datetime) -> list[str]:
    """What an answer lacks of what was asked for, one phrase each. Raises PemError.

    More names and usages than asked for do no harm, and many CAs add some. Who holds it (CN, O) must be just that: to
    Kubernetes those are a user and its groups.
    """
    [certificate] = authority.certificates(cert_pem)[:1]
    found = pki.read(cert_pem)
    lines = []
    if found.public_key_digest != pki.public_key_digest(pki.public_key_pem(key_pem)):
        lines.append("is for another key than the one it was asked for")
    if not pki.is_issued_by(cert_pem, ca_pem):
        wanted = authority.name(ca_pem)
        lines.append(
            f"was issued by {found.issuer}, and the inventory names {wanted}: its key, or its name, is another"
        )
    lines += pki.subject_differences(spec, found)
    lines += _lacking(spec, found)
    usage = authority.extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        lines.append("may not sign handshakes: its keyUsage lacks digitalSignature")
    if authority.is_weak(certificate):
        lines.append("is signed with SHA1 or MD5, which no component believes")
    return [*lines, *_time(found, now)]


def _lacking(spec: CertificateSpec, found: pki.Certificate) -> Iterator[str]:
    there = {name.lower() for name in found.dns_names}
    yield from (f"lacks the DNS name {name}" for name in spec.dns_names if name not in there)
    for address in spec.addresses:
        if str(ipaddress.ip_address(address)) not in found.addresses:
            yield f"lacks the address {address}"
    if found.is_ca:
        yield "is a CA (basicConstraints CA:TRUE), and should be none"
    # Without an extended usage it is good for any.
    if found.usages and ANY_USAGE not in found.usages:
        yield from (f"lacks the extended usage {usage}Auth" for usage in sorted(spec.usages - found.usages))


def _time(found: pki.Certificate, now: datetime) -> Iterator[str]:
    if now >= found.not_after:
        yield f"expired on {found.not_after:%Y-%m-%d %H:%M} UTC"
    elif now < found.not_before:
        yield f"is not valid before {found.not_before:%Y-%m-%d %H:%M} UTC; is the clock of the CA right, or this one?"

"""A company's CAs: a root, and what it signs. For tests of CAs that an operator brings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Company:
    """A CA with its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def crt(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def pem_key(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )


def company(
    name: str,
    by: Company | None = None,
    *,
    pathlen: int | None = None,
    days: float = 3000,
    begins: float = -1,
    is_ca: bool = True,
    signs: bool = True,
    usages: tuple[x509.ObjectIdentifier, ...] = (),
    key: PrivateKey | None = None,
    more: x509.ExtensionType | None = None,
) -> Company:
    """A CA of this name, signed by another one or by itself; `days` and `begins` count from now."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Corp"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(is_ca, pathlen if is_ca else None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )  # fmt: skip
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if more is not None:
        builder = builder.add_extension(more, critical=True)
    return Company(builder.sign(by.key if by else own, hashes.SHA256()), own)


def signed(
    request: bytes,
    by: Company,
    *,
    days: float = 365,
    begins: float = -1,
    subject: x509.Name | None = None,
    without: tuple[type[x509.ExtensionType], ...] = (),
    more: tuple[x509.ExtensionType, ...] = (),
    key: PrivateKey | None = None,
) -> x509.Certificate:
    """What a CA answers to a request: as asked for, but for what is said otherwise."""
    asked = x509.load_pem_x509_csr(request)
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or asked.subject)
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key() if key else asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + days * DAY)
    )
    for one in asked.extensions:
        if not isinstance(one.value, without):
            builder = builder.add_extension(one.value, critical=one.critical)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(by.key, hashes.SHA256())


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)

"""Host certificates: whether an authority that known_hosts trusts vouches for a key, as ssh judges it."""

import base64
import fnmatch
import time
from collections.abc import Collection

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

SUFFIX = "-cert-v01@openssh.com"
_SHA1 = b"ssh-rsa"


def fault(key_type: str, blob: bytes, host: str, authorities: Collection[bytes]) -> str | None:
    """Why a certificate does not vouch for a host now, or None where it does.

    `key_type` and `blob` are the certificate, `authorities` the public keys trusted for this host.
    """
    try:
        certificate = load_ssh_public_identity(f"{key_type} {base64.b64encode(blob).decode()}".encode())
        if not isinstance(certificate, SSHCertificate):
            return "it shows no certificate"
        authority = base64.b64decode(
            certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1]
        )
        certificate.verify_cert_signature()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return "its certificate cannot be verified"
    if authority not in authorities:
        return "its certificate is of another authority"
    # what follows the authority's key is the signature: its length, then its algorithm's length and name
    if blob.rpartition(authority)[2][8:].startswith(_SHA1):
        return "its certificate is signed with SHA-1"
    return _misuse(certificate, host)


def _misuse(certificate: SSHCertificate, host: str) -> str | None:
    if certificate.type != SSHCertificateType.HOST:
        return "its certificate is a user's"
    if certificate.critical_options:
        return f"its certificate asks for {', '.join(map(bytes.decode, certificate.critical_options))}"
    if not certificate.valid_after <= time.time() < certificate.valid_before:
        return "its certificate is not valid at this time"
    names = [name.decode(errors="replace") for name in certificate.valid_principals]
    if names and not any(fnmatch.fnmatchcase(host.lower(), name.lower()) for name in names):
        return f"its certificate is for {', '.join(names)}"
    return None

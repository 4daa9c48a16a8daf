"""Key files as ssh takes them: OpenSSH's own form, PEM and PKCS#8, public halves, certificates."""

import base64
import io
from pathlib import Path

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from paramiko.pkey import PublicBlob

_BEGIN, _MAGIC = b"-----BEGIN OPENSSH PRIVATE KEY-----", b"openssh-key-v1\0"
_KINDS: dict[type, type[paramiko.PKey]] = {
    RSAPrivateKey: paramiko.RSAKey,
    EllipticCurvePrivateKey: paramiko.ECDSAKey,
    Ed25519PrivateKey: paramiko.Ed25519Key,
}
_CERTIFICATE = "-cert-v01@openssh.com"


class Unusable(Exception):
    """A key that cannot be used, and why."""


class PassphraseNeeded(Exception):
    """The key is encrypted."""


def load(path: Path, passphrase: str | None = None) -> paramiko.PKey:
    """The private key. Raises Unusable, PassphraseNeeded; never with a cause: it could quote the key."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Unusable("no such file") from None
    except OSError as error:
        raise Unusable(f"it cannot be read: {error.strerror}") from None
    read = load_ssh_private_key if data.lstrip().startswith(_BEGIN) else load_pem_private_key
    try:
        key = read(data, passphrase.encode() if passphrase else None)
    except TypeError:
        raise PassphraseNeeded from None
    except UnsupportedAlgorithm:
        raise Unusable("a key of a security token, or of an unknown kind: load it into the agent, ssh-add") from None
    except ValueError:
        raise Unusable(_no_key(path, passphrase)) from None
    for kind, made in _KINDS.items():
        if isinstance(key, kind):
            plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            return made.from_private_key(io.StringIO(plain.decode()))
    raise Unusable("a kind of key that no SSH server takes any more")


def _no_key(path: Path, passphrase: str | None) -> str:
    if passphrase:
        return "the passphrase is wrong"
    if public_line(path):
        return "only the public half, and the agent does not hold the key"
    return "not a private key that can be read"


def public_blob(path: Path) -> bytes:
    """The public half of a key file, without its passphrase: beside it, in it, or the file itself; else nothing."""
    return public_line(Path(f"{path}.pub")) or public_line(path) or _in_private(path)


def public_line(path: Path) -> bytes:
    """What a line of the form `ssh-ed25519 AAAA… comment` holds, the first in a file."""
    try:
        kind, encoded, *_ = path.read_text(encoding="utf-8", errors="replace").split(maxsplit=2)
        blob = base64.b64decode(encoded, validate=True)
    except (OSError, ValueError):
        return b""
    return blob if paramiko.Message(blob).get_binary() == kind.encode() else b""


def _in_private(path: Path) -> bytes:
    """OpenSSH's form has the public half in clear."""
    try:
        data = base64.b64decode(b"".join(path.read_bytes().splitlines()[1:-1]))
    except (OSError, ValueError):
        return b""
    if not data.startswith(_MAGIC):
        return b""
    message = paramiko.Message(data[len(_MAGIC) :])
    for _ in ("cipher", "key derivation", "its options"):
        message.get_binary()
    message.get_int()
    return message.get_binary()


class CertifiedKey(paramiko.PKey):
    """A key that is offered by its certificate."""

    def __init__(self, key: paramiko.PKey, certificate: bytes) -> None:
        self.public_blob = PublicBlob(paramiko.Message(certificate).get_text(), certificate)
        self._key = key

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        return self._key.sign_ssh_data(data, algorithm)


def certified(blob: bytes) -> bytes:
    """The plain public half of a certificate's key: its kind, and the fields behind the nonce. Else nothing."""
    message = paramiko.Message(blob)
    kind = message.get_binary().decode(errors="replace")
    if not kind.endswith(_CERTIFICATE):
        return b""
    message.get_binary()
    token = kind.startswith("sk-")
    plain = paramiko.Message()
    plain.add_string(kind.removesuffix(_CERTIFICATE) + ("@openssh.com" if token else ""))
    # a curve has a name and a point, RSA an exponent and a modulus; a token's key has an application
    for _ in range((1 if "ed25519" in kind else 2) + token):
        plain.add_string(message.get_binary())
    return plain.asbytes()

"""Texts as they may leave the place where they are: what is secret in them is a placeholder that names its digest."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from hardway.declare import pki
from hardway.probe.setup.material import Book
from hardway.values import Placeholder, placeholders, sha256

_BLOCK = re.compile(r"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----.*?-----END (?P=kind)-----\n?", re.DOTALL)
_INLINE = re.compile(
    r"""(\b(?P<name>client-key-data|secret|token|password)["']?\s*:\s*)["']?(?P<value>[^\s"',}#⟦]+)["']?"""
)


def redacted(text: str) -> str:
    """Private keys and the values of `client-key-data`, `secret`, `token` and `password` as placeholders.

    A public key becomes the same placeholder as its private one: they are one pair.
    """
    return _INLINE.sub(_inline, _BLOCK.sub(_block, text))


def _block(found: re.Match[str]) -> str:
    if found["kind"] == "CERTIFICATE":
        return found[0]
    return _key(found[0].encode()) + "\n" if found["kind"].endswith("KEY") else ""


def _key(pem: bytes) -> str:
    """The placeholder of a key pair; nothing for what cannot be read."""
    try:
        public = pem if b"PUBLIC KEY" in pem else pki.public_key_pem(pem)
        return key_placeholder(pki.public_key_digest(public))
    except pki.PemError:
        return ""


def _inline(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    if name in ("token", "password") or value == "hidden":
        return f"{found[1]}hidden"
    content = _decoded(value)
    return found[1] + (
        _key(content) if name == "client-key-data" else secret_placeholder(sha256(content), len(content))
    )


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return b""


def key_placeholder(digest: str) -> str:
    """Stands for a key pair, by the SHA-256 of its public half."""
    return str(Placeholder(f"key/{digest}", secret=True))


def secret_placeholder(digest: str, size: int) -> str:
    """Stands for a secret of that many bytes, by their SHA-256."""
    return str(Placeholder(f"secret/{digest}/{size}", secret=True))


def book_of(texts: Iterable[str]) -> Book:
    """What the placeholders that were put into texts here, or on a machine, stand for."""
    keys: dict[str, str] = {}
    secrets: dict[str, tuple[str, int]] = {}
    for text in texts:
        for placeholder in placeholders(text):
            kind, _, rest = placeholder.name.partition("/")
            digest, _, size = rest.partition("/")
            if kind == "key":
                keys[placeholder.name] = digest
            elif kind == "secret" and size.isdigit():
                secrets[placeholder.name] = (digest, int(size))
    return Book(keys=keys, secrets=secrets)

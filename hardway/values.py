"""Small values that every layer shares: secrets, digests, and text with placeholders."""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Role = Literal["controller", "worker", "load-balancer"]
ROLES: tuple[Role, ...] = ("controller", "worker", "load-balancer")
LabImage = Literal["debian-12", "debian-12-minimal", "debian-13", "debian-13-minimal"]
"""Root file systems that `hardway lab up` can make; minimal: what boots and answers SSH, no more."""
OPERATOR = "operator"
"""The name under which resources of the operator's own computer are placed."""


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256 digest."""
    return hashlib.sha256(content).hexdigest()


def host_port(host: object, port: int | str) -> str:
    """A name or address and a port, as URLs, flags and messages have them: an IPv6 address stands in brackets."""
    name = str(host)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def majority(count: int) -> int:
    """How many of so many voters decide: etcd's quorum."""
    return count // 2 + 1


@dataclass(frozen=True)
class Secret:
    """Bytes that must never be printed: every form of display shows their digest instead."""

    _content: bytes

    def reveal(self) -> bytes:
        return self._content

    def __repr__(self) -> str:
        return f"secret sha256:{sha256(self._content)[:12]}"

    __str__ = __repr__


_OPEN, _CLOSE = "⟦", "⟧"
_PLACEHOLDER = re.compile(f"{_OPEN}([^|{_CLOSE}]+)\\|(plain|base64)\\|(open|secret){_CLOSE}")


@dataclass(frozen=True)
class Placeholder:
    """A place in a text for what is not known yet, or is not to be shown.

    `name` says what fills it: `pki/ca.crt`, `secret/encryption-key`, `fact/cgroup-driver`. `form` is how
    the value is written there. Inside a text a placeholder is the token `⟦name|form|open⟧`, so a text with
    placeholders is still a text: YAML and unit files with placeholders parse, merge and compare as they are.
    """

    name: str
    form: Literal["plain", "base64"] = "plain"
    secret: bool = False

    def __str__(self) -> str:
        return f"{_OPEN}{self.name}|{self.form}|{'secret' if self.secret else 'open'}{_CLOSE}"


def has_placeholder_marks(text: str) -> bool:
    """Whether text from outside contains a character that only placeholders may use."""
    return _OPEN in text or _CLOSE in text


def placeholders(text: str) -> Iterator[Placeholder]:
    """The placeholders of a text, in order, with repetitions."""
    return iter(_parsed(text))


@lru_cache(maxsize=16384)
def _parsed(text: str) -> tuple[Placeholder, ...]:
    if _OPEN not in text:
        return ()
    found = _PLACEHOLDER.findall(text)
    return tuple(Placeholder(name, form, secrecy == "secret") for name, form, secrecy in found)


def is_secret(text: str) -> bool:
    """Whether any placeholder of the text is secret."""
    return any(placeholder.secret for placeholder in placeholders(text))


def fill(text: str, values: Mapping[str, bytes]) -> bytes | None:
    """The text with all its placeholders filled; None while a value is still unknown."""
    if _OPEN not in text:
        return text.encode()
    missing = False

    def put(match: re.Match[str]) -> str:
        nonlocal missing
        value = values.get(match.group(1))
        if value is None:
            missing = True
            return ""
        if match.group(2) == "base64":
            return base64.b64encode(value).decode()
        # What an operator ships may be no text.
        return value.decode(errors="surrogateescape")

    filled = _PLACEHOLDER.sub(put, text)
    return None if missing else filled.encode(errors="surrogateescape")


def show(text: str, values: Mapping[str, bytes]) -> str:
    """The text as it may be shown: open placeholders filled, secrets as digests, the unknown as such."""

    def put(match: re.Match[str]) -> str:
        name, form, secrecy = match.groups()
        value = values.get(name)
        if value is None:
            return f"(known after {name.partition('/')[0]})"
        if secrecy == "secret":
            return f"(secret sha256:{sha256(value)[:12]})"
        return base64.b64encode(value).decode() if form == "base64" else value.decode()

    return _PLACEHOLDER.sub(put, text)


def minor(version: str) -> str:
    """`1.36` of `1.36.4`."""
    return ".".join(version.split(".")[:2])

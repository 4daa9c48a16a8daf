"""Encryption with age, which `workspace seal`, `etcd snapshot --encrypt` and `backup` share: from stream to stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol

from hardway.errors import HardwayError, UsageError, WorkspaceError

try:
    import pyrage
except ImportError:  # an extra: hardway[seal]
    pyrage = None

_BEGINNING = b"age-encryption.org/v1\n"


class Readable(Protocol):
    """What is encrypted comes from here, as much at a time as is asked for; all of it without a number."""

    def read(self, count: int = -1, /) -> bytes: ...


Encrypt = Callable[[Readable, IO[bytes]], None]
Decrypt = Callable[[IO[bytes], IO[bytes]], None]


def encrypter(recipients: Sequence[str], passphrase: str | None) -> Encrypt:
    """For recipients `age1...` or `ssh-ed25519 ...`, or else a passphrase. Raises UsageError for a wrong recipient.

    With a passphrase all of it is in memory at once: the library has no other way.
    """
    _require_age()
    if passphrase is not None:
        return lambda source, target: _write(target, pyrage.passphrase.encrypt(source.read(), passphrase))
    keys = []
    for text in recipients:
        kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
        try:
            keys.append(kind.Recipient.from_str(text))
        except pyrage.RecipientError as error:
            raise UsageError(f"{text} is no recipient: {error}", hint="age1... or ssh-ed25519 ...") from error
    return lambda source, target: _streamed(source, target, keys)


def decrypter(identity: Path | None, passphrase: str | None) -> Decrypt:
    """With a file of `AGE-SECRET-KEY-` or an SSH key, or else a passphrase. Raises UsageError for a wrong file."""
    _require_age()
    if identity is None:
        return lambda source, target: _write(target, pyrage.passphrase.decrypt(source.read(), passphrase or ""))
    keys = _identities(identity)
    return lambda source, target: pyrage.decrypt_io(source, target, keys)


def decrypt_file(path: Path, decrypt: Decrypt, target: IO[bytes]) -> None:
    """What is in FILE, to the target. Raises WorkspaceError where it cannot be read, or not with this key."""
    try:
        source = path.open("rb")
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    with source:
        try:
            decrypt(source, target)
        except pyrage.DecryptError as error:
            hint = "--identity, or the passphrase"
            raise WorkspaceError(f"{path} cannot be decrypted: {error}", hint=hint) from error
        except OSError as error:
            if error.errno:
                what = f"what is in {path} could not be written: {error.strerror}"
                raise WorkspaceError(what, hint="free some disk") from error
            # The library's, for a file that is cut or changed: it has no number.
            raise WorkspaceError(f"{path} is damaged: {error}", hint="use an older one") from error


def is_encrypted(path: Path) -> bool:
    """Whether a file begins as those of age do."""
    with path.open("rb") as file:
        return file.read(len(_BEGINNING)) == _BEGINNING


class _Kept:
    """A stream that keeps what was raised: the library puts an error of its own in its place."""

    def __init__(self, read: Callable[[int], bytes], write: Callable[[bytes], int]) -> None:
        self._read, self._write = read, write
        self.error: BaseException | None = None

    def read(self, count: int = -1) -> bytes:
        with self._keeping():
            return self._read(count)

    def write(self, content: bytes) -> int:
        with self._keeping():
            return self._write(content)

    def flush(self) -> None:
        """The file is flushed where it is opened."""

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.error = error
            raise


def _streamed(source: Readable, target: IO[bytes], keys: Sequence[object]) -> None:
    kept = _Kept(source.read, target.write)
    try:
        pyrage.encrypt_io(kept, kept, keys)
    except (pyrage.EncryptError, OSError) as error:
        raise kept.error or error from error
    # Of what it writes when it ends, the library says nothing.
    if kept.error:
        raise kept.error


def _write(target: IO[bytes], content: bytes) -> None:
    target.write(content)


def _identities(path: Path) -> list[object]:
    try:
        content = path.read_bytes()
        if b"PRIVATE KEY-----" in content:
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        return [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint="--identity FILE") from error
    except (pyrage.IdentityError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} holds no identity", hint="a file of age-keygen, or an SSH private key") from error


def _require_age() -> None:
    if pyrage is None:
        raise HardwayError("the Python package pyrage is not installed", hint="pip install 'hardway[seal]'")

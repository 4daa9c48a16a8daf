"""The flags by which files are encrypted with age and opened again, and what they come to."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hardway.errors import UsageError
from hardway.operations.age import Decrypt, Encrypt, decrypter, encrypter

Recipients = Annotated[
    list[str] | None, typer.Option("--recipient", metavar="KEY", help="age1... or 'ssh-ed25519 ...'; repeatable")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Its first line; else it asks")
]
Identity = Annotated[
    Path | None, typer.Option("--identity", metavar="FILE", help="of age-keygen, or an SSH private key")
]


def encrypting(recipients: Sequence[str] | None, passphrase_file: Path | None) -> Encrypt:
    """As the flags say; without any a passphrase is asked for. Raises UsageError."""
    if recipients and passphrase_file:
        raise UsageError("--recipient and --passphrase-file exclude each other", hint="give one of them")
    return encrypter(recipients or (), None if recipients else _passphrase(passphrase_file, twice=True))


def decrypting(identity: Path | None, passphrase_file: Path | None) -> Decrypt:
    """As the flags say; without any the passphrase is asked for. Raises UsageError."""
    if identity and passphrase_file:
        raise UsageError("--identity and --passphrase-file exclude each other", hint="give one of them")
    return decrypter(identity, None if identity else _passphrase(passphrase_file, twice=False))


def _passphrase(path: Path | None, *, twice: bool) -> str:
    if path is not None:
        try:
            given = path.read_text(encoding="utf-8").partition("\n")[0]
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", hint="--passphrase-file FILE") from error
    elif not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="--recipient or --identity, or --passphrase-file FILE")
    else:
        given = getpass.getpass("Passphrase: ")
        if twice and given != getpass.getpass("Again: "):
            raise UsageError("the two are not the same; nothing was encrypted", hint="give the command again")
    if not given:
        raise UsageError("the passphrase is empty; nothing was changed", hint="give one of several words")
    return given

"""What is on the operator's computer: keys, certificates, kubeconfigs.

They are made from values of the workspace by pure functions; only `workspace.py` writes them.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hardway.declare import openssl, pki
from hardway.declare.resources.base import ManualStep, quote
from hardway.values import fill, placeholders, sha256


class Local(ABC):
    """A file of the workspace, by its path there (`pki/ca.crt`): also the name of the placeholder it fills."""

    kind: ClassVar[str]
    copied: ClassVar[bool] = False
    """Whether it is made from what the operator brings alone, so that its content is known before it is made."""
    path: str
    mode: int

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.path}"

    @abstractmethod
    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        """What is wrong with the file there is, in words; empty when it is as declared."""

    @abstractmethod
    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        """The new content; whatever it builds upon is in `values` already."""

    @abstractmethod
    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        """What a person would type in the workspace's folder, where umask is 077, to create the file.

        `notes` has a comment for a certificate's names. What is typed feeds its own text into `command`.
        """


@dataclass(frozen=True)
class Key(Local):
    """A private key. It is made once and never again: a lost key is an error."""

    kind: ClassVar[str] = "key"
    path: str
    algorithm: pki.KeyAlgorithm
    mode: int = 0o600

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        pki.key_algorithm(values[self.path])  # another algorithm makes no damaged key: what is signed by it says so
        return []

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        return pki.new_key(self.algorithm)

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        if self.algorithm == "ecdsa-p256":
            how = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        else:
            how = f"-algorithm RSA -pkeyopt rsa_keygen_bits:{self.algorithm.removeprefix('rsa-')}"
        path = quote(self.path)
        # A second key in place of a first one would make all that it signed worthless.
        return ManualStep(f"[ -e {path} ] || openssl genpkey -quiet {how} -out {path}")


@dataclass(frozen=True)
class PublicKey(Local):
    """The public half of a key pair, as PEM."""

    kind: ClassVar[str] = "public-key"
    path: str
    of: str
    mode: int = 0o644

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        if self.of not in values:
            return ["its key is to be made"]
        return [] if values[self.path] == self.make(values, now) else [f"is not the public half of {self.of}"]

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        return pki.public_key_pem(values[self.of])

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        return ManualStep(
            f"openssl pkey -in {quote(self.of)} -pubout -out {quote(self.path)}\nchmod 644 {quote(self.path)}"
        )


@dataclass(frozen=True)
class Certificate(Local):
    """A certificate for `key_path`, signed by the CA at `ca` (a path without its ending; None: self-signed).

    `lasting`: it is not issued again because of its age.
    """

    kind: ClassVar[str] = "certificate"
    path: str
    spec: pki.CertificateSpec
    algorithm: pki.KeyAlgorithm
    ca: str | None
    lasting: bool = False
    mode: int = 0o644

    @property
    def stem(self) -> str:
        """The path without its ending, as `ca` names one."""
        return self.path.removesuffix(".crt")

    @property
    def key_path(self) -> str:
        return f"{self.stem}.key"

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        issuer = values.get(f"{self.ca}.crt" if self.ca else self.path)
        key = values.get(self.key_path)
        if issuer is None or key is None:
            return ["its CA or its key is to be made"]
        when = None if self.lasting else now
        return pki.differences(self.spec, self.algorithm, values[self.path], key, issuer, when)

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        key = values[self.key_path]
        if self.ca is None:
            return pki.issue_ca(self.spec, key, now)
        return pki.issue(self.spec, key, values[f"{self.ca}.crt"], values[f"{self.ca}.key"], now)

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        """It feeds openssl's extension file; the request has only the name and the key's proof of possession."""
        signer = f"-signkey {quote(self.key_path)}"
        if self.ca is not None:
            signer = f"-CA {quote(f'{self.ca}.crt')} -CAkey {quote(f'{self.ca}.key')}"
        extensions = quote(self.path.removesuffix(".crt") + ".cnf")
        lines = (
            f"cat >{extensions}",
            f"openssl req -new -key {quote(self.key_path)} -subj {quote(openssl.subject(self.spec))} |",
            f"  openssl x509 -req {signer} \\",
            f'    -days {self.spec.days} -sha256 -set_serial "0x$(openssl rand -hex 19)" \\',
            f"    -extfile {extensions} -out {quote(self.path)}",
            f"chmod 644 {quote(self.path)}",
        )
        return ManualStep("\n".join(lines), openssl.extensions(self.spec, self.algorithm, notes))


@dataclass(frozen=True)
class RandomKey(Local):
    """Random bytes, kept as they are; made once and never again."""

    kind: ClassVar[str] = "random"
    path: str
    size: int = 32
    mode: int = 0o600

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        return [] if self.path in values else ["is not there"]

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        return secrets.token_bytes(self.size)

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        path = quote(self.path)
        return ManualStep(f"[ -e {path} ] || openssl rand -out {path} {self.size}")


@dataclass(frozen=True)
class WorkspaceFile(Local):
    """A text of the operator's, with placeholders: a kubeconfig, the ssh_config."""

    kind: ClassVar[str] = "workspace-file"
    path: str
    text: str
    mode: int = 0o600

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        content = fill(self.text, values)
        if content is None:
            return ["known after what it holds is made"]
        return [] if sha256(values[self.path]) == sha256(content) else ["content differs"]

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        content = fill(self.text, values)
        if content is None:
            raise ValueError(f"{self.path}: not all of its placeholders are known")
        return content

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        parts = tuple(placeholders(self.text))
        if parts and "".join(map(str, parts)) == self.text:
            # In a here-document a shell would take the line breaks between them away.
            return ManualStep(f"cat {quote(*(one.name for one in parts))} >{quote(self.path)}")
        return ManualStep(f"cat >{quote(self.path)}", self.text)

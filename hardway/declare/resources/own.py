"""Copies in the workspace of what the operator brings: a CA's certificate, its key, and the certificates above it.

What they are copied from is among the workspace's values under a name of its own (`given/kubernetes.crt`). A copy stays
when the operator's file is gone: a CA's key may be kept somewhere else between runs only without a copy here, which is
what requests and answers are for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from hardway.declare import authority, openssl, pki, requests
from hardway.declare.resources.base import ManualStep, quote
from hardway.declare.resources.local import Certificate, Key, Local


@dataclass(frozen=True)
class OwnCertificate(Certificate):
    """The certificate of a CA that the operator brings. `given` names the value, `file` its path on this computer."""

    copied: ClassVar[bool] = True
    given: str = ""
    file: str = ""

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        if self.given not in values:
            return []
        wanted = authority.issuing(values[self.given])
        same = pki.fingerprint(wanted) == pki.fingerprint(values[self.path])
        return [] if same else [f"{self.file} holds another certificate"]

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        return authority.issuing(values[self.given])

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        return ManualStep(f"openssl x509 -in {quote(self.file)} -out {quote(self.path)}\nchmod 644 {quote(self.path)}")


@dataclass(frozen=True)
class OwnKey(Key):
    """The key of a CA that the operator brings."""

    copied: ClassVar[bool] = True
    given: str = ""
    file: str = ""

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        there = pki.public_key_pem(values[self.path])
        if self.given not in values or pki.public_key_pem(values[self.given]) == there:
            return []
        return [f"{self.file} holds another key"]

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        return pki.plain_key(values[self.given])

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        path = quote(self.path)
        return ManualStep(f"[ -e {path} ] || openssl pkey -in {quote(self.file)} -out {path}")


@dataclass(frozen=True)
class Chain(Local):
    """Certificates above a CA in the operator's file. `served`: what servers send, so its own, too, and no root."""

    kind: ClassVar[str] = "chain"
    copied: ClassVar[bool] = True
    path: str
    given: str
    file: str
    served: bool = False
    mode: int = 0o644

    @property
    def _take(self) -> Callable[[bytes], bytes]:
        return authority.served if self.served else authority.above

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        if self.path not in values:
            return ["is not there"]
        if self.given not in values or values[self.path] == self._take(values[self.given]):
            return []
        return [f"{self.file} holds other certificates"]

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        return self._take(values[self.given])

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        file, path = quote(self.file), quote(self.path)
        which, last = "n > 1", ""
        if self.served:
            which, last = "n && n < last", f"""-v last="$(grep -c 'BEGIN CERTIFICATE' {file})" """
        return ManualStep(f"awk {last}'/BEGIN CERTIFICATE/ {{ n++ }} {which}' {file} >{path}\nchmod 644 {path}")


@dataclass(frozen=True)
class RequestedCertificate(Certificate):
    """A certificate that nobody here can sign: the key of its CA is elsewhere."""

    def differences(self, values: Mapping[str, bytes], now: datetime) -> list[str]:
        """Until it ends it is good: a run that cannot renew it has no reason to stop."""
        if self.path not in values:
            return ["is not there"]
        issuer, key = values.get(f"{self.ca}.crt"), values.get(self.key_path)
        if issuer is None or key is None:
            return ["its CA or its key is not there"]
        return requests.shortcomings(self.spec, values[self.path], key, issuer, now)

    def make(self, values: Mapping[str, bytes], now: datetime) -> bytes:
        raise pki.PemError("its CA's key is not here")

    def manual_step(self, notes: Mapping[str, str]) -> ManualStep:
        asked = openssl.extensions(self.spec, self.algorithm, notes)
        settings, request = quote(f"{self.stem}.cnf"), quote(f"{self.stem}.csr")
        lines = (
            f"cat >{settings}",
            f"openssl req -new -key {quote(self.key_path)} -subj {quote(openssl.subject(self.spec))} -out {request}",
            f"# The CA signs it with what {settings} asks for; its answer is {quote(self.path)}.",
        )
        return ManualStep("\n".join(lines), asked)

"""Certificates that a CA elsewhere signs: requests go out into a folder, answers come back from one.

Both write to the workspace alone; no machine is asked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from hardway.declare import pki, requests
from hardway.declare.declaration import Declaration
from hardway.declare.openssl import subject
from hardway.declare.resources import Local, RequestedCertificate
from hardway.engine import blockers
from hardway.engine.authorities import own_blockers
from hardway.engine.plan import WorkspaceFiles, check_workspace
from hardway.errors import HardwayError, RefusedAnswers, UsageError, WorkspaceError
from hardway.state import State
from hardway.workspace import Workspace

PHASE = "certs"
LARGEST = 2**20
"""Bytes; a file that is larger is no answer."""
_NOT_ANSWERS = (".csr", ".txt", ".key", ".cnf", ".srl")


@dataclass(frozen=True)
class Request:
    """One request. `file` is its name in the folder, `certificate` what the answer becomes in the workspace, `ca` the
    subject of the CA that is to sign it, `why` it is asked for.
    """

    file: str
    certificate: str
    ca: str
    subject: str
    names: tuple[str, ...]
    usages: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Asked:
    """The requests that were written, and where."""

    folder: str
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Answer:
    """One certificate that was taken from a file of the folder; `ends` is an ISO 8601 date."""

    file: str
    certificate: str
    ends: str


@dataclass(frozen=True)
class Taken:
    """What an import brought; `missing` are certificates that are still to come."""

    answers: tuple[Answer, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Desk:
    """The workspace, what is declared for it, and what is in it, at one time."""

    workspace: Workspace
    state: State
    declaration: Declaration
    values: Mapping[str, bytes]
    files: WorkspaceFiles
    now: datetime

    @classmethod
    def of(cls, workspace: Workspace, state: State, declaration: Declaration, now: datetime) -> Desk:
        """Raises UsageError where nothing is signed elsewhere, and Blocked where an operator's CA is not good."""
        values = workspace.values()
        desk = cls(workspace, state, declaration, values, check_workspace(declaration, values, [PHASE], now), now)
        if not desk.requested:
            raise UsageError(
                "hardway signs all certificates of this cluster itself",
                hint="for a CA whose key stays elsewhere: certs.authorities in the inventory, without key: "
                "(docs/operate/own-ca.md)",
            )
        found = own_blockers(desk.files.wanted, declaration, values, state, workspace, now)
        blockers.require([one for one in found if one.kind != "unsigned"])
        return desk

    @property
    def requested(self) -> list[RequestedCertificate]:
        return [one for _, one in self.declaration.local if isinstance(one, RequestedCertificate)]

    @property
    def lacking(self) -> dict[str, str]:
        """Why a certificate is to be asked for, by its path: it is not there, or not good, or ends soon."""
        found = {one.local.path: "; ".join(one.why) for one in self.files.to_make}
        for one in self.requested:
            if one.path not in found:
                there = pki.read(self.values[one.path])
                left = there.not_after - self.now
                if left <= pki.renewal_margin(there.not_before, there.not_after):
                    found[one.path] = f"ends in {pki.in_time(left)}"
        return {one.path: found[one.path] for one in self.requested if one.path in found}

    def write(self, made: Mapping[Local, bytes]) -> None:
        """Copies of the operator's CAs first, then these. An older copy of this workspace is known by its State."""
        everything = {one.local: self.files.values[one.local.path] for one in self.files.to_make if one.local.copied}
        everything.update(made)
        if everything:
            self.workspace.save_state(replace(self.state, generation=self.state.generation + 1))
        for local, content in everything.items():
            self.workspace.write(local.path, content, local.mode)


def name_of(certificate: RequestedCertificate) -> str:
    """The name of a request, and of an answer, without its ending."""
    return certificate.stem.removeprefix("pki/").replace("/", "-")


def write_requests(desk: Desk, folder: Path, *, everything: bool) -> Asked:
    """Writes a request for each certificate that is lacking, or for all, and makes the keys that they need."""
    lacking = desk.lacking
    chosen = [one for one in desk.requested if everything or one.path in lacking]
    keys = {one.path: one for _, one in desk.declaration.local}
    made = {keys[one.key_path]: pki.new_key(one.algorithm) for one in chosen if one.key_path not in desk.values}
    desk.write(made)
    values = {**desk.values, **{key.path: content for key, content in made.items()}}
    written = []
    for one in chosen:
        file = f"{name_of(one)}.csr"
        _put(folder / file, requests.request(one.spec, values[one.key_path]))
        spec, ca = one.spec, pki.subject_of(desk.files.values[f"{one.ca}.crt"])
        names = (*spec.dns_names, *spec.addresses)
        usages = tuple(f"{usage}Auth" for usage in sorted(spec.usages, reverse=True))
        written.append(Request(file, one.path, ca, subject(spec), names, usages, lacking.get(one.path, "as asked for")))
    return Asked(str(folder), tuple(written))


def _put(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise WorkspaceError(f"{path} could not be written: {error.strerror}", hint="name another folder") from error


def take_answers(desk: Desk, folder: Path) -> Taken:
    """Takes the certificates in a folder's files into the workspace: all of them, or none.

    Raises RefusedAnswers with all that is wrong, by file. CAs in the files are passed over: the inventory names those.
    """
    wanted = dict(_by_key(desk))
    found: dict[RequestedCertificate, tuple[Path, bytes]] = {}
    wrong: list[str] = []
    for path in _files(folder):
        try:
            leaves = [pem for pem in requests.certificates(_read(path)) if not pki.read(pem).is_ca]
        except pki.PemError as error:
            wrong.append(f"{path}: {error}")
            continue
        for pem in leaves:
            one = wanted.get(pki.read(pem).public_key_digest)
            if one is None:
                wrong.append(f"{path}: {_stranger(desk, path, pem)}")
                continue
            issuer, key = desk.files.values[f"{one.ca}.crt"], desk.values[one.key_path]
            wrong += [f"{path}: {line}" for line in requests.shortcomings(one.spec, pem, key, issuer, desk.now)]
            other, before = found.setdefault(one, (path, pem))
            if before != pem:
                wrong.append(f"{path}: {other} is another certificate for the same request; take one of them away")
    if wrong:
        copied = any(" lacks the " in line for line in wrong)
        more = (
            "the CA has to take names and usages from the request (openssl: -copy_extensions copyall); "
            if copied
            else ""
        )
        count = f"{len(wrong)} things are wrong with the answers" if len(wrong) > 1 else wrong.pop()
        raise RefusedAnswers(
            f"{count}; none was taken",
            said="\n".join(wrong) or None,
            hint=f"{more}hardway certs csr writes the requests again; then: {_import(folder)}",
        )
    if not found:
        raise RefusedAnswers(f"{folder} holds no certificate that was asked for", hint="name the folder of the answers")
    desk.write({one: pem for one, (_, pem) in found.items()})
    answers = [Answer(path.name, one.path, f"{pki.read(pem).not_after:%Y-%m-%d}") for one, (path, pem) in found.items()]
    missing = [path for path in desk.lacking if path not in {one.path for one in found}]
    return Taken(tuple(answers), tuple(missing))


def _import(folder: Path) -> str:
    return shlex.join(["hardway", "certs", "import", str(folder)])


def _by_key(desk: Desk) -> Iterator[tuple[str, RequestedCertificate]]:
    for one in desk.requested:
        if one.key_path in desk.values:
            yield pki.public_key_digest(pki.public_key_pem(desk.values[one.key_path])), one


def _files(folder: Path) -> Sequence[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", hint="name the folder of the answers") from error
    return [path for path in paths if path.suffix.lower() not in _NOT_ANSWERS]


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise pki.PemError("is larger than 1 MiB; a certificate has a few kilobytes")
        return path.read_bytes()
    except OSError as error:
        raise HardwayError(f"{path} cannot be read: {error.strerror}", hint="make it readable for you") from error


def _stranger(desk: Desk, path: Path, pem: bytes) -> str:
    """A certificate that no key here belongs to, by the request that its file's name is of, where it is of one."""
    for one in desk.requested:
        if name_of(one) == path.stem:
            return f"is for another key than {one.key_path}: it answers another request than the last one"
    return f"is of {pki.subject_of(pem) or 'an empty subject'}, whose key is not in this workspace"

"""Host keys: what the workspace and the user's own files know, and what to do about the rest."""

import base64
import functools
import hashlib
import hmac
import os
import re
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from hardway.errors import HostKeyError, WorkspaceError
from hardway.remote import host_certificates

_AUTHORITY = "@cert-authority"
_REVOKED = "@revoked"
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file; `marker` is `@revoked`, `@cert-authority` or empty."""

    marker: str
    hosts: str
    key_type: str
    blob: bytes
    place: str


AskEntries = Callable[[], list[Entry]]


def key_fingerprint(blob: bytes) -> str:
    """As ssh prints it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def lookup_name(host: str, port: int) -> str:
    """The name under which known_hosts files keep a host."""
    return host if port == 22 else f"[{host}]:{port}"


def read(path: Path) -> list[Entry]:
    """The entries of one file; lines that are none are passed over, as ssh does. No file: no entries."""
    try:
        status = path.stat()
        return _read(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


@functools.lru_cache(maxsize=64)
def _read(path: Path, *version: int) -> list[Entry]:
    """Once for all machines, as long as the file is the same."""
    return entries(path.read_text(encoding="utf-8", errors="replace"), str(path))


def entries(text: str, source: str) -> list[Entry]:
    """The entries of a known_hosts text; `source` names it in their places."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except ValueError:
            continue
        found.append(Entry(marker, fields[0], fields[1], blob, f"{source}:{number}"))
    return found


def without(text: str, name: str) -> tuple[str, list[str]]:
    """The text without the plain lines of a host, and the fingerprints of their keys."""
    kept, fingerprints = [], []
    for line in text.splitlines(keepends=True):
        own = [one for one in entries(line, "") if not one.marker and matches(one.hosts, name)]
        fingerprints += [key_fingerprint(one.blob) for one in own]
        if not own:
            kept.append(line)
    return "".join(kept), fingerprints


def matches(hosts: str, name: str) -> bool:
    """Whether the first field of a line (patterns by commas, or one hash) means this host."""
    name = name.lower()
    if hosts.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part) for part in hosts.split("|")[2:4])
        except ValueError:
            return False
        return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
    found = False
    for pattern in hosts.lower().split(","):
        plain = pattern.removeprefix("!")
        if plain == name or (("*" in plain or "?" in plain) and _matches_pattern(plain, name)):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _matches_pattern(pattern: str, name: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), name) is not None


class HostKeys:
    """Judges host keys; new ones that are accepted go to the workspace's file, never to the user's."""

    def __init__(self, workspace: Path, *, accept_new: bool) -> None:
        self._workspace = workspace
        self._accept_new = accept_new
        self._writing = threading.Lock()

    def known(self, host: str, port: int, others: Sequence[Path], asked: AskEntries) -> list[Entry]:
        """What is known of a host: the entries of the first source that knows it, the workspace's file first, and
        what any of them revokes.

        `asked` is ssh_config's KnownHostsCommand.
        """
        name = lookup_name(host, port)
        known: list[Entry] = []
        revoked: list[Entry] = []
        sources: list[AskEntries] = [functools.partial(read, path) for path in (self._workspace, *others)]
        for source in (*sources, asked):
            entries = source()
            if known:
                entries = [entry for entry in entries if entry.marker == _REVOKED]
            found = [entry for entry in entries if matches(entry.hosts, name)]
            revoked += [entry for entry in found if entry.marker == _REVOKED]
            known += [entry for entry in found if entry.marker != _REVOKED]
        return [*revoked, *known]

    def check(
        self, machine: str, host: str, port: int, key: paramiko.PKey, others: Sequence[Path], asked: AskEntries
    ) -> None:
        """Pass a key that is known, or new and accepted. Raises HostKeyError for any other."""
        blob, name = key.asbytes(), lookup_name(host, port)
        entries = self.known(host, port, others, asked)
        if all(entry.marker == _REVOKED for entry in entries):
            # as ssh: a line without the port counts, too, where it has this key
            entries += [entry for entry in self.known(host, 22, others, asked) if entry.blob == blob]
        same = [entry for entry in entries if entry.blob == blob and entry.marker != _AUTHORITY]
        different = [entry for entry in entries if not entry.marker]
        doubt = _doubt(key, host, entries)
        if any(entry.marker == _REVOKED for entry in same):
            raise self._revoked(machine, name, blob, same[0])
        if same or doubt is None:
            return
        if different:
            raise self._changed(machine, name, key, different)
        if not self._accept_new:
            raise self._unknown(machine, name, key, doubt)
        with self._writing:
            self._add(name, key)

    def _add(self, name: str, key: paramiko.PKey) -> None:
        """One append of one line: another run that adds a key at the same time loses nothing."""
        line = f"{name} {key.get_name()} {key.get_base64()}\n".encode()
        try:
            self._workspace.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            old = self._workspace.read_bytes() if self._workspace.exists() else b""
            if line in old:  # by another connection to the same server
                return
            with open(self._workspace, "ab", opener=_private) as file:
                file.write(line if not old or old.endswith(b"\n") else b"\n" + line)
        except OSError as error:
            raise WorkspaceError(
                f"{self._workspace}: the host key of {name} cannot be recorded: {error.strerror}",
                hint="make that folder writable for you, or choose another: --workspace FOLDER",
            ) from error

    def _unknown(self, machine: str, name: str, key: paramiko.PKey, doubt: str) -> HostKeyError:
        return HostKeyError(
            f"the host key of {name} is unknown{doubt}: {_words(key.get_name(), key.asbytes())}",
            machine=machine,
            hint="compare it with the machine's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there), "
            "then run this again with --accept-new-host-keys",
        )

    def _changed(self, machine: str, name: str, key: paramiko.PKey, known: list[Entry]) -> HostKeyError:
        recorded = "\n".join(f"known   {_words(e.key_type, e.blob)} ({e.place})" for e in known)
        path = known[0].place.rpartition(":")[0]
        return HostKeyError(
            f"the host key of {name} is not the one that is known; nothing was sent",
            machine=machine,
            said=f"{recorded}\noffered {_words(key.get_name(), key.asbytes())}",
            hint="another machine may be answering. If this one was reinstalled: "
            f"{shlex.join(['ssh-keygen', '-R', name, '-f', path])}",
        )

    def _revoked(self, machine: str, name: str, blob: bytes, entry: Entry) -> HostKeyError:
        return HostKeyError(
            f"the host key of {name} is revoked: {_words(entry.key_type, blob)} ({entry.place})",
            machine=machine,
            hint="give the machine a new host key",
        )


def algorithms(entries: Sequence[Entry], available: Sequence[str]) -> list[str]:
    """The host key algorithms to ask for: certificates for an authority, then those of the known keys, as ssh does."""
    wanted: list[str] = []
    for entry in entries:
        if entry.marker == _REVOKED:
            continue
        wanted += _RSA if entry.key_type == "ssh-rsa" else [entry.key_type]
    first = [name for name in dict.fromkeys(wanted) if name in available]
    has_authority = any(entry.marker == _AUTHORITY for entry in entries)
    certificates = [name + host_certificates.SUFFIX for name in available] if has_authority else []
    return [*certificates, *first, *(name for name in available if name not in first)]


def _doubt(key: paramiko.PKey, host: str, entries: Sequence[Entry]) -> str | None:
    """None where a trusted authority vouches for the key; else words on why not, empty without any authority."""
    revoked = {entry.blob for entry in entries if entry.marker == _REVOKED}
    authorities = {entry.blob for entry in entries if entry.marker == _AUTHORITY} - revoked
    if not authorities:
        return ""
    if key.public_blob is None:
        return " (it shows no certificate)"
    fault = host_certificates.fault(key.public_blob.key_type, key.public_blob.key_blob, host, authorities)
    return f" ({fault})" if fault else None


def _words(key_type: str, blob: bytes) -> str:
    return f"{key_type} {key_fingerprint(blob)}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

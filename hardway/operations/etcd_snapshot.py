"""`etcd snapshot`: all that etcd remembers in one file, taken from a follower, checked, with a note of whose it is."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hardway.declare.phases.base import Model
from hardway.declare.phases.encryption import encrypted, provider_of
from hardway.declare.phases.etcd import OWN
from hardway.declare.phases.paths import BIN
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import HardwayError, MachineError, UsageError
from hardway.events import Note
from hardway.files import replacing
from hardway.operations.age import Encrypt
from hardway.probe import control
from hardway.probe.control import MemberStatus
from hardway.state import State
from hardway.workspace import write_file

SAVE_LIMIT = 1800.0
PIECE = 32
"""MiB that come over at a time."""
DIGEST = 32
"""Bytes of SHA-256 with which a snapshot ends (etcdutl/snapshot/v3_snapshot.go)."""


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot is of. It is written as FILE.json beside FILE.

    `revision` and `keys` are etcdutl's; `size` (bytes) and `sha256` are of the whole snapshot, and where it is
    `encrypted`, of what is in the file. `encryption_keys` are the names of the keys without which its Secrets cannot be
    read, the one that writes first, and `encryption_providers` theirs; `encryption_resources` all of which something
    may be encrypted; `authorities` the fingerprints of the CAs, by their paths.
    """

    file: str
    cluster: str
    cluster_id: str
    member: str
    taken: str
    revision: int
    keys: int
    size: int
    sha256: str
    etcd: str
    kubernetes: str
    encryption_provider: str
    encryption_keys: tuple[str, ...]
    encryption_providers: Mapping[str, str]
    encryption_resources: tuple[str, ...]
    authorities: Mapping[str, tuple[str, ...]]
    encrypted: bool = False


def snapshot(
    session: Session, state: State, versions: Mapping[str, str], path: Path, encrypt: Encrypt | None = None
) -> Snapshot:
    """Takes a snapshot to a file that is not there yet, with mode 0600. Raises UsageError, HardwayError.

    One that is encrypted is so before any of it reaches this computer's disk.
    """
    note = path.with_name(f"{path.name}.json")
    for one in (path, note):
        if one.exists():
            raise UsageError(f"{one} is there already", hint="give another name")
    member = _follower(session)
    session.events(Note(f"taking a snapshot of {member}"))
    with _saved(session, member) as (remote, told):
        source = Remote(session, member, remote, int(told["size"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, 0o600) as file:
            (encrypt or shutil.copyfileobj)(source, file)
            _require_whole(source, told["sha256"], path)
    status = json.loads(told["status"])
    made = Snapshot(
        file=path.name,
        cluster=state.cluster,
        cluster_id=state.cluster_id,
        member=member,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        revision=int(status["revision"]),
        keys=int(status["totalKey"]),
        size=source.size,
        sha256=told["sha256"],
        etcd=versions["etcd"],
        kubernetes=state.kubernetes,
        **_encryption(Model(session.cluster, state, versions)),
        authorities=dict(state.fingerprints),
        encrypted=encrypt is not None,
    )
    write_file(note, (json.dumps(asdict(made), indent=1) + "\n").encode())
    return made


def _encryption(model: Model) -> dict[str, Any]:
    """As State has it: the inventory may be ahead."""
    keys = model.state.encryption_keys
    return {
        "encryption_provider": provider_of(model, keys[0]),
        "encryption_keys": keys,
        "encryption_providers": {name: provider_of(model, name) for name in keys},
        "encryption_resources": encrypted(model),
    }


def _follower(session: Session) -> str:
    """A member that serves and does not lead; the leader where it is alone."""
    names = [machine.name for machine in session.cluster.controllers if machine.name in session.machines]
    asked = session.each(names, lambda name: session.ask(name, (control.STATUS,), what="ask etcd who leads"))
    serving: dict[str, MemberStatus] = {}
    for name, answers in asked.items():
        if (status := control.member_status(answers)) and status.leader and not status.learner:
            serving[name] = status
    if not serving:
        raise HardwayError("no etcd member serves", said="nothing was written", hint="hardway doctor")
    followers = [name for name, status in serving.items() if status.leader != status.identity]
    return (followers or list(serving))[0]


@contextlib.contextmanager
def _saved(session: Session, member: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A snapshot on the member's disk for as long as the block lasts, and what is known of it."""
    script = f"""\
# What a run left behind that was killed.
find /var/tmp -maxdepth 1 -name 'hardway-snapshot.*' -mmin +120 -exec rm -rf {{}} +
folder=$(mktemp -d /var/tmp/hardway-snapshot.XXXXXX)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
needed=$(( $(du -k /var/lib/etcd/member/snap/db | cut -f1) * 11 / 10 ))
free=$(df -k --output=avail "$folder" | tail -n 1)
[ "$free" -gt "$needed" ] || {{ echo "/var/tmp has $free KiB free, and $needed are needed" >&2; exit 1; }}
{OWN} --command-timeout={SAVE_LIMIT:.0f}s snapshot save "$folder/db" >&2
status=$({BIN}/etcdutl snapshot status "$folder/db" -w json)
trap - EXIT
printf '%s\\n' "$folder/db" "$(stat -c %s "$folder/db")" "$(sha256sum "$folder/db" | cut -d' ' -f1)" "$status"
"""
    said = session.run(member, script, what="take a snapshot", timeout=SAVE_LIMIT).stdout.decode().splitlines()
    remote, size, digest, status = said
    try:
        yield remote, {"size": size, "sha256": digest, "status": status}
    finally:
        with contextlib.suppress(MachineError):
            session.run(member, f"rm -rf -- {quote(remote.rpartition('/')[0])}", what="remove the snapshot there")


class Remote:
    """A file on a machine, read from its beginning to its end; `sha256` is of what was read so far.

    A snapshot ends with the digest of what is before it: `is_whole` says whether this one did.
    """

    def __init__(self, session: Session, machine: str, path: str, size: int) -> None:
        self._session, self._machine, self._path, self.size = session, machine, path, size
        self._piece, self._numbers = io.BytesIO(), iter(range(-(-size // (PIECE << 20))))
        self._all, self._body, self._end = hashlib.sha256(), hashlib.sha256(), b""
        self._body_left = size - DIGEST

    @property
    def sha256(self) -> str:
        return self._all.hexdigest()

    @property
    def is_whole(self) -> bool:
        return self.size % 512 == DIGEST and self._end == self._body.digest()

    def read(self, count: int = -1, /) -> bytes:
        """So many bytes, or fewer; none where the file has ended. All that is left where no number is given."""
        if count < 0:
            return b"".join(iter(lambda: self.read(PIECE << 20), b""))
        content = self._piece.read(count)
        if not content:
            self._piece = io.BytesIO(self._next())
            content = self._piece.read(count)
        return content

    def _next(self) -> bytes:
        number = next(self._numbers, None)
        if number is None:
            return b""
        read = f"dd if={quote(self._path)} bs=1M skip={number * PIECE} count={PIECE} status=none"
        what = f"read the snapshot, piece {number + 1}"
        content = self._session.run(self._machine, read, what=what, timeout=600).stdout
        self._all.update(content)
        body = content[: max(self._body_left, 0)]
        self._body.update(body)
        self._body_left -= len(body)
        self._end += content[len(body) :]
        return content


def _require_whole(source: Remote, sha256: str, path: Path) -> None:
    """Raises HardwayError where something else came over than is there, or where that is no snapshot."""
    if source.sha256 != sha256:
        raise HardwayError(
            f"{path} came over damaged: SHA-256 {source.sha256[:16]}…, on the member it was {sha256[:16]}…",
            said="it was removed",
            hint="run the same command again",
        )
    if not source.is_whole:
        raise HardwayError(
            f"what came over for {path} is no whole snapshot of etcd: {source.size} bytes, or its digest is another",
            said="it was removed",
            hint="run the same command again; hardway etcd status says how the members are",
        )


def check(path: Path, name: Path | None = None) -> None:
    """Raises HardwayError for a file that does not end with the digest of what is before it, as a snapshot does.

    `name` is what it is called in errors.
    """
    name = name or path
    size = path.stat().st_size
    if size % 512 != DIGEST:
        raise HardwayError(f"{name} is no whole snapshot of etcd: {size} bytes", hint="take another one")
    found, left = hashlib.sha256(), size - DIGEST
    with path.open("rb") as file:
        while left:
            content = file.read(min(left, 1 << 20))
            found.update(content)
            left -= len(content)
        if file.read() != found.digest():
            raise HardwayError(f"{name} is damaged: its digest is another one", hint="use an older one")

"""`etcd snapshot`: all that etcd remembers in one file, taken from a follower, checked, with a note of whose it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from hardway.declare.phases.etcd import OWN
from hardway.declare.phases.paths import BIN
from hardway.declare.resources.base import quote
from hardway.engine.session import Session
from hardway.errors import HardwayError, MachineError, UsageError
from hardway.events import Note
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

    `revision`, `keys` and `size` (bytes) are etcdutl's; `sha256` is of the whole file. `encryption_keys` are the names
    of the keys without which its Secrets cannot be read; `authorities` the fingerprints of the CAs, by their paths.
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
    authorities: Mapping[str, tuple[str, ...]]


def snapshot(session: Session, state: State, versions: Mapping[str, str], path: Path) -> Snapshot:
    """Takes a snapshot to a file that is not there yet, with mode 0600. Raises UsageError, HardwayError."""
    note = path.with_name(f"{path.name}.json")
    for one in (path, note):
        if one.exists():
            raise UsageError(f"{one} is there already", hint="give another name")
    member = _follower(session)
    session.events(Note(f"taking a snapshot of {member}"))
    with _saved(session, member) as (remote, told):
        digest = fetched(session, member, remote, int(told["size"]), path, whole=check)
    if digest != told["sha256"]:
        path.unlink()
        raise HardwayError(
            f"{path} came over damaged: SHA-256 {digest[:16]}…, on {member} it was {told['sha256'][:16]}…",
            said="it was removed",
            hint="run the same command again",
        )
    status = json.loads(told["status"])
    made = Snapshot(
        file=path.name,
        cluster=state.cluster,
        cluster_id=state.cluster_id,
        member=member,
        taken=datetime.now(UTC).isoformat(timespec="seconds"),
        revision=int(status["revision"]),
        keys=int(status["totalKey"]),
        size=path.stat().st_size,
        sha256=digest,
        etcd=versions["etcd"],
        kubernetes=state.kubernetes,
        encryption_provider=session.cluster.encryption.provider,
        encryption_keys=state.encryption_keys,
        authorities=dict(state.fingerprints),
    )
    write_file(note, (json.dumps(asdict(made), indent=1) + "\n").encode())
    return made


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


def fetched(
    session: Session, member: str, remote: str, size: int, path: Path, *, whole: Callable[[Path], None] | None = None
) -> str:
    """The file piece by piece, under another name until `whole` raises nothing; its SHA-256."""
    part, digest = path.with_name(f".{path.name}.part"), hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.touch(mode=0o600)
        with part.open("wb") as file:
            for piece in range(-(-size // (PIECE << 20))):
                read = f"dd if={quote(remote)} bs=1M skip={piece * PIECE} count={PIECE} status=none"
                content = session.run(member, read, what=f"read the snapshot, piece {piece + 1}", timeout=600).stdout
                digest.update(content)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o600)
        if whole:
            whole(part)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest()


def check(path: Path) -> None:
    """Raises HardwayError for a file that does not end with the digest of what is before it, as a snapshot does."""
    size = path.stat().st_size
    if size % 512 != DIGEST:
        raise HardwayError(f"{path} is no whole snapshot of etcd: {size} bytes", hint="take another one")
    found, left = hashlib.sha256(), size - DIGEST
    with path.open("rb") as file:
        while left:
            content = file.read(min(left, 1 << 20))
            found.update(content)
            left -= len(content)
        if file.read() != found.digest():
            raise HardwayError(f"{path} is damaged: its digest is another one", hint="use an older one")

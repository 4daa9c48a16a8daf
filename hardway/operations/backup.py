"""`backup`: a snapshot of etcd and the sealed workspace, in a folder named by the time, whole or not there.

One is of no use without the other: what the API server encrypted needs a key of the workspace of that time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hardway.engine.session import Session
from hardway.errors import HardwayError, Locked, UsageError
from hardway.operations.age import Encrypt
from hardway.operations.etcd_snapshot import Snapshot, snapshot
from hardway.operations.seal import Sealed, seal
from hardway.state import State

SNAPSHOT = "etcd.db.age"
WORKSPACE = "workspace.age"
_NOTE = f"{SNAPSHOT}.json"
_TIME = r"\d{8}T\d{6}Z"


@dataclass(frozen=True)
class Backup:
    """`folder` is the new one; `kept` how many of this cluster are there now, `removed` the folders that went."""

    folder: str
    snapshot: Snapshot
    workspace: Sealed
    kept: int
    removed: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """A backup that is there, and when its snapshot was taken."""

    folder: Path
    taken: datetime


def backup(
    session: Session,
    state: State,
    versions: Mapping[str, str],
    folder: Path,
    encrypt: Encrypt,
    keep: int | None = None,
) -> Backup:
    """Makes one in the folder, then removes what is older than the newest `keep`. The workspace's lock is held.

    Raises UsageError for a folder in the workspace, Locked where another one is being made in it, and HardwayError;
    then the backups of before are all there.
    """
    if folder.resolve().is_relative_to(session.workspace.root):
        raise UsageError(f"{folder} is in the workspace, and would be lost with it", hint="give a folder elsewhere")
    now = datetime.now(UTC)
    with _writing(folder):
        _sweep(folder, state.cluster)
        target = folder / f"{state.cluster}-{now:%Y%m%dT%H%M%SZ}"
        with _whole(target) as making:
            taken = snapshot(session, state, versions, making / SNAPSHOT, encrypt)
            sealed = seal(session.workspace, making / WORKSPACE, encrypt)
        # The new one stays also where a clock that was wrong made others look newer.
        before = [one for one in backups(folder, state.cluster_id) if one.folder != target]
        old = before[keep - 1 :] if keep else []
        for one in old:
            _remove(one.folder, target)
    removed = tuple(str(one.folder) for one in old)
    return Backup(str(target), taken, sealed, 1 + len(before) - len(old), removed)


def backups(folder: Path, cluster_id: str) -> list[Kept]:
    """Those of the cluster, the newest first. What has no whole note is none."""
    found = []
    for note in folder.glob(f"*/{_NOTE}"):
        if note.parent.name.startswith(".") or not (note.parent / WORKSPACE).exists():
            continue
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
            if told["cluster_id"] == cluster_id:
                found.append(Kept(note.parent, datetime.fromisoformat(told["taken"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda one: (one.taken, one.folder), reverse=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """The folder, held by this run; what the disk refuses is told with what became of the backups."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Locked(f"another backup is being made in {folder}", hint="wait for it, then run this again") from error
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder that has its name once the block has ended without an error, with all that is in it on disk."""
    making = target.with_name(f".new-{target.name}")
    making.mkdir(mode=0o700)
    try:
        yield making
        _sync(making)
        making.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _remove(folder: Path, made: Path) -> None:
    """By another name first: nobody takes half a backup for one."""
    going = folder.with_name(f".old-{folder.name}")
    try:
        folder.rename(going)
        shutil.rmtree(going)
    except OSError as error:
        raise HardwayError(
            f"{error.filename}: {error.strerror}",
            said=f"the new backup is whole: {made}; {folder} was to be removed",
            hint="remove it by hand: the next backup tries again",
        ) from error


def _sweep(folder: Path, cluster: str) -> None:
    """Away with what a run that was killed has left behind."""
    left = re.compile(rf"\.(new|old)-{re.escape(cluster)}-{_TIME}")
    for path in folder.iterdir():
        if left.fullmatch(path.name):
            shutil.rmtree(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(folder: Path, error: OSError) -> HardwayError:
    return HardwayError(
        f"{error.filename or folder}: {error.strerror}",
        said="there is no new backup; those of before are untouched",
        hint=f"see to {folder} and its disk, then run the same command again",
    )

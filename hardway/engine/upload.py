"""One compressed stream a machine, into a folder on its own file system, digests checked there.

Each binary travels as a frame that was compressed once and kept; frames and the small files' own
archive, one after the other, are one valid compressed tar stream.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import zstandard

from hardway.artifacts.store import Blob, Store
from hardway.declare.resources import Binary, Context, Image
from hardway.declare.resources.base import REPOSITORY
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.engine.resolver import FileKey
from hardway.engine.scripts import stage_command
from hardway.engine.session import Session
from hardway.events import Note, Transferred
from hardway.probe.script import understood
from hardway.remote import ConnectionLost, Result
from hardway.values import sha256

NONE_FETCHED: Mapping[FileKey, str] = MappingProxyType({})
Codec = Literal["zstd", "gzip"]
STAGE_LIMIT = 300.0
"""Seconds that one wait for the machine may take, not the whole: a slow line is no error."""


def member(resource: Binary | Image) -> str:
    """The path below the staging folder under which `steps` expects it."""
    return f"bin/{resource.file.replace('/', '-')}-{resource.version}"


def upload(
    session: Session,
    name: str,
    changes: Sequence[Change],
    view: View,
    context: Context,
    blobs: Mapping[FileKey, Blob],
    store: Store,
    repository: Mapping[str, Blob] | None = None,
    fetched: Mapping[FileKey, str] = NONE_FETCHED,
) -> dict[tuple[int, int], str]:
    """Sends what these changes need. Returns the digests that were checked there, by (inode, size).

    `blobs` is by (file, version, architecture); `repository` by file name the distribution's packages that come
    along, with their index; `fetched` has the digests of what the machine downloaded by itself. Raises CommandFailed
    where the disk is full or a digest is wrong; nothing that runs has been touched then.
    """
    codec: Codec = "zstd" if view.facts.zstd else "gzip"
    small: dict[str, bytes] = {}
    sums: dict[str, str] = {}
    frames: list[Path] = []
    linked: dict[str, str] = {}
    for change in changes:
        resource = change.resource
        if resource is None:
            continue
        if isinstance(resource, Binary | Image):
            path, key = member(resource), (resource.file, resource.version, view.facts.arch)
            if path in sums:
                continue
            if key in fetched:
                sums[path] = linked[path] = fetched[key]
            else:
                blob = blobs[key]
                frames.append(store.frame(blob, name=path, mode=0o755, codec=codec))
                sums[path] = blob.digest
        else:
            small.update(resource.staged(context))
    for package, blob in (repository or {}).items():
        path = f"{REPOSITORY}/{package}"
        frames.append(store.frame(blob, name=path, mode=0o644, codec=codec))
        sums[path] = blob.digest
    if not small and not frames and not linked:
        return {}
    sums.update({path: sha256(content) for path, content in small.items()})
    small["SUMS"] = "".join(f"{digest} *{path}\n" for path, digest in sorted(sums.items())).encode()
    # Beside the keys it may hold, and as private as they are.
    with tempfile.NamedTemporaryFile(dir=session.workspace.root, prefix=".upload-") as file:
        file.write(_archive(small, codec))
        file.flush()
        chunks = [*frames, Path(file.name)]
        total = sum(chunk.stat().st_size for chunk in chunks)
        result = _send(session, name, chunks, stage_command(codec, view.facts.openssl, linked), total)
    with understood(name, "upload"):
        return _identities(result.text, sums)


def _send(session: Session, name: str, chunks: Sequence[Path], command: str, total: int) -> Result:
    """The command begins with an empty folder, so a stream that was cut is simply sent once more."""
    machine = session.machines[name]

    def once() -> Result:
        return machine.stream(
            chunks,
            command,
            what="upload",
            timeout=STAGE_LIMIT,
            on_progress=lambda sent: session.events(Transferred(name, sent, total)),
        )

    try:
        return once()
    except ConnectionLost as error:
        session.events(Note(f"{name}: {error.what}; connecting again", "warning"))
        machine.reconnect()
        return once()


def _archive(files: Mapping[str, bytes], codec: Codec) -> bytes:
    """The small files and the end of the archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o600
            archive.addfile(info, io.BytesIO(content))
    plain = buffer.getvalue()
    return (
        zstandard.ZstdCompressor(level=3, write_checksum=True).compress(plain)
        if codec == "zstd"
        else gzip.compress(plain)
    )


def _identities(output: str, sums: Mapping[str, str]) -> dict[tuple[int, int], str]:
    found = {}
    for line in output.splitlines():
        inode, size, path = line.split(" ", 2)
        if path in sums:
            found[(int(inode), int(size))] = sums[path]
    return found

"""One content-addressed cache a user: blobs by digest, compressed frames of them, records of builds.

Layout under the root: `blobs/sha256/DIGEST`, `frames/`, `records/`, `partial/`, `temporary/`, `locks/`, and
`known/`, which notes (size, mtime, ctime, inode) -> digest of each file as git's index does, so that a file
is hashed again only when one of them has changed. Everything appears by rename, under a lock for its key.
"""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hardway.artifacts import frames
from hardway.artifacts.frames import Codec
from hardway.errors import ArtifactError
from hardway.events import Note, Sink

CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """A file of the cache: sha256 in hexadecimal, where it is, bytes."""

    digest: str
    path: Path
    size: int


def default_store() -> "Store":
    """The cache of this user: `$XDG_CACHE_HOME/hardway`, by default `~/.cache/hardway`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Store(Path(base) / "hardway")


def read_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, one MiB at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The cache below `root`; any number of runs may share it.

    `noticed` is told, in one sentence, of each file that was not what its name says and was deleted.
    """

    def __init__(self, root: Path, noticed: Callable[[str], None] = lambda text: None) -> None:
        self.root = root
        self.noticed = noticed

    def folder(self, name: str) -> Path:
        path = self.root / name
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o755)
        except OSError as error:
            raise ArtifactError(
                f"the cache {self.root} cannot be written: {error.strerror}",
                hint="make the path writable, or set XDG_CACHE_HOME to another folder",
            ) from error
        return path

    def telling(self, events: Sink) -> "Store":
        """The same cache, with what is deleted from it told as a warning."""
        return Store(self.root, lambda text: events(Note(text, "warning")))

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold this key against other threads and other runs; waits for them."""
        with (self.folder("locks") / key).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """A folder on the cache's file system, gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder("temporary")) as path:
            yield Path(path)

    def _write(self, path: Path, chunks: Iterable[bytes], mode: int = 0o644) -> str:
        """Write a file of the cache by rename; its digest."""
        digest = hashlib.sha256()
        descriptor, name = tempfile.mkstemp(dir=self.folder("temporary"))
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fchmod(file.fileno(), mode)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ArtifactError(
                f"the cache {self.root} could not take a file: {error.strerror}",
                hint=f"see `{shlex.join(['df', '-h', str(self.root)])}`",
            ) from error
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return digest.hexdigest()

    def add(self, source: Path | Iterable[bytes], *, expected: str | None = None) -> Blob:
        """Take a file or its bytes; what is already there stays. Raises ArtifactError where the digest is
        not the expected one, or the disk is full."""
        with self.temporary() as folder:
            path = folder / "blob"
            digest = self._write(path, read_chunks(source) if isinstance(source, Path) else source, 0o555)
            if expected is not None and digest != expected:
                raise ArtifactError(f"sha256 is {digest}, not {expected}")
            with self.locked(digest):
                if (blob := self.blob(digest)) is not None:
                    return blob
                final = self._blob_path(digest)
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                path.replace(final)
                self._remember(final, digest)
        return Blob(digest, final, final.stat().st_size)

    def blob(self, digest: str) -> Blob | None:
        """The blob of that digest; one whose content is another is deleted, named, and absent."""
        path = self._blob_path(digest)
        try:
            state = path.stat()
        except FileNotFoundError:
            return None
        if self._known(path) != digest:
            if file_digest(path) != digest:
                path.unlink(missing_ok=True)
                self.noticed(f"{path} was damaged and has been deleted")
                return None
            self._remember(path, digest)
        return Blob(digest, path, state.st_size)

    def frame(self, blob: Blob, *, name: str, mode: int, codec: Codec) -> Path:
        """A compressed frame that holds one tar member: `name` with the blob's content, uid and gid 0, time 0.

        Frames one after the other, then `end_frame(codec)`, are one valid `.tar.zst` or `.tar.gz`
        stream. Each is compressed once and kept.
        """
        key = hashlib.sha256(f"{blob.digest} {mode:o} {name}".encode()).hexdigest()
        path = self.folder("frames") / f"{key}.tar.{codec}"
        with self.locked(path.name):
            if self._known(path) is None:
                member = frames.member(name, mode, blob.size, read_chunks(blob.path))
                self._remember(path, self._write(path, frames.compress(member, codec)))
        return path

    def end_frame(self, codec: Codec) -> bytes:
        """The end of a stream of frames: two empty tar blocks, compressed."""
        return b"".join(frames.compress([bytes(1024)], codec))

    def record(self, key: str) -> Mapping[str, str] | None:
        """What was noted under this key: names and their digests. None: nothing, or it cannot be read."""
        try:
            noted = json.loads((self.folder("records") / f"{key}.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return noted if isinstance(noted, dict) else None

    def note(self, key: str, digests: Mapping[str, str]) -> None:
        """Note names and digests under a key, such as a build's."""
        text = json.dumps(dict(digests), indent=1, sort_keys=True)
        self._write(self.folder("records") / f"{key}.json", [text.encode()])

    def recorded(self, key: str) -> Mapping[str, Blob] | None:
        """The blobs noted under this key; None where one of them is missing or damaged."""
        noted = self.record(key)
        if noted is None:
            return None
        blobs = {name: self.blob(digest) for name, digest in noted.items()}
        found = {name: blob for name, blob in blobs.items() if blob is not None}
        return found if len(found) == len(blobs) else None

    def _blob_path(self, digest: str) -> Path:
        return self.folder("blobs/sha256") / digest

    def _note_path(self, path: Path) -> Path:
        return self.folder("known") / path.name

    def _known(self, path: Path) -> str | None:
        """The digest noted for a file that has not been touched since; None where that cannot be said."""
        try:
            digest, *noted = self._note_path(path).read_text().split()
            return digest if noted == _stamp(path) else None
        except (FileNotFoundError, ValueError):
            return None

    def _remember(self, path: Path, digest: str) -> None:
        self._write(self._note_path(path), [" ".join([digest, *_stamp(path)]).encode()])

    def sweep(self) -> None:
        """Remove what killed runs left behind: temporary files that nothing has touched for a day."""
        yesterday = time.time() - 86400
        for path in self.folder("temporary").iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < yesterday:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _stamp(path: Path) -> list[str]:
    state = path.stat()
    return [str(value) for value in (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)]

"""One file with everything that a cluster without a network needs: `hardway artifacts bundle`, `--bundle`.

A tar, compressed with zstd: `manifest.json`, then each content once, by its digest. The same contents give the same
bytes. Nothing in it is used without its digest; who hands the file on compares the digest of the whole.
"""

import hashlib
import json
import re
import shlex
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import filterfalse
from pathlib import Path
from typing import Any

import zstandard

from hardway.artifacts import frames
from hardway.artifacts.get import Need
from hardway.artifacts.lock import FROM_BUNDLE, Entry, Lock
from hardway.artifacts.store import CHUNK, Blob, Store, read_chunks
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Sink
from hardway.files import replacing

FORMAT = 1
_MANIFEST = "manifest.json"
_MANIFEST_LIMIT = 1 << 20
"""Bytes: ten times what two architectures and two distributions take."""
_BLOBS = "blobs/sha256/"
_END, _END_LIMIT = bytes(1024), 256
"""A tar's end, which is the last frame; and bytes within which it is, compressed."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*")
_AGAIN = "copy the file again and compare `sha256sum` on both sides, or create it again: hardway artifacts bundle"

System = tuple[str, str]
"""A distribution such as `debian-12`, and an architecture."""


@dataclass(frozen=True)
class Bundle:
    """What a bundle says that it holds: accepted digests, and digests of packages by system and file name."""

    path: Path
    kubernetes: str
    entries: tuple[Entry, ...]
    packages: Mapping[System, Mapping[str, str]]

    @property
    def digests(self) -> frozenset[str]:
        found = {entry.digest for entry in self.entries}
        for files in self.packages.values():
            found.update(files.values())
        return frozenset(found)

    def has(self, name: str, version: str, arch: str) -> bool:
        return any((one.name, one.version, one.arch) == (name, version, arch) for one in self.entries)


def refuse_place(path: Path) -> None:
    """Raises ArtifactError where no bundle can be written: before there is anything to write."""
    if path.is_dir():
        raise ArtifactError(f"{path} is a folder", hint=f"name the file in it, such as {path / 'site.tar.zst'}")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written: {error.strerror}") from error


def write(
    path: Path,
    kubernetes: str,
    files: Mapping[Need, tuple[Blob, str]],
    packages: Mapping[System, Mapping[str, Blob]],
    events: Sink,
) -> str:
    """Writes a bundle by rename, and returns its sha256. With each file comes what the lock says of its origin.

    Raises ArtifactError where the file cannot be written.
    """
    entries: list[Entry] = []
    blobs: dict[str, Blob] = {}
    for need, (blob, origin) in files.items():
        entries.append(Entry(need.name, need.version, need.arch, blob.digest, origin))
        blobs[blob.digest] = blob
    listed: dict[System, dict[str, str]] = {}
    for system, of in packages.items():
        listed[system] = {name: blob.digest for name, blob in of.items()}
        blobs |= {blob.digest: blob for blob in of.values()}
    manifest = _manifest_text(Bundle(path, kubernetes, tuple(entries), listed))
    digest = hashlib.sha256()
    try:
        with replacing(path, 0o644) as file:
            for chunk in _archive(manifest, [blob for _, blob in sorted(blobs.items())], path.name, events):
                digest.update(chunk)
                file.write(chunk)
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be written: {error.strerror}", hint=f"see `{shlex.join(['df', '-h', str(path.parent)])}`"
        ) from error
    return digest.hexdigest()


def read(path: Path) -> Bundle:
    """What a bundle says of itself: its beginning is enough. Raises ArtifactError where it is none, or damaged."""
    with _members(path) as members:
        for member, archive in members:
            if member.name != _MANIFEST:
                break
            if member.size > _MANIFEST_LIMIT:
                raise _damaged(path, f"its manifest has {member.size} bytes")
            bundle = _parsed(path, b"".join(_content(archive, member)))
            _refuse_cut(path)
            return bundle
    raise ArtifactError(f"{path} is not a hardway bundle", hint="to create one: hardway artifacts bundle")


def _refuse_cut(path: Path) -> None:
    """A copy that broke off is found also where nothing of it is needed, since all is in the cache already."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_LIMIT))
        last = file.read()
    _, magic, frame = last.rpartition(zstandard.FRAME_HEADER)
    try:
        end = zstandard.ZstdDecompressor().decompress(magic + frame, max_output_size=len(_END))
    except zstandard.ZstdError:
        end = b""
    if end != _END:
        raise _damaged(path, "it ends too early")


def unpack(bundle: Bundle, store: Store, lock: Lock, events: Sink) -> None:
    """Everything of it into the cache, each file held against its digest; then its binaries and images are accepted.

    What the cache has already is left alone. Raises ArtifactError, and accepts nothing, where the file is
    damaged or ends too early.
    """
    missing = {digest for digest in bundle.digests if store.blob(digest) is None}
    done = 0
    if missing:
        with _members(bundle.path) as members:
            for member, archive in members:
                digest = member.name.removeprefix(_BLOBS)
                if digest in missing:
                    # Under its own digest it would do no harm; under the promised one it must not be found.
                    if store.add(_content(archive, member)).digest != digest:
                        raise _damaged(bundle.path, f"{member.name} has another content")
                    missing.remove(digest)
                    done += member.size
                    events(ArtifactProgress(bundle.path.name, "copy", done, 0 if missing else done))
    if missing:
        raise _damaged(bundle.path, f"it ends before {_BLOBS}{min(missing)}")
    lock.add(*map(_from_bundle, bundle.entries))


def _from_bundle(entry: Entry) -> Entry:
    return replace(entry, source=f"{FROM_BUNDLE}{entry.source.removeprefix(FROM_BUNDLE)}")


def _manifest_text(bundle: Bundle) -> bytes:
    packages: list[dict[str, Any]] = []
    for (distribution, arch), names in sorted(bundle.packages.items()):
        packages.append({"distribution": distribution, "arch": arch, "files": dict(names)})
    files = [asdict(entry) for entry in sorted(bundle.entries, key=lambda one: (one.name, one.arch))]
    tree = {"format": FORMAT, "kubernetes": bundle.kubernetes, "files": files, "packages": packages}
    return json.dumps(tree, indent=1, sort_keys=True).encode()


def _parsed(path: Path, text: bytes) -> Bundle:
    try:
        tree: dict[str, Any] = json.loads(text)
        if tree["format"] != FORMAT:
            raise ArtifactError(
                f"{path} has format {tree['format']}, and this hardway reads format {FORMAT}",
                hint="create it again with this version: hardway artifacts bundle",
            )
        entries = tuple(Entry(**one) for one in tree["files"])
        packages = {(one["distribution"], one["arch"]): one["files"] for one in tree["packages"]}
        return _checked(Bundle(path, tree["kubernetes"], entries, packages))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"its manifest cannot be read: {error}") from error


def _checked(bundle: Bundle) -> Bundle:
    """It, where all in it is of its type, and what becomes paths, here and on machines, can be one."""
    texts: list[object] = [bundle.kubernetes]
    names: list[str] = []
    for system, files in bundle.packages.items():
        if not isinstance(files, dict):
            raise ValueError(f"no files by name: {files!r}")
        texts += [*system, *files.values()]
        names += files
    for entry in bundle.entries:
        texts += asdict(entry).values()
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"no text: {text!r}")
    wrong = [*filterfalse(_DIGEST.fullmatch, bundle.digests), *filterfalse(_FILE.fullmatch, names)]
    if wrong:
        raise ValueError(f"neither a digest nor a file's name: {wrong[0]!r}")
    return bundle


def _archive(manifest: bytes, blobs: Sequence[Blob], name: str, events: Sink) -> Iterator[bytes]:
    """The bundle's bytes: a frame for each member, so that the manifest can be read without the rest."""
    total, done = sum(blob.size for blob in blobs), 0
    yield from frames.compress(frames.member(_MANIFEST, 0o644, len(manifest), [manifest]), "zstd")
    for blob in blobs:
        member = frames.member(f"{_BLOBS}{blob.digest}", 0o644, blob.size, read_chunks(blob.path))
        yield from frames.compress(member, "zstd")
        done += blob.size
        events(ArtifactProgress(name, "compress", done, total))
    yield from frames.compress([_END], "zstd")


Members = Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]


@contextmanager
def _members(path: Path) -> Iterator[Members]:
    """The members in their order. What is wrong with the file while they are read is an ArtifactError that names it."""
    try:
        with (
            path.open("rb") as file,
            zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            yield ((member, archive) for member in archive)
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} does not exist",
            hint="check the path; to create one, on a computer with a network: hardway artifacts bundle",
        ) from error
    except (zstandard.ZstdError, tarfile.TarError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(member)
    if file is None:
        return
    while chunk := file.read(CHUNK):
        yield chunk


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{path} is damaged, or no bundle of hardway", said=why, hint=_AGAIN)

"""From a publisher's file to binaries that can be trusted: digest first, then unpacked into the cache."""

import hashlib
import re
import shlex
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardway.artifacts.download import Progress, Publisher
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.release import Wanted
from hardway.artifacts.store import CHUNK, Blob, Store, file_digest
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Note, Sink

PINNED, STATED = "pinned", "publisher's digest"


def unpacked(wanted: Wanted, store: Store) -> Mapping[str, Blob] | None:
    """The binaries of a file that is pinned here and in the cache already."""
    pin = wanted.file.pin(wanted.arch)
    return store.recorded(_key(wanted, pin)) if pin else None


def obtain(
    wanted: Wanted, publisher: Publisher, store: Store, lock: Lock, require_pinned: bool, events: Sink
) -> Mapping[str, Blob]:
    """The binaries of one published file, by name; its digests go into the lock.

    A file that is truncated or not the pinned one is deleted, named, and got once more. Raises
    ArtifactError where it is wrong again, or nobody pins it and `require_pinned`; Unavailable where
    it cannot be had.
    """
    with store.locked(hashlib.sha256(wanted.url.encode()).hexdigest()):
        expected, how = expected_digest(wanted, publisher, lock, require_pinned, events)
        key = _key(wanted, expected)
        blobs = store.recorded(key)
        if blobs is None:
            path = _fetch_checked(wanted, publisher, expected, store, events)
            blobs = dict(_members(wanted, path, store))
            store.note(key, {name: blob.digest for name, blob in blobs.items()})
            path.unlink()
        source = f"{publisher.name}, {how}"
        entries = [Entry(n, wanted.version, wanted.arch, b.digest, source) for n, b in blobs.items()]
        lock.add(*entries, Entry(wanted.file_name, wanted.version, wanted.arch, expected, source))
        return blobs


def expected_digest(
    wanted: Wanted, publisher: Publisher, lock: Lock, require_pinned: bool, events: Sink
) -> tuple[str, str]:
    """The digest that the file must have, and whose word that is."""
    if pin := wanted.file.pin(wanted.arch):
        return pin, PINNED
    if require_pinned:
        raise ArtifactError(
            f"no digest of {wanted.name} is pinned in this hardway",
            hint="without --require-pinned the publisher's own digest is used; or `--source build`",
        )
    known = lock.accepted(wanted.file_name, wanted.version, wanted.arch)
    stated = [digest for digest, source in known.items() if source.endswith(STATED)]
    if stated:
        return stated[0], STATED
    url = wanted.expand(wanted.file.checksums)
    digest = stated_digest(publisher.read(url), wanted.url.rpartition("/")[2])
    if digest is None:
        raise ArtifactError(f"{url} states no sha256 of {wanted.name}")
    events(Note(f"{wanted.name}: sha256 {digest[:12]}… is its publisher's word, held to from now on"))
    return digest, STATED


def stated_digest(text: bytes, name: str) -> str | None:
    """The sha256 that a publisher's list states for a file: `DIGEST`, or lines of `DIGEST  NAME`."""
    for line in text.decode("utf-8", errors="replace").splitlines():
        words = line.split()
        if not words or not re.fullmatch("[0-9a-fA-F]{64}", words[0]):
            continue
        if len(words) == 1 or words[1].lstrip("*").rpartition("/")[2] == name:
            return words[0].lower()
    return None


def _fetch_checked(wanted: Wanted, publisher: Publisher, expected: str, store: Store, events: Sink) -> Path:
    path = store.folder("partial") / _key(wanted, expected)
    for again in (False, True):
        try:
            publisher.fetch(wanted.url, path, _reporter(wanted, events))
        except OSError as error:
            raise ArtifactError(
                f"{wanted.name} could not be written to {store.root}: {error.strerror}",
                hint=f"see `{shlex.join(['df', '-h', str(store.root)])}`; what has come so far is kept",
            ) from error
        digest, size = file_digest(path), path.stat().st_size
        if digest == expected:
            return path
        path.unlink()
        if not again:
            said = f"{wanted.name}: {size} bytes came with sha256 {digest[:12]}…, not {expected[:12]}…"
            events(Note(f"{said}: deleted, getting it again", "warning"))
    raise ArtifactError(
        f"{wanted.name} is not the file that was pinned, twice",
        tried=f"GET {wanted.url}",
        said=f"{size} bytes with sha256 {digest}, not {expected}",
        hint="check what answers at that address (a proxy, a mirror); the file was deleted",
    )


def _reporter(wanted: Wanted, events: Sink) -> Progress:
    last = 0.0

    def report(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > 0.1:
            last = now
            events(ArtifactProgress(wanted.name, "download", done, total))

    return report


def _members(wanted: Wanted, path: Path, store: Store) -> Iterator[tuple[str, Blob]]:
    if all(inside is None for inside in wanted.members.values()):
        for name in wanted.members:
            yield name, store.add(path)
        return
    try:
        with tarfile.open(path, "r:*") as archive:
            entries = {entry.name.removeprefix("./"): entry for entry in archive if entry.isfile()}
            for name, inside in wanted.members.items():
                entry = entries.get(inside or "")
                if entry is None:
                    raise ArtifactError(f"{wanted.name} holds no {inside}")
                yield name, store.add(_content(archive, entry))
    except (tarfile.TarError, EOFError) as error:
        raise ArtifactError(f"{wanted.name} is not an archive that can be read", said=str(error)) from error


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Iterator[bytes]:
    file = archive.extractfile(entry)
    assert file is not None  # only of what is not a regular file
    while chunk := file.read(CHUNK):
        yield chunk


def _key(wanted: Wanted, digest: str) -> str:
    return hashlib.sha256(f"{wanted.file.url} {digest}".encode()).hexdigest()

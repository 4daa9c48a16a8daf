"""`hardway artifacts lock`: the digests of published files, recorded without the files themselves.

For a version that the catalogue does not pin, they are what makes it acceptable at all.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

from hardway.artifacts.catalogue import Arch, Release
from hardway.artifacts.download import Absent, Publisher, Unavailable
from hardway.artifacts.get import Need
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.published import Wanted, expected_digest
from hardway.errors import ArtifactError
from hardway.events import Sink

_PARALLEL = 8
"""Digests are small files: what takes time is each one's way."""


def record(
    releases: Iterable[Release],
    arches: Iterable[Arch],
    publisher: Publisher,
    lock: Lock,
    require_pinned: bool,
    events: Sink,
) -> Sequence[Entry]:
    """The digest of every file of these releases: the catalogue's pin, the lock's, or what its publisher states now.

    All of them go into the lock, or none. Raises ArtifactError.
    """
    arches = list(arches)
    files: list[tuple[Release, Wanted]] = []
    for one in releases:
        for file, arch in product(one.files, arches):
            files.append((one, Wanted(file, one.version, arch)))

    def digest(release: Release, wanted: Wanted) -> Entry:
        try:
            found, how = expected_digest(wanted, publisher, lock, require_pinned, events)
        except Absent as error:
            raise ArtifactError(
                f"{release.component} {release.version} is not there: its publisher has no digest of it",
                said=error.what,
                hint="fix kubernetes or artifacts.versions in the inventory",
            ) from error
        except Unavailable as error:
            error.hint = "check the network and HTTPS_PROXY, or name a mirror: --source mirror --mirror FOLDER|URL"
            raise
        return Entry(wanted.file_name, wanted.version, wanted.arch, found, f"{publisher.name}, {how}")

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="digest") as pool:
        entries = list(pool.map(digest, *zip(*files, strict=True)))
    lock.add(*entries)
    return entries


def unlocked(needs: Iterable[Need], lock: Lock) -> list[Need]:
    """The binaries beyond the catalogue for which the lock has no digest, of their own or of the file they come in."""
    known = {(entry.name, entry.version, entry.arch) for entry in lock.entries()}
    found = []
    for need in needs:
        release = need.release
        if release.catalogued or (file := release.file_with(need.name)) is None:
            continue
        # A bundle brings binaries, and nothing of the archives that they were in.
        names = (Wanted(file, need.version, need.arch).file_name, need.name)
        if not any((name, need.version, need.arch) in known for name in names):
            found.append(need)
    return found


def refuse_unlocked(needs: Iterable[Need], lock: Lock) -> None:
    """Raises ArtifactError for binaries of which neither the catalogue nor the lock has a digest."""
    missing = unlocked(needs, lock)
    if missing:
        releases = list(dict.fromkeys(f"{need.component} {need.version}" for need in missing))
        arches = " and ".join(dict.fromkeys(need.arch for need in missing))
        verb = "is" if len(releases) == 1 else "are"
        raise ArtifactError(
            f"{' and '.join(releases)} {verb} not in this hardway's catalogue, "
            f"and {lock.path.name} has not every digest for {arches}",
            said=f"without one: {', '.join(dict.fromkeys(need.name for need in missing))}",
            hint="hardway artifacts lock records what the publishers state",
        )

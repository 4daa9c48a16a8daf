"""`hardway artifacts lock`: the digests of published files, recorded without the files themselves.

For a version that the catalogue does not pin, they are what makes it acceptable at all.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

from hardway.artifacts.catalogue import Arch, Release
from hardway.artifacts.download import Absent, Publisher, Unavailable
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.published import expected_digest
from hardway.artifacts.release import Wanted
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

"""What machines download by themselves (`artifacts: {fetch: machines}`): the address and digest of each file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hardway.artifacts.download import Absent
from hardway.artifacts.get import Need, Source, publisher, wanted_file
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.mirror import image_file
from hardway.artifacts.published import expected_digest
from hardway.artifacts.release import Wanted
from hardway.artifacts.text import address
from hardway.events import Sink


@dataclass(frozen=True)
class Download:
    """One published file. `members` maps each binary to its path in the archive; None: the file is the binary.

    `origin` is what the lock says of what comes out of it.
    """

    url: str
    digest: str
    members: Mapping[str, str | None]
    wanted: Wanted
    origin: str

    @property
    def is_archive(self) -> bool:
        return any(path is not None for path in self.members.values())

    def entries(self, digests: Mapping[str, str]) -> list[Entry]:
        """What the lock then accepts, by the digests of the members."""
        version, arch = self.wanted.version, self.wanted.arch
        found = [Entry(name, version, arch, digest, self.origin) for name, digest in digests.items()]
        return [*found, Entry(self.wanted.file_name, version, arch, self.digest, self.origin)]


def downloads(
    needs: Iterable[Need], source: Source, mirror: str | None, lock: Lock, require_pinned: bool, events: Sink
) -> dict[Need, Download]:
    """The file that each need comes in. Only digests that are pinned nowhere are asked for, and from this computer.

    Images come from a mirror that has them; else they are absent, and pulled by the workers. Raises ArtifactError.
    """
    base = mirror if source == "mirror" else None
    origin = publisher("mirror" if base else "download", base)
    planned: dict[Wanted, Download | None] = {}
    found: dict[Need, Download] = {}
    for need in needs:
        if need.is_image and base is None:
            continue
        wanted = Wanted(image_file(need.name), need.version, need.arch) if need.is_image else wanted_file(need)
        if wanted not in planned:
            try:
                digest, how = expected_digest(wanted, origin, lock, require_pinned, events)
            except Absent:
                if not need.is_image:
                    raise
                planned[wanted] = None
            else:
                url = address(wanted.url, base)
                planned[wanted] = Download(url, digest, wanted.members, wanted, f"{origin.name}, {how}")
        if (download := planned[wanted]) is not None:
            found[need] = download
    return found

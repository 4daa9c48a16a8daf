"""The binaries that nothing vouches for yet. Apart from what records digests, since every run asks this."""

from collections.abc import Iterable

from hardway.artifacts.get import Need
from hardway.artifacts.lock import Lock
from hardway.artifacts.release import Wanted
from hardway.errors import ArtifactError


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

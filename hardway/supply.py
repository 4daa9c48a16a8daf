"""Which files of which components a run needs, and where they come from: the engine's view of the artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardway.artifacts.catalogue import ARCHES, Arch, releases_for
from hardway.artifacts.get import Ask, Need, Source, ensure, needs_for
from hardway.artifacts.lock import Lock
from hardway.artifacts.store import Blob, Store
from hardway.errors import ArtifactError
from hardway.events import Sink, discard
from hardway.plan import Change, Declaration
from hardway.resources import Binary, Image

FileKey = tuple[str, str, str]
"""Name, version, architecture."""


@dataclass(frozen=True)
class Supply:
    """`source` and `mirror` as the inventory or the command line say; `ask` asks on a terminal, where there is one."""

    kubernetes: str
    store: Store
    lock: Lock
    source: Source = "auto"
    mirror: str | None = None
    require_pinned: bool = False
    ask: Ask | None = None
    events: Sink = discard

    @property
    def versions(self) -> dict[str, str]:
        """The version of each component that goes with this Kubernetes."""
        return {name: release.version for name, release in releases_for(self.kubernetes).items()}

    def prepare(self, declaration: Declaration, architectures: Mapping[str, str]) -> None:
        """Makes sure that something is accepted for every declared file. Raises ArtifactError.

        `architectures` is by machine. Nothing is got where the lock already accepts a digest: what
        is installed may be just that.
        """
        needs = self._needs([(one.resource, architectures.get(one.machine)) for one in declaration.placed])
        accepted = {(entry.name, entry.version, entry.arch) for entry in self.lock.entries()}
        if any((need.name, need.version, need.arch) not in accepted for need in needs):
            self._ensure(needs)

    def accepted(self, arch: str) -> dict[tuple[str, str], frozenset[str]]:
        """The digests that may be installed, by file and version."""
        found: dict[tuple[str, str], frozenset[str]] = {}
        for entry in self.lock.entries():
            if entry.arch == arch:
                key = (entry.name, entry.version)
                found[key] = found.get(key, frozenset()) | {entry.digest}
        return found

    def blobs(self, changes: Sequence[Change], architectures: Mapping[str, str]) -> dict[FileKey, Blob]:
        """What these changes install, in the cache and whole."""
        needs = self._needs([(change.resource, architectures[change.machine]) for change in changes])
        have = self._ensure(needs) if needs else {}
        return {(need.name, need.version, need.arch): blob for need, blob in have.items()}

    def _needs(self, wanted: Sequence[tuple[object, str | None]]) -> list[Need]:
        names: dict[Arch, list[str]] = {}
        for resource, arch in wanted:
            if arch is None or not isinstance(resource, Binary | Image):
                continue
            if arch not in ARCHES:
                raise ArtifactError(
                    f"there are no components for the architecture {arch}", hint="amd64 or arm64 machines"
                )
            names.setdefault(arch, []).append(resource.file)
        return [need for arch, files in sorted(names.items()) for need in needs_for(self.kubernetes, arch, files)]

    def _ensure(self, needs: Sequence[Need]) -> dict[Need, Blob]:
        return ensure(
            needs,
            source=self.source,
            mirror=self.mirror,
            store=self.store,
            lock=self.lock,
            require_pinned=self.require_pinned,
            events=self.events,
            ask=self.ask,
        )

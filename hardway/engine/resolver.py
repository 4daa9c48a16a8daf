"""Which files of which components a run needs, and where they come from: the engine's view of the artifacts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from hardway.artifacts.bundle import Bundle, unpack
from hardway.artifacts.catalogue import ARCHES, Arch, Release, releases_for
from hardway.artifacts.get import Ask, Need, Source, at_hand, ensure, names_of, needs_for, wanted_file
from hardway.artifacts.lock import Lock
from hardway.artifacts.store import Blob, Store
from hardway.artifacts.text import host_of
from hardway.artifacts.unlocked import refuse_unlocked
from hardway.declare.declaration import Declaration
from hardway.declare.resources import Binary, Image, Package
from hardway.engine.changes import Change, by_machine
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Sink, discard
from hardway.facts import Facts

if TYPE_CHECKING:
    from hardway.artifacts.downloads import Download

FileKey = tuple[str, str, str]
"""Name, version, architecture."""


@dataclass(frozen=True)
class Payload:
    """What changes install: files in the cache, and for each machine the packages that it is sent, by file name."""

    blobs: Mapping[FileKey, Blob]
    repositories: Mapping[str, Mapping[str, Blob]]


@dataclass(frozen=True)
class Delivery:
    """How binaries get to the machines: who downloads them, from which hosts or mirror, through which proxy.

    `source` is as the run has it, or `bundle`.
    """

    by: Literal["operator", "machines"]
    source: Literal["auto", "download", "build", "mirror", "bundle"]
    hosts: tuple[str, ...] = ()
    mirror: str = ""
    proxy: str = ""


@dataclass(frozen=True)
class Resolver:
    """`source` and `mirror` as the inventory or the command line say; `ask` asks on a terminal, where there is one.

    With a `bundle` nothing is got from anywhere else, packages of the distribution included.
    """

    kubernetes: str
    store: Store
    lock: Lock
    source: Source = "auto"
    mirror: str | None = None
    require_pinned: bool = False
    bundle: Bundle | None = None
    ask: Ask | None = None
    events: Sink = discard
    fetch: Literal["operator", "machines"] = "operator"
    proxy: str = ""
    """Through which machines reach the outside."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Versions of components in place of the catalogue's."""

    @property
    def releases(self) -> Mapping[str, Release]:
        """The releases that go with this Kubernetes, by component."""
        return releases_for(self.kubernetes, self.others)

    @property
    def versions(self) -> dict[str, str]:
        return {name: release.version for name, release in self.releases.items()}

    @property
    def by_machines(self) -> bool:
        """Whether machines download by themselves. A bundle, for sites without a network, is uploaded."""
        return self.fetch == "machines" and self.bundle is None

    def delivery(self, changes: Sequence[Change], facts: Mapping[str, Facts]) -> Delivery | None:
        """How what these changes install gets there; None where that is no file of a component."""
        needs = self._needs(_wanted(changes), {machine: of.arch for machine, of in facts.items()})
        if not needs:
            return None
        source = "bundle" if self.bundle is not None else self.source
        if not self.by_machines:
            return Delivery("operator", source)
        if source == "mirror":
            return Delivery("machines", source, mirror=self.mirror or "", proxy=self.proxy)
        hosts = {host_of(wanted_file(need).url) for need in needs if not need.is_image}
        return Delivery("machines", source, tuple(sorted(hosts)), proxy=self.proxy)

    def downloads(self, wanted: Iterable[tuple[str, object]], architectures: Mapping[str, str]) -> dict[Need, Download]:
        """What machines download for these resources of theirs. Raises ArtifactError."""
        return self._downloads(self._needs(wanted, architectures))

    def _downloads(self, needs: Mapping[Need, str | None]) -> dict[Need, Download]:
        # Imported here: httpx takes a tenth of a second, and most runs have everything.
        from hardway.artifacts.downloads import downloads

        if any(not need.release.catalogued for need in needs):
            refuse_unlocked(needs, self.lock)
        return downloads(needs, self.source, self.mirror, self.lock, self.require_pinned, self.events)

    def unaccepted(self, declaration: Declaration, architectures: Mapping[str, str]) -> dict[Need, Download]:
        """The downloads of all declared files of which no digest is accepted yet."""
        wanted = [(one.machine, one.resource) for one in declaration.placed if one.machine in architectures]
        missing = self._unaccepted(self._needs(wanted, architectures))
        return self._downloads(missing) if missing else {}

    def prepare(self, declaration: Declaration, architectures: Mapping[str, str]) -> None:
        """Makes sure that something is accepted for every declared file. Raises ArtifactError.

        `architectures` is by machine. Nothing is got where the lock already accepts a digest: what
        is installed may be just that.
        """
        wanted = [(one.machine, one.resource) for one in declaration.placed if one.machine in architectures]
        needs = self._needs(wanted, architectures)
        missing = self._unaccepted(needs)
        if missing:
            self._refuse_unbundled(missing)
            self._ensure(needs)

    def _unaccepted(self, needs: Mapping[Need, str | None]) -> dict[Need, str | None]:
        accepted = {(entry.name, entry.version, entry.arch) for entry in self.lock.entries()}
        return {need: machine for need, machine in needs.items() if _key(need) not in accepted}

    def check(self, changes: Sequence[Change], facts: Mapping[str, Facts]) -> list[ArtifactError]:
        """What could not be had for these changes, found without getting anything; `facts` are by machine."""
        architectures = {machine: of.arch for machine, of in facts.items()}
        try:
            needs = self._needs(_wanted(changes), architectures)
            missing = self._unaccepted(needs)
            if self.bundle is not None:
                have = self._at_hand(needs)
                self._refuse_unbundled({need: machine for need, machine in needs.items() if need not in have})
            elif self.source != "build" and any(not need.release.catalogued for need in missing):
                refuse_unlocked(missing, self.lock)
        except ArtifactError as error:
            return [error]
        errors: list[ArtifactError] = []
        for machine, own in by_machine(changes).items():
            try:
                self._packages(machine, own, facts[machine])
            except ArtifactError as error:
                errors.append(error)
        return errors

    def all_needs(self, arches: Iterable[Arch]) -> list[Need]:
        """All of the catalogue for these architectures."""
        names = names_of(self.kubernetes)
        needs: list[Need] = []
        for arch in arches:
            needs += needs_for(self.kubernetes, arch, names, self.others)
        return needs

    def everything(self, arches: Iterable[Arch], *, with_images: bool = False) -> dict[Need, tuple[Blob, str]]:
        """All of the catalogue for these architectures, each with what the lock says of its origin.

        `with_images`: images are pulled where the source has none as files; else they may be absent.
        """
        needs = self.all_needs(arches)
        have = self._ensure(dict.fromkeys(needs))
        if with_images and (images := [need for need in needs if need not in have]):
            from hardway.artifacts.download import Web
            from hardway.artifacts.registry import pull_all

            pull_all(images, Web(), self.store, self.lock, self.require_pinned, self.events)
        return at_hand(needs, self.source, self.store, self.lock, self.require_pinned)

    def accepted(self, arch: str) -> dict[tuple[str, str], frozenset[str]]:
        """The digests that may be installed, by file and version."""
        found: dict[tuple[str, str], frozenset[str]] = {}
        for entry in self.lock.entries():
            if entry.arch == arch:
                key = (entry.name, entry.version)
                found[key] = found.get(key, frozenset()) | {entry.digest}
        return found

    def payload(
        self, changes: Sequence[Change], facts: Mapping[str, Facts], fetched: Mapping[str, Collection[FileKey]]
    ) -> Payload:
        """All that these changes install, but for what machines have `fetched`, by machine; so are `facts`.

        Raises ArtifactError.
        """
        architectures = {machine: of.arch for machine, of in facts.items()}
        sent = [change for change in changes if not _is_fetched(change, architectures, fetched)]
        blobs = self.blobs(sent, architectures)
        mine = by_machine(changes).items()
        return Payload(blobs, {machine: self.repository(machine, of, facts[machine]) for machine, of in mine})

    def blobs(self, changes: Sequence[Change], architectures: Mapping[str, str]) -> dict[FileKey, Blob]:
        """What these changes install, in the cache and whole."""
        needs = self._needs(_wanted(changes), architectures)
        have = self._ensure(needs) if needs else {}
        return {_key(need): blob for need, blob in have.items()}

    def repository(self, machine: str, changes: Iterable[Change], facts: Facts) -> Mapping[str, Blob]:
        """The bundle's packages that a machine is sent, by file name: all for its system, where it lacks one.

        Raises ArtifactError where the bundle has none for it. Without a bundle machines have their own sources.
        """
        digests = self._packages(machine, changes, facts)
        if self.bundle is not None and None in map(self.store.blob, digests.values()):
            self._unpack(self.bundle)
        blobs: dict[str, Blob] = {}
        for name, digest in digests.items():
            if (blob := self.store.blob(digest)) is not None:
                blobs[name] = blob
        return blobs

    def _packages(self, machine: str, changes: Iterable[Change], facts: Facts) -> Mapping[str, str]:
        """The digests of the bundle's packages for a machine, by file name; none where it lacks none."""
        lacking = [change.resource.package for change in changes if isinstance(change.resource, Package)]
        if self.bundle is None or not lacking:
            return {}
        distribution = f"{facts.os}-{facts.os_version}"
        digests = self.bundle.packages.get((distribution, facts.arch))
        if digests is None:
            raise ArtifactError(
                f"{self.bundle.path} has no packages for {distribution} {facts.arch}, "
                f"and {', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} not installed",
                machine=machine,
                hint=f"make the bundle with --packages {distribution} --arch {facts.arch}, or install them there; "
                "where the machine has a package source of its own: hardway hosts, without --bundle",
            )
        return digests

    def _needs(self, wanted: Iterable[tuple[str, object]], architectures: Mapping[str, str]) -> dict[Need, str | None]:
        """What these resources of machines need, each with the first machine that needs it."""
        names: dict[Arch, dict[tuple[str, str], str]] = {}
        for machine, resource in wanted:
            if not isinstance(resource, Binary | Image):
                continue
            arch = architectures[machine]
            if arch not in ARCHES:
                raise ArtifactError(
                    f"unsupported architecture: {arch}",
                    machine=machine,
                    hint="use an amd64 or arm64 machine, or remove it from the inventory",
                )
            names.setdefault(arch, {}).setdefault((resource.file, resource.version), machine)
        needs: dict[Need, str | None] = {}
        for arch, of in sorted(names.items()):
            known = needs_for(self.kubernetes, arch, (name for name, _ in of), self.others)
            by_name = {need.name: need for need in known}
            for (name, version), machine in of.items():
                needs[replace(by_name[name], version=version)] = machine  # in an upgrade there are two of one name
        return needs

    def _refuse_unbundled(self, needs: Mapping[Need, str | None]) -> None:
        """Raises ArtifactError, with a machine that needs it, for what the bundle does not hold."""
        for need, machine in needs.items():
            if self.bundle is not None and not self.bundle.has(*_key(need)):
                raise _unbundled(self.bundle, need, machine)

    def _ensure(self, needs: Mapping[Need, str | None]) -> dict[Need, Blob]:
        """The blobs of needs, each with a machine that has it, where it is one."""
        if self.bundle is not None:
            return self._from_bundle(self.bundle, needs)
        if self.source != "build" and any(not need.release.catalogued for need in needs):
            refuse_unlocked(needs, self.lock)
        return ensure(
            list(needs),
            source=self.source,
            mirror=self.mirror,
            store=self.store,
            lock=self.lock,
            require_pinned=self.require_pinned,
            events=self.events,
            ask=self.ask,
        )

    def _from_bundle(self, bundle: Bundle, needs: Mapping[Need, str | None]) -> dict[Need, Blob]:
        have = self._at_hand(needs)
        if set(needs) - have.keys():
            self._unpack(bundle)
            have = self._at_hand(needs)
            for need, blob in have.items():
                self.events(ArtifactProgress(need.name, "ready", blob.size, blob.size))
        for need, machine in needs.items():
            if need not in have:
                raise _unbundled(bundle, need, machine)
        return have

    def _unpack(self, bundle: Bundle) -> None:
        unpack(bundle, self.store.telling(self.events), self.lock, self.events)

    def _at_hand(self, needs: Iterable[Need]) -> dict[Need, Blob]:
        found = at_hand(needs, self.source, self.store, self.lock, self.require_pinned)
        return {need: blob for need, (blob, _) in found.items()}


def _is_fetched(change: Change, architectures: Mapping[str, str], fetched: Mapping[str, Collection[FileKey]]) -> bool:
    resource = change.resource
    if not isinstance(resource, Binary | Image):
        return False
    return (resource.file, resource.version, architectures[change.machine]) in fetched.get(change.machine, ())


def _wanted(changes: Iterable[Change]) -> list[tuple[str, object]]:
    return [(change.machine, change.resource) for change in changes]


def _key(need: Need) -> FileKey:
    return need.name, need.version, need.arch


def _unbundled(bundle: Bundle, need: Need, machine: str | None) -> ArtifactError:
    return ArtifactError(
        f"{bundle.path} has no {need.name} {need.version} for {need.arch}",
        machine=machine,
        hint=f"make the bundle for this inventory, with --arch {need.arch}: hardway artifacts bundle",
    )

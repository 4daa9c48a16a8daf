"""From what a cluster needs to blobs in the cache: what is accepted and there, or downloaded, built, copied."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hardway.artifacts.build import Build, built, check_tools, plan_build, run_build
from hardway.artifacts.catalogue import IMAGES, Arch, Release, release, releases_for
from hardway.artifacts.images import image_key, oci_archive
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.release import Wanted
from hardway.artifacts.store import Blob, Store
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Note, Sink

if TYPE_CHECKING:
    from hardway.artifacts.download import Publisher

Source = Literal["auto", "download", "build", "mirror"]
Ask = Callable[[str], bool]

PARALLEL_DOWNLOADS = 4
_UNPINNED = "publisher's digest"


@dataclass(frozen=True)
class Need:
    """One file that machines need: a binary such as `kubelet`, or an image such as `image/coredns`."""

    name: str
    component: str
    version: str
    arch: Arch

    @property
    def is_image(self) -> bool:
        return self.name in IMAGES

    @property
    def release(self) -> Release:
        return release(self.component, self.version)


@dataclass(frozen=True)
class Row:
    """One line of `hardway artifacts`: source, digest and size (bytes) are empty where nothing is there yet."""

    need: Need
    source: str
    digest: str
    size: int
    state: Literal["ready", "missing", "pulled by the workers"]


def names_of(kubernetes_version: str) -> tuple[str, ...]:
    """Everything that the catalogue has for a Kubernetes version: binaries, then images."""
    return (*_components_of(releases_for(kubernetes_version)), *IMAGES)


def _components_of(releases: Mapping[str, Release]) -> dict[str, str]:
    """The component of each published binary."""
    found: dict[str, str] = {}
    for one in releases.values():
        if one.files:
            found |= dict.fromkeys(one.binaries, one.component)
    return found


def needs_for(
    kubernetes_version: str, arch: Arch, names: Iterable[str], others: Mapping[str, str] | None = None
) -> list[Need]:
    """The needs of these names, in their order, each once; `others` are versions in place of the catalogue's.

    Raises ArtifactError for an unknown name.
    """
    releases = releases_for(kubernetes_version, others)
    components = _components_of(releases)
    components |= {name: image.component for name, image in IMAGES.items()}
    unknown = sorted(set(names := list(names)) - set(components))
    if unknown:
        raise ArtifactError(
            f"the catalogue has no {', '.join(unknown)}", hint=f"known: {', '.join(sorted(components))}"
        )
    return [Need(name, components[name], releases[components[name]].version, arch) for name in dict.fromkeys(names)]


def ensure(
    needs: Sequence[Need],
    *,
    source: Source,
    mirror: str | None,
    store: Store,
    lock: Lock,
    require_pinned: bool,
    events: Sink,
    ask: Ask | None = None,
) -> dict[Need, Blob]:
    """The blob of every need, from the cache or got now; what was got is accepted in the lock.

    An image that nobody builds and no mirror holds is absent from the answer: the workers pull it.
    `auto` downloads, and where that cannot be, builds if `ask` (None: nobody to ask) agrees. Events come
    from several threads. Raises ArtifactError.
    """
    getter = _Getter(store.telling(events), lock, require_pinned, events)
    have = {need: blob for need, (blob, _) in at_hand(needs, source, getter.store, lock, require_pinned).items()}
    missing = [need for need in needs if need not in have]
    if missing:
        store.sweep()
        if source == "build":
            have |= getter.by_building(missing)
        elif source == "auto":
            have |= _automatically(needs, missing, getter, ask)
        else:
            have |= getter.by_fetching(missing, source, mirror)
    return {need: have[need] for need in needs if need in have}


def at_hand(
    needs: Iterable[Need], source: Source, store: Store, lock: Lock, require_pinned: bool
) -> dict[Need, tuple[Blob, str]]:
    """What is accepted in the lock and whole in the cache, with its source; of several, the source asked for."""
    accepted: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in lock.entries():
        accepted.setdefault((entry.name, entry.version, entry.arch), []).append(entry)
    found: dict[Need, tuple[Blob, str]] = {}
    for need in needs:
        entries = accepted.get((need.name, need.version, need.arch), [])
        for entry in sorted(entries, key=lambda e: not e.source.startswith(source)):
            if require_pinned and (entry.is_bundled or entry.source.endswith(_UNPINNED)):
                continue
            if (blob := store.blob(entry.digest)) is not None:
                found[need] = blob, entry.source
                break
    return found


def table(needs: Sequence[Need], *, source: Source, store: Store, lock: Lock) -> list[Row]:
    """What `hardway artifacts` shows, one row a need; looks, and gets nothing."""
    have = at_hand(needs, source, store, lock, require_pinned=False)
    rows = []
    for need in needs:
        if need in have:
            blob, origin = have[need]
            rows.append(Row(need, origin, blob.digest, blob.size, "ready"))
        elif need.is_image and source == "download":
            rows.append(Row(need, "", "", 0, "pulled by the workers"))
        else:
            rows.append(Row(need, "", "", 0, "missing"))
    return rows


def _automatically(
    needs: Sequence[Need], missing: Sequence[Need], getter: "_Getter", ask: Ask | None
) -> dict[Need, Blob]:
    """Built before, or downloaded, or (where nothing can be reached, and it was agreed to) built now."""
    from hardway.artifacts.download import Unavailable

    have = getter.built_before(missing)
    binaries: list[Need] = []
    images: list[Need] = []
    for need in missing:
        if need not in have:
            (images if need.is_image else binaries).append(need)
    if not binaries:
        # Images go with the binaries: a cluster whose binaries were built has no registry either.
        if images and any(entry.source.startswith("build") for entry in getter.lock.entries()):
            have |= getter.by_building(images)
        return have
    try:
        return have | getter.by_fetching(binaries, "download", None)
    except Unavailable as error:
        components = ", ".join(dict.fromkeys(need.component for need in (*binaries, *images)))
        question = (
            f"{error.what}. Build {components} from their Go modules instead? "
            "All of them take some ten minutes and 10 GB of Go's caches."
        )
        if ask is None or not ask(question):
            raise
    return have | getter.by_building([*binaries, *images])


@dataclass(frozen=True)
class _Getter:
    """The ways to a blob, with what they share."""

    store: Store
    lock: Lock
    require_pinned: bool
    events: Sink

    def by_fetching(
        self, needs: Sequence[Need], source: Literal["download", "mirror"], mirror: str | None
    ) -> dict[Need, Blob]:
        """From the publishers or a mirror, several at once; images from a mirror only."""
        wanted = _files_of([need for need in needs if not need.is_image])
        origin = publisher(source, mirror)
        with ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download") as pool:
            futures = {pool.submit(self._obtain, file, origin): of for file, of in wanted.items()}
            try:
                have: dict[Need, Blob] = {}
                for future, of in futures.items():
                    have |= {need: future.result()[need.name] for need in of}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        images = [need for need in needs if need.is_image]
        return have | self._from_mirror(images, origin) if source == "mirror" else have

    def _obtain(self, file: Wanted, publisher: "Publisher") -> Mapping[str, Blob]:
        from hardway.artifacts.published import obtain

        blobs = obtain(file, publisher, self.store, self.lock, self.require_pinned, self.events)
        self._ready(blobs)
        return blobs

    def _from_mirror(self, images: Sequence[Need], publisher: "Publisher") -> dict[Need, Blob]:
        from hardway.artifacts.download import Absent
        from hardway.artifacts.mirror import image_file

        have = {}
        for need in images:
            try:
                blobs = self._obtain(Wanted(image_file(need.name), need.version, need.arch), publisher)
            except Absent:
                continue
            have[need] = blobs[need.name]
        return have

    def by_building(self, needs: Sequence[Need]) -> dict[Need, Blob]:
        """One component after the other: Go itself uses every core."""
        builds = _builds_of(needs)
        todo = [build for build in builds if built(build, self.store) is None]
        for build in todo:
            check_tools(build)  # before the first, not after minutes
        if todo:
            components = ", ".join(build.release.component for build in todo)
            self.events(Note(f"building {components} from their Go modules: this takes minutes"))
        have: dict[Need, Blob] = {}
        for build, of in builds.items():
            have |= self._accept(build, of, run_build(build, self.store, self.events))
        return have

    def built_before(self, needs: Sequence[Need]) -> dict[Need, Blob]:
        """What the cache has from earlier builds with this Go; nothing where there is no Go."""
        try:
            builds = _builds_of(need for need in needs if need.release.catalogued)
        except ArtifactError:
            return {}
        have: dict[Need, Blob] = {}
        for build, of in builds.items():
            if (blobs := built(build, self.store)) is not None:
                have |= self._accept(build, of, blobs)
        return have

    def _accept(self, build: Build, needs: Sequence[Need], blobs: Mapping[str, Blob]) -> dict[Need, Blob]:
        have = {need: self._image(need, blobs) if need.is_image else blobs[need.name] for need in needs}
        self.lock.add(*(Entry(n.name, n.version, n.arch, blob.digest, build.source) for n, blob in have.items()))
        self._ready({need.name: blob for need, blob in have.items()})
        return have

    def _image(self, need: Need, blobs: Mapping[str, Blob]) -> Blob:
        image = IMAGES[need.name]
        binary = blobs[image.binary]
        key = f"image-{image_key(image, binary, need.arch)}"
        with self.store.locked(key):
            made = self.store.recorded(key)
            if made is None:
                made = {need.name: self.store.add(oci_archive(image, binary, need.arch))}
                self.store.note(key, {need.name: made[need.name].digest})
        return made[need.name]

    def _ready(self, blobs: Mapping[str, Blob]) -> None:
        for name, blob in blobs.items():
            self.events(ArtifactProgress(name, "ready", blob.size, blob.size))


def publisher(source: Literal["download", "mirror"], mirror: str | None) -> "Publisher":
    # Imported here: httpx takes a tenth of a second, and most runs have everything.
    from hardway.artifacts.download import Web
    from hardway.artifacts.mirror import mirror_at

    if source == "download":
        return Web()
    if not mirror:
        raise ArtifactError(
            "source is mirror, and no mirror is named",
            hint="--mirror FOLDER|URL, or artifacts: {source: mirror, mirror: https://…}",
        )
    return mirror_at(mirror)


def _files_of(needs: Iterable[Need]) -> dict[Wanted, list[Need]]:
    """The published files that hold these binaries, each with the needs it serves."""
    files: dict[Wanted, list[Need]] = {}
    for need in needs:
        files.setdefault(wanted_file(need), []).append(need)
    return files


def wanted_file(need: Need) -> Wanted:
    """The published file that is or holds this binary. Raises ArtifactError where there is none."""
    file = need.release.file_with(need.name)
    if file is None:
        raise ArtifactError(f"{need.component} publishes no {need.name}", hint="--source build")
    return Wanted(file, need.version, need.arch)


def _builds_of(needs: Iterable[Need]) -> dict[Build, list[Need]]:
    """The builds that make these needs, in the order of the needs."""
    builds: dict[Build, list[Need]] = {}
    for need in needs:
        builds.setdefault(plan_build(need.release, need.arch), []).append(need)
    return builds

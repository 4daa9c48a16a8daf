"""Images from their registries, as archives: for a bundle whose binaries are downloaded, and not built.

The OCI distribution API, without a login: the registry of Kubernetes wants none. Everything is held against the
digest by which it was asked for; that of a tag is the registry's word, as it is for workers that pull the image.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from hardway.artifacts.catalogue import IMAGES, Arch, Image
from hardway.artifacts.download import Web
from hardway.artifacts.get import Need
from hardway.artifacts.images import pulled_archive
from hardway.artifacts.lock import FROM_BUNDLE, Entry, Lock
from hardway.artifacts.published import STATED
from hardway.artifacts.store import Blob, Store, file_digest
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Sink

_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


def pull_all(needs: Iterable[Need], web: Web, store: Store, lock: Lock, require_pinned: bool, events: Sink) -> None:
    """Pulls these images and accepts their archives.

    Raises as `pull`, where only pinned digests will do, and where a tag names another image than it once did.
    """
    for need in needs:
        if require_pinned:
            raise ArtifactError(
                f"no digest of {need.name} is pinned in this hardway",
                hint="without --require-pinned its registry's own digests are used; or `--source build`",
            )
        blob = pull(IMAGES[need.name], need.arch, web, store, events)
        source = f"{web.name}, {STATED}"
        _refuse_moved(need, blob, source, lock)
        lock.add(Entry(need.name, need.version, need.arch, blob.digest, source))
        events(ArtifactProgress(need.name, "ready", blob.size, blob.size))


def _refuse_moved(need: Need, blob: Blob, source: str, lock: Lock) -> None:
    known = lock.accepted(need.name, need.version, need.arch)
    before = [digest for digest, origin in known.items() if origin.removeprefix(FROM_BUNDLE) == source]
    if before and blob.digest not in before:
        raise ArtifactError(
            f"{IMAGES[need.name].ref} for {need.arch} is another image than the one in {lock.path.name}",
            said="\n".join([*(f"{lock.path.name}: {digest}" for digest in before), f"its registry now: {blob.digest}"]),
            hint=f"find out why the tag was moved; to accept the new image, delete the line from {lock.path.name}",
        )


def pull(image: Image, arch: Arch, web: Web, store: Store, events: Sink) -> Blob:
    """An image's archive for one architecture. Raises ArtifactError for what is not as promised, Unavailable."""
    place, _, tag = image.ref.rpartition(":")
    registry, _, name = place.partition("/")
    source = f"https://{registry}/v2/{name}"
    manifest = _manifest(image, arch, web, source, tag)
    tree = _tree(image, manifest)
    config = _checked(image, web.read(f"{source}/blobs/{tree['config']['digest']}"), tree["config"]["digest"])
    layers = [_layer(image, arch, web, source, layer["digest"], store, events) for layer in tree["layers"]]
    return store.add(pulled_archive(image, arch, manifest, config, layers))


def _manifest(image: Image, arch: Arch, web: Web, source: str, tag: str) -> bytes:
    """The manifest of the image for this architecture; most tags name a list of them."""
    found = web.read(f"{source}/manifests/{tag}", ", ".join((*_INDEXES, *_MANIFESTS)))
    tree = _tree(image, found)
    if "manifests" not in tree:
        return found
    for one in tree["manifests"]:
        if one.get("platform", {}).get("architecture") == arch and one["platform"].get("os") == "linux":
            digest = one["digest"]
            return _checked(image, web.read(f"{source}/manifests/{digest}", ", ".join(_MANIFESTS)), digest)
    raise ArtifactError(f"{image.ref} is not there for {arch}", hint="--source build, or a mirror with images/")


def _layer(image: Image, arch: Arch, web: Web, source: str, digest: str, store: Store, events: Sink) -> Blob:
    wanted = digest.removeprefix("sha256:")
    if (blob := store.blob(wanted)) is not None:
        return blob
    path = store.folder("partial") / wanted

    def progress(done: int, total: int) -> None:
        events(ArtifactProgress(f"{image.name} {arch} {wanted[:12]}", "download", done, total))

    web.fetch(f"{source}/blobs/{digest}", path, progress)
    if file_digest(path) != wanted:
        path.unlink()
        raise _broken(image, f"the layer {digest} has another content")
    blob = store.add(path)
    path.unlink()
    return blob


def _tree(image: Image, text: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(text)
        digests = [one["digest"] for one in tree.get("manifests") or [tree["config"], *tree["layers"]]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(image, f"no manifest: {text[:80].decode(errors='replace')}") from error
    # They become names of files here.
    for digest in digests:
        algorithm, _, number = str(digest).partition(":")
        if algorithm != "sha256" or len(number) != 64 or not number.isalnum():
            raise _broken(image, f"no sha256 digest: {digest}")
    return dict(tree)


def _checked(image: Image, content: bytes, digest: str) -> bytes:
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise _broken(image, f"{digest} has another content")
    return content


def _broken(image: Image, said: str) -> ArtifactError:
    return ArtifactError(
        f"{image.ref}: its registry answered with something else",
        said=said,
        hint="check what answers at that address (a proxy, a mirror); the file was deleted",
    )

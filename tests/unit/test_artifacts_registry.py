"""Images pulled into archives: from a registry on loopback that has what a build of ours makes."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fake.publisher import Site, serving

from hardway.artifacts.catalogue import IMAGES
from hardway.artifacts.download import Web
from hardway.artifacts.get import needs_for
from hardway.artifacts.images import oci_archive
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.registry import pull, pull_all
from hardway.artifacts.store import Store
from hardway.errors import ArtifactError
from hardway.events import discard
from hardway.values import sha256

PAUSE = IMAGES["image/pause"]
AT = "/registry.k8s.io/v2/pause"
TAG = f"{AT}/manifests/3.10.2"
INDEX = "application/vnd.oci.image.index.v1+json"


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def built(tmp_path: Path) -> bytes:
    """The archive of an image of ours, for amd64."""
    binary = Store(tmp_path / "other").add([b"\x7fELF pause"])
    return b"".join(oci_archive(PAUSE, binary, "amd64"))


@pytest.fixture
def registry(built: bytes) -> Iterator[Site]:
    """It has that image below a list of two, of which the other is for another system."""
    with serving() as site:
        files = members(built)
        [described] = json.loads(files["index.json"])["manifests"]
        listed = [
            {"digest": f"sha256:{'0' * 64}", "platform": {"os": "windows", "architecture": "amd64"}},
            {"digest": described["digest"], "platform": {"os": "linux", "architecture": "amd64"}},
        ]
        site.files[TAG] = json.dumps({"mediaType": INDEX, "manifests": listed}).encode()
        for name, content in files.items():
            if name.startswith("blobs/"):
                kind = "manifests" if f"sha256:{sha256(content)}" == described["digest"] else "blobs"
                site.files[f"{AT}/{kind}/sha256:{sha256(content)}"] = content
        yield site


def pulled(site: Site, store: Store, arch: str = "amd64") -> Mapping[str, bytes]:
    blob = pull(PAUSE, arch, Web(site.url, connect=1.0), store, discard)  # type: ignore[arg-type]
    return members(blob.path.read_bytes())


def test_an_image_is_pulled_as_it_is(registry: Site, store: Store, built: bytes) -> None:
    assert pulled(registry, store) == members(built)


def test_the_same_image_is_the_same_archive(registry: Site, store: Store, tmp_path: Path) -> None:
    web = Web(registry.url)
    first = pull(PAUSE, "amd64", web, store, discard)
    assert pull(PAUSE, "amd64", web, Store(tmp_path / "third"), discard).digest == first.digest


def test_a_tag_may_be_one_manifest(registry: Site, store: Store, built: bytes) -> None:
    [at] = [path for path in registry.files if "/manifests/sha256:" in path]
    registry.files[TAG] = registry.files[at]
    assert pulled(registry, store) == members(built)


def test_an_architecture_that_it_does_not_have_is_said(registry: Site, store: Store) -> None:
    with pytest.raises(ArtifactError, match=r"registry\.k8s\.io/pause:3\.10\.2 is not there for arm64") as failed:
        pulled(registry, store, "arm64")
    assert "--source build" in (failed.value.hint or "")


@pytest.mark.parametrize("kind", ["manifests/sha256:", "blobs/sha256:"])
def test_another_content_than_was_asked_for_is_found(registry: Site, store: Store, kind: str) -> None:
    for path in [path for path in registry.files if kind in path]:
        registry.files[path] += b" "
    with pytest.raises(ArtifactError, match="answered with something else") as failed:
        pulled(registry, store)
    assert "has another content" in (failed.value.said or "")


@pytest.mark.parametrize(
    "manifest",
    [
        b"<html>log in first</html>",
        b"[]",
        b'{"config": {"digest": "sha256:x"}, "layers": []}',
        b'{"manifests": [{"digest": "sha256:../../../../../etc/passwd/0000000000000000000000000000000000000000000"}]}',
        b'{"config": {}}',
    ],
)
def test_what_is_no_manifest_is_said_to_be_none(registry: Site, store: Store, manifest: bytes) -> None:
    registry.files[TAG] = manifest
    with pytest.raises(ArtifactError, match="answered with something else"):
        pulled(registry, store)


def test_what_was_pulled_is_accepted_with_its_origin(registry: Site, store: Store, tmp_path: Path) -> None:
    lock = Lock(tmp_path / "artifacts.lock")
    needs = needs_for("1.36.4", "amd64", ["image/pause"])
    pull_all(needs, Web(registry.url), store, lock, False, discard)
    [(digest, origin)] = lock.accepted("image/pause", "3.10.2", "amd64").items()
    assert origin == "mirror, publisher's digest"
    assert store.blob(digest) is not None
    with pytest.raises(ArtifactError, match="no digest of image/pause is pinned"):
        pull_all(needs, Web(registry.url), store, lock, True, discard)


@pytest.mark.parametrize("source", ["mirror, publisher's digest", "bundle, mirror, publisher's digest"])
def test_a_tag_that_was_moved_is_told_with_both_images(
    registry: Site, store: Store, tmp_path: Path, source: str
) -> None:
    lock = Lock(tmp_path / "artifacts.lock")
    [need] = needs_for("1.36.4", "amd64", ["image/pause"])
    lock.add(Entry(need.name, need.version, need.arch, sha256(b"before"), source))
    before = lock.entries()
    with pytest.raises(ArtifactError, match=r"pause:3\.10\.2 for amd64 is another image") as failed:
        pull_all([need], Web(registry.url), store, lock, False, discard)
    now = pull(PAUSE, "amd64", Web(registry.url), store, discard).digest
    assert (failed.value.said or "").splitlines() == [
        f"artifacts.lock: {sha256(b'before')}",
        f"its registry now: {now}",
    ]
    assert lock.entries() == before


def test_an_image_that_was_built_stands_beside_the_registrys(registry: Site, store: Store, tmp_path: Path) -> None:
    lock = Lock(tmp_path / "artifacts.lock")
    [need] = needs_for("1.36.4", "amd64", ["image/pause"])
    lock.add(Entry(need.name, need.version, need.arch, sha256(b"built"), "build go1.26.8"))
    for _ in range(2):
        pull_all([need], Web(registry.url), store, lock, False, discard)
    assert len(lock.entries()) == 2

"""OCI archives made from one binary."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hardway.artifacts.catalogue import IMAGES
from hardway.artifacts.images import image_key, oci_archive
from hardway.artifacts.store import Blob, Store
from hardway.values import sha256


@pytest.fixture
def binary(tmp_path: Path) -> Blob:
    return Store(tmp_path).add([b"\x7fELF" + bytes(2000)])


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [member for member in tar.getmembers() if member.isfile()]
        return {member.name: tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def test_an_archive_holds_the_binary_under_digests_that_match(binary: Blob) -> None:
    files = members(b"".join(oci_archive(IMAGES["image/agnhost"], binary, "arm64")))

    def blob(descriptor: dict[str, Any]) -> bytes:
        content = files[f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}"]
        assert f"sha256:{sha256(content)}" == descriptor["digest"]
        assert len(content) == descriptor["size"]
        return content

    (named,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(named))
    config = json.loads(blob(manifest["config"]))
    layer = blob(manifest["layers"][0])
    assert named["annotations"]["io.containerd.image.name"] == IMAGES["image/agnhost"].ref
    assert (config["architecture"], config["os"]) == ("arm64", "linux")
    assert config["config"]["Entrypoint"] == ["/agnhost"]
    assert config["config"]["Cmd"] == ["pause"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{sha256(layer)}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert tar.getmember("agnhost").mode == 0o755
        assert tar.getmember("uploads").isdir()
    assert members(layer)["agnhost"] == binary.path.read_bytes()


def test_the_same_binary_gives_the_same_bytes(binary: Blob) -> None:
    image = IMAGES["image/pause"]
    assert b"".join(oci_archive(image, binary, "amd64")) == b"".join(oci_archive(image, binary, "amd64"))


def test_the_key_depends_on_image_binary_and_architecture(binary: Blob, tmp_path: Path) -> None:
    other = Store(tmp_path).add([b"other"])
    image, second = IMAGES["image/pause"], IMAGES["image/coredns"]
    keys = {
        image_key(image, binary, "amd64"),
        image_key(image, binary, "arm64"),
        image_key(image, other, "amd64"),
        image_key(second, binary, "amd64"),
    }
    assert len(keys) == 4

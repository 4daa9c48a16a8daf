"""Container images as OCI archives that `ctr images import` takes: made from one static binary, or pulled.

The same binary gives the same bytes: one uncompressed layer (the stream to the machines is compressed
as a whole), everything dated 0 and root's. Format: OCI image layout 1.0 in a tar.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any

from hardway.artifacts.catalogue import Arch, Image
from hardway.artifacts.frames import member
from hardway.artifacts.store import Blob, read_chunks

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_END = bytes(1024)


def image_key(image: Image, binary: Blob, arch: Arch) -> str:
    """What an archive depends on, as a digest."""
    return hashlib.sha256(f"image 1 {image} {arch} {binary.digest}".encode()).hexdigest()


def oci_archive(image: Image, binary: Blob, arch: Arch) -> Iterator[bytes]:
    """The archive's bytes. containerd imports it under the image's reference (`io.containerd.image.name`)."""
    layer, size = _digest_and_size(_layer(image, binary))
    config = _json(_config(image, arch, layer))
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor(_CONFIG, config),
            "layers": [{"mediaType": _LAYER, "digest": f"sha256:{layer}", "size": size}],
        }
    )
    yield from _beginning(image, arch, manifest, config)
    yield from member(f"blobs/sha256/{layer}", 0o644, size, _layer(image, binary))
    yield _END


def pulled_archive(image: Image, arch: Arch, manifest: bytes, config: bytes, layers: Sequence[Blob]) -> Iterator[bytes]:
    """The bytes of an archive with an image as its registry has it."""
    yield from _beginning(image, arch, manifest, config)
    for layer in {layer.digest: layer for layer in layers}.values():
        yield from member(f"blobs/sha256/{layer.digest}", 0o644, layer.size, read_chunks(layer.path))
    yield _END


def _beginning(image: Image, arch: Arch, manifest: bytes, config: bytes) -> Iterator[bytes]:
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [_named(image, arch, manifest)]})
    yield from _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    yield from _file("index.json", index)
    for content in (manifest, config):
        yield from _file(f"blobs/sha256/{hashlib.sha256(content).hexdigest()}", content)


def _layer(image: Image, binary: Blob) -> Iterator[bytes]:
    for folder in image.folders:
        header = tarfile.TarInfo(f"{folder}/")
        header.type, header.mode = tarfile.DIRTYPE, 0o1777
        yield header.tobuf(tarfile.GNU_FORMAT)
    yield from member(image.binary, 0o755, binary.size, read_chunks(binary.path))
    yield _END


def _config(image: Image, arch: Arch, layer: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"Entrypoint": [image.entrypoint], "WorkingDir": "/"}
    if image.arguments:
        settings["Cmd"] = list(image.arguments)
    if image.user:
        settings["User"] = image.user
    return {
        "created": "1970-01-01T00:00:00Z",
        "architecture": arch,
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
    }


def _named(image: Image, arch: Arch, manifest: bytes) -> dict[str, Any]:
    media_type = json.loads(manifest).get("mediaType", _MANIFEST)
    return _descriptor(media_type, manifest) | {
        "platform": {"architecture": arch, "os": "linux"},
        "annotations": {
            "io.containerd.image.name": image.ref,
            "org.opencontainers.image.ref.name": image.ref.rpartition(":")[2],
        },
    }


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _file(name: str, content: bytes) -> Iterator[bytes]:
    return member(name, 0o644, len(content), [content])


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _digest_and_size(chunks: Iterator[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size

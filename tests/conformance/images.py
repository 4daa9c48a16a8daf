"""The suite's images, made of what this computer can have: one OCI layout, whose layers they share.

They stand in for the official ones: Debian where those have Alpine, the same programs, files and users where a test
looks for them. The layout is what `ctr images import` takes and what `mirror` serves.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.programs import Parts, module_folder

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NAMED = "io.containerd.image.name"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_TESTS = "registry.k8s.io/e2e-test-images"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCH = "amd64"
_LIBC = (
    "ld-linux-x86-64.so.2", "libc.so.6", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2",
    "libnss_compat.so.2", "libm.so.6", "libpthread.so.0", "libdl.so.2",
)  # fmt: skip
_LIBC_FOLDERS = ("usr/lib/x86_64-linux-gnu/", "usr/lib64/")
_FOLDERS = (
    "usr", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/lib/x86_64-linux-gnu", "usr/local", "usr/local/bin",
    "etc", "home", "var", "var/spool", "var/spool/mail", "var/www",
)  # fmt: skip
_USERS = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
sync:x:4:100:sync:/bin:/bin/sync
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
"""
_GROUPS = """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
operator:x:37:
users:x:100:
nobody:x:65534:
"""
_NGINX = """\
user www-data;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /dev/stdout;
  server {
    listen 80;
    location / { root /usr/share/nginx/html; index index.html index.htm; }
    error_page 500 502 503 504 /50x.html;
    location = /50x.html { root /usr/share/nginx/html; }
  }
}
"""
_WELCOME = "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body>Welcome to nginx!</body></html>\n"
# A test of volumes made of images looks for the name of the official image's system.
_ALPINE = 'NAME="Alpine Linux"\nID=alpine\nPRETTY_NAME="stand-in for Alpine Linux, on Debian"\n'


@dataclass(frozen=True)
class Blob:
    digest: str
    size: int

    def described(self, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": f"sha256:{self.digest}", "size": self.size}


@dataclass(frozen=True)
class Image:
    """`runs` is what its configuration says of the process: Entrypoint, Cmd, User and so on."""

    reference: str
    layers: tuple[Blob, ...]
    runs: Mapping[str, Any] = field(default_factory=dict)


class Layout:
    """A folder in OCI's image layout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    def put(self, data: bytes) -> Blob:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return Blob(digest, len(data))

    def put_file(self, path: Path) -> Blob:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        shutil.copy2(path, self.blobs / digest)
        return Blob(digest, path.stat().st_size)

    def write_index(self, images: list[Image]) -> None:
        manifests = [self._manifest(image) for image in images]
        (self._folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        (self._folder / "index.json").write_text(json.dumps(index, indent=1))

    def _manifest(self, image: Image) -> dict[str, Any]:
        config = {
            "created": "2026-01-01T00:00:00Z",
            "architecture": _ARCH,
            "os": "linux",
            # The label keeps images apart that are the same but for their names.
            "config": {"Env": [_PATH], "WorkingDir": "/", "Labels": {"reference": image.reference}, **image.runs},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in image.layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put(_json(config)).described(_CONFIG),
            "layers": [layer.described(_LAYER) for layer in image.layers],
        }
        names = {NAMED: image.reference, "org.opencontainers.image.ref.name": image.reference.rpartition(":")[2]}
        platform = {"architecture": _ARCH, "os": "linux"}
        return {**self.put(_json(manifest)).described(MANIFEST), "platform": platform, "annotations": names}


class Layer:
    """A layer under way; everything in it is root's, dated 0."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._bytes, mode="w", format=tarfile.GNU_FORMAT)

    def file(self, name: str, content: str | bytes | Path, mode: int = 0o644) -> Layer:
        data = content.read_bytes() if isinstance(content, Path) else content
        data = data.encode() if isinstance(data, str) else data
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), mode
        self._tar.addfile(member, io.BytesIO(data))
        return self

    def folder(self, name: str, mode: int = 0o755) -> Layer:
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(member)
        return self

    def link(self, name: str, target: str) -> Layer:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
        self._tar.addfile(member)
        return self

    def into(self, layout: Layout) -> Blob:
        self._tar.close()
        return layout.put(self._bytes.getvalue())


@dataclass(frozen=True)
class Ours:
    """What hardway's cache has of the images' contents: the binary of etcd, and archives of two images."""

    etcd: Path
    agnhost: Path
    pause: Path


def make_layout(made: Parts, ours: Ours) -> Path:
    """The layout of all images, made now if the cache does not have it."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in (ours.agnhost, ours.etcd, ours.pause):
        digest.update(path.name.encode())
    folder = made / f"layout-{digest.hexdigest()[:16]}"
    if folder.exists():
        return folder
    new = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    layout = Layout(new)
    layout.write_index(_images(layout, made, ours))
    new.rename(folder)
    return folder


def references(layout: Path) -> dict[str, str]:
    """Digest (`sha256:…`) of each image's manifest, by its reference."""
    index = json.loads((layout / "index.json").read_text())
    return {one["annotations"][NAMED]: one["digest"] for one in index["manifests"]}


def _images(layout: Layout, made: Parts, ours: Ours) -> list[Image]:
    applets = _applets(made / "busybox")
    base = layout.put_file(made / "base.tar")
    small = _small(made, applets).into(layout)
    agnhost = _agnhost(made, ours, applets).into(layout)
    nginx = _nginx().into(layout)
    run = Layer().folder("run").into(layout)
    nonewprivs = Layer().file("usr/local/bin/nnp", made / "nonewprivs", 0o6755).into(layout)
    sample = Layer().file("sample-apiserver", made / "sample-apiserver", 0o755).into(layout)
    etcd = Layer().file("usr/local/bin/etcd", ours.etcd, 0o755).into(layout)
    ports = {f"{port}/tcp": {} for port in (80, 5000, 8080, 8081, 9376)}
    serves = {"Entrypoint": ["/agnhost"], "Cmd": ["pause"], "ExposedPorts": ports}
    web = {"Cmd": ["nginx", "-g", "daemon off;"], "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}}}
    shows = {**serves, "Cmd": ["test-webserver"]}
    return [
        Image(f"{_TESTS}/agnhost:2.63.0", (base, agnhost), serves),
        Image(f"{_TESTS}/agnhost:2.55", (base, agnhost), serves),
        Image(f"{_TESTS}/busybox:1.37.0-1", (small,), {"Cmd": ["sh"]}),
        Image(f"{_TESTS}/nonroot:1.5", (small,), {"Cmd": ["sh"], "User": "1234"}),
        Image(f"{_TESTS}/nginx:1.15-4", (base, nginx), web),
        Image(f"{_TESTS}/nginx:1.27-0", (base, nginx), web),
        Image(f"{_TESTS}/glibc-dns-testing:2.0.0", (base, run), {"Cmd": ["bash"]}),
        Image(f"{_TESTS}/kitten:1.8", (base, agnhost, _pet("kitten").into(layout)), shows),
        Image(f"{_TESTS}/nautilus:1.8", (base, agnhost, _pet("nautilus").into(layout)), shows),
        Image(f"{_TESTS}/nonewprivs:1.4", (small, nonewprivs), {"Cmd": ["nnp"]}),
        Image(f"{_TESTS}/sample-apiserver:1.29.2", (small, sample), {"Entrypoint": ["/sample-apiserver"]}),
        Image("registry.k8s.io/etcd:3.6.8-0", (small, etcd), {"Cmd": ["etcd"]}),
    ]


def _applets(busybox: Path) -> list[str]:
    said = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
    return [name for name in said.split() if name != "busybox"]


def _small(made: Parts, applets: list[str]) -> Layer:
    """busybox with the libc that resolves names as its users expect."""
    layer = Layer().folder("root", 0o700).folder("tmp", 0o1777)
    for name in _FOLDERS:
        layer.folder(name)
    for name in ("bin", "sbin", "lib", "lib64"):
        layer.link(name, f"usr/{name}")
    with tarfile.open(made / "libc.tar") as libc:
        for member in libc:
            name = member.name.removeprefix("./")
            if not name.startswith(_LIBC_FOLDERS) or name.rpartition("/")[2] not in _LIBC:
                continue
            content = libc.extractfile(member) if member.isreg() else None
            if content is None:
                layer.link(name, member.linkname)
            else:
                layer.file(name, content.read(), 0o755)
    layer.file("usr/bin/busybox", made / "busybox", 0o755)
    for applet in applets:
        layer.link(f"usr/bin/{applet}", "busybox")
    layer.file("etc/passwd", _USERS).file("etc/group", _GROUPS).file("etc/shadow", "root:*:10933:0:99999:7:::\n", 0o640)
    return layer.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")


def _agnhost(made: Parts, ours: Ours, applets: list[str]) -> Layer:
    """agnhost over Debian's base: what it serves, the users that tests run as, and busybox's applets."""
    sources = module_folder("k8s.io/kubernetes") / "test" / "images" / "agnhost" / "porter"
    with tarfile.open(made / "base.tar") as base:
        there = set(base.getnames())
        users, groups = (_text(base, name) for name in ("etc/passwd", "etc/group"))
    layer = (
        Layer()
        .file("agnhost", _program(ours.agnhost, "agnhost"), 0o755)
        .link("agnhost-2", "agnhost")
        .folder("uploads", 0o777)
    )
    layer.file("localhost.crt", sources / "localhost.crt").file("localhost.key", sources / "localhost.key")
    home = "/home/user-defined-in-image"
    layer.file("etc/passwd", f"{users}user-defined-in-image:x:1000:1000:Linux User,,,:{home}:/bin/sh\n")
    named = "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n"
    layer.file("etc/group", groups + named).folder(home.lstrip("/")).link("usr/local/bin/iperf", "/usr/bin/iperf")
    for applet in applets:
        if (
            applet != "iperf"
            and not {f"{folder}/{applet}" for folder in ("usr/bin", "usr/sbin", "bin", "sbin")} & there
        ):
            layer.link(f"usr/bin/{applet}", "busybox")
    _registry(layer, ours.pause)
    return layer


def _text(archive: tarfile.TarFile, name: str) -> str:
    return _bytes(archive, name).decode()


def _registry(layer: Layer, archive: Path) -> None:
    """What agnhost's own registry serves to the tests of pulling: `pause:testing`, below /var/registry."""
    root = "var/registry/pause"
    for folder in ("var/registry", root, f"{root}/manifests", f"{root}/blobs"):
        layer.folder(folder)

    def add(kind: str, digest: str, data: bytes) -> None:
        name = digest.removeprefix("sha256:")
        place = f"{root}/{kind}/sha256"
        for folder in (place, f"{place}/{name[:2]}", f"{place}/{name[:2]}/{name}"):
            layer.folder(folder)
        layer.file(f"{place}/{name[:2]}/{name}/data", data)

    with tarfile.open(archive) as tar:
        [pause] = json.loads(_text(tar, "index.json"))["manifests"]

        def blob(digest: str) -> bytes:
            return _bytes(tar, f"blobs/sha256/{digest.removeprefix('sha256:')}")

        manifest = blob(pause["digest"])
        parsed = json.loads(manifest)
        for part in (parsed["config"], *parsed["layers"]):
            add("blobs", part["digest"], blob(part["digest"]))
    described = {"mediaType": parsed["mediaType"], "digest": pause["digest"], "size": len(manifest)}
    platform = {"platform": {"architecture": _ARCH, "os": "linux"}}
    listing = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described | platform]})
    digest = f"sha256:{hashlib.sha256(listing).hexdigest()}"
    add("manifests", digest, listing)
    add("manifests", pause["digest"], manifest)
    layer.file(f"{root}/manifests/testing", f"{digest}\n")


def _program(archive: Path, name: str) -> bytes:
    """The one program of an image that hardway made, which has one layer."""
    with tarfile.open(archive) as image:
        [named] = json.loads(_text(image, "index.json"))["manifests"]
        manifest = json.loads(_bytes(image, f"blobs/sha256/{named['digest'].removeprefix('sha256:')}"))
        [layer] = manifest["layers"]
        content = io.BytesIO(_bytes(image, f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}"))
    with tarfile.open(fileobj=content) as files:
        return _bytes(files, name)


def _bytes(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is no file in {archive.name!r}"
    return file.read()


def _nginx() -> Layer:
    pages = "usr/share/nginx/html"
    layer = Layer().file("etc/nginx/nginx.conf", _NGINX).folder("run")
    return layer.file(f"{pages}/index.html", _WELCOME).file(f"{pages}/50x.html", "An error occurred.\n")


def _pet(name: str) -> Layer:
    html = module_folder("k8s.io/kubernetes") / "test" / "images" / name / "html"
    layer = Layer().file("etc/os-release", _ALPINE)
    return layer.file(f"{name}.jpg", html / f"{name}.jpg").file("data.json", html / "data.json")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()

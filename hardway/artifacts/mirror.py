"""A site's own copy of the publishers' files: a folder, or a base URL, laid out by their URLs.

    MIRROR/dl.k8s.io/v1.36.4/bin/linux/amd64/kubelet
    MIRROR/dl.k8s.io/v1.36.4/bin/linux/amd64/kubelet.sha256
    MIRROR/github.com/etcd-io/etcd/releases/download/v3.6.14/etcd-v3.6.14-linux-amd64.tar.gz
    MIRROR/images/coredns-1.14.6-linux-amd64.tar          (and .sha256 beside it)

The first parts are each URL without `https://`, so `wget --force-directories` fills a mirror. Digests are the
same as for downloads: pinned ones hold, and for others the file of digests must be beside. Images are
OCI archives, and may be missing: then the workers pull them.
"""

import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hardway.artifacts.catalogue import IMAGES, PublishedFile
from hardway.artifacts.download import Absent, Progress, Publisher, Unavailable, Web
from hardway.errors import ArtifactError


class Folder:
    """A mirror that is a folder on this computer."""

    name = "mirror"

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, url: str) -> bytes:
        path = self._path(url)
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise Absent(f"the mirror has no {path}") from error
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from error

    def fetch(self, url: str, destination: Path, progress: Progress) -> None:
        path = self._path(url)
        try:
            shutil.copyfile(path, destination)
        except FileNotFoundError as error:
            raise Absent(f"the mirror has no {path}") from error
        except OSError as error:
            raise Unavailable(f"{path} cannot be copied: {error.strerror}") from error
        size = destination.stat().st_size
        progress(size, size)

    def _path(self, url: str) -> Path:
        return self.root / url.partition("://")[2]


def mirror_at(place: str) -> Publisher:
    """The mirror at a folder's path, a `file://` or an `http(s)://` URL.

    Raises ArtifactError for anything else, and for a folder that is not there.
    """
    parts = urlsplit(place)
    if parts.scheme in ("http", "https"):
        return Web(place)
    if parts.scheme not in ("", "file"):
        raise ArtifactError(f"a mirror is a folder or an http(s) URL, not {parts.scheme}://")
    root = Path(unquote(parts.path) if parts.scheme else place).expanduser()
    if not root.is_dir():
        raise ArtifactError(f"the mirror {root} is not a folder on this computer")
    return Folder(root)


def image_file(name: str) -> PublishedFile:
    """Where a mirror keeps the archive of one of the catalogue's images."""
    component = IMAGES[name].component
    url = f"mirror://images/{component}-{{version}}-linux-{{arch}}.tar"
    return PublishedFile(url, url + ".sha256", ((name, None),))

"""A publisher's site, or a site's mirror of all of them, on a loopback port; it may stand in for a forward proxy."""

import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from hardway.values import sha256

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers from the site's files, unless the site has a special answer for the next request."""

    site: "Site"

    def do_CONNECT(self) -> None:
        """As a proxy that reaches nobody."""
        self.site.proxied.append(self.path)
        self.send_error(502)

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        if place.netloc:
            self.site.proxied.append(place.netloc)
            self.path = place.path
        self.site.asked.append((self.path, self.headers.get("Range")))
        special = self.site.answers.get(self.path)
        content = self.site.files.get(self.path)
        if special:
            special.pop(0)(self)
        elif content is not None:
            self.whole_or_range(content)
        else:
            self.send_error(404)

    def whole_or_range(self, content: bytes) -> None:
        start = 0
        asked = self.headers.get("Range")
        if asked and self.headers.get("If-Range") == f'"{sha256(content)}"':
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{sha256(content)}"')
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@dataclass
class Site:
    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Each path, with the range of it."""
    proxied: list[str] = field(default_factory=list)
    """Hosts that were asked for through this one."""
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving() -> Iterator[Site]:
    """A site while the block lasts."""
    handler = type("SiteHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    handler.site = site  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        site.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def archive(members: Mapping[str, bytes]) -> bytes:
    """A published archive of these files, compressed by gzip."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()

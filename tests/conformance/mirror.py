"""A read-only registry over an OCI layout, for pods whose image is pulled although it is there."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.conformance.images import MANIFEST, references


@contextmanager
def serving(layout: Path, address: str) -> Iterator[int]:
    """Serves the layout at this address for as long as the block lasts; gives the port."""
    server = ThreadingHTTPServer((address, 0), _handler(layout))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(layout: Path) -> type[BaseHTTPRequestHandler]:
    tags: dict[tuple[str, str], str] = {}
    for reference, digest in references(layout).items():
        name, _, tag = reference.partition("/")[2].rpartition(":")
        tags[name, tag] = digest

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            """The suite's own output is what people watch."""

        def _answer(self, *, with_body: bool) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts == ["v2"]:
                self._head(200, 0)
                return
            if len(parts) < 4 or parts[-2] not in ("manifests", "blobs"):
                self._head(404, 0)
                return
            name, kind, wanted = "/".join(parts[1:-2]), parts[-2], parts[-1]
            digest = wanted if wanted.startswith("sha256:") else tags.get((name, wanted), "")
            file = layout / "blobs" / "sha256" / Path(digest.removeprefix("sha256:") or "none").name
            if not file.is_file():
                self._head(404, 0)
                return
            media_type = MANIFEST if kind == "manifests" else "application/octet-stream"
            self._head(200, file.stat().st_size, media_type, digest)
            if with_body:
                with file.open("rb") as source:
                    shutil.copyfileobj(source, self.wfile)

        def _head(self, code: int, size: int, media_type: str = "application/json", digest: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(size))
            if digest:
                self.send_header("Docker-Content-Digest", digest)
            self.end_headers()

    return Handler

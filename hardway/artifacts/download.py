"""Files over HTTP: resumed where a line broke, and never trusted here (see `published`)."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import httpx

from hardway import __version__
from hardway.artifacts.text import address, without_credentials
from hardway.errors import ArtifactError

CHUNK = 1 << 18

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Told the bytes that have come and the bytes there will be (0: not known)."""


class Unavailable(ArtifactError):
    """The file could not be reached: no network, a refusal, or a server in trouble."""


class Absent(Unavailable):
    """The source was reached and does not have the file."""


class Publisher(Protocol):
    """Where publishers' files come from, under the publishers' own URLs."""

    name: str

    def read(self, url: str) -> bytes:
        """A small file, such as a list of digests. Raises Unavailable or Absent."""

    def fetch(self, url: str, destination: Path, progress: Progress) -> None:
        """A file into `destination`, going on with what is there already. Raises Unavailable or Absent."""


class Web:
    """Publishers' files by HTTP, through the proxies that the environment names.

    With `base`, `https://HOST/PATH` is got from `BASE/HOST/PATH`. `connect` and `read` are seconds: for a
    connection, and between two pieces of an answer.
    """

    def __init__(self, base: str | None = None, *, connect: float = 5.0, read: float = 30.0, tries: int = 4) -> None:
        self.name = "mirror" if base else "download"
        self._base = base
        self._tries = tries
        self._client = httpx.Client(
            follow_redirects=True,
            timeout=httpx.Timeout(read, connect=connect),
            headers={"User-Agent": f"hardway/{__version__}", "Accept-Encoding": "identity"},
        )

    def read(self, url: str, accept: str = "*/*") -> bytes:
        at = address(url, self._base)
        return self._tried(at, lambda: self._small(at, accept))

    def fetch(self, url: str, destination: Path, progress: Progress) -> None:
        at = address(url, self._base)
        self._tried(at, lambda: self._continue(at, destination, progress))

    def _tried(self, at: str, request: Callable[[], T]) -> T:
        """The request's answer, asked for again where the line or the server broke off."""
        broken = _Interrupted("")
        for _ in range(self._tries):
            try:
                with _failures(at):
                    return request()
            except _Interrupted as error:
                broken = error
        raise Unavailable(
            f"{_shown(at)} broke off {self._tries} times",
            said=broken.said,
            hint="run the same command again; the download resumes",
        ) from broken

    def _small(self, at: str, accept: str) -> bytes:
        answer = self._client.get(at, headers={"Accept": accept})
        _check_status(answer, at)
        # A digest is only as good as the way it came.
        if at.startswith("https:") and answer.url.scheme != "https":
            raise Unavailable(f"{_shown(at)} redirects to a place without TLS")
        return answer.content

    def _continue(self, at: str, destination: Path, progress: Progress) -> None:
        """One request, for what is still missing."""
        mark = destination.with_name(destination.name + ".etag")
        done = destination.stat().st_size if destination.exists() and mark.exists() else 0
        headers = {"Range": f"bytes={done}-", "If-Range": mark.read_text()} if done else {}
        with self._client.stream("GET", at, headers=headers) as answer:
            if answer.status_code == 416:
                mark.unlink()
                raise _Interrupted("the server refused to go on in the middle")
            _check_status(answer, at)
            resumed = answer.status_code == 206 and _range_start(answer) == done
            if answer.status_code == 206 and not resumed:
                mark.unlink()
                raise _Interrupted("the server went on in another place")
            done = done if resumed else 0
            _remember(mark, answer)
            total = done + int(answer.headers.get("Content-Length", -done))
            with destination.open("ab" if resumed else "wb") as file:
                for chunk in answer.iter_raw(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    progress(done, total)
        mark.unlink(missing_ok=True)


class _Interrupted(Exception):
    """What came is kept, and worth another request."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@contextmanager
def _failures(at: str) -> Iterator[None]:
    """httpx's errors as ours: never connected, or cut off."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol) as error:
        raise Unavailable(
            f"{_host(at)} cannot be reached",
            tried=f"GET {_shown(at)}",
            said=without_credentials(str(error)) or type(error).__name__,
            hint=OFFLINE,
        ) from error
    except httpx.TransportError as error:
        raise _Interrupted(without_credentials(str(error)) or type(error).__name__) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unavailable(f"{_shown(at)} is not available", said=without_credentials(str(error))) from error


OFFLINE = (
    "check the network and HTTPS_PROXY; or build with `--source build` (artifacts: {source: build}), or name a mirror"
)


def _check_status(answer: httpx.Response, at: str) -> None:
    if answer.status_code >= 500:
        raise _Interrupted(f"HTTP {answer.status_code}")
    if answer.status_code in (404, 410):
        raise Absent(f"{_shown(at)} does not exist (HTTP {answer.status_code})")
    if answer.status_code >= 400:
        raise Unavailable(f"{_shown(at)} was refused (HTTP {answer.status_code})", hint=OFFLINE)


def _remember(mark: Path, answer: httpx.Response) -> None:
    """Keep what If-Range needs; without a strong validator a broken download starts again."""
    validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    if validator and not validator.startswith("W/"):
        mark.write_text(validator)
    else:
        mark.unlink(missing_ok=True)


def _range_start(answer: httpx.Response) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found.group(1)) if found else -1


def _shown(at: str) -> str:
    """The URL without user, password and query, which may be a signature."""
    return without_credentials(at).partition("?")[0]


def _host(at: str) -> str:
    return httpx.URL(at).host or _shown(at)

"""Downloads from a loopback server with the publishers' layout that misbehaves in every usual way."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fake.publisher import Answer, Handler, Site, archive, serving

from hardway.artifacts.catalogue import PublishedFile
from hardway.artifacts.download import Absent, Unavailable, Web
from hardway.artifacts.lock import Lock
from hardway.artifacts.mirror import Folder, image_file, mirror_at
from hardway.artifacts.published import obtain, stated_digest, unpacked
from hardway.artifacts.release import Wanted
from hardway.artifacts.store import Blob, Store
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Event, Note
from hardway.values import sha256

CONTENT = bytes(range(256)) * 4096  # 1 MiB
KUBELET = "/dl.k8s.io/v9.9.9/bin/linux/amd64/kubelet"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@dataclass
class Bench:
    """What `obtain` works with, and what it told."""

    store: Store
    lock: Lock
    events: list[Event] = field(default_factory=list)

    def obtain(self, wanted: Wanted, publisher: Web | Folder, *, require_pinned: bool = False) -> dict[str, Blob]:
        return dict(obtain(wanted, publisher, self.store, self.lock, require_pinned, self.events.append))

    @property
    def warnings(self) -> list[str]:
        return [e.text for e in self.events if isinstance(e, Note) and e.level == "warning"]

    @property
    def partial(self) -> list[Path]:
        return list(self.store.folder("partial").iterdir())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Store(tmp_path / "cache"), Lock(tmp_path / "artifacts.lock"))


@pytest.fixture
def web(site: Site) -> Web:
    site.files[KUBELET] = CONTENT
    return Web(site.url, connect=1.0, read=0.2)


def kubelet(pin: bytes | None = CONTENT) -> Wanted:
    url = "https://dl.k8s.io/v{version}/bin/linux/{arch}/kubelet"
    pins = (("amd64", sha256(pin)),) if pin is not None else ()
    return Wanted(PublishedFile(url, url + ".sha256", (("kubelet", None),), pins), "9.9.9", "amd64")  # type: ignore[arg-type]


def cut(sent: int) -> Answer:
    """Promise everything, send a part, hang up."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.send_header("ETag", f'"{sha256(CONTENT)}"')
        handler.end_headers()
        handler.wfile.write(CONTENT[:sent])
        handler.wfile.flush()
        handler.connection.shutdown(socket.SHUT_RDWR)

    return answer


def whole(content: bytes) -> Answer:
    return lambda handler: handler.whole_or_range(content)


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def redirect(to: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def stall(handler: Handler) -> None:
    """Promise everything, send a part, and say nothing more."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.send_header("ETag", f'"{sha256(CONTENT)}"')
    handler.end_headers()
    handler.wfile.write(CONTENT[:1000])
    handler.wfile.flush()
    handler.site.released.wait(10)


def test_a_pinned_file_comes_and_is_accepted(bench: Bench, web: Web) -> None:
    blob = bench.obtain(kubelet(), web)["kubelet"]
    assert blob.path.read_bytes() == CONTENT
    assert bench.lock.accepted("kubelet", "9.9.9", "amd64") == {blob.digest: "mirror, pinned"}
    assert bench.events[-1] == ArtifactProgress("kubelet 9.9.9 amd64", "download", len(CONTENT), len(CONTENT))
    assert bench.partial == []


def test_a_file_in_the_cache_is_not_asked_for_again(bench: Bench, web: Web, site: Site) -> None:
    first = bench.obtain(kubelet(), web)
    asked = len(site.asked)
    assert bench.obtain(kubelet(), web) == first
    assert unpacked(kubelet(), bench.store) == first
    assert len(site.asked) == asked


def test_a_broken_line_is_gone_on_with_where_it_broke(bench: Bench, web: Web, site: Site) -> None:
    site.answers[KUBELET] = [cut(300_000)]
    assert bench.obtain(kubelet(), web)["kubelet"].digest == sha256(CONTENT)
    (first, no_range), (second, range_asked) = site.asked
    assert (first, second, no_range) == (KUBELET, KUBELET, None)
    assert range_asked is not None
    assert 0 < int(range_asked.removeprefix("bytes=").removesuffix("-")) <= 300_000
    assert bench.warnings == []


def test_the_next_run_goes_on_where_this_one_stopped(bench: Bench, web: Web, site: Site) -> None:
    site.answers[KUBELET] = [cut(300_000), *[status(503)] * 3]
    with pytest.raises(Unavailable, match="broke off 4 times"):
        bench.obtain(kubelet(), web)
    assert bench.obtain(kubelet(), web)["kubelet"].digest == sha256(CONTENT)
    assert (site.asked[-1][1] or "").startswith("bytes=")


def test_a_file_that_changed_meanwhile_starts_again(bench: Bench, web: Web, site: Site) -> None:
    site.answers[KUBELET] = [cut(300_000)]
    site.files[KUBELET] = newer = CONTENT[::-1]
    assert bench.obtain(kubelet(newer), web)["kubelet"].digest == sha256(newer)


def test_a_slow_server_is_asked_again(bench: Bench, web: Web, site: Site) -> None:
    site.answers[KUBELET] = [stall]
    assert bench.obtain(kubelet(), web)["kubelet"].digest == sha256(CONTENT)


def test_a_redirect_is_followed(bench: Bench, web: Web, site: Site) -> None:
    site.files["/elsewhere?signature=abc"] = CONTENT
    site.answers[KUBELET] = [redirect("/elsewhere?signature=abc")]
    assert bench.obtain(kubelet(), web)["kubelet"].digest == sha256(CONTENT)


def test_a_redirect_in_a_circle_is_an_error(bench: Bench, web: Web, site: Site) -> None:
    site.answers[KUBELET] = [redirect(KUBELET)] * 100
    with pytest.raises(Unavailable):
        bench.obtain(kubelet(), web)


@pytest.mark.parametrize("wrong", [CONTENT[:-1], b"<html>Please log in</html>", b""])
def test_a_wrong_file_is_deleted_named_and_got_again(bench: Bench, web: Web, site: Site, wrong: bytes) -> None:
    site.answers[KUBELET] = [whole(wrong)]
    assert bench.obtain(kubelet(), web)["kubelet"].digest == sha256(CONTENT)
    assert len(bench.warnings) == 1
    assert f"kubelet 9.9.9 amd64: {len(wrong)} bytes came with sha256 {sha256(wrong)[:12]}" in bench.warnings[0]


def test_a_file_that_is_wrong_twice_is_an_error_and_not_kept(bench: Bench, web: Web, site: Site) -> None:
    site.files[KUBELET] = wrong = b"something else"
    with pytest.raises(ArtifactError, match="not the file that was pinned") as failed:
        bench.obtain(kubelet(), web)
    assert f"sha256 {sha256(wrong)}, not {sha256(CONTENT)}" in (failed.value.said or "")
    assert len(site.asked) == 2
    assert bench.partial == []
    assert bench.store.blob(sha256(wrong)) is None
    assert bench.lock.entries() == ()


def test_what_is_not_there_is_absent(bench: Bench, web: Web, site: Site) -> None:
    del site.files[KUBELET]
    with pytest.raises(Absent, match="does not exist"):
        bench.obtain(kubelet(), web)


def test_a_refusal_is_said_with_its_status(bench: Bench, web: Web, site: Site) -> None:
    site.answers[KUBELET] = [status(403)]
    with pytest.raises(Unavailable, match="HTTP 403"):
        bench.obtain(kubelet(), web)


def test_nobody_listening_is_said_with_the_ways_out(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        web = Web(f"http://ann:s3cret@127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1 cannot be reached") as failed:
            bench.obtain(kubelet(), web)
    assert "--source build" in (failed.value.hint or "")
    assert "s3cret" not in str(failed.value)


class TestPublishersOwnDigest:
    def test_it_is_fetched_said_once_and_held_to(self, bench: Bench, web: Web, site: Site) -> None:
        site.files[KUBELET + ".sha256"] = sha256(CONTENT).encode()
        bench.obtain(kubelet(None), web)
        notes = [event.text for event in bench.events if isinstance(event, Note)]
        assert len(notes) == 1
        assert "kubelet 9.9.9 amd64" in notes[0]
        source = bench.lock.accepted("kubelet", "9.9.9", "amd64")
        assert source == {sha256(CONTENT): "mirror, publisher's digest"}

    def test_a_change_of_it_is_not_followed(self, bench: Bench, web: Web, site: Site, tmp_path: Path) -> None:
        site.files[KUBELET + ".sha256"] = sha256(CONTENT).encode()
        bench.obtain(kubelet(None), web)
        site.files[KUBELET] = other = CONTENT[::-1]
        site.files[KUBELET + ".sha256"] = sha256(other).encode()
        bench.store = Store(tmp_path / "another-cache")
        with pytest.raises(ArtifactError, match="not the file that was pinned"):
            bench.obtain(kubelet(None), web)

    def test_where_pins_are_required_it_is_refused(self, bench: Bench, web: Web, site: Site) -> None:
        site.files[KUBELET + ".sha256"] = sha256(CONTENT).encode()
        with pytest.raises(ArtifactError, match=r"no digest of kubelet 9\.9\.9 amd64 is pinned"):
            bench.obtain(kubelet(None), web, require_pinned=True)
        assert site.asked == []
        assert bench.obtain(kubelet(), web, require_pinned=True)

    def test_a_list_without_the_file_is_an_error(self, bench: Bench, web: Web, site: Site) -> None:
        site.files[KUBELET + ".sha256"] = f"{sha256(CONTENT)}  kubectl\n".encode()
        with pytest.raises(ArtifactError, match="states no sha256 of kubelet"):
            bench.obtain(kubelet(None), web)

    @pytest.mark.parametrize(
        "text",
        [
            "{0}",
            "{0}\n",
            "{0}  runc.amd64\n",
            "{0} *runc.amd64\n",
            "{1}  runc.arm64\n{0}  ./runc.amd64\n",
            "-----BEGIN PGP SIGNED MESSAGE-----\n\n{1}  runc.amd64.asc\n{0}  runc.amd64\n",
        ],
    )
    def test_lists_are_read_as_publishers_write_them(self, text: str) -> None:
        digest, other = sha256(b"1"), sha256(b"2")
        assert stated_digest(text.format(digest, other).encode(), "runc.amd64") == digest


class TestArchives:
    URL = "https://github.com/x/x/releases/download/v{version}/x-v{version}-linux-{arch}.tar.gz"
    PATH = "/github.com/x/x/releases/download/v1.0/x-v1.0-linux-amd64.tar.gz"

    def wanted(self, content: bytes) -> Wanted:
        members = (("x", "x-v{version}/x"), ("xctl", "x-v{version}/xctl"))
        pins = (("amd64", sha256(content)),)
        return Wanted(PublishedFile(self.URL, self.URL + ".sha256", members, pins), "1.0", "amd64")  # type: ignore[arg-type]

    def test_each_binary_is_taken_out_and_accepted(self, bench: Bench, web: Web, site: Site) -> None:
        content = archive({"./x-v1.0/x": b"X", "x-v1.0/xctl": b"CTL", "x-v1.0/README": b"read me"})
        site.files[self.PATH] = content
        blobs = bench.obtain(self.wanted(content), web)
        assert {name: blob.path.read_bytes() for name, blob in blobs.items()} == {"x": b"X", "xctl": b"CTL"}
        accepted = {entry.name for entry in bench.lock.entries()}
        assert accepted == {"x", "xctl", "x-v1.0-linux-amd64.tar.gz"}

    def test_one_that_lacks_a_binary_is_an_error(self, bench: Bench, web: Web, site: Site) -> None:
        site.files[self.PATH] = content = archive({"x-v1.0/x": b"X"})
        with pytest.raises(ArtifactError, match=r"holds no x-v1\.0/xctl"):
            bench.obtain(self.wanted(content), web)

    def test_one_that_is_no_archive_is_an_error(self, bench: Bench, web: Web, site: Site) -> None:
        site.files[self.PATH] = content = b"no archive"
        with pytest.raises(ArtifactError, match="not an archive that can be read"):
            bench.obtain(self.wanted(content), web)


class TestMirrorFolder:
    def test_files_lie_by_their_urls(self, bench: Bench, tmp_path: Path) -> None:
        path = tmp_path / "mirror" / KUBELET.removeprefix("/")
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT)
        mirror = mirror_at(str(tmp_path / "mirror"))
        assert isinstance(mirror, Folder)
        assert bench.obtain(kubelet(), mirror)["kubelet"].digest == sha256(CONTENT)
        path.write_bytes(b"damaged")
        with pytest.raises(ArtifactError, match="not the file that was pinned"):
            Bench(Store(tmp_path / "2"), Lock(tmp_path / "2.lock")).obtain(kubelet(), mirror)

    def test_what_it_lacks_is_named(self, bench: Bench, tmp_path: Path) -> None:
        with pytest.raises(Absent, match=r"the mirror has no .*/dl\.k8s\.io/v9\.9\.9/bin/linux/amd64/kubelet"):
            bench.obtain(kubelet(), Folder(tmp_path))

    def test_images_lie_beside(self, bench: Bench, tmp_path: Path) -> None:
        folder = tmp_path / "images"
        folder.mkdir()
        (folder / "pause-3.10.2-linux-amd64.tar").write_bytes(b"tar")
        (folder / "pause-3.10.2-linux-amd64.tar.sha256").write_text(sha256(b"tar"))
        wanted = Wanted(image_file("image/pause"), "3.10.2", "amd64")
        assert bench.obtain(wanted, Folder(tmp_path))["image/pause"].digest == sha256(b"tar")

    def test_a_place_may_be_a_url(self, tmp_path: Path) -> None:
        assert isinstance(mirror_at("https://mirror.example.net/hardway"), Web)
        assert isinstance(mirror_at(tmp_path.as_uri()), Folder)

    @pytest.mark.parametrize("place", ["ftp://example.net/", "/no/such/folder"])
    def test_another_place_is_refused(self, place: str) -> None:
        with pytest.raises(ArtifactError):
            mirror_at(place)

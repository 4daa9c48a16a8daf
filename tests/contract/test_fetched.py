"""`artifacts: {fetch: machines}` behind a real sshd, from a real server: downloaded, checked, taken apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake.cluster import ARCH, FakeCluster
from fake.publisher import Handler, Site, archive, serving
from moved import Moved

from hardway import facts
from hardway.artifacts.lock import Entry
from hardway.declare.resources import Binary, Context, Difference
from hardway.engine import fetch, upload
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.engine.resolver import FileKey, Resolver
from hardway.engine.session import Session
from hardway.errors import ArtifactError
from hardway.journal import Journal
from hardway.remote import MachineIO, Result
from hardway.values import sha256

pytestmark = pytest.mark.contract
NewCluster = Callable[[str], FakeCluster]

KUBERNETES, CRICTL = "1.36.5", "1.36.1"
"""Neither is in the catalogue: what they hold is the test's."""
KUBELET = b"#!/bin/sh\necho kubelet\n" + bytes(300_000)
PROGRAM = b"#!/bin/sh\necho crictl\n"
KUBELET_PATH = f"/dl.k8s.io/v{KUBERNETES}/bin/linux/{ARCH}/kubelet"
ARCHIVE_NAME = f"crictl-v{CRICTL}-linux-{ARCH}.tar.gz"
ARCHIVE_PATH = f"/github.com/kubernetes-sigs/cri-tools/releases/download/v{CRICTL}/{ARCHIVE_NAME}"
WANTED = (Binary("/usr/local/bin/kubelet", "kubelet", KUBERNETES), Binary("/usr/local/bin/crictl", "crictl", CRICTL))
INVENTORY = """\
cluster: one
machines:
  m1: {role: [controller, worker], address: 10.240.0.10}
"""


@dataclass
class WithoutCurl(Moved):
    """One that has what every Debian has."""

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        changed = script.replace("command -v curl", "command -v no-curl")
        return super().run(changed, timeout=timeout, what=what, check=check)


@dataclass
class WithoutAny(Moved):
    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        changed = script.replace("command -v curl", "command -v no-curl").replace("apt-helper ]", "no-helper ]")
        return super().run(changed, timeout=timeout, what=what, check=check)


@dataclass
class Bench:
    """A machine, and a site that has what it is to download."""

    session: Session
    site: Site
    resolver: Resolver
    view: View
    folder: Path

    def fetch(self, *wanted: Binary) -> dict[FileKey, str]:
        changes = changes_for(wanted or WANTED)
        return fetch.fetch(self.session, changes, {"m1": self.view}, self.resolver)["m1"]

    def refused(self, *wanted: Binary) -> ArtifactError:
        with pytest.raises(ArtifactError) as caught:
            self.fetch(*wanted)
        assert caught.value.machine == "m1"
        return caught.value

    def asked(self) -> list[str]:
        return [path for path, _ in self.site.asked]

    def left(self, pattern: str) -> list[str]:
        return sorted(path.name for path in (self.folder / "fetched").glob(pattern))


def changes_for(wanted: tuple[Binary, ...]) -> list[Change]:
    return [Change("m1", "workers", one.key, Difference("create", "is not there"), one) for one in wanted]


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        found.files[KUBELET_PATH] = KUBELET
        found.files[ARCHIVE_PATH] = archive({"crictl": PROGRAM})
        yield found


NewBench = Callable[..., Bench]


@pytest.fixture
def new_bench(new_cluster: NewCluster, connect: Callable[[], MachineIO], site: Site, tmp_path: Path) -> NewBench:
    folder = tmp_path / "machine" / "hardway"
    folder.parent.mkdir()

    def make(kind: type[Moved] = Moved, inventory: str = INVENTORY) -> Bench:
        made = new_cluster(inventory)
        made.workspace().create()
        machine = kind(connect(), str(folder))
        session = Session(made.cluster, made.workspace(), {"m1": machine})
        for name, version, content in (
            ("kubelet", KUBERNETES, KUBELET),
            (ARCHIVE_NAME, CRICTL, site.files[ARCHIVE_PATH]),
        ):
            made.lock.add(Entry(name, version, ARCH, sha256(content), "mirror, publisher's digest"))
        resolver = Resolver(
            KUBERNETES, made.store, made.lock, source="mirror", mirror=site.url, fetch="machines",
            others={"cri-tools": CRICTL},
        )  # fmt: skip
        seen = facts.parse(machine.run(facts.SCRIPT, timeout=10, what="facts").text)
        return Bench(session, site, resolver, View(seen, Journal(), "", {}), folder)

    return make


@pytest.mark.parametrize("kind", [Moved, WithoutCurl])
def test_files_come_are_taken_apart_and_are_known_again(new_bench: NewBench, kind: type[Moved]) -> None:
    bench = new_bench(kind)
    wanted = {("kubelet", KUBERNETES, ARCH): sha256(KUBELET), ("crictl", CRICTL, ARCH): sha256(PROGRAM)}
    assert bench.fetch() == wanted
    assert bench.asked() == [KUBELET_PATH, ARCHIVE_PATH]
    assert bench.resolver.accepted(ARCH)[("crictl", CRICTL)] == {sha256(PROGRAM)}
    assert bench.fetch() == wanted
    assert bench.asked() == [KUBELET_PATH, ARCHIVE_PATH]


def test_what_was_downloaded_is_staged_and_not_uploaded(new_bench: NewBench) -> None:
    bench = new_bench()
    fetched = bench.fetch()
    context = Context("m1")
    checked = upload.upload(
        bench.session, "m1", changes_for(WANTED), bench.view, context, {}, bench.resolver.store, fetched=fetched
    )
    assert set(checked.values()) == {sha256(KUBELET), sha256(PROGRAM)}
    staged = bench.folder / "stage" / "bin"
    assert (staged / f"kubelet-{KUBERNETES}").read_bytes() == KUBELET
    assert (staged / f"crictl-{CRICTL}").stat().st_mode & 0o777 == 0o755


def test_a_file_with_another_digest_is_refused_and_deleted(new_bench: NewBench, site: Site) -> None:
    bench = new_bench()
    site.files[KUBELET_PATH] = b"something else"
    error = bench.refused()
    assert (
        error.what == f"kubelet {KUBERNETES} {ARCH} is not the file whose digest is pinned; nothing there was changed"
    )
    assert error.tried == f"GET {site.url}{KUBELET_PATH}"
    assert error.said == f"14 bytes with sha256 {sha256(b'something else')}, not {sha256(KUBELET)}"
    assert bench.asked() == [KUBELET_PATH, KUBELET_PATH]
    assert bench.left("*.part") == []


def broken_off(content: bytes, start: int, end: int) -> Callable[[Handler], None]:
    """Answers with a part of what was promised, and hangs up."""

    def answer(handler: Handler) -> None:
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start:end])

    return answer


def test_what_broke_off_is_continued(new_bench: NewBench, site: Site) -> None:
    bench = new_bench()
    site.answers[KUBELET_PATH] = [
        broken_off(KUBELET, 0, 1000),
        broken_off(KUBELET, 1000, 5000),
        broken_off(KUBELET, 5000, len(KUBELET)),
    ]
    assert bench.fetch(WANTED[0])[("kubelet", KUBERNETES, ARCH)] == sha256(KUBELET)
    assert [ranges for _, ranges in site.asked] == [None, "bytes=1000-", "bytes=5000-"]


def test_a_server_that_continues_nothing_is_asked_for_the_whole(new_bench: NewBench, site: Site) -> None:
    bench = new_bench()
    site.answers[KUBELET_PATH] = [broken_off(KUBELET, 0, 1000)]
    site.answers[KUBELET_PATH] += [in_whole, in_whole]
    assert bench.fetch(WANTED[0])[("kubelet", KUBERNETES, ARCH)] == sha256(KUBELET)


def in_whole(handler: Handler) -> None:
    handler.whole_or_range(KUBELET)


def test_what_never_comes_whole_is_kept_and_said(new_bench: NewBench, site: Site) -> None:
    bench = new_bench()
    site.answers[KUBELET_PATH] = [broken_off(KUBELET, at, at + 10) for at in range(0, 40, 10)]
    error = bench.refused()
    assert error.what == f"kubelet {KUBERNETES} {ARCH} could not be downloaded; nothing there was changed"
    assert "curl: (18)" in (error.said or "")
    assert "artifacts: {fetch: operator}" in (error.hint or "")
    [part] = bench.left("*.part")
    assert (bench.folder / "fetched" / part).stat().st_size == 40


def test_a_file_that_is_not_there_is_named_with_what_was_said(new_bench: NewBench, site: Site) -> None:
    bench = new_bench()
    del site.files[ARCHIVE_PATH]
    error = bench.refused()
    assert (error.tried, "404" in (error.said or "")) == (f"GET {site.url}{ARCHIVE_PATH}", True)


def test_an_archive_without_what_is_wanted_is_refused(new_bench: NewBench, site: Site) -> None:
    site.files[ARCHIVE_PATH] = archive({"README": b"none"})
    error = new_bench().refused()
    assert error.said == "it holds no crictl"


def test_a_machine_that_states_another_digest_than_others_did_is_refused(new_bench: NewBench) -> None:
    bench = new_bench()
    bench.resolver.lock.add(Entry("crictl", CRICTL, ARCH, "0" * 64, "download, publisher's digest"))
    error = bench.refused()
    assert error.said == f"sha256 {sha256(PROGRAM)} here, {'0' * 64} elsewhere"


def test_a_machine_that_cannot_download_is_named(new_bench: NewBench) -> None:
    error = new_bench(WithoutAny).refused()
    assert "neither curl nor apt-helper" in error.what


def test_it_goes_through_the_inventorys_proxy(new_bench: NewBench, site: Site) -> None:
    with serving() as proxy:
        address = proxy.url.removeprefix("http://")
        bench = new_bench(inventory=f"{INVENTORY}proxy: http://{address}\n")
        # By a name: this computer's own address is reached directly.
        mirror = "http://mirror.example.net"
        proxy.files |= site.files
        bench.resolver = Resolver(
            KUBERNETES, bench.resolver.store, bench.resolver.lock, source="mirror", mirror=mirror, fetch="machines",
            others={"cri-tools": CRICTL},
        )  # fmt: skip
        assert bench.fetch()[("kubelet", KUBERNETES, ARCH)] == sha256(KUBELET)
        assert proxy.proxied == ["mirror.example.net"] * 2

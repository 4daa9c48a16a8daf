"""A bundle: the same contents, the same bytes; everything of it arrives, or nothing is accepted."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from hardway import facts
from hardway.artifacts import frames
from hardway.artifacts.bundle import Bundle, read, unpack, write
from hardway.artifacts.get import Need, names_of, needs_for
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.packages import fetch, sources
from hardway.artifacts.store import Blob, Store
from hardway.debian import SUITES
from hardway.declare.declaration import Declaration
from hardway.declare.phases.base import Placed
from hardway.declare.resources import Binary, Difference, Package
from hardway.engine.changes import Change
from hardway.engine.resolver import Resolver
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Event, discard
from hardway.values import sha256

KUBERNETES = "1.36.4"
[KUBELET] = needs_for(KUBERNETES, "amd64", ["kubelet"])
DEBIAN = replace(facts.parse("machine=x86_64"), os="debian", os_version="12")


def content(need: Need) -> bytes:
    """Of some size, and not to be compressed to nothing."""
    return need.name.encode() + b"".join(sha256(f"{need} {n}".encode()).encode() for n in range(400))


class Site:
    """A cache and a lock, as one computer has them."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "cache")
        self.lock = Lock(root / "artifacts.lock")
        self.events: list[Event] = []

    def accepted(self) -> Mapping[Need, tuple[Blob, str]]:
        """All of the catalogue for amd64, as if it had been built."""
        needs = needs_for(KUBERNETES, "amd64", names_of(KUBERNETES))
        return {need: (self.store.add([content(need)]), "build go1.26.8") for need in needs}

    def packages(self) -> Mapping[tuple[str, str], Mapping[str, Blob]]:
        files = {name: self.store.add([name.encode()]) for name in ("Packages", "netbase_6.5_all.deb")}
        return {("debian-12", "amd64"): files}

    def write(self, path: Path) -> str:
        return write(path, KUBERNETES, self.accepted(), self.packages(), self.events.append)

    def unpack(self, bundle: Bundle) -> None:
        unpack(bundle, self.store, self.lock, self.events.append)

    def resolver(self, bundle: Bundle) -> Resolver:
        return Resolver(KUBERNETES, self.store, self.lock, source="download", bundle=bundle, events=self.events.append)


@pytest.fixture
def here(tmp_path: Path) -> Site:
    return Site(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Site:
    """Behind the gap, with nothing."""
    return Site(tmp_path / "there")


@pytest.fixture
def file(here: Site, tmp_path: Path) -> Path:
    path = tmp_path / "site.tar.zst"
    here.write(path)
    return path


def test_everything_arrives_and_is_accepted_as_what_it_was(here: Site, there: Site, file: Path) -> None:
    there.unpack(read(file))
    for need, (blob, _) in here.accepted().items():
        arrived = there.store.blob(blob.digest)
        assert arrived is not None
        assert arrived.path.read_bytes() == content(need)
        accepted = there.lock.accepted(need.name, need.version, need.arch)
        assert accepted == {blob.digest: "bundle, build go1.26.8"}
    last = [event for event in there.events if isinstance(event, ArtifactProgress)][-1]
    assert (last.name, last.done) == ("site.tar.zst", last.total)


def test_the_same_contents_are_the_same_bytes(here: Site, file: Path, tmp_path: Path) -> None:
    backwards = dict(reversed(here.accepted().items()))
    digest = write(tmp_path / "second", KUBERNETES, backwards, here.packages(), discard)
    assert digest == sha256(file.read_bytes()) == sha256((tmp_path / "second").read_bytes())


def test_it_is_a_tar_that_tools_can_list(file: Path) -> None:
    said = os.popen(f"tar --zstd -tf {file}").read().splitlines()
    assert said[0] == "manifest.json"
    assert len(said) == 1 + len(read(file).digests)


def test_what_the_cache_has_is_not_read_again(there: Site, file: Path) -> None:
    bundle = read(file)
    there.unpack(bundle)
    file.write_bytes(b"gone")
    there.unpack(bundle)


def test_a_bundle_of_a_bundle_says_the_same(there: Site, file: Path, tmp_path: Path) -> None:
    there.unpack(read(file))
    write(tmp_path / "again", KUBERNETES, there.resolver(read(file)).everything(["amd64"]), {}, discard)
    third = Site(tmp_path / "third")
    third.unpack(read(tmp_path / "again"))
    assert {entry.source for entry in third.lock.entries()} == {"bundle, build go1.26.8"}


def entry(digest: str) -> dict[str, object]:
    return {"name": "kubelet", "version": KUBERNETES, "arch": "amd64", "digest": digest, "source": "build"}


class TestDamage:
    @pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.995])
    def test_a_truncated_one_is_named_and_nothing_is_accepted(self, there: Site, file: Path, share: float) -> None:
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ArtifactError, match=r"site\.tar\.zst is ") as failed:
            there.unpack(read(file))
        assert "hardway artifacts bundle" in (failed.value.hint or "")
        assert there.lock.entries() == ()

    def test_a_truncated_one_is_found_also_where_all_of_it_is_in_the_cache(self, there: Site, file: Path) -> None:
        there.unpack(read(file))
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(ArtifactError, match=r"site\.tar\.zst is damaged"):
            read(file)

    @pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.99])
    def test_a_changed_byte_is_found(self, there: Site, file: Path, share: float) -> None:
        whole = bytearray(file.read_bytes())
        whole[int(len(whole) * share)] ^= 1
        file.write_bytes(whole)
        with pytest.raises(ArtifactError, match=r"site\.tar\.zst is damaged"):
            there.unpack(read(file))
        assert there.lock.entries() == ()

    def test_another_content_under_a_promised_digest_is_found(self, there: Site, tmp_path: Path) -> None:
        digest = sha256(b"promised")
        path = made(tmp_path, manifest(files=[entry(digest)]), {f"blobs/sha256/{digest}": b"other"})
        with pytest.raises(ArtifactError, match="is damaged") as failed:
            there.unpack(read(path))
        assert "has another content" in (failed.value.said or "")
        assert there.store.blob(digest) is None

    def test_what_is_no_bundle_is_said_to_be_none(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("notes\n")
        with pytest.raises(ArtifactError, match=r"notes\.txt is damaged, or no bundle"):
            read(path)
        with pytest.raises(ArtifactError, match=r"/none\.tar\.zst does not exist"):
            read(tmp_path / "none.tar.zst")
        with pytest.raises(ArtifactError, match="not a hardway bundle"):
            read(made(tmp_path, None, {"other": b"file"}))
        with pytest.raises(ArtifactError, match="cannot be read: Is a directory"):
            read(tmp_path)

    def test_a_later_format_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="has format 2, and this hardway reads format 1"):
            read(made(tmp_path, manifest(format=2), {}))

    @pytest.mark.parametrize(
        "wrong",
        [
            {"files": [{"name": "kubelet"}]},
            {"files": "none"},
            {"packages": [{"distribution": "debian-12", "arch": "amd64", "files": {"../../etc/x": "0" * 64}}]},
            {"packages": [{"distribution": "debian-12", "arch": "amd64", "files": {"x.deb": "../../../etc/shadow"}}]},
            {"packages": [{"distribution": "debian-12", "arch": "amd64", "files": []}]},
            {"packages": [{"distribution": "debian-12", "arch": "amd64", "files": ["ab"]}]},
            {"packages": [{"distribution": 12, "arch": "amd64", "files": {}}]},
            {"packages": {"debian-12": {}}},
            {"files": [entry("0" * 64) | {"version": 1}]},
            {"files": [entry("0" * 64) | {"source": None}]},
            {"files": [entry("0" * 64) | {"digest": 64 * [0]}]},
            {"kubernetes": 1.36},
        ],
    )
    def test_a_strange_manifest_is_refused(self, tmp_path: Path, wrong: dict[str, object]) -> None:
        with pytest.raises(ArtifactError, match="is damaged, or no bundle"):
            read(made(tmp_path, manifest(**wrong), {}))

    def test_nesting_without_end_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="is damaged, or no bundle"):
            read(made(tmp_path, manifest()[:-1] + b', "more": ' + b"[" * 100_000, {}))

    def test_a_manifest_without_end_is_not_read(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="is damaged, or no bundle") as failed:
            read(made(tmp_path, manifest() + b" " * (1 << 20), {}))
        assert failed.value.said == f"its manifest has {len(manifest()) + (1 << 20)} bytes"

    def test_a_place_that_cannot_be_written_is_said(self, here: Site, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="cannot be written: No such file or directory"):
            here.write(tmp_path / "none" / "site.tar.zst")


def manifest(**changed: object) -> bytes:
    tree: dict[str, object] = {"format": 1, "kubernetes": KUBERNETES, "files": [], "packages": []}
    return json.dumps(tree | changed).encode()


def made(folder: Path, text: bytes | None, files: Mapping[str, bytes]) -> Path:
    """A bundle by hand; without a manifest's text it has none."""

    def members() -> Iterator[bytes]:
        for name, content in {**({"manifest.json": text} if text is not None else {}), **files}.items():
            yield from frames.member(name, 0o644, len(content), [content])

    path = folder / "made.tar.zst"
    path.write_bytes(b"".join((*frames.compress(members(), "zstd"), *frames.compress([bytes(1024)], "zstd"))))
    return path


def declared(*machines: str) -> Declaration:
    binary = Binary("/usr/local/bin/kubelet", "kubelet", KUBERNETES)
    return Declaration(tuple(Placed(machine, "workers", binary) for machine in machines), ())


class TestARun:
    def test_it_takes_all_from_the_bundle(self, there: Site, file: Path) -> None:
        resolver = there.resolver(read(file))
        resolver.prepare(declared("k1"), {"k1": "amd64"})
        assert ArtifactProgress("kubelet", "ready", len(content(KUBELET)), len(content(KUBELET))) in there.events
        change = Change("k1", "workers", "binary:kubelet", Difference("create", ""), declared("k1").placed[0].resource)
        [blob] = resolver.blobs([change], {"k1": "amd64"}).values()
        assert blob.path.read_bytes().startswith(b"kubelet")

    def test_an_architecture_that_it_lacks_is_named_with_the_machine(self, there: Site, file: Path) -> None:
        with pytest.raises(ArtifactError, match=r"site\.tar\.zst has no kubelet 1\.36\.4 for arm64") as failed:
            there.resolver(read(file)).prepare(declared("k1", "k2"), {"k1": "amd64", "k2": "arm64"})
        assert failed.value.machine == "k2"
        assert "--arch arm64" in (failed.value.hint or "")

    def test_what_neither_it_nor_the_cache_has_is_named(self, there: Site, file: Path) -> None:
        resolver = there.resolver(replace(read(file), entries=()))
        there.lock.add(Entry("kubelet", KUBERNETES, "amd64", sha256(b"lost"), "build"))
        change = Change("k1", "workers", "binary:kubelet", Difference("create", ""), declared("k1").placed[0].resource)
        resolver.prepare(declared("k1"), {"k1": "amd64"})
        with pytest.raises(ArtifactError, match="has no kubelet") as failed:
            resolver.blobs([change], {"k1": "amd64"})
        assert failed.value.machine == "k1"

    def test_a_machine_that_lacks_a_package_is_sent_those_of_its_system(self, there: Site, file: Path) -> None:
        sent = there.resolver(read(file)).repository("k1", [missing("netbase")], DEBIAN)
        assert {name: blob.path.read_bytes() for name, blob in sent.items()} == {
            "Packages": b"Packages",
            "netbase_6.5_all.deb": b"netbase_6.5_all.deb",
        }

    def test_one_that_lacks_none_is_sent_none(self, there: Site, file: Path) -> None:
        assert there.resolver(read(file)).repository("k1", [], replace(DEBIAN, os="rocky", os_version="9.4")) == {}

    def test_a_system_without_packages_is_named_with_what_it_lacks(self, there: Site, file: Path) -> None:
        rocky = replace(DEBIAN, os="rocky", os_version="9.4")
        with pytest.raises(ArtifactError, match=r"no packages for rocky-9\.4 amd64, and netbase, kmod are not") as no:
            there.resolver(read(file)).repository("k1", [missing("netbase"), missing("kmod")], rocky)
        assert no.value.machine == "k1"


def missing(package: str) -> Change:
    return Change("k1", "hosts", f"package:{package}", Difference("create", ""), Package(package, package))


class TestPackages:
    """Of Debian, by an apt that is played."""

    @pytest.fixture
    def apt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of commands that note how they were called; the archive has one package with one dependency."""
        folder = tmp_path / "bin"
        folder.mkdir()
        fields = "Architecture: all\nFilename: pool/main/n/{0}/{0}_6.5_all.deb\nSHA256: {1}"
        stanzas = "\n\n".join(
            f"Package: {name}\nVersion: 1:6.5\n{fields.format(name, sha256(name.encode()))}" for name in ("one", "two")
        )
        scripts = {
            "apt-get": 'case "$*" in *indextargets*) exit;; *Error-Mode=any*update) [ ! -e unreached ] || '
            '{ echo "E: no security" >&2; exit 100; };; *bad*) echo "E: no bad" >&2; exit 100;; *--download-only*) '
            "for word; do case $word in Dir::Cache::archives=*) to=${word#*=};; esac; done; "
            'for name in one two; do printf %s $name >"$to/${name}_1%3a6.5_all.deb"; done;; esac\n',
            "apt-cache": f"cat <<'END'\n{stanzas}\n\nEND\n",
        }
        for name, script in scripts.items():
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/asked\n{script}')
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.chdir(tmp_path)
        return tmp_path / "asked"

    def test_they_come_with_what_they_depend_on_and_an_index(self, apt: Path, here: Site) -> None:
        got = fetch("debian-13", "arm64", ["one"], here.store)
        assert {name: blob.path.read_bytes() for name, blob in got.items() if name != "Packages"} == {
            "one_6.5_all.deb": b"one",
            "two_6.5_all.deb": b"two",
        }
        index = got["Packages"].path.read_text()
        assert "Filename: ./one_6.5_all.deb\n" in index
        assert "pool/" not in index
        update, install = [line for line in apt.read_text().splitlines() if "sourcelist" in line][:2]
        assert "APT::Architecture=arm64" in update
        assert install.endswith("--download-only install one")

    def test_what_apt_says_is_told(self, apt: Path, here: Site) -> None:
        with pytest.raises(ArtifactError, match="packages could not be got") as failed:
            fetch("debian-12", "amd64", ["bad"], here.store)
        assert failed.value.said == "E: no bad"

    def test_a_source_that_cannot_be_fetched_is_no_warning(self, apt: Path, here: Site) -> None:
        apt.with_name("unreached").touch()
        with pytest.raises(ArtifactError, match="packages could not be got") as failed:
            fetch("debian-12", "amd64", ["one"], here.store)
        assert failed.value.said == "E: no security"

    def test_without_apt_the_way_on_is_said(self, here: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ArtifactError, match="has no apt") as failed:
            fetch("debian-12", "amd64", ["openssl"], here.store)
        assert "--packages none" in (failed.value.hint or "")

    def test_security_updates_are_among_the_sources(self) -> None:
        lines = sources(SUITES["debian-13"], "amd64", "http://m", "http://s").splitlines()
        assert [line.split("] ")[1] for line in lines] == [
            "http://m trixie main",
            "http://m trixie-updates main",
            "http://s trixie-security main",
        ]

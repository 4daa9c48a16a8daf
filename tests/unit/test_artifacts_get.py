"""What is needed becomes blobs: accepted ones at once, others from where the inventory says."""

import hashlib
from pathlib import Path

import pytest

from hardway.artifacts import get
from hardway.artifacts.build import Build
from hardway.artifacts.catalogue import IMAGES, release
from hardway.artifacts.download import Publisher, Unavailable, Web
from hardway.artifacts.get import Need, Row, Source, ensure, needs_for, table
from hardway.artifacts.lock import Entry, Lock
from hardway.artifacts.store import Blob, Store
from hardway.errors import ArtifactError
from hardway.events import Event, Note, Sink
from hardway.values import sha256

NAMES = ["kubelet", "kubectl", "image/pause"]
NEEDS = needs_for("1.36.4", "amd64", NAMES)


class Room:
    """A cache and a lock of one's own, and everything that was told."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root / "cache")
        self.lock = Lock(root / "artifacts.lock")
        self.events: list[Event] = []
        self.asked: list[str] = []
        self.answer: bool | None = None

    def ensure(
        self,
        source: Source,
        needs: list[Need] = NEEDS,
        mirror: str | None = None,
        require_pinned: bool = False,
    ) -> dict[Need, Blob]:
        def ask(question: str) -> bool:
            self.asked.append(question)
            return bool(self.answer)

        return ensure(
            needs,
            source=source,
            mirror=mirror,
            store=self.store,
            lock=self.lock,
            require_pinned=require_pinned,
            events=self.events.append,
            ask=None if self.answer is None else ask,
        )

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]

    def accept(self, need: Need, content: bytes, source: str) -> Blob:
        blob = self.store.add([content])
        self.lock.add(Entry(need.name, need.version, need.arch, blob.digest, source))
        return blob


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture(autouse=True)
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Builds that write their name in place of a binary; the list of those that ran."""
    ran: list[str] = []

    def plan(found: object, arch: str) -> Build:
        return Build(found, arch, Path("/"), "go1.26.8")  # type: ignore[arg-type]

    def key(build: Build) -> str:
        return f"build-{build.release.component}-{build.arch}"

    def built(build: Build, store: Store) -> object:
        return store.recorded(key(build))

    def run(build: Build, store: Store, events: Sink) -> dict[str, Blob]:
        if (kept := store.recorded(key(build))) is not None:
            return dict(kept)
        ran.append(build.release.component)
        blobs = {name: store.add([f"built {name}".encode()]) for name in build.release.binaries}
        store.note(key(build), {name: blob.digest for name, blob in blobs.items()})
        return blobs

    monkeypatch.setattr(get, "plan_build", plan)
    monkeypatch.setattr(get, "built", built)
    monkeypatch.setattr(get, "run_build", run)
    return ran


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def publisher(source: str, mirror: str | None) -> Publisher:
        return Web("http://127.0.0.1:1", connect=1.0)

    monkeypatch.setattr(get, "publisher", publisher)


@pytest.fixture
def unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    """No publisher may be asked."""

    def publisher(source: str, mirror: str | None) -> Publisher:
        raise AssertionError("asked a publisher")

    monkeypatch.setattr(get, "publisher", publisher)


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror with CNI plugins' neighbours: two single binaries that no pin covers, and an image."""
    root = tmp_path / "mirror"
    for url, content in {
        "dl.k8s.io/v1.35.6/bin/linux/amd64/kubelet": b"kubelet",
        "dl.k8s.io/v1.35.6/bin/linux/amd64/kubectl": b"kubectl",
        "images/pause-3.10.2-linux-amd64.tar": b"pause",
    }.items():
        path = root / url
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.with_name(path.name + ".sha256").write_text(hashlib.sha256(content).hexdigest())
    return root


class TestAtHand:
    @pytest.mark.usefixtures("unreached")
    @pytest.mark.parametrize("source", ["auto", "download", "build", "mirror"])
    def test_accepted_and_in_the_cache_means_no_work(self, room: Room, builds: list[str], source: Source) -> None:
        have = {need: room.accept(need, need.name.encode(), "build go1.25.0") for need in NEEDS}
        assert room.ensure(source) == have
        assert builds == []
        assert room.events == []

    def test_of_several_the_source_asked_for_is_taken(self, room: Room) -> None:
        built = room.accept(NEEDS[0], b"built", "build go1.26.8")
        loaded = room.accept(NEEDS[0], b"loaded", "download, pinned")
        assert room.ensure("build", NEEDS[:1]) == {NEEDS[0]: built}
        assert room.ensure("download", NEEDS[:1]) == {NEEDS[0]: loaded}

    def test_what_only_its_publisher_vouches_for_is_not_enough_where_pins_are_required(self, room: Room) -> None:
        room.accept(NEEDS[0], b"loaded", "download, publisher's digest")
        built = room.accept(NEEDS[0], b"built", "build go1.26.8")
        assert room.ensure("download", NEEDS[:1], require_pinned=True) == {NEEDS[0]: built}

    def test_nor_is_what_a_bundle_says_of_itself(self, room: Room) -> None:
        for number in range(8):
            room.accept(NEEDS[0], b"other %d" % number, "bundle, download, pinned")
        built = room.accept(NEEDS[0], b"built", "build go1.26.8")
        assert room.ensure("download", NEEDS[:1], require_pinned=True) == {NEEDS[0]: built}

    def test_a_damaged_blob_is_named_and_made_again(self, room: Room) -> None:
        blob = room.ensure("build")[NEEDS[0]]
        blob.path.chmod(0o755)
        blob.path.write_bytes(b"damaged")
        assert room.ensure("build")[NEEDS[0]] == blob
        assert any("was damaged and has been deleted" in note for note in room.notes)

    def test_another_cluster_with_the_same_cache_builds_nothing(
        self, room: Room, builds: list[str], tmp_path: Path
    ) -> None:
        first = room.ensure("build")
        ran = list(builds)
        room.lock = Lock(tmp_path / "other" / "artifacts.lock")
        assert room.ensure("build") == first
        assert builds == ran
        assert room.lock.accepted("kubelet", "1.36.4", "amd64") == {first[NEEDS[0]].digest: "build go1.26.8"}


class TestBuild:
    def test_each_component_is_built_once_and_accepted(self, room: Room, builds: list[str]) -> None:
        have = room.ensure("build")
        assert builds == ["kubernetes", "pause"]
        assert {name: have[need].digest for name, need in zip(NAMES[:2], NEEDS, strict=False)} == {
            "kubelet": sha256(b"built kubelet"),
            "kubectl": sha256(b"built kubectl"),
        }
        assert {entry.name for entry in room.lock.entries()} == set(NAMES)
        assert room.notes == ["building kubernetes, pause from their Go modules: this takes minutes"]

    def test_an_image_is_an_archive_with_the_built_binary(self, room: Room) -> None:
        have = room.ensure("build")
        content = have[NEEDS[2]].path.read_bytes()
        assert b"built pause" in content
        assert IMAGES["image/pause"].ref.encode() in content

    def test_a_missing_compiler_is_said_before_anything_is_built(
        self, room: Room, builds: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ArtifactError, match="needs a C compiler"):
            room.ensure("build", needs_for("1.36.4", "amd64", ["kubelet", "runc"]))
        assert builds == []

    def test_architectures_are_told_apart(self, room: Room) -> None:
        both = [*NEEDS[:1], *needs_for("1.36.4", "arm64", ["kubelet"])]
        assert set(room.ensure("build", both)) == set(both)
        assert set(room.lock.accepted("kubelet", "1.36.4", "arm64")) == {sha256(b"built kubelet")}


@pytest.mark.usefixtures("offline")
class TestAuto:
    def test_without_anybody_to_ask_it_says_how_to_build(self, room: Room, builds: list[str]) -> None:
        with pytest.raises(Unavailable) as failed:
            room.ensure("auto")
        assert "--source build" in (failed.value.hint or "")
        assert "artifacts: {source: build}" in (failed.value.hint or "")
        assert builds == []

    def test_a_no_is_taken(self, room: Room, builds: list[str]) -> None:
        room.answer = False
        with pytest.raises(Unavailable):
            room.ensure("auto")
        assert len(room.asked) == 1
        assert builds == []

    def test_a_yes_builds_binaries_and_images(self, room: Room, builds: list[str]) -> None:
        room.answer = True
        assert set(room.ensure("auto")) == set(NEEDS)
        assert builds == ["kubernetes", "pause"]
        assert "kubernetes, pause" in room.asked[0]

    def test_what_was_built_before_is_used_without_a_question(
        self, room: Room, builds: list[str], tmp_path: Path
    ) -> None:
        room.ensure("build", NEEDS[:2])
        room.lock = Lock(tmp_path / "other.lock")
        assert set(room.ensure("auto")) == set(NEEDS)
        assert builds == ["kubernetes", "pause"]
        assert room.asked == []

    def test_download_never_builds(self, room: Room, builds: list[str]) -> None:
        room.answer = True
        with pytest.raises(Unavailable):
            room.ensure("download")
        assert builds == []


class TestImages:
    @pytest.mark.usefixtures("unreached")
    def test_they_are_left_to_the_workers_where_binaries_are_downloaded(self, room: Room) -> None:
        have = {need: room.accept(need, need.name.encode(), "download, pinned") for need in NEEDS[:2]}
        assert room.ensure("auto") == have

    def test_download_has_none(self, room: Room) -> None:
        assert room.ensure("download", NEEDS[2:]) == {}


class TestMirror:
    NEEDS = needs_for("1.35.6", "amd64", NAMES)

    def test_files_and_images_come_from_it(self, room: Room, mirror: Path) -> None:
        have = room.ensure("mirror", self.NEEDS, str(mirror))
        assert {need.name: blob.path.read_bytes() for need, blob in have.items()} == {
            "kubelet": b"kubelet",
            "kubectl": b"kubectl",
            "image/pause": b"pause",
        }

    def test_an_image_it_lacks_is_pulled(self, room: Room, mirror: Path) -> None:
        (mirror / "images" / "pause-3.10.2-linux-amd64.tar.sha256").unlink()
        assert [need.name for need in room.ensure("mirror", self.NEEDS, str(mirror))] == NAMES[:2]

    def test_a_file_it_lacks_is_an_error(self, room: Room, mirror: Path) -> None:
        (mirror / "dl.k8s.io/v1.35.6/bin/linux/amd64/kubectl").unlink()
        with pytest.raises(ArtifactError, match="the mirror has no"):
            room.ensure("mirror", self.NEEDS, str(mirror))

    def test_a_mirror_must_be_named(self, room: Room) -> None:
        with pytest.raises(ArtifactError, match="no mirror is named"):
            room.ensure("mirror")


def test_the_table_says_what_is_there(room: Room) -> None:
    blob = room.accept(NEEDS[0], b"kubelet", "download, pinned")
    assert table(NEEDS, source="download", store=room.store, lock=room.lock) == [
        Row(NEEDS[0], "download, pinned", blob.digest, 7, "ready"),
        Row(NEEDS[1], "", "", 0, "missing"),
        Row(NEEDS[2], "", "", 0, "pulled by the workers"),
    ]


def test_a_need_knows_its_release() -> None:
    assert NEEDS[0].release is release("kubernetes", "1.36.4")

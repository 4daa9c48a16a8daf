"""The cache trusts nothing without its digest; frames of it become archives."""

import gzip
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from hardway.artifacts.frames import Codec
from hardway.artifacts.store import Store, default_store
from hardway.errors import ArtifactError
from hardway.values import sha256


@pytest.fixture
def noticed() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, noticed: list[str]) -> Store:
    return Store(tmp_path / "cache", noticed.append)


def unpack(stream: bytes, codec: Codec) -> bytes:
    if codec == "gzip":
        return gzip.decompress(stream)
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stream), read_across_frames=True)
    return reader.read()


def test_the_default_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_store().root == Path("/somewhere/hardway")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert default_store().root == Path("/home/ann/.cache/hardway")


def test_a_blob_is_found_by_its_digest(store: Store) -> None:
    blob = store.add([b"one", b"two"])
    assert blob.digest == sha256(b"onetwo")
    assert blob.path.read_bytes() == b"onetwo"
    assert blob.size == 6
    assert store.blob(blob.digest) == blob
    assert store.blob(sha256(b"other")) is None


def test_a_file_is_taken_as_it_is_and_stays_where_it_was(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert store.add(tmp_path / "file").digest == sha256(b"content")
    assert (tmp_path / "file").exists()


def test_an_unexpected_digest_is_refused_and_nothing_kept(store: Store) -> None:
    with pytest.raises(ArtifactError):
        store.add([b"content"], expected=sha256(b"other"))
    assert store.blob(sha256(b"content")) is None
    assert list((store.root / "temporary").iterdir()) == []


@pytest.mark.parametrize("damage", [b"short", b"CONTENT"], ids=["truncated", "altered"])
def test_a_damaged_blob_is_deleted_and_named(store: Store, noticed: list[str], damage: bytes) -> None:
    blob = store.add([b"content"])
    blob.path.unlink()
    blob.path.write_bytes(damage)
    assert store.blob(blob.digest) is None
    assert not blob.path.exists()
    assert len(noticed) == 1
    assert str(blob.path) in noticed[0]


def test_content_altered_in_place_with_its_old_time_is_seen(store: Store) -> None:
    blob = store.add([b"content"])
    before = blob.path.stat()
    blob.path.chmod(0o755)
    blob.path.write_bytes(b"CONTENT")
    os.utime(blob.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.blob(blob.digest) is None


def test_a_touched_blob_is_hashed_again_and_stays(store: Store, noticed: list[str]) -> None:
    blob = store.add([b"content"])
    os.utime(blob.path, (1, 1))
    assert store.blob(blob.digest) == blob
    assert noticed == []


def test_a_blob_without_a_note_is_hashed(store: Store) -> None:
    blob = store.add([b"content"])
    (store.root / "known" / blob.digest).unlink()
    assert store.blob(blob.digest) == blob


def test_many_at_once_add_the_same_blob(store: Store) -> None:
    content = os.urandom(3 << 20)
    with ThreadPoolExecutor(8) as pool:
        blobs = set(pool.map(lambda _: Store(store.root).add([content]), range(16)))
    assert {blob.digest for blob in blobs} == {sha256(content)}
    assert store.blob(sha256(content)) is not None


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_frames_and_an_end_are_one_archive(store: Store, codec: Codec) -> None:
    contents = {"usr/local/bin/kubelet": b"x" * 1000, "opt/cni/bin/bridge": b"y" * 512, "empty": b""}
    frames = [
        store.frame(store.add([content]), name=name, mode=0o755, codec=codec) for name, content in contents.items()
    ]
    stream = b"".join(frame.read_bytes() for frame in frames) + store.end_frame(codec)
    with tarfile.open(fileobj=io.BytesIO(unpack(stream, codec))) as archive:
        members = archive.getmembers()
        assert {m.name: archive.extractfile(m).read() for m in members} == contents  # type: ignore[union-attr]
        assert {(m.mode, m.uid, m.gid, m.mtime) for m in members} == {(0o755, 0, 0, 0)}


def test_a_frame_is_made_once(store: Store) -> None:
    blob = store.add([b"content"])
    first = store.frame(blob, name="a", mode=0o755, codec="zstd")
    made = first.stat().st_mtime_ns
    assert store.frame(blob, name="a", mode=0o755, codec="zstd").stat().st_mtime_ns == made
    others = {
        store.frame(blob, name="b", mode=0o755, codec="zstd"),
        store.frame(blob, name="a", mode=0o644, codec="zstd"),
        store.frame(blob, name="a", mode=0o755, codec="gzip"),
    }
    assert len(others | {first}) == 4


def test_a_damaged_frame_is_made_anew(store: Store) -> None:
    blob = store.add([b"content"])
    frame = store.frame(blob, name="a", mode=0o755, codec="gzip")
    whole = frame.read_bytes()
    frame.write_bytes(whole[:-9])
    assert store.frame(blob, name="a", mode=0o755, codec="gzip").read_bytes() == whole


def test_a_record_with_a_missing_blob_is_no_record(store: Store) -> None:
    kept, lost = store.add([b"kept"]), store.add([b"lost"])
    store.note("build", {"a": kept.digest, "b": lost.digest})
    assert store.recorded("build") == {"a": kept, "b": lost}
    lost.path.unlink()
    assert store.recorded("build") is None
    assert store.recorded("never") is None


def test_a_record_cut_short_is_no_record(store: Store) -> None:
    store.note("build", {"a": store.add([b"kept"]).digest})
    (store.root / "records" / "build.json").write_text('{"a": ')
    assert store.recorded("build") is None


def test_what_killed_runs_left_is_swept_after_a_day(store: Store) -> None:
    old, new = store.folder("temporary") / "old", store.folder("temporary") / "new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (1, 1))
    store.sweep()
    assert not old.exists()
    assert new.exists()


def test_a_cache_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written") as failed:
        Store(tmp_path / "file").add([b"content"])
    assert "XDG_CACHE_HOME" in (failed.value.hint or "")

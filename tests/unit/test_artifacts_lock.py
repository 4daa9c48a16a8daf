"""artifacts.lock: a set of accepted digests for each file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hardway.artifacts.lock import Entry, Lock
from hardway.errors import ArtifactError
from hardway.values import sha256

ONE, TWO = sha256(b"1"), sha256(b"2")


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return Lock(tmp_path / "artifacts.lock")


def kubelet(digest: str, source: str = "build go1.26.8", arch: str = "amd64") -> Entry:
    return Entry("kubelet", "1.36.4", arch, digest, source)


def test_no_file_accepts_nothing(lock: Lock) -> None:
    assert lock.entries() == ()
    assert lock.accepted("kubelet", "1.36.4", "amd64") == {}


def test_a_file_may_have_several_digests(lock: Lock) -> None:
    lock.add(kubelet(ONE))
    lock.add(kubelet(TWO, "download, pinned"))
    lock.add(kubelet(ONE, arch="arm64"))
    accepted = Lock(lock.path).accepted("kubelet", "1.36.4", "amd64")
    assert accepted == {ONE: "build go1.26.8", TWO: "download, pinned"}


def test_it_reads_well_and_sorted(lock: Lock) -> None:
    lock.add(kubelet(ONE), Entry("etcd", "3.6.14", "amd64", TWO, "download, pinned"))
    body = [line for line in lock.path.read_text().splitlines() if not line.startswith("#")]
    assert body == [
        "etcd:",
        "  3.6.14:",
        "    amd64:",
        f"      {TWO}: download, pinned",
        "kubelet:",
        "  1.36.4:",
        "    amd64:",
        f"      {ONE}: build go1.26.8",
    ]


def test_a_version_that_looks_like_a_number_survives(lock: Lock) -> None:
    lock.add(Entry("pause", "3.10", "amd64", ONE, "build go1.26.8"))
    assert lock.accepted("pause", "3.10", "amd64") == {ONE: "build go1.26.8"}


def test_nothing_new_writes_nothing(lock: Lock) -> None:
    lock.add(kubelet(ONE))
    written = lock.path.stat()
    lock.add(kubelet(ONE, "mirror, pinned"))
    assert lock.path.stat().st_ino == written.st_ino


def test_what_was_got_here_comes_before_the_word_of_a_bundle(lock: Lock) -> None:
    for source in ("bundle, download, pinned", "bundle, build", "download, pinned", "bundle, build", "mirror, pinned"):
        lock.add(kubelet(ONE, source))
    assert lock.accepted("kubelet", "1.36.4", "amd64") == {ONE: "download, pinned"}


def test_many_at_once_lose_nothing(lock: Lock) -> None:
    entries = [Entry(f"file-{n}", "1", "amd64", sha256(bytes([n])), "build") for n in range(32)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda entry: Lock(lock.path).add(entry), entries))
    assert set(lock.entries()) == set(entries)


@pytest.mark.parametrize(
    "text",
    [
        "- a\n- b\n",
        "kubelet: 1\n",
        "kubelet: {1.36.4: {amd64: {abc: build}}}\n",
        "{",
        "a: !!python/name:os.system\n",
    ],
    ids=["list", "number", "short digest", "no yaml", "python tag"],
)
def test_a_file_that_is_not_ours_is_refused_and_kept(lock: Lock, text: str) -> None:
    lock.path.write_text(text)
    with pytest.raises(ArtifactError, match="not as hardway writes it"):
        lock.add(kubelet(ONE))
    assert lock.path.read_text() == text

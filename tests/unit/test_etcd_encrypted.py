"""Snapshots of etcd that age encrypts: none of their content reaches the operator's disk, and they open again."""

import fcntl
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.errors import HardwayError, MachineError, UsageError, WorkspaceError
from hardway.operations import age, etcd_restore
from hardway.operations.etcd_snapshot import snapshot
from hardway.workspace import Workspace

pyrage = pytest.importorskip("pyrage")
KEY = pyrage.x25519.Identity.generate()
RECIPIENT = str(KEY.to_public())
NAMESPACE = b"head https://10.240.0.10:2380"
"""Something that is in each snapshot of a played member."""


@pytest.fixture
def pair(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    return built_cluster(PAIR)


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "identity"
    path.write_text(f"# created: today\n{KEY}\n")
    return path


def no_key() -> age.Decrypt:
    raise AssertionError("nobody was to be asked for a key")


def plain_files(pair: FakeCluster, folder: Path) -> list[Path]:
    """Files of the operator's that hold what was in etcd."""
    files = [*pair.workspace().root.rglob("*"), *folder.rglob("*")]
    return [path for path in files if path.is_file() and NAMESPACE in path.read_bytes()]


def taken(pair: FakeCluster, path: Path, encrypt: age.Encrypt | None = None) -> None:
    snapshot(pair.session(), pair.state(), pair.resolver().versions, path, encrypt)


@pytest.mark.parametrize("by", ["recipient", "passphrase"])
def test_what_was_encrypted_opens_again(
    pair: FakeCluster, tmp_path: Path, identity: Path, by: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    words = tmp_path / "words"
    words.write_text("several words\nnot this line\n")
    flags = ["--recipient", RECIPIENT] if by == "recipient" else ["--passphrase-file", str(words)]
    file = tmp_path / "one.db.age"
    code, out, _ = Commands(pair, monkeypatch, capsys)("etcd", "snapshot", str(file), "--encrypt", *flags, "-o", "json")
    note = json.loads(out)
    assert (code, note["encrypted"], note["size"]) == (0, True, 4128)
    assert note == json.loads(Path(f"{file}.json").read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert plain_files(pair, tmp_path) == []
    decrypt = age.decrypter(identity, None) if by == "recipient" else age.decrypter(None, "several words")
    with etcd_restore.inspected(file, pair.state(), pair.workspace(), lambda: decrypt) as source:
        assert (source.name, source.sha256, source.size) == (str(file), note["sha256"], 4128)
        assert source.encryption_resources == ("secrets",)
        assert NAMESPACE in source.path.read_bytes()
        assert source.path.parent == pair.workspace().root
        assert source.path.stat().st_mode & 0o777 == 0o600
        # As a restore does it, which sweeps the workspace when it begins.
        with pair.workspace().lock("a restore"):
            assert NAMESPACE in source.path.read_bytes()
    assert plain_files(pair, tmp_path) == []


def test_without_encryption_nobody_is_asked_for_a_key(pair: FakeCluster, tmp_path: Path) -> None:
    taken(pair, tmp_path / "one.db")
    with etcd_restore.inspected(tmp_path / "one.db", pair.state(), pair.workspace(), no_key) as source:
        assert source.path == tmp_path / "one.db"
    absent = tmp_path / "two.db"
    with pytest.raises(UsageError), etcd_restore.inspected(absent, pair.state(), pair.workspace(), no_key):
        pass


def test_with_another_key_or_a_part_of_it_nothing_is_restored(pair: FakeCluster, tmp_path: Path) -> None:
    file = tmp_path / "one.db.age"
    taken(pair, file, age.encrypter([RECIPIENT], None))
    stranger = tmp_path / "stranger"
    stranger.write_text(str(pyrage.x25519.Identity.generate()))
    own = tmp_path / "own"
    own.write_text(str(KEY))
    whole = file.read_bytes()
    for key, content, said in ((stranger, whole, "cannot be decrypted"), (own, whole[:-9], "is damaged")):
        file.write_bytes(content)
        opening = etcd_restore.inspected(
            file, pair.state(), pair.workspace(), lambda key=key: age.decrypter(key, None)  # type: ignore[misc]
        )  # fmt: skip
        with pytest.raises(WorkspaceError, match=said), opening:
            pass
    assert plain_files(pair, tmp_path) == []


@pytest.mark.parametrize("encrypted", [True, False])
def test_one_that_does_not_come_over_whole_is_no_file(
    pair: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    encrypt = age.encrypter([RECIPIENT], None) if encrypted else None
    head = pair.machines["head"]
    run = type(head).run

    def lost(self: object, script: str, **given: object) -> object:
        if script.startswith("dd "):
            raise MachineError("the connection is lost", machine="head")
        return run(self, script, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(type(head), "run", lost)
    with pytest.raises(MachineError, match="the connection is lost"):
        taken(pair, tmp_path / "one", encrypt)

    def short(self: object, script: str, **given: object) -> object:
        return run(self, script.replace("count=32", "count=0"), **given)  # type: ignore[arg-type]

    monkeypatch.setattr(type(head), "run", short)
    with pytest.raises(HardwayError, match="came over damaged"):
        taken(pair, tmp_path / "one", encrypt)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_opened_goes_with_the_next_that_locks(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "one")
    workspace.create()
    left, used = workspace.root / ".opened-left", workspace.root / ".opened-used"
    for path in (left, used):
        path.write_bytes(b"plain")
    with used.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with workspace.lock("a test"):
            assert (left.exists(), used.exists()) == (False, True)
    with workspace.lock("a test"):
        assert not used.exists()


def test_the_librarys_errors_do_not_hide_ours() -> None:
    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(28, "No space left on device")

    class Lost:
        def read(self, count: int = -1) -> bytes:
            raise KeyboardInterrupt

    encrypt = age.encrypter([RECIPIENT], None)
    with pytest.raises(OSError, match="No space left"):
        encrypt(io.BytesIO(b"x"), Full())
    with pytest.raises(KeyboardInterrupt):
        encrypt(Lost(), io.BytesIO())

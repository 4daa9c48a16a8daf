"""Backups: a pair that is whole or not there, and the older ones that go only after it."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from typing import Self

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.declare.generations import encryption_key
from hardway.errors import HardwayError
from hardway.operations import age, backup, etcd_restore
from hardway.operations.seal import open_sealed
from hardway.workspace import Workspace

pyrage = pytest.importorskip("pyrage")
KEY = pyrage.x25519.Identity.generate()
FOR = ("--recipient", str(KEY.to_public()))
FILES = ["etcd.db.age", "etcd.db.age.json", "workspace.age", "workspace.age.json"]


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(built_cluster(PAIR), monkeypatch, capsys)


@pytest.fixture(autouse=True)
def nights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each backup is made a day after the one before."""
    days = count()

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2026, 11, 1, 3, tzinfo=tz) + timedelta(days=next(days))

    monkeypatch.setattr(backup, "datetime", Clock)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def night(day: int) -> str:
    return f"pair-202611{day:02}T030000Z"


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "identity"
    path.write_text(str(KEY))
    return path


def test_a_backup_brings_both_back(hardway: Commands, tmp_path: Path, identity: Path) -> None:
    made = hardway.cluster
    code, out, err = hardway("backup", str(tmp_path / "all"), *FOR, "-o", "json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    folder = tmp_path / "all" / night(1)
    assert (told["folder"], told["kept"], told["removed"]) == (str(folder), 1, [])
    assert (told["snapshot"]["encrypted"], told["workspace"]["cluster"]) == (True, "pair")
    assert names(folder) == FILES
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, *[0o600] * 4]
    decrypt = age.decrypter(identity, None)
    another = Workspace(tmp_path / "another")
    another.create()
    open_sealed(another, "pair", folder / "workspace.age", decrypt)
    assert another.load_state() == made.state()
    with etcd_restore.inspected(folder / "etcd.db.age", made.state(), another, lambda: decrypt) as source:
        assert source.encryption_resources == ("secrets",)
    assert {encryption_key(name) for name in told["snapshot"]["encryption_keys"]} <= another.values().keys()


def test_the_oldest_go_and_those_of_others_stay(hardway: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    assert hardway("backup", str(folder), *FOR)[0] == 0
    other = folder / "other-20260101T030000Z"
    shutil.copytree(folder / night(1), other)
    note = json.loads((other / "etcd.db.age.json").read_text())
    (other / "etcd.db.age.json").write_text(json.dumps({**note, "cluster_id": "another"}))
    (folder / "notes.txt").write_text("mine")
    for _ in range(3):
        code, out, _ = hardway("backup", str(folder), "--keep", "2", *FOR)
        assert code == 0
    assert names(folder) == ["notes.txt", "other-20260101T030000Z", night(3), night(4)]
    assert f"removed {folder / night(2)}" in out


def test_the_new_one_stays_whatever_the_clock_said_before(hardway: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    assert hardway("backup", str(folder), *FOR)[0] == 0
    note = folder / night(1) / "etcd.db.age.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "taken": "2096-01-01T00:00:00+00:00"}))
    assert hardway("backup", str(folder), "--keep", "1", *FOR)[0] == 0
    assert names(folder) == [night(2)]


def ways_to_fail() -> Iterator[tuple[str, str, BaseException]]:
    for error in (HardwayError("gone"), OSError(28, "No space left on device"), KeyboardInterrupt()):
        for step in ("snapshot", "seal"):
            yield f"{step}, {type(error).__name__}", step, error


@pytest.mark.parametrize(("step", "error"), [way[1:] for way in ways_to_fail()], ids=[way[0] for way in ways_to_fail()])
def test_one_that_fails_leaves_nothing_and_takes_nothing(
    hardway: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    folder = tmp_path / "all"
    for _ in range(2):
        assert hardway("backup", str(folder), *FOR)[0] == 0
    whole = getattr(backup, step)

    def failing(*words: object) -> object:
        whole(*words)
        raise error

    monkeypatch.setattr(backup, step, failing)
    code, _, err = hardway("backup", str(folder), "--keep", "1", *FOR)
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert names(folder) == [night(1), night(2)]
    if isinstance(error, OSError):
        assert "those of before are untouched" in err
    monkeypatch.setattr(backup, step, whole)
    assert hardway("backup", str(folder), "--keep", "1", *FOR)[0] == 0
    assert names(folder) == [night(4)]


def test_what_a_killed_one_left_goes_with_the_next(hardway: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    for name in (f".new-{night(1)}", f".old-{night(2)}", ".new-other-20261101T030000Z"):
        (folder / name).mkdir(parents=True)
        (folder / name / "etcd.db.age").write_text("half")
    assert hardway("backup", str(folder), *FOR)[0] == 0
    assert names(folder) == [".new-other-20261101T030000Z", night(1)]


def test_two_at_once_do_not_meet(hardway: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        code, _, err = hardway("backup", str(folder), *FOR)
    finally:
        os.close(descriptor)
    assert (code, "another backup is being made" in err) == (4, True)
    with hardway.cluster.workspace().lock("somebody"):
        assert hardway("backup", str(folder), *FOR)[0] == 4
    assert names(folder) == []


def test_a_folder_that_would_be_lost_with_the_workspace_is_none(hardway: Commands) -> None:
    code, _, err = hardway("backup", str(hardway.cluster.workspace().root / "backups"), *FOR)
    assert (code, "would be lost with it" in err) == (2, True)


def test_without_a_terminal_nobody_is_asked_for_a_passphrase(hardway: Commands, tmp_path: Path) -> None:
    code, _, err = hardway("backup", str(tmp_path / "all"))
    assert (code, "there is no terminal to ask on" in err) == (2, True)
    code, _, err = hardway("backup", *FOR)
    assert (code, "hardway backup DIR" in err) == (2, True)
    assert not (tmp_path / "all").exists()


def test_what_a_folder_holds_is_told_with_its_times(hardway: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    assert hardway("backup", str(folder), *FOR)[0] == 0
    [found] = backup.backups(folder, hardway.cluster.state().cluster_id)
    assert found.folder == folder / night(1)
    assert abs(datetime.now(UTC) - found.taken) < timedelta(minutes=5)
    (folder / night(1) / "etcd.db.age.json").write_text("{")
    assert backup.backups(folder, hardway.cluster.state().cluster_id) == []
    assert backup.backups(folder / "nowhere", "any") == []

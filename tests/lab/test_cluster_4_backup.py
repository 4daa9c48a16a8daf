"""A backup of a cluster that runs, and who is told when one member of etcd is missing."""

import json
from pathlib import Path

import pytest
from driving import Site

pytestmark = pytest.mark.lab
pyrage = pytest.importorskip("pyrage")


def watched(seven: Site, *words: str, code: int) -> dict[str, list[str]]:
    """The subjects of what was found, by kind."""
    told = json.loads(seven.hardway("watch", "--once", "-o", "json", *words, code=code).out)
    found: dict[str, list[str]] = {}
    for one in told["findings"]:
        found.setdefault(one["kind"], []).append(one["subject"])
    return found


def test_a_backup_can_be_restored_and_a_lost_member_is_told(seven: Site, tmp_path: Path) -> None:
    key = pyrage.x25519.Identity.generate()
    (tmp_path / "identity").write_text(str(key))
    folder = tmp_path / "backups"
    for _ in range(2):
        made = json.loads(
            seven.hardway("backup", str(folder), "--keep", "1", "--recipient", str(key.to_public()), "-o", "json").out
        )
    assert [path.name for path in folder.iterdir()] == [Path(made["folder"]).name]
    file = Path(made["folder"]) / "etcd.db.age"
    assert b"/registry/" not in file.read_bytes()
    opened = ("--identity", str(tmp_path / "identity"))
    tried = json.loads(seven.hardway("etcd", "restore", str(file), "--rehearse", *opened, "-o", "json").out)
    assert (tried["file"], tried["keys"] > 100) == (file.name, True)
    assert not list(seven.workspace.glob(".opened-*"))

    hook = ("--hook", f"tee {tmp_path / 'told'}", "--backups", str(folder))
    assert watched(seven, *hook, code=0) == {}
    assert not (tmp_path / "told").exists()
    seven.on("controller-1", "systemctl stop etcd")
    try:
        found = watched(seven, *hook, code=3)
        assert (found["quorum"], found["etcd"]) == (["etcd"], ["controller-1"])
        assert "controller-1" in found["drift"]
        assert not json.loads((tmp_path / "told").read_text())["well"]
    finally:
        seven.on("controller-1", "systemctl start etcd")
    assert watched(seven, *hook, code=0) == {}
    assert json.loads((tmp_path / "told").read_text())["well"]

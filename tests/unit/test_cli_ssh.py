"""`hardway ssh` needs no chapter behind it: the way to a machine is written when it is asked for."""

import os
import subprocess
from pathlib import Path

import pytest
from in_process import ran

INVENTORY = """\
cluster: real
machines:
  c0: {role: controller, address: 192.0.2.10, ssh: {host: 127.0.0.2, port: 2222, user: ops}}
  w0: {role: worker, address: 192.0.2.20, ssh: {host: 127.0.0.3}}
"""


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an inventory, of which no chapter was run. ssh only says where it would go."""
    (tmp_path / "real.yaml").write_text(INVENTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def where(program: str, words: list[str]) -> None:
        resolved = subprocess.run([program, "-G", *words[1:]], capture_output=True, text=True, check=True).stdout
        lines = [line.split(" ", 1) for line in resolved.splitlines()]
        print([value for key, value in lines if key in ("user", "hostname", "port")])

    monkeypatch.setattr(os, "execvp", where)
    return tmp_path


def went(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    code, out, err = ran(monkeypatch, capsys, *words)
    assert (code, err) == (0, "")
    return sorted(out.strip("[]\n").replace("'", "").split(", "))


def test_ssh_finds_a_machine_before_the_first_chapter_and_where_the_inventory_has_it_now(
    alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert went(monkeypatch, capsys, "ssh", "-i", "real.yaml", "c0", "--", "uname", "-a") == [
        "127.0.0.2",
        "2222",
        "ops",
    ]
    written = alone / ".hardway" / "real" / "ssh_config"
    before = written.stat()
    assert before.st_mode & 0o777 == 0o600
    assert "127.0.0.2" in went(monkeypatch, capsys, "ssh", "-i", "real.yaml", "c0", "--", "uname", "-a")
    assert written.stat().st_ino == before.st_ino
    (alone / "real.yaml").write_text(INVENTORY.replace("127.0.0.2", "127.0.0.9"))
    assert "127.0.0.9" in went(monkeypatch, capsys, "ssh", "-i", "real.yaml", "c0", "--", "uname", "-a")


def test_a_damaged_key_keeps_nobody_from_a_machine(
    alone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pki = alone / ".hardway" / "real" / "pki"
    pki.mkdir(parents=True)
    (pki / "ca.key").write_text("half a key")
    assert "127.0.0.2" in went(monkeypatch, capsys, "ssh", "-i", "real.yaml", "c0", "--", "true")

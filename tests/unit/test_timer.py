"""Timers on the operator's own computer: what their units say, and what is done to install them."""

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import PAIR, FakeCluster
from played_run import Commands

from hardway.operations import timer
from hardway.operations.timer import Timer, planned, quoted

FOR = ("--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")
ODD = ("/srv/my backups", "50%", "$HOME", 'a"b', "back\\slash", "it's", "", "a;b", "plain")


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    pytest.importorskip("pyrage")
    return Commands(built_cluster(PAIR), monkeypatch, capsys)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer that systemd runs; what systemctl is told stands in the file `told`."""
    folder = tmp_path / "systemd"
    (folder / "bin").mkdir(parents=True)
    (folder / "units").mkdir()
    program = folder / "bin/systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{folder}/told\n[ ! -e {folder}/broken ] || {{ echo no >&2; exit 1; }}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin", prepend=":")
    monkeypatch.setattr(timer, "BOOTED", folder)
    monkeypatch.setattr(timer, "SYSTEM", folder / "units")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return folder


def told(systemd: Path) -> list[str]:
    path = systemd / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_the_units_say_what_is_run_and_when(hardway: Commands, tmp_path: Path) -> None:
    folder = tmp_path / "my backups"
    code, out, _ = hardway("backup", "install", str(folder), "--at", "04:30", "--keep", "7", *FOR, "--print")
    assert code == 0
    [line] = [line for line in out.splitlines() if line.startswith("ExecStart=")]
    inventory = str(hardway.cluster.inventory)
    assert shlex.split(line.removeprefix("ExecStart=")) == [
        sys.executable, "-m", "hardway", "backup", str(folder), "--keep", "7", *FOR, "-i", inventory,
    ]  # fmt: skip
    assert "OnCalendar=*-*-* 04:30:00\n" in out
    assert "hardway-backup-pair.timer" in out


def test_what_no_timer_can_do_is_refused(hardway: Commands, tmp_path: Path, systemd: Path) -> None:
    for flags, said in (
        ((), "can ask nobody for a passphrase"),
        ((*FOR, "--at", "25:00"), "is no time of day"),
        (("--recipient", "nobody"), "is no recipient"),
    ):
        code, _, err = hardway("backup", "install", str(tmp_path), *flags, "--yes")
        assert (code, said in err) == (2, True), flags
    assert told(systemd) == []


def test_without_systemd_nothing_is_written(
    hardway: Commands, tmp_path: Path, systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timer, "BOOTED", tmp_path / "nowhere")
    code, _, err = hardway("backup", "install", str(tmp_path), *FOR, "--yes")
    assert (code, "--print shows the units" in err) == (1, True)
    assert list((systemd / "units").iterdir()) == []


def test_they_are_shown_installed_changed_and_removed(hardway: Commands, tmp_path: Path, systemd: Path) -> None:
    words = ("backup", "install", str(tmp_path), *FOR)
    code, _, err = hardway(*words)
    assert (code, "OnCalendar=*-*-* 03:00:00" in err, told(systemd)) == (1, True, [])
    code, out, _ = hardway(*words, "--yes", "-o", "json")
    assert (code, json.loads(out)["installed"]) == (0, True)
    assert [unit["change"] for unit in json.loads(out)["units"]] == ["create", "create"]
    assert told(systemd) == ["daemon-reload", "enable --now hardway-backup-pair.timer"]
    units = sorted((systemd / "units").iterdir())
    assert [path.name for path in units] == ["hardway-backup-pair.service", "hardway-backup-pair.timer"]
    assert units[0].stat().st_mode & 0o777 == 0o644
    code, _, err = hardway(*words, "--at", "05:00")
    assert (code, "-OnCalendar=*-*-* 03:00:00" in err, "+OnCalendar=*-*-* 05:00:00" in err) == (1, True, True)
    (systemd / "broken").touch()
    code, _, err = hardway(*words, "--at", "05:00", "--yes")
    assert (code, "systemctl daemon-reload ended with 1" in err) == (1, True)
    (systemd / "broken").unlink()
    assert hardway(*words, "--at", "05:00", "--yes")[0] == 0
    told(systemd)
    assert hardway("backup", "install", str(tmp_path), "--remove", "--yes")[0] == 0
    assert told(systemd) == ["disable --now hardway-backup-pair.timer", "daemon-reload"]
    assert list((systemd / "units").iterdir()) == []


def test_of_a_user_they_are_the_users(
    hardway: Commands, tmp_path: Path, systemd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, out, _ = hardway("backup", "install", str(tmp_path), *FOR, "--yes")
    assert (code, "loginctl enable-linger" in out) == (0, True)
    assert told(systemd)[0] == "--user daemon-reload"
    service = (tmp_path / ".config/systemd/user/hardway-backup-pair.service").read_text()
    assert "User=" not in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
@pytest.mark.parametrize(
    "schedule",
    [("OnCalendar=*-*-* 03:00:00", "Persistent=true"), ("OnActiveSec=0", "OnUnitInactiveSec=300")],
    ids=["daily", "every"],
)
def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path, schedule: tuple[str, ...]) -> None:
    """Whatever is in the words of the command."""
    made = planned(Timer("hardway-try", "a try", ("/bin/true", *ODD), schedule, "2h"), "ann")
    paths = []
    for unit in made.units:
        path = tmp_path / Path(unit.path).name
        path.write_text(unit.text)
        paths.append(str(path))
    ran = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    own = [line for line in ran.stderr.splitlines() if "hardway-try" in line]
    assert (ran.returncode, own) == (0, [])


@pytest.mark.parametrize(
    ("word", "written"),
    [("/srv/my backups", '"/srv/my backups"'), ("50%", "50%%"), ("$HOME", "$$HOME"), ("", '""'), ("a\\b", "a\\\\b")],
)
def test_a_word_is_written_as_systemd_reads_it(word: str, written: str) -> None:
    assert quoted(word) == written

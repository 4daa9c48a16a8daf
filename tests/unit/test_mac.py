"""hardway where the names, files and programs of Linux are missing: a Mac, as far as it can be played here."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def mac(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "fake.mac", *words],
        cwd=folder,
        env={"PYTHONPATH": f"{TESTS}:{TESTS.parent}", "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


INVENTORY = """\
cluster: prod
machines:
  k1: {role: controller, address: 192.0.2.1, ssh: {host: 127.0.0.1, port: 9}}
  k2: {role: worker, address: 192.0.2.2, ssh: {host: 127.0.0.2, port: 9}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "hardway.yaml").write_text(INVENTORY)
    return tmp_path


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    assert int(mac(tmp_path, "--import").stdout) > 150


@pytest.mark.parametrize(
    "words",
    [
        "explain 10.32.0.1",
        "explain --all -o shell",
        "verify --offline",
        "map prod.svg",
        "artifacts",
    ],
)
def test_what_asks_no_machine_works(site: Path, words: str) -> None:
    mac(site, *words.split())


def test_the_artifacts_are_those_of_linux(site: Path) -> None:
    mac(site, "render", "there")
    here = [sys.executable, "-m", "hardway", "render", "here"]
    subprocess.run(here, cwd=site, env={"PYTHONPATH": str(TESTS.parent)}, capture_output=True, check=True)
    trees = [
        {str(path.relative_to(site / top)): path.read_bytes() for path in (site / top).rglob("*") if path.is_file()}
        for top in ("here", "there")
    ]
    assert trees[0] == trees[1]
    assert len(trees[0]) > 50


def test_a_lab_is_refused_at_once_with_the_way_that_there_is(site: Path) -> None:
    mac(site, "inventory", "new", "lab.yaml", "--shape", "lab")
    for command in ("up", "down"):
        said = mac(site, "lab", command, "-i", "lab.yaml", code=1).stderr
        assert "a lab's machines are containers and need Linux; this is Darwin" in said
        assert "make vagrant-up" in said
    assert "the lab lab is not up" in mac(site, "plan", "-i", "lab.yaml", code=1).stderr


@pytest.mark.parametrize("command", ["plan", "verify", "init"])
def test_machines_are_dialled(site: Path, command: str) -> None:
    """Nothing listens there: that it is told means that all before it worked."""
    said = mac(site, command, code=1)
    assert "127.0.0.1:9: Connection refused" in said.stdout + said.stderr

"""`doctor` and `lab break` as they are typed."""

from pathlib import Path

import pytest
from test_cli import LAB, REAL, Run, hardway  # noqa: F401

from hardway.lab.faults import FAULTS


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "hardway.yaml").write_text(LAB)
    (tmp_path / "real.yaml").write_text(REAL)
    return tmp_path


def test_every_fault_is_listed_without_a_lab(hardway: Run) -> None:  # noqa: F811
    ran = hardway("lab", "break", "--list")
    assert ran.returncode == 0
    assert [line.split()[0] for line in ran.stdout.splitlines() if line and line[0] != " "][:-1] == [
        one.name for one in FAULTS
    ]


@pytest.mark.parametrize("words", [(), ("ip-forward", "--random"), ("--list", "--random")])
def test_one_way_of_choosing_a_fault_is_needed(hardway: Run, words: tuple[str, ...]) -> None:  # noqa: F811
    ran = hardway("lab", "break", *words)
    assert ran.returncode == 2
    assert "name a fault" in ran.stderr


def test_an_unknown_fault_is_a_usage_error(hardway: Run) -> None:  # noqa: F811
    ran = hardway("lab", "break", "nonsense")
    assert ran.returncode == 2
    assert "no fault is named 'nonsense'" in ran.stderr


def test_nothing_is_broken_where_there_is_no_lab(hardway: Run) -> None:  # noqa: F811
    ran = hardway("lab", "break", "ip-forward", "-i", "real.yaml")
    assert ran.returncode == 1
    assert "no lab" in ran.stderr


def test_doctor_of_a_lab_that_is_down_contacts_nobody(hardway: Run) -> None:  # noqa: F811
    ran = hardway("doctor")
    assert ran.returncode == 1
    assert "is not up; no address was contacted" in ran.stderr


def test_where_no_machine_answers_doctor_could_not_look(hardway: Run) -> None:  # noqa: F811
    ran = hardway("doctor", "-i", "real.yaml")
    assert ran.returncode == 1
    assert "c0 w0: the machine cannot be reached" in ran.stdout
    assert "hardway preflight -i real.yaml -l c0" in ran.stdout

"""Machines of a lab that do not run: what is said of those that are off, and of those that were never made."""

from pathlib import Path

import pytest
from in_process import ran

from hardway.cli import power
from hardway.errors import HardwayError, Unreachable
from hardway.inventory.load import load
from hardway.inventory.model import Cluster

LAB = """\
cluster: nobody-has-this-lab
lab: {network: 10.249.0.0/24}
machines:
  c0: {role: controller, address: 10.249.0.10}
  off: {role: worker, address: 10.249.0.20}
  added: {role: worker, address: 10.249.0.21}
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A lab of which c0 runs, `off` is off, and `added` stands in the inventory since its last `lab up`."""
    (tmp_path / "lab.yaml").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hardway.lab.model.STATE", tmp_path / "disks")
    for module in ("hardway.cli.power", "hardway.cli.site"):
        monkeypatch.setattr(f"{module}.running", lambda name: {"c0": 1})
    for name in ("c0", "off"):
        (tmp_path / "disks" / "nobody-has-this-lab" / "machines" / name).mkdir(parents=True)
    return load(tmp_path / "lab.yaml")


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("off", "is switched off", "hardway lab power-on off -i "),
        ("added", "the lab never made this machine", "hardway lab up -i "),
    ],
)
def test_what_brings_a_machine_up_is_said(lab: Cluster, name: str, what: str, hint: str) -> None:
    with pytest.raises(Unreachable, match=what) as told:
        power.require(lab, name)
    assert str(told.value.hint) == f"{hint}{lab.path}"
    errors: list[HardwayError] = [Unreachable("no answer within 3 s", machine=name)]
    power.hint(lab, errors)
    assert str(errors[0].hint) == f"{hint}{lab.path}"


def test_a_machine_that_runs_keeps_its_own_error(lab: Cluster) -> None:
    error = Unreachable("refused", machine="c0", hint="hardway preflight")
    power.hint(lab, [error])
    assert (error.what, error.hint) == ("refused", "hardway preflight")
    assert (power.switched_off(lab), power.never_made(lab)) == (["off", "added"], ["added"])


def test_a_shell_on_a_machine_that_was_never_made_says_so(
    lab: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = ran(monkeypatch, capsys, "ssh", "-i", "lab.yaml", "added")
    assert code != 0
    assert "hardway lab up" in err

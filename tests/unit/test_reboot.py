"""Which machines want a restart: what a system says of itself, read by the real sh."""

import subprocess
from pathlib import Path

import pytest

from hardway.operations import reboot


def asked(root: Path, running: str, *kernels: str) -> str:
    """What the question answers on a system that runs one kernel and has these installed."""
    for kernel in kernels:
        (root / "lib/modules" / kernel).mkdir(parents=True)
        (root / "boot").mkdir(exist_ok=True)
        (root / f"boot/vmlinuz-{kernel}").touch()
    script = reboot._NEEDED
    for path in ("/lib/modules", "/boot/", "/run/"):
        script = script.replace(path, f"{root}{path}")
    script = f"uname() {{ echo {running}; }}\n{script}"
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("running", "others", "newer"),
    [
        ("6.1.0-30-amd64", ["6.1.0-31-amd64"], "6.1.0-31-amd64"),
        ("6.1.0-9-amd64", ["6.1.0-10-amd64"], "6.1.0-10-amd64"),
        ("6.1.0-30-amd64", ["6.1.0-31-cloud-amd64"], ""),
        ("6.1.0-30-cloud-amd64", ["6.1.0-31-cloud-amd64", "6.1.0-32-amd64"], "6.1.0-31-cloud-amd64"),
        ("6.12.48+deb13-amd64", ["6.12.57+deb13-amd64"], "6.12.57+deb13-amd64"),
        ("6.1.0-30-amd64", ["6.1.0-31-rt-amd64", "6.1.0-29-amd64"], ""),
        ("6.8.0-45-generic", ["6.8.0-1015-aws"], ""),
        ("6.8.0-45-generic", ["6.8.0-47-generic", "6.8.0-1015-aws"], "6.8.0-47-generic"),
        ("5.14.0-427.13.1.el9_4.x86_64", ["5.14.0-427.16.1.el9_4.x86_64"], "5.14.0-427.16.1.el9_4.x86_64"),
        ("5.14.0-427.13.1.el9_4.x86_64", ["5.14.0-427.16.1.el9_4.x86_64+debug"], ""),
    ],
)
def test_only_a_newer_kernel_of_the_same_flavour_counts(
    tmp_path: Path, running: str, others: list[str], newer: str
) -> None:
    said = f"kernel {newer} is installed, {running} runs" if newer else ""
    assert asked(tmp_path, running, running, *others) == said


def test_a_kernel_that_is_not_in_boot_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/6.1.0-31-amd64").mkdir(parents=True)
    assert asked(tmp_path, "6.1.0-30-amd64", "6.1.0-30-amd64") == ""


def test_a_system_without_kernels_of_its_own_wants_nothing(tmp_path: Path) -> None:
    assert asked(tmp_path, "6.1.0-30-amd64") == ""


def test_the_systems_own_word_counts(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    assert asked(tmp_path, "6.1.0-30-amd64", "6.1.0-30-amd64") == "the system asks for it"

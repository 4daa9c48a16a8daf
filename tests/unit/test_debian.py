"""This computer's archive of Debian, among whatever else its apt knows; apt is played."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardway.debian import archives
from hardway.lab import image

HASHICORP = "Artifactory bookworm https://apt.releases.hashicorp.com/"
MIRROR = "http://mirror.test/debian"


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What apt says of its sources: origin, release and URI of each."""
    said = tmp_path / "targets"
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\ncat {said}\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    image.mirrors.cache_clear()
    yield said
    image.mirrors.cache_clear()


@pytest.mark.parametrize("first", [True, False])
def test_somebody_elses_suite_of_the_same_name_is_not_debian(targets: Path, first: bool) -> None:
    own = [f"Debian bookworm {MIRROR}/", f"Debian bookworm-updates {MIRROR}/", f"Debian bookworm-security {MIRROR}-s/"]
    targets.write_text("\n".join([HASHICORP, *own] if first else [*own, HASHICORP]))
    assert archives() == (MIRROR, f"{MIRROR}-s")
    assert image.mirrors("trixie") == [
        f"deb {MIRROR} trixie main",
        f"deb {MIRROR} trixie-updates main",
        f"deb {MIRROR}-s trixie-security main",
    ]


def test_elsewhere_mmdebstrap_knows_its_own_place(targets: Path) -> None:
    targets.write_text(f"{HASHICORP}\nUbuntu noble http://archive.ubuntu.com/ubuntu/\n")
    assert archives() == (None, None)
    assert image.mirrors("bookworm") == []


def test_security_updates_may_have_no_archive_here(targets: Path) -> None:
    targets.write_text(f"Debian bookworm {MIRROR}\nDebian Backports bookworm-backports http://other.test/\n")
    assert image.mirrors("bookworm") == [f"deb {MIRROR} bookworm main", f"deb {MIRROR} bookworm-updates main"]

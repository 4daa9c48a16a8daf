"""What differs between distributions, as the scripts on machines do it; their tools are played by ours."""

import subprocess
from pathlib import Path

import pytest

from hardway.declare.phases.base import Model
from hardway.declare.phases.hosts import packages
from hardway.engine.scripts import PRELUDE
from hardway.inventory.model import Cluster, Machine, Network
from hardway.platforms import PLATFORMS, RED_HAT, platform
from hardway.state import State


def played(folder: Path, *tools: str) -> Path:
    """A folder with tools that tell in a log how they were called; nothing else is on the path but what sh needs."""
    tools_folder = folder / "tools"
    tools_folder.mkdir()
    for name in tools:
        (tools_folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{folder}/log"\n')
        (tools_folder / name).chmod(0o755)
    for name in ("stat", "mv", "chmod", "cp", "rm", "mkdir", "find", "grep"):
        (tools_folder / name).symlink_to(Path("/usr/bin" if Path("/usr/bin", name).exists() else "/bin", name))
    return tools_folder


def ran(folder: Path, tools: Path, script: str) -> list[str]:
    argv = ["/bin/sh", "-euc", f"{PRELUDE}\nset -eu\n{script}"]
    subprocess.run(argv, env={"PATH": str(tools)}, check=True, capture_output=True)
    log = folder / "log"
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.parametrize(
    ("package", "installed"),
    [("procps", "procps-ng"), ("netbase", "setup"), ("iptables", "iptables-nft"), ("openssl", "openssl")],
)
def test_dnf_is_asked_by_red_hat_s_names(tmp_path: Path, package: str, installed: str) -> None:
    tools = played(tmp_path, "dnf")
    assert ran(tmp_path, tools, f"install_package {package} no-such-command '' ''") == [
        f"dnf install -y -q -- {installed}"
    ]


def test_apt_is_asked_by_debian_s_names(tmp_path: Path) -> None:
    calls = ran(tmp_path, played(tmp_path, "apt-get"), "install_package procps no-such-command '' ''")
    assert calls[-1].endswith("-- procps")


def test_every_renamed_package_is_one_that_machines_get() -> None:
    worker = Machine("w", frozenset({"worker", "controller", "load-balancer"}), None)
    model = Model(Cluster("c", (worker,), network=Network(proxy_mode="iptables")), State("c", "id"), {})
    assert RED_HAT.packages.keys() <= {one.package for one in packages(model, worker)}


def test_what_is_put_in_place_gets_its_label_where_there_are_labels(tmp_path: Path) -> None:
    staged, target = tmp_path / "staged", tmp_path / "place" / "file"
    staged.write_text("content")
    tools = played(tmp_path, "restorecon")
    assert ran(tmp_path, tools, f"put {staged} {target} 0644 root:root") == [f"restorecon -F -- {target}"]
    assert target.read_text() == "content"


def test_without_selinux_s_tools_nothing_is_labelled(tmp_path: Path) -> None:
    staged, target = tmp_path / "staged", tmp_path / "place" / "file"
    staged.write_text("content")
    assert ran(tmp_path, played(tmp_path), f"put {staged} {target} 0644 root:root") == []
    assert target.read_text() == "content"


def test_every_distribution_is_in_one_family() -> None:
    ids = [name for family in PLATFORMS for name in family.oldest]
    assert len(ids) == len(set(ids))
    assert [platform(name) for name in ids] == [family for family in PLATFORMS for _ in family.oldest]
    assert platform("arch") is None

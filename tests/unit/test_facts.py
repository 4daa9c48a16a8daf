"""What a machine says of itself, and the placeholders that follow."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import ONE, FakeCluster

from hardway import facts
from hardway.facts import SCRIPT, parse

NewCluster = Callable[[str], FakeCluster]

USUAL = """\
machine=x86_64
kernel=6.1.0
hostname=w0
now=1700000000.5
machine-id=abc
os=debian
os-version=12
memory-kib=2048
swap-kib=0
capabilities=000001ffffffffff
cgroup=2
init=systemd
has-zstd=yes
has-openssl=yes
free-kib=1000
"""


def placeholder(text: str, name: str) -> str:
    return parse(text).placeholders[f"fact/{name}"].decode()


def test_an_ordinary_machine() -> None:
    seen = parse(USUAL)
    assert (seen.arch, seen.clock, seen.memory_kib, seen.free_kib) == ("amd64", 1700000000.5, 2048, 1000)
    assert (seen.systemd, seen.zstd, seen.openssl, seen.etcd_data) == (True, True, True, False)
    assert (seen.os, seen.os_version, seen.machine_id) == ("debian", "12", "abc")


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ("", "cgroup-driver", "systemd"),
        ("cgroup=1\n", "cgroup-driver", "cgroupfs"),
        ("cgroup=1\n", "fail-cgroup-v1", "false"),
        ("", "systemd-cgroup", "true"),
        ("", "restrict-oom-score-adj", "false"),
        ("capabilities=00000000a80425fb\n", "restrict-oom-score-adj", "true"),
        ("", "conntrack-max-per-core", "32768"),
        ("conntrack-mode=444\n", "conntrack-max-per-core", "0"),
        ("", "resolv-conf", "/etc/resolv.conf"),
        ("resolved=yes\n", "resolv-conf", "/run/systemd/resolve/resolv.conf"),
        ("machine=aarch64\n", "arch", "arm64"),
    ],
)
def test_placeholders_follow_from_what_was_seen(more: str, name: str, value: str) -> None:
    assert placeholder(USUAL + more, name) == value


def test_a_machine_that_says_nothing_is_bare_and_not_an_error() -> None:
    seen = parse("")
    assert (seen.arch, seen.memory_kib, seen.systemd, seen.etcd_data) == ("unknown", 0, False, False)


def test_an_architecture_without_components_keeps_its_own_name() -> None:
    assert parse("machine=riscv64\n").arch == "riscv64"


def test_the_script_asks_a_real_shell(new_cluster: NewCluster) -> None:
    machine = new_cluster(ONE).machines["solo"]
    machine.write("/etc/machine-id", "0123\n")
    seen = parse(machine.run(facts.SCRIPT, timeout=10, what="facts").text)
    assert (seen.os, seen.os_version, seen.machine_id, seen.hostname) == ("debian", "12", "0123", "debian")
    assert seen.systemd
    assert seen.clock > 1_600_000_000
    assert min(seen.memory_kib, seen.free_kib) > 0
    assert not seen.etcd_data


@pytest.mark.parametrize(("content", "enforcing"), [("1", True), ("0", False), ("1\n", True)])
def test_selinux_is_seen_in_a_file_without_an_end_of_line(tmp_path: Path, content: str, enforcing: bool) -> None:
    (tmp_path / "enforce").write_text(content)
    script = SCRIPT.replace("/sys/fs/selinux/enforce", str(tmp_path / "enforce"))
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert parse(done.stdout).selinux is enforcing


def test_without_selinux_nothing_is_enforced(tmp_path: Path) -> None:
    script = SCRIPT.replace("/sys/fs/selinux/enforce", str(tmp_path / "enforce"))
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    assert not parse(done.stdout).selinux

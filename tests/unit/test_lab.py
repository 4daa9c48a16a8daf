"""The lab's pure parts: names, texts, checks and the marker of living machines."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace

import pytest

from hardway.errors import LabError
from hardway.lab import access, boot, cgroups, disk, host, image, marker, model, requirements
from hardway.lab.lab import power_on
from hardway.lab.model import Lab, LabMachine
from hardway.lab.supervisor import _leader
from hardway.lab.user import Invoker, invoker

MACHINES = (
    LabMachine("lb-0", IPv4Address("10.240.0.30")),
    LabMachine("controller-0", IPv4Address("10.240.0.10")),
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(model, "STATE", tmp_path / "state")
    monkeypatch.setattr(host, "STATE", tmp_path / "state")
    monkeypatch.setattr(marker, "FOLDER", str(tmp_path / "run"))
    return Lab("lab", IPv4Network("10.240.0.0/24"), MACHINES, tmp_path / "workspace")


def test_the_gateway_is_the_first_address_of_the_machines_network(lab: Lab) -> None:
    assert str(lab.gateway) == "10.240.0.1/24"


@pytest.mark.parametrize("cluster", ["lab", "a-cluster-with-a-very-long-name", "a-cluster-with-a-very-long-nama"])
def test_every_interface_name_fits_the_kernels_15_characters(lab: Lab, cluster: str) -> None:
    named = replace(lab, cluster=cluster)
    assert len(named.bridge) <= 15
    assert all(len(model.interface_name(named, machine)) <= 15 for machine in MACHINES)


def test_labs_with_equal_beginnings_have_interfaces_of_their_own(lab: Lab) -> None:
    one, two = (replace(lab, cluster=f"a-cluster-with-a-very-long-name-{n}") for n in (1, 2))
    assert one.bridge != two.bridge
    assert model.interface_name(one, MACHINES[0]) != model.interface_name(two, MACHINES[0])


def test_a_marker_of_a_living_process_names_it(lab: Lab) -> None:
    marker.write(str(model.marker_path("lab", "lb-0")), os.getpid())
    assert marker.running("lab") == {"lb-0": os.getpid()}


def test_a_marker_whose_process_id_was_taken_by_another_does_not_count(lab: Lab) -> None:
    path = model.marker_path("lab", "lb-0")
    path.parent.mkdir(parents=True)
    path.write_text(f"{os.getpid()} 1\n")
    assert marker.running("lab") is None


@pytest.mark.parametrize("content", ["", "12", "x y", "1 2 3"])
def test_a_damaged_marker_does_not_count(lab: Lab, content: str) -> None:
    path = model.marker_path("lab", "lb-0")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert marker.running("lab") is None


def test_a_machine_that_died_and_was_not_collected_does_not_count(lab: Lab) -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        marker.write(str(model.marker_path("lab", "lb-0")), process.pid)
        assert marker.running("lab") == {"lb-0": process.pid}
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert marker.running("lab") is None


def test_a_lab_that_was_never_up_is_down(lab: Lab) -> None:
    assert marker.running("lab") is None


def test_status_of_a_lab_that_is_down_contacts_nobody(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from hardway.lab import lab as verbs

    def contact(address: IPv4Address, seconds: float = 0) -> bool:
        raise AssertionError(f"contacted {address}")

    monkeypatch.setattr(verbs, "ssh_answers", contact)
    assert [(m.name, m.state, m.pid, m.ssh) for m in verbs.status(lab)] == [
        ("lb-0", "absent", None, False),
        ("controller-0", "absent", None, False),
    ]


def test_known_hosts_keeps_other_lines_and_replaces_its_own(lab: Lab) -> None:
    present = "bastion.example.net ssh-ed25519 AAAA\n10.240.0.30,lb-0 ssh-ed25519 OLD\ncontroller-0 ssh-rsa OLD\n"
    keys = {"lb-0": "ssh-ed25519 NEW1", "controller-0": "ssh-ed25519 NEW2"}
    assert access.known_hosts(lab, present, keys).splitlines() == [
        "bastion.example.net ssh-ed25519 AAAA",
        "10.240.0.30,lb-0 ssh-ed25519 NEW1",
        "10.240.0.10,controller-0 ssh-ed25519 NEW2",
    ]


def test_the_operator_key_is_made_once_and_readable_by_its_owner_only(lab: Lab, tmp_path: Path) -> None:
    caller = Invoker(os.getuid(), os.getgid(), tmp_path)
    first = access.ensure_operator_key(lab, caller)
    assert access.ensure_operator_key(lab, caller) == first
    assert lab.private_key.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in lab.private_key.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_the_invoker_is_the_one_who_called_sudo() -> None:
    called = invoker({"SUDO_UID": "0", "SUDO_GID": "7", "HOME": "/elsewhere"})
    assert (called.uid, called.gid, called.cache) == (0, 7, Path("/root/.cache"))


def route(destination: str, device: str) -> dict[str, str]:
    return {"dst": destination, "dev": device}


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ([route("default", "eth0"), route("192.0.2.0/24", "eth0")], []),
        ([route("0.0.0.0/1", "tun0"), route("128.0.0.0/1", "tun0")], []),
        ([route("10.240.0.0/24", "hw-lab"), route("10.240.0.1", "hw-lab")], []),
        ([route("10.0.0.0/8", "tun0")], [(IPv4Network("10.0.0.0/8"), "tun0")]),
        ([route("10.240.0.7", "wg0"), route("10.240.0.8", "wg0")], [(IPv4Network("10.240.0.7/32"), "wg0")]),
        ([{"type": "blackhole", "dst": "10.240.0.0/16"}], [(IPv4Network("10.240.0.0/16"), "blackhole")]),
    ],
)
def test_a_network_that_something_else_routes_is_found(
    lab: Lab, routes: list[dict[str, str]], found: list[tuple[IPv4Network, str]]
) -> None:
    assert requirements.overlapping(lab, routes) == found


def test_all_that_is_missing_is_told_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda program: None)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    monkeypatch.setattr(image, "is_made", lambda *_: False)
    problems = requirements.requirements(lab)
    assert any("sudo" in problem for problem in problems)
    assert any("apt-get install" in problem and "systemd-container" in problem for problem in problems)
    assert any("2.5" in problem and "make room" in problem for problem in problems)


def test_the_lab_has_one_nft_table_that_is_replaced_whole(lab: Lab) -> None:
    lines = [line.strip() for line in host.ruleset(lab).splitlines()]
    assert lines[:3] == [
        "table ip hardway-lab-lab",
        "delete table ip hardway-lab-lab",
        "table ip hardway-lab-lab {",
    ]
    assert 'ip saddr 10.240.0.0/24 ip daddr != 10.240.0.0/24 oifname != "hw-lab" masquerade' in lines


def test_what_is_meant_for_services_and_pods_never_leaves_the_lab(lab: Lab) -> None:
    inner = (IPv4Network("10.32.0.0/24"), IPv4Network("10.200.0.0/16"))
    rules = host.ruleset(replace(lab, inner=inner))
    assert 'iifname "hw-lab" oifname != "hw-lab" ip daddr { 10.32.0.0/24, 10.200.0.0/16 } reject' in rules


def test_settings_recorded_before_a_reboot_are_forgotten(lab: Lab, tmp_path: Path) -> None:
    record = tmp_path / "sysctls.json"
    record.write_text(json.dumps({"boot": "another", "previous": {"kernel.panic": "0"}}))
    assert host.recorded_sysctls(record) == {}
    record.write_text(json.dumps({"boot": host.boot_id(), "previous": {"kernel.panic": "0"}}))
    assert host.recorded_sysctls(record) == {"kernel.panic": "0"}


@pytest.fixture
def made(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The disk of lb-0, over an empty root."""
    monkeypatch.setattr(os, "chown", lambda *_: None)
    (tmp_path / "root").mkdir()
    disk.create(lab, MACHINES[0], tmp_path / "root", b"ssh-ed25519 AAAA lab\n")
    return lab.disk("lb-0")


def test_a_disk_holds_the_machines_identity_address_and_access(made: Path) -> None:
    upper = made / "upper"
    assert (upper / "etc/hostname").read_text() == "lb-0\n"
    assert len((upper / "etc/machine-id").read_text().strip()) == 32
    assert "Address=10.240.0.30/24\nGateway=10.240.0.1\n" in (upper / "etc/systemd/network/10-lab.network").read_text()
    assert (upper / access.HOST_KEY).stat().st_mode & 0o777 == 0o600
    for home in ("root", "home/ops", "home/guarded"):
        assert (upper / home / ".ssh/authorized_keys").read_bytes() == b"ssh-ed25519 AAAA lab\n"


def test_name_servers_behind_a_local_stub_are_not_given_to_machines(made: Path) -> None:
    lines = (made / "upper/etc/resolv.conf").read_text().splitlines()
    assert not [line for line in lines if line.startswith("nameserver 127.")]


def test_half_a_disk_of_a_killed_run_is_created_again(lab: Lab, made: Path, tmp_path: Path) -> None:
    half = made.with_name(".controller-0.new")
    half.mkdir()
    (half / "torn").touch()
    disk.create(lab, MACHINES[1], tmp_path / "root", b"key")
    assert not half.exists()
    assert not (lab.disk("controller-0") / "torn").exists()


def test_a_disk_made_for_another_address_is_refused(lab: Lab, made: Path) -> None:
    moved = LabMachine("lb-0", IPv4Address("10.240.0.31"))
    with pytest.raises(LabError, match=r"made for the address 10\.240\.0\.30/24") as error:
        disk.check(lab, moved)
    assert error.value.machine == "lb-0"


def test_a_disk_whose_root_is_gone_is_refused(lab: Lab, made: Path, tmp_path: Path) -> None:
    (tmp_path / "root").rmdir()
    with pytest.raises(LabError, match="gone from the cache"):
        disk.check(lab, MACHINES[0])


def test_a_machine_has_real_folders_where_an_overlay_would_not_do(lab: Lab, made: Path) -> None:
    argv = disk.nspawn(lab, MACHINES[0])
    assert f"--bind={made}/data/var/lib/containerd:/var/lib/containerd" in argv
    assert "--network-bridge=hw-lab" in argv
    assert "--keep-unit" in argv


def test_a_machine_nobody_knows_is_named_with_those_there_are(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LabError, match="no machine of lab lab is called x") as error:
        power_on(lab, "x")
    assert error.value.hint == "its machines: lb-0, controller-0"


def test_the_leader_is_read_from_systemd_nspawns_notice() -> None:
    assert _leader(b"STATUS=Container running.\nX_NSPAWN_LEADER_PID=4711") == 4711
    assert _leader(b"READY=1") is None


def test_groups_are_removed_from_the_bottom_and_their_members_found(tmp_path: Path) -> None:
    inner = tmp_path / "machine" / "payload" / "init.scope"
    inner.mkdir(parents=True)
    assert cgroups.members([tmp_path / "machine"]) == set()
    assert cgroups.prune([tmp_path / "machine"], itself=False) == []
    assert list((tmp_path / "machine").iterdir()) == []
    assert cgroups.prune([tmp_path / "machine"], itself=True) == []
    assert not (tmp_path / "machine").exists()


def test_an_address_where_nothing_listens_does_not_answer_ssh() -> None:
    assert not boot.ssh_answers(IPv4Address("127.250.0.1"), seconds=0.1)


def test_what_goes_into_a_root_names_it() -> None:
    keys = {
        image._key("debian-12", [], ["deb http://a bookworm main"]),
        image._key("debian-12", [], ["deb http://b bookworm main"]),
        image._key("debian-12", ['Acquire::http::Proxy "http://p:1"'], ["deb http://a bookworm main"]),
        image._key("debian-12-minimal", [], ["deb http://a bookworm main"]),
    }
    assert len(keys) == 4


def test_a_disk_tells_the_image_that_it_was_made_from(lab: Lab) -> None:
    folder = lab.disk("lb-0")
    folder.mkdir(parents=True)
    (folder / "lower").write_text("/home/a/.cache/hardway/lab/debian-13-minimal-0123456789abcdef/root")
    assert disk.image_of(lab, MACHINES[0]) == "debian-13-minimal"

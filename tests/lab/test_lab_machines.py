"""Two real machines: booted, switched off and on, rebooted, and taken away without a trace."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hardway.events import Event, discard
from hardway.lab import host, marker
from hardway.lab.boot import ssh_answers
from hardway.lab.lab import down, power_off, power_on, status, up
from hardway.lab.model import STATE, Lab, LabMachine, nft_table

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]

ONE, TWO = LabMachine("one", IPv4Address("10.243.0.10")), LabMachine("two", IPv4Address("10.243.0.11"))
_UP = """
import sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from hardway.lab.lab import up
from hardway.lab.model import Lab, LabMachine
machines = LabMachine("one", IPv4Address("10.243.0.10")), LabMachine("two", IPv4Address("10.243.0.11"))
up(Lab("labtest", IPv4Network("10.243.0.0/24"), machines, Path(sys.argv[1])), lambda event: print(event, flush=True))
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab("labtest", IPv4Network("10.243.0.0/24"), (ONE, TWO), tmp_path / "workspace")
    yield lab
    down(lab, discard)


def ssh(lab: Lab, machine: LabMachine, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
    options = ["BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={lab.known_hosts}"]
    argv = ["ssh", "-i", str(lab.private_key), *(f"-o{option}" for option in options)]
    argv += [f"{user}@{machine.address}", command]
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def settings() -> dict[str, str]:
    return {name: host._file(name).read_text().strip() for name in host.SYSCTLS}


def traces(lab: Lab) -> list[str]:
    """What is left on the host of this lab."""
    found = [str(path) for path in (lab.state, Path(marker.FOLDER, lab.cluster)) if path.exists()]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/hardway-lab/{lab.cluster}")]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(lab.state) in line]
    found += [path.name for path in Path("/sys/class/net").iterdir() if path.name == lab.bridge]
    found += [nft_table(lab.cluster)] if nft_table(lab.cluster) in host.run("nft", "list", "tables") else []
    return found


def test_machines_answer_with_the_keys_in_the_workspace_and_a_second_up_changes_nothing(lab: Lab) -> None:
    assert up(lab, discard) == ["one", "two"]
    assert ssh(lab, ONE, "hostname").stdout == "one\n"
    assert ssh(lab, TWO, "sudo -n id -u", user="ops").stdout == "0\n"
    assert ssh(lab, TWO, "sudo -n id -u", user="guarded").returncode != 0
    assert ssh(lab, TWO, "echo hardway | sudo -S id -u", user="guarded").stdout == "0\n"
    assert ssh(lab, ONE, f"ping -c 1 -W 2 {TWO.address}").returncode == 0
    assert ssh(lab, ONE, "systemctl is-system-running --wait").stdout == "running\n"
    before = marker.running(lab.cluster)
    assert up(lab, discard) == []
    assert marker.running(lab.cluster) == before


def test_a_machine_has_what_containers_need(lab: Lab) -> None:
    up(lab, discard)
    for need in (
        "sysctl -w net.ipv4.ip_forward=1",
        "test -e /proc/sys/net/bridge/bridge-nf-call-iptables",
        "unshare --mount mount -t tmpfs none /mnt",
        "cd /var/lib/containerd; mkdir l u w m && mount -t overlay -olowerdir=l,upperdir=u,workdir=w o m && umount m",
        "nft add table ip probe && nft delete table ip probe",
        "ip tuntap add probe0 mode tun && ip link delete probe0",
        "group=$(ls -d /sys/fs/cgroup/memory 2>/dev/null || echo /sys/fs/cgroup)/probe; mkdir $group && rmdir $group",
        "dd if=/dev/kmsg of=/dev/null bs=8192 count=1",
        "conntrack -L",
    ):
        result = ssh(lab, ONE, need)
        assert result.returncode == 0, f"{need}: {result.stderr}"


def test_a_reboot_comes_back_with_its_files_and_an_init_of_its_own(lab: Lab) -> None:
    up(lab, discard)
    first = (marker.running(lab.cluster) or {})["one"]
    ssh(lab, ONE, "touch /root/kept /var/lib/kubelet/kept; systemctl reboot")
    until(lambda: (marker.running(lab.cluster) or {}).get("one", first) != first)
    until(lambda: ssh_answers(ONE.address))
    assert ssh(lab, ONE, "ls /root/kept /var/lib/kubelet/kept").returncode == 0


def test_a_plug_pulled_leaves_the_others_and_power_on_brings_the_disk_back(lab: Lab) -> None:
    up(lab, discard)
    ssh(lab, ONE, "touch /root/kept")
    power_off(lab, "one")
    assert [(machine.name, machine.state, machine.ssh) for machine in status(lab)] == [
        ("one", "off", False),
        ("two", "running", True),
    ]
    power_on(lab, "one")
    assert ssh(lab, ONE, "ls /root/kept").returncode == 0


def kill_keeper(lab: Lab, machine: str, command: str) -> None:
    """Kill the one process whose command line holds this command and, after it, the machine's disk."""
    found = subprocess.run(["pgrep", "-f", f"{command} .*{lab.disk(machine)}/"], capture_output=True, check=True)
    os.kill(int(found.stdout), signal.SIGKILL)


def test_a_machine_whose_systemd_nspawn_is_killed_is_off_and_boots_again(lab: Lab) -> None:
    up(lab, discard)
    kill_keeper(lab, "one", "systemd-nspawn")
    until(lambda: status(lab)[0].state == "off")
    assert up(lab, discard) == ["one"]
    assert ssh(lab, ONE, "hostname").stdout == "one\n"


def test_a_machine_whose_supervisor_is_killed_goes_on_and_can_be_switched_off(lab: Lab) -> None:
    up(lab, discard)
    kill_keeper(lab, "one", "hardway.lab.supervisor")
    assert up(lab, discard) == []
    assert ssh(lab, ONE, "hostname").stdout == "one\n"
    power_off(lab, "one")
    assert status(lab)[0].state == "off"


@pytest.mark.parametrize("moment", ["Note", "boots as 10.243.0.10", "boots as 10.243.0.11", "answers SSH"])
def test_up_killed_at_any_moment_is_continued_or_taken_down(lab: Lab, moment: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _UP, str(lab.workspace)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if moment in line:
                process.kill()
                break
    up(lab, discard)
    assert ssh(lab, TWO, "hostname").stdout == "two\n"
    down(lab, discard)
    assert traces(lab) == []


def test_down_leaves_nothing_and_puts_the_hosts_settings_back(lab: Lab) -> None:
    alone = not STATE.exists()
    before = settings()
    said: list[Event] = []
    up(lab, said.append)
    down(lab, said.append)
    assert traces(lab) == []
    assert not alone or settings() == before
    assert marker.running(lab.cluster) is None

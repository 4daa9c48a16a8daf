"""How a typed script reaches the machines: as root there, by the way that the inventory tells."""

import os
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hardway.declare.phases.base import Model
from hardway.explain.shell.prelude import prelude
from hardway.inventory.model import Cluster, LabSpec, Machine, Ssh
from hardway.state import State

FAKES = {
    # ssh … MACHINE COMMAND: what sshd does, with the account's login shell; connections are told in a file
    "ssh": 'printf "%s\\n" "$*" >>"$LOG"\nfor machine in "$@"; do [[ $machine == k? ]] && break; done\n'
    'case ${*: -1} in true|-) exit ;; esac\nACCOUNT=${!machine} exec dash -c "${*: -1}"\n',
    "id": 'echo "$ACCOUNT"\n',
    "sudo": '[ "$1" = -n ] && shift\necho by sudo\nACCOUNT=0 exec "$@"\n',
    "ssh-keygen": "",
}


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    folder = tmp_path / "fakes"
    folder.mkdir()
    for name, text in FAKES.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    return folder


def cluster(**machines: Ssh) -> Cluster:
    return Cluster(
        "prod",
        tuple(
            Machine(name, frozenset({"controller"}), IPv4Address(f"10.0.8.{number}"), ssh)
            for number, (name, ssh) in enumerate(machines.items(), 10)
        ),
    )


def typed(folder: Path, wanted: Cluster, *lines: str, **accounts: int) -> str:
    """What a script says of which these are the lines, where `accounts` are who logs in, by machine."""
    model = Model(wanted, State(wanted.name, "id"), {})
    text = "\n".join([*prelude(model, "a test", folder / "workspace", first=True), *lines])
    environment = {
        **{name: str(uid) for name, uid in accounts.items()},
        "PATH": f"{folder / 'fakes'}:{os.environ['PATH']}",
        "LOG": str(folder / "log"),
    }
    return subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=True).stdout


def symptom(folder: Path) -> list[str]:
    return [line for line in (folder / "log").read_text().splitlines() if "StrictHostKeyChecking" in line]


WHOLE = "ssh {} 'echo \"it'\"'\"'s\nwhole $1\" $(id -u)'"


@pytest.mark.parametrize(("account", "said"), [(0, ""), (1000, "by sudo\n")])
def test_sudo_is_used_where_the_machine_says_that_it_is_not_root(
    tmp_path: Path, fakes: Path, account: int, said: str
) -> None:
    assert typed(tmp_path, cluster(k1=Ssh()), WHOLE.format("k1"), k1=account) == f"{said}it's\nwhole  0\n"


def test_each_machine_has_its_own_way_to_be_root(tmp_path: Path, fakes: Path) -> None:
    wanted = cluster(
        k1=Ssh(user="root"), k2=Ssh(user="root"), k3=Ssh(user="ops"), k4=Ssh(become="sudo"), k5=Ssh(become="none")
    )
    lines = [f"ssh k{number} 'id -u'" for number in range(1, 6)]
    said = typed(tmp_path, wanted, *lines, k1=0, k2=0, k3=1000, k4=0, k5=1000)
    assert said == "0\n0\nby sudo\n0\nby sudo\n0\n1000\n"


def test_where_root_logs_in_everywhere_a_command_is_sent_as_it_is(tmp_path: Path, fakes: Path) -> None:
    typed(tmp_path, cluster(k1=Ssh(user="root")), "ssh k1 uptime", k1=0)
    assert (tmp_path / "log").read_text().splitlines()[-2].endswith(" k1 uptime")


def test_machines_are_met_first_by_the_way_that_is_configured_and_jump_hosts_before_those_behind_them(
    tmp_path: Path, fakes: Path
) -> None:
    given = tmp_path / "given"
    typed(tmp_path, cluster(k1=Ssh(jump="k2"), k2=Ssh(host="k2", config=given), k3=Ssh(port=2200)))
    assert symptom(tmp_path) == [
        f"-n -F ssh_config -o StrictHostKeyChecking=accept-new {name} true" for name in ("k2", "k3", "k1")
    ]


def test_the_host_keys_of_a_lab_are_known(tmp_path: Path, fakes: Path) -> None:
    typed(tmp_path, replace(cluster(k1=Ssh(user="root")), lab=LabSpec(IPv4Network("10.0.8.0/24"))))
    assert symptom(tmp_path) == []


def test_where_openssl_is_another_one_nothing_is_typed(tmp_path: Path, fakes: Path) -> None:
    (fakes / "openssl").write_text("#!/bin/sh\necho LibreSSL 3.3.6\n")
    (fakes / "openssl").chmod(0o755)
    with pytest.raises(subprocess.CalledProcessError) as caught:
        typed(tmp_path, cluster(k1=Ssh()), "echo typed", k1=0)
    assert caught.value.stdout == ""
    assert caught.value.stderr.startswith("this needs bash 4 and OpenSSL 3, or newer; here are bash ")
    assert caught.value.stderr.endswith("and LibreSSL 3.3.6\n")
    assert not (tmp_path / "workspace").exists()

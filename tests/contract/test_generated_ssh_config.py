"""`hardway ssh` lands where hardway itself does, whatever the operator's own ssh_config says."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from hardway.declare.phases import access
from hardway.declare.phases.base import Model
from hardway.engine.guards import first_state
from hardway.engine.session import Access, target
from hardway.inventory.model import Cluster, Machine, Ssh
from hardway.remote.ssh_config import SshConfig
from hardway.workspace import Workspace

pytestmark = pytest.mark.contract

CASES = {
    "nothing": (Ssh(user="ops"), "", "ops@10.0.8.10:22"),
    "an address": (Ssh(), "Host 10.0.8.10\n  User ops\n  Port 2222\n", "ops@10.0.8.10:2222"),
    "a pattern of addresses": (
        Ssh(),
        "Host 10.0.8.*\n  User ops\n  ProxyJump bastion\n",
        "ops@10.0.8.10:22 by bastion",
    ),
    "the inventory's name": (Ssh(user="root"), "Host k1\n  User ops\n  Port 2222\n", "root@10.0.8.10:22"),
    "match host": (Ssh(), "Match host 10.0.8.10\n  User ops\n", "ops@10.0.8.10:22"),
    "match final all": (Ssh(), "Match final all\n  User ops\n", "ops@10.0.8.10:22"),
    "the inventory over it": (Ssh(user="adm", port=2201), "Host *\n  User ops\n  Port 2222\n", "adm@10.0.8.10:2201"),
    "another address": (Ssh(host="192.0.2.7"), "Host 192.0.2.7\n  User ops\n", "ops@192.0.2.7:22"),
    "an alias": (Ssh(host="web"), "Host web\n  HostName 192.0.2.7\n  User ops\n  Port 2222\n", "ops@192.0.2.7:2222"),
    "its own name as an alias": (Ssh(host="k1"), "Host k1\n  HostName 192.0.2.7\n  User ops\n", "ops@192.0.2.7:22"),
    "a jump host": (
        Ssh(jump="ops@bastion:2201", user="adm"),
        "Host *\n  ProxyJump b0\n",
        "adm@10.0.8.10:22 by ops@bastion:2201",
    ),
    "a jump host of a file": (Ssh(user="adm"), "Host * !bastion\n  ProxyJump bastion\n", "adm@10.0.8.10:22 by bastion"),
}


@pytest.mark.parametrize("config", ["user's", "inventory's"])
@pytest.mark.parametrize("name", CASES)
def test_the_generated_file_leads_where_hardway_goes(
    name: str, config: str, tmp_path: Path, no_habits_of_the_user: Path
) -> None:
    ssh, text, lands = CASES[name]
    given = (no_habits_of_the_user / ".ssh" / "config") if config == "user's" else tmp_path / "given"
    given.write_text(text)
    if config == "inventory's":
        ssh = replace(ssh, config=given)
    machine = Machine("k1", frozenset({"controller"}), IPv4Address("10.0.8.10"), ssh)
    # another machine, which is reached in another way
    other = Machine("k2", frozenset({"worker"}), IPv4Address("10.0.8.11"), Ssh(host="else", user="nobody"))
    cluster = Cluster("prod", (machine, other), path=tmp_path / "hardway.yaml")
    dialled = target(machine, cluster, Workspace.of(cluster, None), Access())
    route = SshConfig(dialled.ssh_config).route(dialled)

    written = tmp_path / "ssh_config"
    written.write_text(access.ssh_config(Model(cluster, first_state(cluster), {})))
    argv = ["ssh", "-T", "-G", "-F", str(written), access.ssh_name(machine)]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    said = dict(line.partition(" ")[::2] for line in printed.splitlines())

    hop = route[-1]
    assert (said["hostname"], int(said["port"]), said["user"]) == (hop.host, hop.port, hop.user)
    by = f" by {said['proxyjump']}" if said.get("proxyjump", "none") != "none" else ""
    assert (len(route) > 1) == bool(by)
    assert f"{said['user']}@{said['hostname']}:{said['port']}{by}" == lands
    assert said["stricthostkeychecking"] == "true"

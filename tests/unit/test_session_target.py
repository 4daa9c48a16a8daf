"""Where and how a machine is dialled, by what its inventory says."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from hardway.engine.session import Access, target
from hardway.errors import UsageError
from hardway.inventory.model import Cluster, LabSpec, Machine, Ssh
from hardway.remote.ssh_config import SshConfig
from hardway.workspace import Workspace


def dialled(ssh: Ssh, folder: Path) -> tuple[str, int, str]:
    """Host, port and user to which a machine at 10.0.8.10 leads."""
    machine = Machine("k1", frozenset({"controller"}), IPv4Address("10.0.8.10"), ssh)
    cluster = Cluster("prod", (machine,), path=folder / "hardway.yaml")
    found = target(machine, cluster, Workspace.of(cluster, None), Access())
    hop = SshConfig(found.ssh_config).route(found)[-1]
    return hop.host, hop.port, hop.user


def test_an_alias_leads_where_the_inventory_s_own_ssh_config_says(tmp_path: Path) -> None:
    given = tmp_path / "ssh_config"
    given.write_text("Host k1\n  HostName 192.0.2.7\n  Port 2200\n  User vagrant\n")
    assert dialled(Ssh(host="k1", config=given), tmp_path) == ("192.0.2.7", 2200, "vagrant")
    assert dialled(Ssh(host="k1", config=given, port=22, user="ops"), tmp_path) == ("192.0.2.7", 22, "ops")


def test_a_lab_s_machine_is_where_the_lab_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "config").write_text("Host *\n  ProxyJump bastion\n  User ops\n")
    machine = Machine("k1", frozenset({"controller"}), IPv4Address("10.0.8.10"), Ssh(user="root"))
    cluster = Cluster("prod", (machine,), path=tmp_path / "hardway.yaml")
    routes = []
    for lab in (None, LabSpec(IPv4Network("10.0.8.0/24"))):
        found = target(machine, replace(cluster, lab=lab), Workspace.of(cluster, None), Access())
        routes.append([hop.host for hop in SshConfig(found.ssh_config, own=found.own_config).route(found)])
    assert routes == [["bastion", "10.0.8.10"], ["10.0.8.10"]]


def test_an_ssh_config_that_is_not_there_is_told_with_the_next_move(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such ssh_config file") as told:
        dialled(Ssh(config=tmp_path / "ssh_config"), tmp_path)
    assert told.value.hint == "create it, or remove ssh: {config: …} from the inventory"

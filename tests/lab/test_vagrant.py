"""A real `vagrant up` of the machines in inventories/vagrant.yaml, and what a person does with them.

$HARDWAY_VAGRANT_INVENTORY names a smaller inventory while one works on this.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import INVENTORIES, REPOSITORY, Labs, Ran, Site

from hardway.inventory.load import load

INVENTORY = Path(os.environ.get("HARDWAY_VAGRANT_INVENTORY", INVENTORIES / "vagrant.yaml"))
CLUSTER = load(INVENTORY)
VAGRANT = REPOSITORY / "vagrant"

# All that the machines could leave behind on this computer. What somebody's own lab has may come and go.
_SETTINGS = "(kernel|vm|fs)[.].*(panic|overcommit|inotify.max|max_map|keys[.]root)|net.ipv4.ip_forward"
_TRACES = {
    "interfaces": "ip -brief link | awk '{print $1}' | grep -vE '^(vb|hw)-'",
    "networks": f"ip -brief -4 address | grep -E '10[.]0[.]3[.]|{CLUSTER.machines[0].ip}|hw-{CLUSTER.name}'",
    "processes": "ps -eo args | grep -E '^(dnsmasq|lxc|.lxc|redir)' | grep -v defunct",
    "control groups": "find /sys/fs/cgroup -name 'hardway-vagrant*'",
    "containers": "ls /var/lib/lxc /run/hardway-vagrant",
    "network names": "ls /run/netns",
    "filters": f"nft list tables | grep -E -- '-{CLUSTER.name}(-nat)?$'",
    "settings": f"sysctl -a | grep -E '^({_SETTINGS})'",
    "files": f"ls -A {VAGRANT}; ls -A {INVENTORY.parent}/.hardway | grep -x {CLUSTER.name}",
}

pytestmark = [pytest.mark.lab, pytest.mark.vagrant]


def traces() -> dict[str, list[str]]:
    """What is on this computer that Vagrant's machines have or change, by kind."""
    found = {}
    for what, look in _TRACES.items():
        said = subprocess.run(["sh", "-c", look], capture_output=True, text=True, check=False).stdout
        found[what] = sorted(said.splitlines())
    return found


def by_make(*words: str) -> subprocess.CompletedProcess[str]:
    """A command that `make vagrant-…` would run."""
    return subprocess.run(
        [str(REPOSITORY / "tools" / "vagrant"), *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(scope="module")
def before(labs: Labs) -> dict[str, list[str]]:
    """What was there before the machines; skips where this computer cannot have them."""
    labs.clear()
    living = [str(path) for path in VAGRANT.glob(".vagrant/machines/*/*/id")]
    assert living == [], "machines of Vagrant's are up already: make vagrant-down"
    able = by_make("check")
    if able.returncode:
        pytest.skip(able.stderr)
    return traces()


class VagrantSite(Site):
    """The shipped inventory where it lies; Vagrant and hardway find each other by that."""

    def argv(self, *words: str) -> list[str]:
        return [*self.program, words[0], "-i", str(INVENTORY), *words[1:]]


@pytest.fixture(scope="module")
def machines(before: dict[str, list[str]]) -> Iterator[Site]:
    """The machines, up and bare; destroyed whatever happens, and nothing of them may be left."""
    try:
        up = by_make("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield VagrantSite(INVENTORY.parent, CLUSTER.name)
    finally:
        down = by_make("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert traces() == before


@pytest.fixture(scope="module")
def built(machines: Site) -> Ran:
    """`hardway init`, as the user that Vagrant makes."""
    return machines.init("--accept-new-host-keys")


def test_host_keys_that_nobody_vouched_for_are_refused(machines: Site) -> None:
    ran = machines.hardway("preflight", code=1)
    assert "--accept-new-host-keys" in ran.out


def test_init_through_vagrants_own_ssh_builds_a_cluster_and_proves_it(built: Ran, machines: Site) -> None:
    proved = [event for event in built.events if event["event"] == "Proved"]
    assert {event["phase"] for event in proved} >= {"etcd", "dns", "smoke-test"}
    assert [event for event in proved if not event["holds"]] == []
    assert set(machines.nodes_ready()) == {machine.name for machine in CLUSTER.workers}


def test_the_cluster_keeps_to_its_own_network_and_ssh_to_vagrants(built: Ran, machines: Site) -> None:
    nodes = json.loads(machines.kubectl("get", "nodes", "-o", "json"))["items"]
    addresses = {one["address"] for node in nodes for one in node["status"]["addresses"] if one["type"] == "InternalIP"}
    assert addresses == {str(machine.ip) for machine in CLUSTER.workers}
    known = (machines.workspace / "known_hosts").read_text()
    assert len(known.splitlines()) == len(CLUSTER.machines)
    assert not any(str(machine.ip) in known for machine in CLUSTER.machines)


def test_the_account_is_vagrants_and_root_only_by_sudo(built: Ran, machines: Site) -> None:
    name = CLUSTER.workers[0].name
    said = machines.hardway("ssh", name, "--", "id -un; hostname; sudo id -un").out.split()
    assert said == ["vagrant", name, "root"]


def test_a_second_run_changes_nothing(built: Ran, machines: Site) -> None:
    machines.unchanged("init", "--yes")
    machines.hardway("plan")

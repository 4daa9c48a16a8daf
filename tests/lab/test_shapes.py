"""Other shapes of cluster, bare base images, and hardway as its wheel brings it."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from driving import REPOSITORY, Labs, renamed

pytestmark = pytest.mark.lab


def test_one_server_and_two_workers_from_nothing_on_two_releases_of_debian(labs: Labs) -> None:
    mixed = renamed("lab-small.yaml", "hwtest-3")
    for name in ("server", "node-0"):
        mixed, count = re.subn(rf"^(  {name}: {{)", r"\1image: debian-13, ", mixed, flags=re.MULTILINE)
        assert count == 1
    site = labs.fresh(labs.make("hwtest-3", mixed))
    site.init()
    assert set(site.nodes_ready()) == {"node-0", "node-1"}
    releases = site.everywhere("cut -d. -f1 /etc/debian_version")
    assert releases == {"server": "13\n", "node-0": "13\n", "node-1": "12\n"}
    site.unchanged("init")


STACKED = """\
cluster: hwtest-3
endpoint: front
lab: {network: 10.245.4.0/24}
machines:
  front: {role: load-balancer, address: 10.245.4.9}
  all-0: {role: [controller, worker], address: 10.245.4.10, labels: {disk: ssd}}
  all-1: {role: [controller, worker], address: 10.245.4.11}
  all-2: {role: [controller, worker], address: 10.245.4.12}
"""


DROP = """\
nft -f - <<'RULES'
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    tcp dport 22 accept
  }
  chain forward { type filter hook forward priority filter; policy drop; }
}
RULES
"""


@pytest.mark.in_turn("firewalls")
def test_controllers_that_are_workers_too_behind_firewalls_that_drop_all_else(labs: Labs) -> None:
    site = labs.fresh(labs.make("hwtest-3", STACKED))
    machines = ("front", "all-0", "all-1", "all-2")
    site.everywhere(DROP, machines)
    refused = " ".join(site.hardway("init", "--yes", code=1).out.split())
    assert "all-0: closed: TCP 2379, 2380, 10250 to all-1, all-2" in refused
    assert "front: closed: TCP 6443 to all-0, all-1, all-2" in refused
    for name in machines:
        site.on(name, site.hardway("preflight", "--ports", "nft", "-l", name).out)
    site.init()
    assert set(site.nodes_ready()) == {"all-0", "all-1", "all-2"}
    assert site.kubectl("get", "nodes", "-l", "disk=ssd", "-o", "name").split() == ["node/all-0"]
    site.unchanged("init")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command `hardway` of a clean environment that knows the wheel and not this source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(REPOSITORY)],
        check=True,
    )
    [wheel] = folder.glob("hardway-*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = str(folder / "env" / "bin" / "python")
    subprocess.run([*pip, f"--python={python}", "install", "--quiet", str(wheel)], check=True, cwd=folder)
    return (str(folder / "env" / "bin" / "hardway"),)


def test_the_wheel_alone_builds_a_cluster_on_one_machine(labs: Labs, installed: tuple[str, ...]) -> None:
    site = labs.fresh(labs.make("hwtest-1", renamed("single.yaml", "hwtest-1"), installed))
    where = "import hardway, hardway.data; print(hardway.__file__, hardway.data.folder('templates'))"
    python = Path(installed[0]).with_name("python")
    said = subprocess.run([str(python), "-c", where], capture_output=True, text=True, check=True, cwd="/").stdout
    assert str(REPOSITORY) not in said

    # A file that somebody else put where one of hardway's belongs.
    site.on("one", "echo '# mine' >/etc/crictl.yaml")
    refused = site.hardway("init", "--yes", code=1).out
    assert "/etc/crictl.yaml" in refused
    assert "--adopt" in refused
    assert site.on("one", "cat /etc/crictl.yaml; ls /usr/local/bin") == "# mine\n"

    site.on("one", "rm /etc/crictl.yaml")
    site.init()
    assert set(site.nodes_ready()) == {"one"}
    site.unchanged("init")
    site.hardway("reset", "--yes")
    assert site.on("one", "ls /usr/local/bin /etc/kubernetes 2>/dev/null", code=None).split() == ["/usr/local/bin:"]


MINIMAL = """\
cluster: hwtest-min
endpoint: front
lab: {network: 10.245.4.0/24, image: debian-12-minimal}
machines:
  front: {role: load-balancer, address: 10.245.4.9}
  node: {role: [controller, worker], address: 10.245.4.10, image: debian-13-minimal}
"""


def test_hosts_installs_what_a_minimal_machine_lacks(labs: Labs) -> None:
    site = labs.fresh(labs.make("hwtest-min", MINIMAL))
    look = "for c in openssl modprobe sysctl nft haproxy; do command -v $c; done; true"
    before = site.everywhere(look)
    assert "haproxy" not in before["front"]
    assert "nft" not in before["node"]
    ran = site.hardway("hosts", "-o", "json")
    packages = {(machine, what) for machine, what, _ in ran.changes if what.startswith("package:")}
    assert ("front", "package:haproxy") in packages
    assert ("node", "package:nftables") in packages
    after = site.everywhere(look)
    assert "haproxy" in after["front"]
    assert {Path(line).name for line in after["node"].splitlines()} == {"openssl", "modprobe", "sysctl", "nft"}
    # The package's own service was never started: hardway runs HAProxy under a unit of its own.
    assert site.on("front", "systemctl is-active haproxy; systemctl is-enabled haproxy", code=None) == (
        "inactive\ndisabled\n"
    )
    site.unchanged("hosts")

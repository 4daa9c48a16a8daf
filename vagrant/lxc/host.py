"""What machines of Vagrant's provider lxc need on this computer: a box, two bridges, DHCP, and its settings.

    host.py check INVENTORY       whether they could come up here
    host.py up INVENTORY HOME     before `vagrant up`, each time
    host.py bridge INVENTORY      the name of the bridge that is the cluster's network
    host.py down INVENTORY        after `vagrant destroy`

HOME is what VAGRANT_HOME will be. To hardway the machines are then as any other provider's. This is for continuous
integration, where nothing can run virtual machines. It uses the lab's own means, and puts back what it changed.
"""

import json
import os
import shutil
import signal
import sys
from ipaddress import IPv4Network
from pathlib import Path

import box

from hardway.console import console, error
from hardway.errors import HardwayError, LabError
from hardway.events import Sink
from hardway.inventory.load import load
from hardway.inventory.model import Cluster
from hardway.lab import cgroups, host
from hardway.lab.lab import alone, leave_host, prepare_host
from hardway.lab.model import Lab
from hardway.lab.requirements import overlapping
from hardway.lab.user import invoker

HERE = Path(__file__).parent
MANAGEMENT = IPv4Network("10.0.3.0/24")
"""Of eth0, by which Vagrant comes in; lxc's own by habit."""
RUN = Path("/run/hardway-vagrant")
GROUPS = "hardway-vagrant"
"""What lxc-template calls the machines' control groups by."""
PROGRAMS = {
    "vagrant": "vagrant vagrant-lxc",
    "lxc-create": "lxc",
    "brctl": "bridge-utils",
    "dnsmasq": "dnsmasq-base",
    "sudo": "sudo",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
}


def networks(cluster: Cluster) -> tuple[Lab, Lab]:
    """The machines' two networks, as the lab makes them: eth0's and eth1's. Raises LabError where that cannot be."""
    missing = [machine.name for machine in cluster.machines if machine.address is None]
    if missing:
        raise LabError(
            f"{cluster.path}: no address for {', '.join(missing)}",
            hint="give each machine the address that it is to have: address: 192.168.56.10",
        )
    ranges = {IPv4Network((machine.ip, 24), strict=False) for machine in cluster.machines}
    if len(ranges) != 1:
        raise LabError(f"{cluster.path}: vagrant-lxc wants all addresses in one /24 network")
    inner = (cluster.network.service_cidr, cluster.network.pod_cidr)
    management = Lab(f"{cluster.name}-nat", MANAGEMENT, (), Path(), inner=inner)
    return management, Lab(cluster.name, ranges.pop(), (), Path(), inner=inner)


def check(cluster: Cluster) -> tuple[Lab, Lab]:
    """The two networks. Raises LabError with all that keeps the machines from coming up on this computer."""
    labs = networks(cluster)
    problems = _problems(labs)
    if problems:
        raise LabError("Vagrant's lxc machines cannot come up here:\n" + "\n".join(f"- {one}" for one in problems))
    return labs


def up(cluster: Cluster, home: Path, events: Sink) -> None:
    """Makes what is missing; may be run again. Raises LabError, before anything is touched where something lacks."""
    labs = check(cluster)
    caller = invoker()
    with alone():
        home.mkdir(parents=True, exist_ok=True)
        box.ensure(home, labs[0].bridge, caller, events)
        shutil.copyfile(HERE / "Vagrantfile", home / "Vagrantfile")
        for lab in labs:
            prepare_host(lab, events)
        _serve_addresses(labs[0])


def _problems(labs: tuple[Lab, Lab]) -> list[str]:
    if os.geteuid() != 0:
        return ["they are made by root: sudo"]
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if missing:
        return [f"packages are missing: apt-get install --no-install-recommends {' '.join(missing)}"]
    found = []
    if cgroups.layout() != "v1":
        found.append("this computer has cgroup v2, for which vagrant-lxc is too old: use VirtualBox or libvirt")
    routes = json.loads(host.run("ip", "-4", "-json", "route", "show", "table", "all") or "[]")
    for lab in labs:
        for network, device in overlapping(lab, routes):
            found.append(f"{lab.network} is already routed to {device} ({network})")
    return found


def _serve_addresses(lab: Lab) -> None:
    """A dnsmasq that gives eth0 its address, unless ours runs already."""
    if _dnsmasq() is not None:
        return
    RUN.mkdir(exist_ok=True)
    argv = ["dnsmasq", "--conf-file=/dev/null", "--port=0", "--no-ping", "--bind-interfaces", "--except-interface=lo"]
    argv += [f"--interface={lab.bridge}", f"--dhcp-range={lab.network[50]},{lab.network[250]},12h", "--user=root"]
    host.run(*argv, f"--dhcp-leasefile={RUN}/leases", f"--pid-file={RUN}/dnsmasq.pid")


def _dnsmasq() -> int | None:
    """The process of our dnsmasq, if it lives."""
    try:
        pid = int((RUN / "dnsmasq.pid").read_text())
        ours = str(RUN).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return pid if ours else None


def down(cluster: Cluster, events: Sink) -> None:
    """Undoes `up`, from any half-made state; the box stays. Raises LabError while a machine still runs."""
    left = {group for group in cgroups.ROOT.rglob(f"{GROUPS}.*") if group.is_dir()}
    if cgroups.members(left):
        raise LabError("a machine still runs", hint="lxc-ls -f shows it, lxc-destroy -f -n NAME ends it")
    with alone():
        cgroups.prune(left, itself=True)
        if (pid := _dnsmasq()) is not None:
            os.kill(pid, signal.SIGTERM)
        shutil.rmtree(RUN, ignore_errors=True)
        for lab in networks(cluster):
            host.remove_network(lab.cluster)
            shutil.rmtree(lab.state, ignore_errors=True)
        _remove_dead_names()
        leave_host(events)


def _remove_dead_names() -> None:
    """The links that pipework leaves in /run/netns to processes that are gone."""
    for name in Path("/run/netns").glob("*"):
        if name.is_symlink() and name.name.isdecimal() and not name.exists():
            name.unlink()


def main(words: list[str]) -> int:
    with console(
        output="text", verbose=0, stream=sys.stdout, error_stream=sys.stderr, is_terminal=False, width=None
    ) as events:
        try:
            cluster = load(Path(words[1]))
            match words[0]:
                case "check":
                    check(cluster)
                case "up":
                    up(cluster, Path(words[2]), events)
                case "bridge":
                    print(networks(cluster)[1].bridge)
                case "down":
                    down(cluster, events)
        except HardwayError as problem:
            error(problem, sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

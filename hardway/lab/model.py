"""What a lab is, and the names of everything it makes on the host: all derived from the cluster's name,
so that whatever a killed run left behind can be found again without a memory of that run."""

import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_interface
from pathlib import Path

from hardway.lab import marker
from hardway.values import LabImage

Address = IPv4Address | IPv6Address
Range = IPv4Network | IPv6Network

STATE = Path("/var/lib/hardway-lab")
"""Disks of the machines and the host's previous settings: on a real file system, kept over a reboot."""


@dataclass(frozen=True)
class LabMachine:
    name: str
    address: Address
    image: LabImage = "debian-12"
    address6: IPv6Address | None = None


@dataclass(frozen=True)
class Lab:
    """The machines of one cluster on this computer.

    `network` is their subnet, whose first address is this computer's; `workspace` is `.hardway/<cluster>/`,
    where the SSH key and the known host keys are written. `inner` are the ranges of Services and pods, which
    must never be looked for outside. `network6` is as `network`, where they have IPv6 beside IPv4.
    """

    cluster: str
    network: Range
    machines: tuple[LabMachine, ...]
    workspace: Path
    inner: tuple[Range, ...] = ()
    network6: IPv6Network | None = None

    @property
    def networks(self) -> tuple[Range, ...]:
        return (self.network,) if self.network6 is None else (self.network, self.network6)

    @property
    def gateway(self) -> IPv4Interface | IPv6Interface:
        """This computer's address on the machines' network."""
        return ip_interface(f"{self.network[1]}/{self.network.prefixlen}")

    @property
    def gateways(self) -> tuple[IPv4Interface | IPv6Interface, ...]:
        """The same of each family."""
        if self.network6 is None:
            return (self.gateway,)
        return self.gateway, IPv6Interface(f"{self.network6[1]}/{self.network6.prefixlen}")

    @property
    def bridge(self) -> str:
        return bridge_name(self.cluster)

    @property
    def state(self) -> Path:
        return STATE / self.cluster

    def disk(self, name: str) -> Path:
        """The folder that holds one machine's file system."""
        return disk_of(self.cluster, name)

    @property
    def private_key(self) -> Path:
        return self.workspace / "lab" / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.workspace / "known_hosts"

    def machine(self, name: str) -> LabMachine | None:
        return next((machine for machine in self.machines if machine.name == name), None)


def disk_of(cluster: str, machine: str) -> Path:
    """Where a machine's file system is, once `lab up` has made it."""
    return STATE / cluster / "machines" / machine


def _digest(cluster: str, length: int) -> str:
    return hashlib.sha256(cluster.encode()).hexdigest()[:length]


def bridge_name(cluster: str) -> str:
    """The lab's bridge: the kernel allows an interface 15 characters."""
    name = f"hw-{cluster}"
    return name if len(name) <= 15 else f"hw-{_digest(cluster, 12)}"


def nspawn_name(lab: Lab, machine: LabMachine) -> str:
    """A name for systemd-nspawn short enough that `vb-NAME`, its interface on the bridge, is not cut."""
    number = int(machine.address) - int(lab.network.network_address)
    # An IPv6 address may be far from its network's first.
    return f"{nspawn_prefix(lab.cluster)}{number if number < 10**6 else _digest(str(machine.address), 6)}"


def nspawn_prefix(cluster: str) -> str:
    return f"{_digest(cluster, 5)}-"


def interface_name(lab: Lab, machine: LabMachine) -> str:
    return f"vb-{nspawn_name(lab, machine)}"


def nft_table(cluster: str) -> str:
    return f"hardway-lab-{cluster}"


def unit_name(cluster: str, machine: str) -> str:
    """The transient unit that holds a machine where the host is run by systemd."""
    return f"hardway-lab-{cluster}-{machine}.service"


def marker_path(cluster: str, machine: str) -> Path:
    return Path(marker.FOLDER) / cluster / machine


@dataclass(frozen=True)
class FaultSummary:
    """A fault as `lab break --list` prints it: for machines of which role, and what a person notices."""

    name: str
    role: str
    summary: str

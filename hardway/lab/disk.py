"""A machine's disk: what it differs in from the shared root, and the folders that may not be on an overlay."""

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from hardway.errors import LabError
from hardway.files import replacing
from hardway.lab import access
from hardway.lab.model import Lab, LabMachine, interface_name, marker_path, nspawn_name
from hardway.lab.supervisor import Spec

RESOLVED = "usr/lib/systemd/systemd-resolved"
REAL_FOLDERS = ("var/lib/containerd", "var/lib/kubelet", "var/lib/etcd")
"""overlayfs refuses another overlay as its upper layer, and the kubelet measures what it stands on."""

# The default set and what containerd, runc, the kubelet and kube-proxy use of the rest. Not CAP_SYS_TIME
# and CAP_SYS_MODULE: the clock and the modules are the host's.
_CAPABILITIES = "CAP_SYSLOG,CAP_IPC_LOCK,CAP_BPF,CAP_PERFMON,CAP_SYS_RAWIO,CAP_AUDIT_READ,CAP_WAKE_ALARM"


def create(lab: Lab, machine: LabMachine, lower: Path, operator_key: bytes) -> None:
    """Make the machine's disk over the root at `lower`. What a killed run left half-made goes."""
    disk = lab.disk(machine.name)
    fresh = disk.with_name(f".{machine.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for folder in ("upper", "work", "root", *(f"data/{name}" for name in REAL_FOLDERS)):
        (fresh / folder).mkdir(parents=True)
    # Anyone may ask whether a machine exists (`lab status`), nobody else may look into it.
    fresh.parent.chmod(0o711)
    fresh.chmod(0o700)
    (fresh / "upper").chmod(0o755)
    (fresh / "data/var/lib/kubelet").chmod(0o700)
    (fresh / "data/var/lib/etcd").chmod(0o700)
    _write_identity(fresh / "upper", lab, machine, resolved=(lower / RESOLVED).exists())
    authorize(fresh / "upper", operator_key)
    # A disk only fits the root it was made over, also when there is a newer one by the time it boots again.
    (fresh / "lower").write_text(str(lower))
    (fresh / "address").write_text(" ".join(_addresses(lab, machine)))
    fresh.rename(disk)


def check(lab: Lab, machine: LabMachine) -> None:
    """Raise LabError where the machine's disk cannot be booted as the inventory now has it."""
    disk = lab.disk(machine.name)
    address, lower = (disk / "address").read_text(), (disk / "lower").read_text()
    wanted = " ".join(_addresses(lab, machine))
    if address != wanted:
        what = f"its disk was made for the address {address}, the inventory says {wanted}"
    elif not Path(lower).is_dir():
        what = f"its root file system is gone from the cache: {lower}"
    else:
        return
    raise LabError(what, machine=machine.name, hint="hardway lab down, then hardway lab up: with new disks")


def image_of(lab: Lab, machine: LabMachine) -> str:
    """The image that the machine's disk was made over: its cached root is in a folder of that name and a digest."""
    return Path((lab.disk(machine.name) / "lower").read_text()).parent.name.rpartition("-")[0]


def _addresses(lab: Lab, machine: LabMachine) -> list[str]:
    """With the lengths of their networks' prefixes."""
    found = [f"{machine.address}/{lab.network.prefixlen}"]
    if lab.network6 and machine.address6:
        found.append(f"{machine.address6}/{lab.network6.prefixlen}")
    return found


def _network(lab: Lab, machine: LabMachine) -> str:
    """What networkd reads of its interface."""
    lines: list[str] = []
    for address, gateway in zip(_addresses(lab, machine), lab.gateways, strict=False):
        lines += [f"Address={address}", f"Gateway={gateway.ip}"]
    # With IPv6 a machine looks from there for its neighbours, where it forwards what pods send.
    lines.append(f"LinkLocalAddressing={'ipv6' if any(one.version == 6 for one in lab.networks) else 'no'}")
    lines += ["IPv6AcceptRA=no", "ConfigureWithoutCarrier=yes", *(f"DNS={server}" for server in _nameservers(lab))]
    return "[Match]\nName=host0\n\n[Network]\n" + "".join(f"{line}\n" for line in lines)


def _write_identity(upper: Path, lab: Lab, machine: LabMachine, *, resolved: bool) -> None:
    etc = upper / "etc"
    for folder in ("ssh", "systemd/network"):
        (etc / folder).mkdir(parents=True)
    access.make_key(upper / access.HOST_KEY, machine.name)
    (etc / "machine-id").write_text(f"{secrets.token_hex(16)}\n")
    (etc / "hostname").write_text(f"{machine.name}\n")
    # A name server that cannot be reached would cost every sudo its time-out, were the own name not here.
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n::1 localhost ip6-localhost\n")
    if resolved:
        (etc / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    else:
        (etc / "resolv.conf").write_text(resolv_conf(_nameservers(lab)))
    # Below 80, or Debian's 80-container-host0.network comes first.
    (etc / "systemd/network/10-lab.network").write_text(_network(lab, machine))


def resolv_conf(servers: Sequence[str]) -> str:
    return "".join(f"nameserver {server}\n" for server in servers) + "options timeout:2 attempts:2\n"


def _nameservers(lab: Lab) -> list[str]:
    """Machines with IPv6 alone reach nothing outside: they ask this computer, which refuses at once."""
    return [str(lab.gateway.ip)] if lab.network.version == 6 else nameservers()


def nameservers() -> list[str]:
    """The host's, three at most; those behind a local stub (127.0.0.53) by their own addresses."""
    servers: list[str] = []
    for file in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        if Path(file).exists():
            words = [line.split() for line in Path(file).read_text().splitlines()]
            servers += [line[1] for line in words if line[:1] == ["nameserver"] and len(line) > 1]
    outside = [server for server in dict.fromkeys(servers) if not server.startswith("127.") and server != "::1"]
    return outside[:3]


def authorize(root: Path, operator_key: bytes) -> None:
    """Let the lab's key into each account of a machine whose file system (or upper layer) is at `root`."""
    for home, _, uid in access.ACCOUNTS:
        file = root / home / ".ssh" / "authorized_keys"
        if file.exists() and file.read_bytes() == operator_key:
            continue
        for folder, mode in ((root / home, 0o700), (file.parent, 0o700)):
            if not folder.exists():
                folder.mkdir(parents=True, mode=mode)
                os.chown(folder, uid, uid)
        file.write_bytes(operator_key)
        file.chmod(0o600)
        os.chown(file, uid, uid)


def write_spec(lab: Lab, machine: LabMachine, groups: list[Path]) -> Path:
    """What the machine's supervisor is to run, as a file; rewritten for every start."""
    disk = lab.disk(machine.name)
    lower = (disk / "lower").read_text()
    spec: Spec = {
        "name": machine.name,
        "marker": str(marker_path(lab.cluster, machine.name)),
        "cgroups": [str(group) for group in groups],
        "overlay": f"lowerdir={lower},upperdir={disk}/upper,workdir={disk}/work",
        "root": str(disk / "root"),
        "interface": interface_name(lab, machine),
        "argv": nspawn(lab, machine),
        "env": {
            "PATH": os.environ.get("PATH", os.defpath),
            # A wholly writable /sys would make networkd wait for udev for ever.
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            # Its lock files would stay on the host; the lab has a lock of its own.
            "SYSTEMD_NSPAWN_LOCK": "0",
        },
    }
    file = disk / "spec.json"
    # Half of it, left by an `up` that was killed, would keep every later command from the machine.
    with replacing(file, 0o644) as whole:
        whole.write(json.dumps(spec, indent=1).encode())
    return file


def nspawn(lab: Lab, machine: LabMachine) -> list[str]:
    """The command that boots the machine on its mounted disk."""
    disk = lab.disk(machine.name)
    identity = (disk / "upper/etc/machine-id").read_text().strip()
    return [
        "systemd-nspawn",
        "--boot",
        "--quiet",
        f"--directory={disk}/root",
        f"--machine={nspawn_name(lab, machine)}",
        f"--hostname={machine.name}",
        f"--uuid={identity}",
        f"--network-bridge={lab.bridge}",
        *(f"--bind={disk}/data/{folder}:/{folder}" for folder in REAL_FOLDERS),
        "--bind=/dev/kmsg",
        f"--capability={_CAPABILITIES}",
        # What runc and the kubelet call beyond systemd-nspawn's own list.
        "--system-call-filter=@keyring @mount @pkey bpf perf_event_open userfaultfd syslog quotactl open_by_handle_at",
        "--private-users=no",
        "--settings=no",
        "--keep-unit",
        "--register=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=read-only",
    ]

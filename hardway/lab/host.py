"""What a lab changes on the host beside its machines: settings, a bridge, and the way to the outside."""

import json
import os
import shutil
import subprocess
from pathlib import Path

from hardway.errors import LabError
from hardway.events import Note, Sink
from hardway.lab.model import STATE, Lab, bridge_name, nft_table, nspawn_prefix

SYSCTLS = {
    # Each machine's systemd, kubelet and containerd watch files; seven exhaust the default of 128.
    "fs.inotify.max_user_instances": 8192,
    "fs.inotify.max_user_watches": 524288,
    # The kubelet writes these (or with protectKernelDefaults demands them), and in a container they are the host's.
    "vm.overcommit_memory": 1,
    "vm.panic_on_oom": 0,
    "kernel.panic": 10,
    "kernel.panic_on_oops": 1,
    "kernel.keys.root_maxkeys": 1000000,
    "kernel.keys.root_maxbytes": 25000000,
    # The machines' way to the outside.
    "net.ipv4.ip_forward": 1,
}
MODULES = ("overlay", "bridge", "veth", "br_netfilter", "nf_conntrack", "nf_tables", "nft_masq")


def run(*argv: str, stdin: str | None = None) -> str:
    """Run a command; its output. Raises LabError with what it said."""
    result = subprocess.run(argv, capture_output=True, text=True, input=stdin, check=False)
    if result.returncode:
        raise LabError("the host could not be prepared", tried=" ".join(argv), said=result.stderr)
    return result.stdout


def succeeds(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _file(sysctl: str) -> Path:
    return Path("/proc/sys") / sysctl.replace(".", "/")


def set_sysctls(events: Sink) -> None:
    """Set the host's settings; their previous values are on disk before the first of them changes."""
    record = STATE / "sysctls.json"
    previous = recorded_sysctls(record)
    current = {name: _file(name).read_text().strip() for name in SYSCTLS if _file(name).exists()}
    changes = {name: SYSCTLS[name] for name in current if not _satisfied(name, current[name])}
    if not changes:
        return
    for name in changes:
        previous.setdefault(name, current[name])
    write_durably(record, json.dumps({"boot": boot_id(), "previous": previous}, indent=1))
    told = ", ".join(f"{name} {current[name]} -> {value}" for name, value in changes.items())
    events(Note(f"host settings, put back by `hardway lab down`: {told}"))
    for name, value in changes.items():
        _file(name).write_text(str(value))


def _satisfied(name: str, current: str) -> bool:
    # More inotify watches than the lab needs are not taken away.
    return int(current) >= SYSCTLS[name] if name.startswith("fs.inotify.") else current == str(SYSCTLS[name])


def recorded_sysctls(record: Path) -> dict[str, str]:
    """Previous values by name. A record from before a reboot says nothing: the host has its own values again."""
    if not record.exists():
        return {}
    recorded = json.loads(record.read_text())
    return dict(recorded["previous"]) if recorded["boot"] == boot_id() else {}


def restore_sysctls(events: Sink) -> None:
    record = STATE / "sysctls.json"
    previous = recorded_sysctls(record)
    for name, value in previous.items():
        _file(name).write_text(value)
    record.unlink(missing_ok=True)
    if previous:
        events(Note(f"host settings put back: {', '.join(f'{n} = {v}' for n, v in previous.items())}"))


def write_durably(file: Path, text: str) -> None:
    """Replace a file so that it is whole and on the disk when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    with fresh.open("w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)


def load_modules() -> None:
    """Load what the machines cannot load themselves. Where the kernel has them built in, modprobe fails: no matter."""
    if Path("/lib/modules", os.uname().release).is_dir():
        subprocess.run(["modprobe", "--all", "--quiet", *MODULES], capture_output=True, check=False)


def make_network(lab: Lab, events: Sink) -> None:
    """The bridge with the gateway's address, and masquerading for what the machines send outside."""
    if not Path("/sys/class/net", lab.bridge).exists():
        outside = "the machines reach the outside through this host"
        if lab.network.version == 6:
            outside = "the machines reach this host and each other, and nothing outside"
        events(Note(f"bridge {lab.bridge} with {lab.gateway}; {outside}"))
        run("ip", "link", "add", lab.bridge, "type", "bridge")
    # Nothing is forwarded over IPv6: a host that forwards takes no default route from router advertisements any more.
    for gateway in lab.gateways:
        run("ip", "address", "replace", str(gateway), "dev", lab.bridge)
    run("ip", "link", "set", lab.bridge, "up")
    if lab.network.version == 4:
        run("nft", "--file", "-", stdin=ruleset(lab))
    if _drops_forwarded():
        for rule in _forward_rules(lab.cluster):
            if not succeeds("iptables", "-w", "-C", *rule):
                events(Note(f"the host drops what is forwarded: iptables -I {' '.join(rule)}"))
                run("iptables", "-w", "-I", *rule)


def ruleset(lab: Lab) -> str:
    """The lab's own nft table, replaced as one."""
    table = nft_table(lab.cluster)
    within = ", ".join(map(str, lab.inner))
    # A packet to a Service that no kube-proxy has caught is lost, and no business of the outside's.
    rule = f'iifname "{lab.bridge}" oifname != "{lab.bridge}" ip daddr {{ {within} }} reject' if within else ""
    return f"""\
table ip {table}
delete table ip {table}
table ip {table} {{
  chain inside {{
    type filter hook forward priority filter
    {rule}
  }}
  chain outside {{
    type nat hook postrouting priority srcnat
    ip saddr {lab.network} ip daddr != {lab.network} oifname != "{lab.bridge}" masquerade
  }}
}}
"""


def _drops_forwarded() -> bool:
    """Whether another firewall drops what is forwarded, as Docker's does: no table of ours could let it pass."""
    return bool(shutil.which("iptables")) and "-P FORWARD DROP" in run("iptables", "-w", "-S", "FORWARD")


def _forward_rules(cluster: str) -> list[list[str]]:
    bridge = bridge_name(cluster)
    return [["FORWARD", "-i", bridge, "-j", "ACCEPT"], ["FORWARD", "-o", bridge, "-j", "ACCEPT"]]


def remove_network(cluster: str) -> None:
    bridge = bridge_name(cluster)
    for rule in _forward_rules(cluster) if shutil.which("iptables") else []:
        while succeeds("iptables", "-w", "-D", *rule):
            pass
    ports = Path("/sys/class/net", bridge, "brif")
    for port in [*ports.iterdir()] if ports.exists() else []:
        succeeds("ip", "link", "delete", port.name)
    if ports.exists():
        run("ip", "link", "delete", bridge)
    if succeeds("nft", "list", "table", "ip", nft_table(cluster)):
        run("nft", "delete", "table", "ip", nft_table(cluster))


def remove_nspawn_folders(cluster: str) -> None:
    """The folders through which systemd-nspawn hands mounts to a running machine; it leaves them behind."""
    folder = Path("/run/systemd/nspawn/propagate")
    for left in folder.glob(f"{nspawn_prefix(cluster)}*"):
        left.rmdir()
    for parent in (folder, folder.parent):
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()

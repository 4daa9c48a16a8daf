"""Rules about how a machine's system is set up: what cloud-init and NetworkManager will undo, how disks are mounted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hardway.inventory.model import Machine
from hardway.probe.host import CloudInit, Host
from hardway.rules import Evidence, Found, Need, Rule

HOSTS: frozenset[Need] = frozenset({"hosts"})
HOSTS_AND_FACTS: frozenset[Need] = frozenset({"hosts", "facts"})
BRIDGE = "cni0"
CLOUD_CONFIG = "/etc/cloud/cloud.cfg.d/99-hardway.cfg"
WRITTEN = {"/usr/local/bin": "binaries", "/etc": "units and configuration", "/var/lib": "data"}
RUN = {"/usr/local/bin": "components", "/opt/cni/bin": "network plugins"}
_TEMPLATES = ("true", "yes", "on", "template")
"""With which manage_etc_hosts has the whole file written; `localhost` has one line."""
_TRUE = ("true", "yes", "on")


def undone_hosts(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.hosts.resolve != "etc-hosts":
        return
    for machine, host in evidence.bare():
        cloud = host.cloud_init or CloudInit()
        if cloud.manage_etc_hosts in _TEMPLATES:
            from_user_data = cloud.hosts_file.startswith("/var/lib/cloud")
            yield Found(
                machine.name,
                f"cloud-init writes /etc/hosts again at each boot (manage_etc_hosts: {cloud.manage_etc_hosts} in "
                f"{cloud.hosts_file}): the machines' names would be gone",
                "touch /etc/cloud/cloud-init.disabled, since user data goes before files; or hosts: {resolve: dns}"
                if from_user_data
                else f"echo 'manage_etc_hosts: false' >>{CLOUD_CONFIG}",
            )


def undone_hostname(evidence: Evidence) -> Iterator[Found]:
    """Where the name is the same already, there is nothing to be undone."""
    if evidence.cluster.hosts.hostname != "set":
        return
    for machine, host in evidence.bare():
        facts = evidence.facts.get(machine.name)
        cloud = host.cloud_init
        if cloud and facts and facts.hostname != machine.name and cloud.preserve_hostname not in _TRUE:
            yield Found(
                machine.name,
                f"cloud-init may name it {facts.hostname} again at the next boot: preserve_hostname is not true",
            )


def network_manager(evidence: Evidence) -> Iterator[Found]:
    if evidence.cluster.network.plugin != "bridge":
        return
    for machine, host in evidence.bare():
        running = "NetworkManager" in host.units and host.units["NetworkManager"].is_up
        if machine.is_worker and running and not _leaves_bridge(host.left_alone):
            yield Found(machine.name, f"NetworkManager runs, and was not told to leave the pods' bridge {BRIDGE} alone")


def _leaves_bridge(told: str) -> bool:
    return bool(re.search(rf"interface-name:=?(\*|cni\*|{BRIDGE})(?![\w-])|type:bridge|driver:bridge|=\*$", told, re.M))


def cloud_routes(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        if machine.is_worker and host.nm_cloud_setup:
            yield Found(machine.name, "nm-cloud-setup is enabled: its routing rules go before the routes to pods")


def read_only(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        folders = [one for one in WRITTEN if "ro" in host.mounts.get(one, ())]
        if folders:
            what = " and ".join(f"{WRITTEN[one]} ({one})" for one in folders)
            yield Found(machine.name, f"it is mounted read-only where hardway puts {what}")


def not_executable(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        for folder in _run_from(machine, host):
            yield Found(
                machine.name,
                f"{folder} is mounted noexec: {RUN[folder]} could not be executed there",
                f"mount -o remount,exec $(findmnt -no TARGET -T {folder}), and take noexec out of /etc/fstab",
            )


def _run_from(machine: Machine, host: Host) -> list[str]:
    found = [one for one in RUN if "noexec" in host.mounts.get(one, ())]
    return found if machine.is_worker else [one for one in found if one == "/usr/local/bin"]


def volumes_not_executable(evidence: Evidence) -> Iterator[Found]:
    for machine, host in evidence.bare():
        if machine.is_worker and "noexec" in host.mounts.get("/var/lib/kubelet", ()):
            yield Found(machine.name, "/var/lib/kubelet is mounted noexec: no pod can execute what is in its volumes")


RULES = (
    Rule(
        "cloud-init-hosts", HOSTS, undone_hosts, "hosts.resolve: etc-hosts has machines find each other by that file",
        "manage_etc_hosts: false", "warning",
    ),
    Rule(
        "cloud-init-hostname", HOSTS_AND_FACTS, undone_hostname,
        "hosts.hostname: set names machines as the inventory does",
        f"echo 'preserve_hostname: true' >>{CLOUD_CONFIG}; or hosts: {{hostname: keep}}", "warning",
    ),
    Rule(
        "network-manager", HOSTS, network_manager,
        "it takes addresses and routes away from interfaces that it did not make itself, when it restarts",
        f"printf '[keyfile]\\nunmanaged-devices=interface-name:{BRIDGE};interface-name:veth*\\n' "
        ">/etc/NetworkManager/conf.d/hardway.conf && systemctl reload NetworkManager", "warning",
    ),
    Rule(
        "nm-cloud-setup", HOSTS, cloud_routes, "pods' packets leave by the cloud's gateway, and are dropped there",
        "systemctl disable --now nm-cloud-setup.service nm-cloud-setup.timer, then reboot: the rules stay until then",
    ),
    Rule(
        "read-only", HOSTS, read_only, "nothing can be installed on a system that is delivered as an image",
        "use a system whose folders can be written, or mount writable ones there",
    ),
    Rule(
        "noexec", HOSTS, not_executable, "the kernel executes nothing from such a mount",
        "mount it without noexec",
    ),
    Rule(
        "noexec-volumes", HOSTS, volumes_not_executable,
        "emptyDir and other volumes are bind mounts of folders there, and inherit it",
        "mount it without noexec where pods bring tools by an init container; else go on", "warning",
    ),
)  # fmt: skip

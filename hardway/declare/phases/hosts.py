"""Chapter hosts: names, kernel, packages; what a machine must be before Kubernetes comes."""

from collections.abc import Iterator
from dataclasses import replace

from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.render import render
from hardway.declare.resources import Block, File, Hostname, Module, Package, SwapOff, Sysctl
from hardway.inventory.model import Machine

MODULES = {
    "overlay": "/proc/filesystems overlay",
    "br_netfilter": "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "/proc/sys/net/netfilter/nf_conntrack_count",
}
"""Kernel features of a worker, and a path that is there with each, also where it is built in."""

SYSCTLS_FILE = "/etc/sysctl.d/90-hardway.conf"
LIMITS_FILE = "/etc/sysctl.d/10-hardway-limits.conf"
MODULES_FILE = "/etc/modules-load.d/hardway.conf"


def resources(model: Model) -> Iterator[Declared]:
    # The same values on every machine are made once.
    block = Block("/etc/hosts", hosts_block(model))
    kernel = tuple(_kernel(model))
    for machine in model.cluster.machines:
        for package in packages(model, machine):
            yield machine.name, package
        if model.cluster.hosts.hostname == "set":
            yield machine.name, Hostname(machine.name)
        if model.cluster.hosts.resolve == "etc-hosts":
            yield machine.name, block
        if machine.is_controller or machine.is_worker:
            yield machine.name, SwapOff()
        if machine.is_worker:
            for resource in kernel:
                yield machine.name, resource


def packages(model: Model, machine: Machine) -> list[Package]:
    """The distribution's packages that this machine's components call."""
    wanted = {"openssl": Package("openssl", "openssl")}
    if machine.is_worker:
        wanted["kmod"] = Package("kmod", "modprobe")
        wanted["procps"] = Package("procps", "sysctl")
        wanted["nftables"] = Package("nftables", "nft")
        # Without the names of protocols nft lists `6` for `tcp`, and a kube-proxy that starts again takes
        # the rules of its predecessor for strange ones: it deletes what it has just confirmed.
        wanted["netbase"] = Package("netbase", "/etc/protocols")
        if model.cluster.network.proxy_mode == "iptables":
            wanted["iptables"] = Package("iptables", "iptables")
    if machine.is_load_balancer:
        wanted["haproxy"] = Package("haproxy", "haproxy", keep_service_off="haproxy.service")
    if model.cluster.virtual_address and machine.is_load_balancer:
        wanted["keepalived"] = Package("keepalived", "keepalived", keep_service_off="keepalived.service")
    return [replace(package, proxy=model.cluster.proxy or "") for package in wanted.values()]


def hosts_block(model: Model) -> str:
    """Lines for /etc/hosts: every machine by address, full name and name."""
    lines: list[str] = []
    for machine in model.cluster.machines:
        lines += [f"{address} {model.cluster.fqdn(machine)} {machine.name}\n" for address in machine.addresses]
    return "".join(lines)


def read_sysctls(text: str) -> dict[str, str]:
    """The settings of a sysctl.d file."""
    lines = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in lines}


def _kernel(model: Model) -> Iterator[Module | Sysctl | File]:
    yield File(MODULES_FILE, render("configs/modules-load.conf"))
    for name, sign in MODULES.items():
        yield Module(name, sign)
    needed, limits = render("configs/sysctl.conf"), render("configs/sysctl-limits.conf")
    if 6 in model.cluster.network.families:
        needed += render("configs/sysctl-ipv6.conf")
    yield File(SYSCTLS_FILE, needed)
    yield File(LIMITS_FILE, limits)
    for name, value in read_sysctls(needed).items():
        yield Sysctl(name, value)
    for name, value in read_sysctls(limits).items():
        yield Sysctl(name, value, at_least=True)


def proofs(model: Model) -> Iterator[Proof]:
    cluster = model.cluster
    everybody = [(machine.name, f"{machine.name}={machine.ip}") for machine in cluster.machines]
    for number, machine in enumerate(cluster.machines):
        if cluster.hosts.hostname == "set":
            yield Proof(
                machine.name, "hostname", "uname -n",
                "the kubelet registers under the name that its certificate holds", "equals", machine.name,
            )  # fmt: skip
        if cluster.hosts.resolve == "etc-hosts" and len(cluster.machines) > 1:
            # Its own name may lead to 127.0.1.1, as Debian has it.
            others = everybody[:number] + everybody[number + 1 :]
            names = " ".join(name for name, _ in others)
            yield Proof(
                machine.name,
                "every other machine has a name here",
                f"for n in {names}; do set -- $(getent ahostsv{cluster.network.family} $n) || exit 1; "
                "printf '%s=%s ' $n $1; done",
                "certificates and the API server name machines; each name must lead to the same address everywhere",
                "equals",
                " ".join(answer for _, answer in others),
            )
        if machine.is_controller or machine.is_worker:
            yield Proof(
                machine.name,
                "no swap",
                "sed 1d /proc/swaps | wc -l",
                "the kubelet refuses to start with swap in use",
                "equals",
                "0",
            )
        if machine.is_worker:
            yield Proof(
                machine.name,
                "bridged packets meet the firewall",
                "cat /proc/sys/net/bridge/bridge-nf-call-iptables",
                "a pod that calls a Service whose pod is on the same node gets no answer without it",
                "equals",
                "1",
            )


PHASE = Phase(
    "hosts",
    "Compute resources",
    "Machines find each other by name, forward packets for their pods, and have no swap.",
    resources,
    proofs,
)

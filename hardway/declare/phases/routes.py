"""Chapter routes: every machine that talks to pods knows behind which worker they are."""

from collections.abc import Iterator, Mapping

from hardway.declare.network import BRIDGE, routed, routes, unmasqueraded
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.paths import unit_inputs, unit_path
from hardway.declare.render import render
from hardway.declare.resources import Check, Directory, File, Resource, Routes, Service
from hardway.declare.resources.routes import show_routes
from hardway.inventory.model import Machine, Range

NETWORKD_DROP_IN = "/etc/systemd/networkd.conf.d/10-hardway.conf"
MASQUERADE = "/etc/kubernetes/pod-masquerade.nft"
TABLE = "hardway-pods"
FAMILIES = {4: ("ip", "ipv4_addr"), 6: ("ip6", "ipv6_addr")}
"""As nft calls a family, and its addresses."""


def resources(model: Model) -> Iterator[Declared]:
    known = {version: ", ".join(unmasqueraded(model.cluster, version)) for version in FAMILIES}
    for machine in routed(model.cluster):
        for resource in _routes(model, machine):
            yield machine.name, resource
        if machine.is_worker:
            for resource in _masquerade(machine, known):
                yield machine.name, resource


def _routes(model: Model, machine: Machine) -> Iterator[Resource]:
    wanted = routes(model.cluster, machine)
    if not wanted:
        return
    yield Directory("/etc/systemd/networkd.conf.d")
    yield File(NETWORKD_DROP_IN, render("configs/networkd.conf"))
    yield File(unit_path("pod-routes"), pod_routes_unit(wanted), mode=0o600)
    yield Routes(tuple(wanted.items()))
    yield Service(
        "pod-routes.service",
        inputs=unit_inputs("pod-routes"),
        ready=Check("the routes are set", "systemctl is-active pod-routes.service", limit=30),
    )


def pod_routes_unit(wanted: dict[str, str]) -> str:
    """The unit that sets the routes again after a reboot."""
    commands = (f"ExecStart=/sbin/ip route replace {to} via {via} proto static" for to, via in wanted.items())
    # Each machine has a long list of its own: what is rendered is kept, and this is not worth keeping.
    return render("units/pod-routes.service", commands="COMMANDS").replace("COMMANDS", "\n".join(commands))


def _masquerade(machine: Machine, known: Mapping[int, str]) -> Iterator[Resource]:
    rules = ""
    for pods in machine.pod_cidrs:
        family, kind = FAMILIES[pods.version]
        values = {"family": family, "kind": kind, "pod_cidr": pods, "known": known[pods.version]}
        rules += render("configs/pod-masquerade.nft", **values)
    tables = [f"table {FAMILIES[pods.version][0]} {TABLE}" for pods in machine.pod_cidrs]
    stop = "\nExecStop=".join(f"-/usr/sbin/nft delete {table}" for table in tables)
    yield File(MASQUERADE, rules, mode=0o600)
    yield File(unit_path("pod-masquerade"), render("units/pod-masquerade.service", stop=stop), mode=0o600)
    yield Service(
        "pod-masquerade.service",
        inputs=unit_inputs("pod-masquerade", MASQUERADE),
        ready=Check("the rule is loaded", " && ".join(f"nft list {table} >/dev/null" for table in tables), limit=30),
    )


def proofs(model: Model) -> Iterator[Proof]:
    for machine in routed(model.cluster):
        wanted = routes(model.cluster, machine)
        if wanted:
            yield Proof(
                machine.name,
                "one route for each other worker",
                _routes_query(wanted),
                "a pod answers only where the way back is known; controllers call webhooks in pods",
                "equals",
                str(len(wanted)),
            )
            yield Proof(
                machine.name,
                "the routes come back after a reboot",
                "systemctl is-enabled pod-routes.service",
                "routes set by hand are gone after a reboot",
                "equals",
                "enabled",
            )
        if machine.is_worker:
            for pods in machine.pod_cidrs:
                yield _forwards(machine, pods)
            yield Proof(
                machine.name,
                "the firewall lets pods through",
                _firewall_query(str(machine.pods), str(model.cluster.network.pod_cidr)),
                "FORWARD DROP stops all pods; accept forwarding from and to the pod ranges in your firewall",
            )


def _forwards(machine: Machine, pods: Range) -> Proof:
    setting = "ipv4/ip_forward" if pods.version == 4 else "ipv6/conf/all/forwarding"
    return Proof(
        machine.name,
        "packets are forwarded" if pods.version == 4 else "IPv6 packets are forwarded",
        f"cat /proc/sys/net/{setting}",
        "a worker is the router of its pods",
        "equals",
        "1",
    )


def _firewall_query(*pods: str) -> str:
    """Succeeds unless something drops what is forwarded, and no rule of a firewall's own accepts these pods."""
    ranges = " ".join(f"-e {one}" for one in (*pods, BRIDGE))
    return (
        "! { nft list chains 2>/dev/null | grep -q 'hook forward.*policy drop'; } || "
        "nft list tables | while read -r _ family table; do case $table in hardway-pods|kube-proxy) ;; "
        '*) nft list table "$family" "$table";; esac; done | grep accept | '
        f"grep -qF {ranges}"
    )


def _routes_query(wanted: dict[str, str]) -> str:
    patterns = " ".join(f"-e '^{to} via {via} '".replace(".", "[.]") for to, via in wanted.items())
    return f"{show_routes(wanted)} | grep -c {patterns}"


PHASE = Phase(
    "routes",
    "Provisioning pod network routes",
    "A pod's address says which worker it is on; the other machines must know the way.",
    resources,
    proofs,
)

"""Chapter routes: every machine that talks to pods knows behind which worker they are."""

from collections.abc import Iterator

from hardway.declare.network import BRIDGE, routed, routes, unmasqueraded
from hardway.declare.phases.base import Declared, Model, Phase, Proof
from hardway.declare.phases.paths import unit_inputs, unit_path
from hardway.declare.render import render
from hardway.declare.resources import Check, Directory, File, Resource, Routes, Service
from hardway.inventory.model import Machine

NETWORKD_DROP_IN = "/etc/systemd/networkd.conf.d/10-hardway.conf"
MASQUERADE = "/etc/kubernetes/pod-masquerade.nft"
TABLE = "hardway-pods"


def resources(model: Model) -> Iterator[Declared]:
    known = ", ".join(unmasqueraded(model.cluster))
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


def _masquerade(machine: Machine, known: str) -> Iterator[Resource]:
    yield File(MASQUERADE, render("configs/pod-masquerade.nft", pod_cidr=machine.pods, known=known), mode=0o600)
    yield File(unit_path("pod-masquerade"), render("units/pod-masquerade.service"), mode=0o600)
    yield Service(
        "pod-masquerade.service",
        inputs=unit_inputs("pod-masquerade", MASQUERADE),
        ready=Check("the rule is loaded", f"nft list table ip {TABLE} >/dev/null", limit=30),
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
            yield Proof(
                machine.name,
                "packets are forwarded",
                "cat /proc/sys/net/ipv4/ip_forward",
                "a worker is the router of its pods",
                "equals",
                "1",
            )
            yield Proof(
                machine.name,
                "the firewall lets pods through",
                _firewall_query(str(machine.pods), str(model.cluster.network.pod_cidr)),
                "FORWARD DROP stops all pods; accept forwarding from and to the pod ranges in your firewall",
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
    return f"ip -4 route show | grep -c {patterns}"


PHASE = Phase(
    "routes",
    "Provisioning pod network routes",
    "A pod's address says which worker it is on; the other machines must know the way.",
    resources,
    proofs,
)

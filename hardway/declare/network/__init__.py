"""The pod network, pure: a bridge on every worker and routes between them, or one's own plugin.

`bridge` is the tutorial's network: each worker gives its pods addresses of its own range, and every other
machine has a route to that range. Nothing is encapsulated, so workers and controllers must be neighbours
(one layer 2 segment, or a router that knows these routes).
"""

from hardway.declare.render import render
from hardway.inventory.model import Address, Cluster, Machine, Range

CNI_CONFIG = "/etc/cni/net.d/10-bridge.conflist"
BRIDGE = "cni0"
EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def plugins(cluster: Cluster) -> tuple[str, ...]:
    """The CNI plugins that a worker needs; containerd itself sets up each pod's loopback with one of them."""
    return ("loopback", "bridge", "host-local", "portmap") if cluster.network.plugin == "bridge" else ("loopback",)


def cni_config(cluster: Cluster, machine: Machine) -> str:
    """The network configuration list of one worker."""
    network = cluster.network
    # A range of each family in a list of its own: a pod gets an address of each.
    ranges = ", ".join(f'[{{"subnet": "{pods}"}}]' for pods in machine.pod_cidrs)
    routes = ", ".join(f'{{"dst": "{EVERYWHERE[pods.version]}"}}' for pods in machine.pod_cidrs)
    backend, mtu = network.proxy_mode, network.mtu or 0
    return render("configs/10-bridge.conflist", ranges=ranges, routes=routes, backend=backend, mtu=mtu)


def routed(cluster: Cluster) -> tuple[Machine, ...]:
    """Machines that reach pods: workers, and controllers for webhooks and aggregated APIs."""
    if cluster.network.plugin != "bridge":
        return ()
    return tuple(machine for machine in cluster.machines if machine.is_controller or machine.is_worker)


def routes(cluster: Cluster, machine: Machine) -> dict[str, str]:
    """Each other worker's pod range, and its address as the next hop.

    Never a machine's own range: its bridge has that route, and one more would break its pods.
    """
    found: dict[str, str] = {}
    for name, ways in cluster.ways.items():
        if name != machine.name:
            found.update(ways)
    return found


def unmasqueraded(cluster: Cluster, version: int) -> tuple[str, ...]:
    """Where pods are seen with their own addresses of one family: pods, and the machines that have routes back."""
    known: list[Range | Address] = list(cluster.network.pod_cidrs)
    for machine in routed(cluster):
        known += machine.addresses
    return tuple(str(one) for one in known if one.version == version)

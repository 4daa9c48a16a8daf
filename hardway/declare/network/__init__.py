"""The pod network, pure: a bridge on every worker and routes between them, or one's own plugin.

`bridge` is the tutorial's network: each worker gives its pods addresses of its own range, and every other
machine has a route to that range. Nothing is encapsulated, so workers and controllers must be neighbours
(one layer 2 segment, or a router that knows these routes).
"""

from hardway.declare.render import render
from hardway.inventory.model import Cluster, Machine

CNI_CONFIG = "/etc/cni/net.d/10-bridge.conflist"
BRIDGE = "cni0"


def plugins(cluster: Cluster) -> tuple[str, ...]:
    """The CNI plugins that a worker needs; containerd itself sets up each pod's loopback with one of them."""
    return ("loopback", "bridge", "host-local", "portmap") if cluster.network.plugin == "bridge" else ("loopback",)


def cni_config(cluster: Cluster, machine: Machine) -> str:
    """The network configuration list of one worker."""
    network = cluster.network
    return render("configs/10-bridge.conflist", pod_cidr=machine.pods, backend=network.proxy_mode, mtu=network.mtu or 0)


def routed(cluster: Cluster) -> tuple[Machine, ...]:
    """Machines that reach pods: workers, and controllers for webhooks and aggregated APIs."""
    if cluster.network.plugin != "bridge":
        return ()
    return tuple(machine for machine in cluster.machines if machine.is_controller or machine.is_worker)


def routes(cluster: Cluster, machine: Machine) -> dict[str, str]:
    """Each other worker's pod range, and its address as the next hop.

    Never a machine's own range: its bridge has that route, and one more would break its pods.
    """
    return dict(way for name, way in cluster.ways.items() if name != machine.name)


def unmasqueraded(cluster: Cluster) -> tuple[str, ...]:
    """Where pods are seen with their own addresses: pods, and the machines that have routes back."""
    return (str(cluster.network.pod_cidr), *(str(machine.ip) for machine in routed(cluster)))

"""The way to the outside through the inventory's `proxy`, for all that goes there: derived here and nowhere else."""

from hardway.inventory.model import Cluster


def environment(cluster: Cluster) -> dict[str, str]:
    """The variables that downloads, Go, apt and containerd understand; none without a proxy."""
    if cluster.proxy is None:
        return {}
    return {"HTTP_PROXY": cluster.proxy, "HTTPS_PROXY": cluster.proxy, "NO_PROXY": ",".join(direct(cluster))}


def direct(cluster: Cluster) -> list[str]:
    """What is reached without the proxy: the machines and the endpoint, Services and pods, and all of their names."""
    network = cluster.network
    machines: list[str] = []
    for machine in cluster.machines:
        machines += map(str, machine.addresses)
    endpoint = [cluster.endpoint.host] if cluster.endpoint and cluster.endpoint_machine is None else []
    ranges = [str(cidr) for cidr in (*network.service_cidrs, *network.pod_cidrs)]
    return ["localhost", "127.0.0.1", *machines, *endpoint, *ranges, f".{network.cluster_domain}", f".{cluster.domain}"]

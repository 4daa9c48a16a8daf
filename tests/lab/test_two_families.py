"""Clusters with IPv4 and IPv6, and with IPv6 alone: from nothing, through a power cut; families cannot change."""

import pytest
from driving import NETWORK, Labs

pytestmark = pytest.mark.lab

DUAL = f"""\
cluster: hwtest-dual
lab: {{network: [{NETWORK}.0/24, "fd00:245:4::/64"]}}
network:
  service_cidr: [10.32.0.0/24, "fd00:32::/112"]
  pod_cidr: [10.200.0.0/16, "fd00:200::/56"]
machines:
  server: {{role: controller, address: [{NETWORK}.10, "fd00:245:4::10"]}}
  node-0: {{role: worker, address: [{NETWORK}.20, "fd00:245:4::20"]}}
  node-1: {{role: worker, address: [{NETWORK}.21, "fd00:245:4::21"]}}
"""

IPV6 = """\
cluster: hwtest-ipv6
lab: {network: "fd00:245:4::/64"}
network: {service_cidr: "fd00:32::/112", pod_cidr: "fd00:200::/56"}
machines:
  server: {role: controller, address: "fd00:245:4::10"}
  node-0: {role: worker, address: "fd00:245:4::20"}
  node-1: {role: worker, address: "fd00:245:4::21"}
"""


@pytest.mark.in_turn("two")
def test_pods_services_and_names_over_both_families(labs: Labs) -> None:
    site = labs.fresh(labs.make("hwtest-dual", DUAL))
    untouched = site.traces()
    ran = site.init()
    assert site.nodes_ready().keys() == {"node-0", "node-1"}
    proved = {one["what"] for one in ran.events if one["event"] == "Proved" and one["holds"]}
    for pod, other in (("node-0", "node-1"), ("node-1", "node-0")):
        assert f"the pod on {pod} reaches the pod on {other} over IPv6" in proved
        assert f"the pod on {pod} reaches a Service by its address over IPv6" in proved
        assert f"the pod on {pod} finds the IPv6 address of a Service by its name" in proved
    assert len([name for name in proved if name.startswith("NodePort") and name.endswith("over IPv6")]) == 2
    site.unchanged("init")
    site.hardway("doctor")

    # Routes, addresses and rules of both families are there again after a power cut.
    site.hardway("lab", "power-off", "node-0")
    site.hardway("lab", "power-on", "node-0")
    site.hardway("smoke-test")

    # What runs keeps its families.
    site.inventory.write_text(_ipv4_alone())
    refused = " ".join(site.hardway("init", "--yes", code=1).out.split())
    assert "network.service_cidr is [10.32.0.0/24, fd00:32::/112] in the running cluster" in refused
    site.inventory.write_text(DUAL)
    site.unchanged("init")

    site.hardway("reset", "--yes")
    left = {
        (machine, what, line)
        for machine, now in site.traces().items()
        for what, lines in now.items()
        for line in lines ^ untouched[machine][what]
    }
    assert sorted(left) == []


@pytest.mark.in_turn("two")
def test_a_cluster_without_ipv4(labs: Labs) -> None:
    site = labs.fresh(labs.make("hwtest-ipv6", IPV6))
    ran = site.init()
    assert site.nodes_ready().keys() == {"node-0", "node-1"}
    proved = {one["what"] for one in ran.events if one["event"] == "Proved" and one["holds"]}
    assert {
        "the pod on node-0 reaches the pod on node-1 over IPv6",
        "the pod on node-1 reaches the API at fd00:32::1",
        "the pod on node-1 finds kubernetes.default.svc.cluster.local",
    } <= proved
    site.unchanged("init")
    site.hardway("doctor")
    site.hardway("lab", "power-off", "node-0")
    site.hardway("lab", "power-on", "node-0")
    site.hardway("smoke-test")
    site.hardway("reset", "--yes")


def _ipv4_alone() -> str:
    lines: list[str] = []
    for line in DUAL.splitlines():
        before, bracket, rest = line.partition("[")
        lines.append(f"{before}{rest.partition(',')[0]}{rest.partition(']')[2]}" if bracket else line)
    return "\n".join(lines)

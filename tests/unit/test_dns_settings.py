"""`dns:` of an inventory: whom CoreDNS asks, or a Corefile of the operator's own."""

from pathlib import Path

import pytest

from hardway import yaml_text
from hardway.declare.phases.base import Model
from hardway.declare.phases.dns import corefile, manifest
from hardway.errors import InventoryError
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.state import State

GIVEN = "cluster: c\nmachines: {k1: {role: controller, address: 10.0.8.1}, w1: {role: worker, address: 10.0.8.2}}\n"
OWN = """\
# Ours, with a line that YAML would take for the end of a document:
---
.:53 {
    health
    ready
    kubernetes cluster.local in-addr.arpa
    forward . 9.9.9.9
    reload
}
"""


def written(folder: Path, dns: str, own: str = OWN) -> Path:
    (folder / "Corefile").write_text(own)
    path = folder / "hardway.yaml"
    path.write_text(f"{GIVEN}dns: {dns}\n")
    return path


def deployed(path: Path) -> str:
    """The Corefile as the API server gets it."""
    cluster = allot_pod_cidrs(load(path), {})
    objects = yaml_text.documents(manifest(Model(cluster, State("c", "0"), {})))
    text: str = next(one["data"]["Corefile"] for one in objects if one["kind"] == "ConfigMap")
    return text


def test_stub_domains_are_server_blocks_of_their_own(tmp_path: Path) -> None:
    path = written(tmp_path, '{stub_domains: {corp.example: [10.0.0.53, "10.0.1.53:5353"], lan: 10.0.0.1}}')
    plain, stubs = deployed(path).split("corp.example:53 {")
    assert plain == corefile(load(written(tmp_path, "{}")))
    assert [line.strip() for line in stubs.splitlines() if "forward" in line or "{" in line] == [
        "forward . 10.0.0.53 10.0.1.53:5353",
        "lan:53 {",
        "forward . 10.0.0.1",
    ]


def test_upstream_servers_take_the_place_of_the_machines_resolvers(tmp_path: Path) -> None:
    assert "forward . /etc/resolv.conf {" in deployed(written(tmp_path, "{}"))
    assert "forward . 9.9.9.9 149.112.112.112 {" in deployed(
        written(tmp_path, "{upstream: [9.9.9.9, 149.112.112.112]}")
    )


def test_a_corefile_of_ones_own_arrives_as_it_is(tmp_path: Path) -> None:
    assert deployed(written(tmp_path, "{corefile: Corefile}")) == OWN


MISTAKES = {
    "the cluster's own domain": (
        "{stub_domains: {svc.cluster.local: 10.0.0.1}}",
        OWN,
        'dns.stub_domains."svc.cluster.local": is inside cluster_domain cluster.local, which CoreDNS answers for '
        "itself; take it out",
    ),
    "a name for a server": (
        "{stub_domains: {corp.example: ns1.corp.example}}",
        OWN,
        'dns.stub_domains."corp.example": "ns1.corp.example" is not a name server; right: an address, or one '
        "with a port, such as 10.0.0.53:5353",
    ),
    "a port that is none": (
        '{upstream: ["8.8.8.8:0"]}',
        OWN,
        'dns.upstream.0: "8.8.8.8:0" is not a name server; right: an address, or one with a port, such as '
        "10.0.0.53:5353",
    ),
    "both": (
        "{corefile: Corefile, upstream: 9.9.9.9}",
        OWN,
        "dns.upstream: goes into a Corefile of hardway's, and corefile replaces that; write it there",
    ),
    "no such file": ("{corefile: nope}", OWN, "dns.corefile: FOLDER/nope: No such file or directory"),
    "an open brace": ("{corefile: Corefile}", OWN + ".:54 {", "dns.corefile: Corefile: 2 times { and 1 times }"),
    "no Services": (
        "{corefile: Corefile}",
        OWN.replace("kubernetes cluster.local", "#kubernetes cluster.local"),
        "dns.corefile: Corefile: has no plugin kubernetes for cluster.local: no Service would have a name; "
        "add kubernetes cluster.local",
    ),
    "never ready": (
        "{corefile: Corefile}",
        OWN.replace("    ready\n", ""),
        "dns.corefile: Corefile: has no plugin ready: the Deployment's probe asks it, and no pod would become ready; "
        "add a line ready",
    ),
}


@pytest.mark.parametrize(("dns", "own", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_what_would_leave_pods_without_names_is_refused(tmp_path: Path, dns: str, own: str, problem: str) -> None:
    with pytest.raises(InventoryError) as caught:
        load(written(tmp_path, dns, own))
    assert [one.replace(str(tmp_path), "FOLDER").partition(": ")[2] for one in caught.value.problems] == [problem]

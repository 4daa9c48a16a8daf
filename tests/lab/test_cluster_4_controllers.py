"""The first controller leaves a cluster that serves, and comes back."""

import json
from pathlib import Path

import pytest
from driving import Site
from load import assert_served, counting

pytestmark = pytest.mark.lab

FIRST = "controller-0"


def members(site: Site) -> list[str]:
    """Those that vote and serve."""
    told = json.loads(site.hardway("etcd", "status", "-o", "json").out)
    return sorted(one["name"] for one in told["members"] if one["serving"])


def waiting(site: Site) -> list[str]:
    """The commands that `status` names."""
    return [one["command"] for one in json.loads(site.hardway("status", "-o", "json").out)["pending"]]


@pytest.mark.in_turn("come and go")
def test_the_first_controller_leaves_and_comes_back(seven: Site, tmp_path: Path) -> None:
    cluster, authorities = seven.etcd_cluster_id("controller-1"), seven.authorities()
    for folder in ("gone", "back"):
        (tmp_path / folder).mkdir()
    with counting(seven.workspace / "kubeconfig", tmp_path / "gone") as load:
        seven.hardway("node", "remove", FIRST, "--yes")
    assert_served(load)
    assert members(seven) == ["controller-1", "controller-2"]
    assert seven.on(FIRST, "ls -d /etc/kubernetes /var/lib/etcd/member /var/lib/hardway 2>/dev/null || true") == ""
    assert FIRST not in seven.on("controller-1", "cat /etc/hosts")
    assert waiting(seven) == [f"hardway node add {FIRST}"]
    assert f"hardway node add {FIRST}" in seven.hardway("init", "--yes", code=1).out
    # Status 1: what the inventory lists and nobody has added. Every proof holds.
    verified = json.loads(seven.hardway("verify", "-o", "json", code=1).out)
    assert [one for one in verified["proofs"] if not one["holds"]] == []
    with counting(seven.workspace / "kubeconfig", tmp_path / "back") as load:
        seven.hardway("node", "add", FIRST, "--yes")
    assert_served(load)
    assert members(seven) == ["controller-0", "controller-1", "controller-2"]
    assert waiting(seven) == []
    assert (seven.etcd_cluster_id("controller-1"), seven.authorities()) == (cluster, authorities)
    seven.unchanged("init")

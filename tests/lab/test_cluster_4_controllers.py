"""The first controller leaves a cluster that serves, and comes back.

With `HARDWAY_GROWS` (`make soak`) a cluster of one controller becomes one of five, and one again, of another one.
"""

import json
import os
from pathlib import Path

import pytest
from driving import NETWORK, Labs, Site
from load import Load, counting

pytestmark = pytest.mark.lab

FIRST = "controller-0"
GROWN = f"""\
cluster: hwtest-grow
endpoint: front
lab: {{network: {NETWORK}.0/24}}
machines:
  front: {{role: load-balancer, address: {NETWORK}.9}}
  worker: {{role: worker, address: {NETWORK}.20}}
  c0: {{role: controller, address: {NETWORK}.10}}
"""
OTHERS = [f"  c{number}: {{role: controller, address: {NETWORK}.1{number}}}\n" for number in (1, 2, 3, 4)]


def members(site: Site) -> list[str]:
    """Those that vote and serve."""
    told = json.loads(site.hardway("etcd", "status", "-o", "json").out)
    return sorted(one["name"] for one in told["members"] if one["serving"])


def waiting(site: Site) -> list[str]:
    """The commands that `status` names."""
    return [one["command"] for one in json.loads(site.hardway("status", "-o", "json").out)["pending"]]


def assert_served(load: Load) -> None:
    assert load.requests > 100
    assert (load.lost, load.watch_gaps) == ([], []), str(load)
    # A write on a kept connection that ends just as it is sent is nobody's to repeat.
    assert load.failed <= min(load.closed, 1), str(load)


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
    seven.hardway("verify")
    with counting(seven.workspace / "kubeconfig", tmp_path / "back") as load:
        seven.hardway("node", "add", FIRST, "--yes")
    assert_served(load)
    assert members(seven) == ["controller-0", "controller-1", "controller-2"]
    assert waiting(seven) == []
    assert (seven.etcd_cluster_id("controller-1"), seven.authorities()) == (cluster, authorities)
    seven.unchanged("init")


@pytest.mark.skipif(not os.environ.get("HARDWAY_GROWS"), reason="a long series: make soak")
def test_one_controller_becomes_five_and_one_again(labs: Labs, tmp_path: Path) -> None:
    listed = GROWN + "".join(OTHERS)
    site = labs.fresh(labs.make("hwtest-grow", listed))
    try:
        grows_and_shrinks(site, tmp_path)
    finally:
        site.inventory.write_text(listed)


def grows_and_shrinks(site: Site, folder: Path) -> None:
    site.inventory.write_text(GROWN)
    site.init()
    for count in (3, 5):
        site.inventory.write_text(GROWN + "".join(OTHERS[: count - 1]))
        for name in (f"c{count - 2}", f"c{count - 1}"):
            change(site, folder, "add", name)
        assert len(members(site)) == count
        site.unchanged("init")
    site.hardway("lab", "power-off", "c4")
    change(site, folder, "remove", "c4", "--gone")
    for name in ("c0", "c1", "c2"):
        change(site, folder, "remove", name)
    assert members(site) == ["c3"]
    site.inventory.write_text(GROWN.replace("c0:", "c3:").replace(f"{NETWORK}.10}}", f"{NETWORK}.13}}"))
    site.unchanged("init")


def change(site: Site, folder: Path, *words: str) -> None:
    """`node add` or `node remove`, under clients that count."""
    place = folder / "-".join(words)
    place.mkdir()
    with counting(site.workspace / "kubeconfig", place) as load:
        site.hardway("node", *words, "--yes")
    print(f"node {' '.join(words)}: {load}")
    assert_served(load)

"""A cluster of one controller becomes one of five, and one again, of another one, under clients that count.

`HARDWAY_GROWS=1` (`make soak`).
"""

import os
from pathlib import Path

import pytest
from driving import NETWORK, Labs, Site
from load import counting
from test_cluster_4_controllers import assert_served, members

pytestmark = pytest.mark.lab

__test__ = bool(os.environ.get("HARDWAY_GROWS"))
GROWN = f"""\
cluster: hwtest-grow
endpoint: front
lab: {{network: {NETWORK}.0/24}}
machines:
  front: {{role: load-balancer, address: {NETWORK}.9}}
  w0: {{role: worker, address: {NETWORK}.20}}
  c0: {{role: controller, address: {NETWORK}.10}}
"""
OTHERS = [f"  c{number}: {{role: controller, address: {NETWORK}.1{number}}}\n" for number in (1, 2, 3, 4)]


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

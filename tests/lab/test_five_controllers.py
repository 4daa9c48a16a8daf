"""A cluster of one controller becomes one of five, and one again, of another one, under clients that count; or of two.

`HARDWAY_GROWS=1` (`make soak`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import NETWORK, Labs, Site
from load import assert_served, counting
from test_cluster_4_controllers import members

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
    with booted(labs, GROWN + "".join(OTHERS)) as site:
        grows_and_shrinks(site, tmp_path)


@contextmanager
def booted(labs: Labs, listed: str) -> Iterator[Site]:
    """All of the machines that take part sooner or later; the inventory lists all of them again at the end."""
    site = labs.fresh(labs.make("hwtest-grow", listed))
    try:
        yield site
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


def test_one_of_two_that_burnt_is_gone_and_the_other_serves_alone(labs: Labs) -> None:
    listed = GROWN + "".join(OTHERS[:2])
    with booted(labs, listed) as site:
        loses_one_of_two(site, listed)


def loses_one_of_two(site: Site, listed: str) -> None:
    site.inventory.write_text(GROWN)
    site.init()
    site.inventory.write_text(listed)
    site.hardway("node", "add", "c1", "--yes")
    site.kubectl("create", "configmap", "last", "--from-literal=word=kept")
    refused = site.hardway("etcd", "recover", "--gone", "c1", "--yes", code=1).out
    assert "a majority of etcd serves: " in refused
    site.hardway("lab", "power-off", "c1")
    command = "hardway etcd recover --gone c1"
    assert command in site.hardway("node", "remove", "c1", "--gone", "--yes", code=1).out
    ran = site.hardway(*command.split()[1:], "--yes")
    print(f"alone after {ran.seconds:.0f} s")
    assert members(site) == ["c0"]
    assert site.kubectl("get", "configmap", "last", "-o", "jsonpath={.data.word}") == "kept"
    site.inventory.write_text(GROWN)
    site.unchanged("init")
    site.hardway("smoke-test")
    site.inventory.write_text(listed)
    site.hardway("node", "add", "c2", "--yes")
    assert members(site) == ["c0", "c2"]


def change(site: Site, folder: Path, *words: str) -> None:
    """`node add` or `node remove`, under clients that count."""
    place = folder / "-".join(words)
    place.mkdir()
    with counting(site.workspace / "kubeconfig", place) as load:
        site.hardway("node", *words, "--yes")
    print(f"node {' '.join(words)}: {load}")
    assert_served(load)

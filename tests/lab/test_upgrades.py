"""To another minor release, back, there again and finished, under clients that count.

`HARDWAY_UPGRADES=1` (`make soak`): the older release must be built first, which takes ten minutes.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import NETWORK, Labs, Site
from load import assert_served, counting

pytestmark = pytest.mark.lab

__test__ = bool(os.environ.get("HARDWAY_UPGRADES"))
OLD, NEW = "1.35.6", "1.36.4"
SEVEN = f"""\
cluster: hwtest-3
kubernetes: {OLD}
endpoint: front
lab: {{network: {NETWORK}.0/24}}
machines:
  front: {{role: load-balancer, address: {NETWORK}.9}}
  head-0: {{role: controller, address: {NETWORK}.10}}
  head-1: {{role: controller, address: {NETWORK}.11}}
  head-2: {{role: controller, address: {NETWORK}.12}}
  hand-0: {{role: worker, address: {NETWORK}.20}}
  hand-1: {{role: worker, address: {NETWORK}.21}}
  hand-2: {{role: worker, address: {NETWORK}.22}}
"""
ASK = "/usr/local/bin/kubectl --kubeconfig=/etc/kubernetes/admin.conf get --raw=/version"
LIMIT = 900
CONTROLLERS = ("head-0", "head-1", "head-2")


def says(site: Site, version: str) -> None:
    """The inventory wants another version."""
    text = site.inventory.read_text()
    for one in (OLD, NEW):
        text = text.replace(f"kubernetes: {one}", f"kubernetes: {version}")
    site.inventory.write_text(text)


def versions(site: Site) -> set[tuple[str, str]]:
    """What API servers are and as which minor release they behave."""
    found = set()
    for text in site.everywhere(
        "kubectl --kubeconfig=/etc/kubernetes/admin.conf get --raw=/version", CONTROLLERS
    ).values():
        said = json.loads(text)
        found.add((said["gitVersion"], said["emulationMinor"]))
    return found


def kubelets(site: Site) -> set[str]:
    return set(site.kubectl("get", "nodes", "-o", "jsonpath={.items[*].status.nodeInfo.kubeletVersion}").split())


@contextmanager
def nobody_notices(site: Site, folder: Path) -> Iterator[None]:
    folder.mkdir()
    with counting(site.workspace / "kubeconfig", folder) as load:
        yield
    print(f"{folder.name}: {load}")
    assert_served(load)


def test_there_and_back_and_there_for_good(labs: Labs, tmp_path: Path) -> None:
    site = labs.make("hwtest-3", SEVEN)
    site.hardway("artifacts", "get", "--yes", timeout=3600)
    labs.fresh(site)
    site.init()
    says(site, NEW)
    assert site.hardway("upgrade", "plan", code=3).out
    with nobody_notices(site, tmp_path / "there"):
        site.hardway("upgrade", "apply", "--yes", "-o", "json", timeout=LIMIT)
    assert (versions(site), kubelets(site)) == ({(f"v{NEW}", "35")}, {f"v{NEW}"})
    site.unchanged("init")
    with nobody_notices(site, tmp_path / "back"):
        site.hardway("upgrade", "rollback", "--yes", "-o", "json", timeout=LIMIT)
    assert (versions(site), kubelets(site)) == ({(f"v{OLD}", "35")}, {f"v{OLD}"})
    says(site, OLD)
    site.unchanged("init")
    says(site, NEW)
    with nobody_notices(site, tmp_path / "there-again"):
        site.hardway("upgrade", "apply", "--yes", "-o", "json", timeout=LIMIT)
    with nobody_notices(site, tmp_path / "finish"):
        site.hardway("upgrade", "apply", "--finish", "--yes", "-o", "json", timeout=LIMIT)
    assert (versions(site), kubelets(site)) == ({(f"v{NEW}", "36")}, {f"v{NEW}"})
    assert set(site.nodes_ready()) == {"hand-0", "hand-1", "hand-2"}
    site.unchanged("init")
    refused = site.hardway("upgrade", "rollback", "--yes", code=2)
    assert "there is no upgrade to go back from" in refused.out

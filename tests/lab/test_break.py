"""Every fault that a lab can be given: doctor names it first, and its fix, typed as it is printed, heals it.

A quarter of them each day; `HARDWAY_FAULTS=all` tries all of them (`make soak`).

Two clusters, one after the other: what breaks a worker or an add-on breaks a small one, whose components leave more
of this computer to what is tried; the others have three controllers, so that one may fail.
"""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from driving import NETWORK, Labs, Ran, Site

from hardway.declare.phases import PHASE_NAMES
from hardway.lab.faults import FAULTS, Fault

pytestmark = pytest.mark.lab

THREE = f"""\
cluster: hwtest-break
endpoint: front
lab: {{network: {NETWORK}.0/24}}
machines:
  front: {{role: load-balancer, address: {NETWORK}.9}}
  one: {{role: controller, address: {NETWORK}.10}}
  two: {{role: controller, address: {NETWORK}.11}}
  three: {{role: [controller, worker], address: {NETWORK}.12}}
"""
SMALL = f"""\
cluster: hwtest-small
lab: {{network: {NETWORK}.0/24}}
machines:
  one: {{role: controller, address: {NETWORK}.10}}
  two: {{role: worker, address: {NETWORK}.11}}
  three: {{role: worker, address: {NETWORK}.12}}
"""
ALL = os.environ.get("HARDWAY_FAULTS") == "all"
TRIED = FAULTS if ALL else FAULTS[datetime.now(UTC).toordinal() % 4 :: 4]
IN_SMALL = [fault for fault in TRIED if fault.role == "worker" or fault.name.startswith("dns-")]
IN_THREE = [fault for fault in TRIED if fault not in IN_SMALL]
SHOWING, HEALING = 45.0, 60.0
"""Seconds until a fault shows in what doctor looks at, and until all has come up again after its fix."""


@pytest.fixture(scope="module")
def kept() -> dict[str, str]:
    """`healthy`: the inventory whose cluster the test before left so: `init` need not look at it again."""
    return {"healthy": ""}


def healthy(labs: Labs, kept: dict[str, str], inventory: str) -> Site:
    """A healthy cluster: where a test left it broken, it is generated again."""
    site = labs.make(inventory.split()[1], inventory)
    if kept["healthy"] != inventory and labs.only(site).hardway("init", "--yes", code=None).code != 0:
        labs.fresh(site)
        site.init()
    return site


def causes(ran: Ran) -> list[dict[str, Any]]:
    """What doctor found; none where it said nothing but an error."""
    return list(json.loads(ran.out)["causes"]) if ran.out.startswith("{") else []


def typed(site: Site, command: str) -> None:
    """Types a command of a fix, in the inventory's folder, and agrees to the changes that it shows."""
    if command.startswith("hardway ") and command.split()[1] in ("init", "apply", *PHASE_NAMES):
        command += " --yes"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, shell=True, cwd=site.folder, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def named(site: Site, fault: Fault) -> dict[str, Any]:
    """What doctor names first, once the fault shows."""
    deadline = time.monotonic() + SHOWING
    while True:
        ran = site.hardway("doctor", "-o", "json", code=None)
        found = causes(ran)
        if (found and found[0]["id"] == fault.rule) or time.monotonic() > deadline:
            assert ran.code == 3, ran.out
            assert found[0]["id"] == fault.rule, ran.out
            return found[0]


def heals(site: Site) -> None:
    """Doctor finds nothing any more: no cause, no difference, and every proof holds."""
    deadline = time.monotonic() + HEALING
    while (ran := site.hardway("doctor", code=None)).code != 0:
        assert time.monotonic() < deadline, ran.out


def breaks_and_heals(labs: Labs, kept: dict[str, str], inventory: str, fault: Fault) -> None:
    cluster = healthy(labs, kept, inventory)
    kept["healthy"] = ""
    told = cluster.hardway("lab", "break", fault.name).out
    assert fault.summary in told
    cause = named(cluster, fault)
    for command in cause["fix"]:
        typed(cluster, command)
    heals(cluster)
    kept["healthy"] = inventory


@pytest.mark.parametrize("fault", IN_SMALL, ids=lambda fault: fault.name)
def test_doctor_names_what_is_wrong_on_a_node_first_and_its_fix_heals_it(
    labs: Labs, kept: dict[str, str], fault: Fault
) -> None:
    breaks_and_heals(labs, kept, SMALL, fault)


@pytest.mark.parametrize("fault", IN_THREE, ids=lambda fault: fault.name)
def test_doctor_names_what_is_wrong_in_the_control_plane_first_and_its_fix_heals_it(
    labs: Labs, kept: dict[str, str], fault: Fault
) -> None:
    breaks_and_heals(labs, kept, THREE, fault)


def test_doctor_of_a_healthy_cluster_finds_and_writes_nothing(labs: Labs, kept: dict[str, str]) -> None:
    cluster = healthy(labs, kept, THREE)
    before = cluster.writings()
    ran = cluster.hardway("doctor")
    assert "Nothing is wrong that is known to go wrong." in ran.out
    # What doctor calls healed is what verify calls as declared.
    cluster.hardway("verify")
    assert cluster.writings() == before


def test_something_broken_at_random_is_found(labs: Labs, kept: dict[str, str]) -> None:
    cluster = healthy(labs, kept, THREE)
    kept["healthy"] = ""
    told = cluster.hardway("lab", "break", "--random").out
    assert told == "Something is broken.\nFind it:  hardway doctor\n"
    deadline = time.monotonic() + SHOWING
    while not causes(cluster.hardway("doctor", "-o", "json", code=None)):
        assert time.monotonic() < deadline
    # As the page says: do the first fix, then look again.
    while found := causes(cluster.hardway("doctor", "-o", "json", code=None)):
        assert time.monotonic() < deadline + HEALING
        for command in found[0]["fix"]:
            typed(cluster, command)
    heals(cluster)
    kept["healthy"] = THREE

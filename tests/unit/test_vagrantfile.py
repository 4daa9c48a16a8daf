"""vagrant/Vagrantfile: valid for each provider, and with the machines that the inventory has."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hardway.inventory.load import load
from hardway.preflight.machines import CONTROLLER_MEMORY, WORKER_MEMORY

ROOT = Path(__file__).parents[2]
INVENTORY = ROOT / "inventories" / "vagrant.yaml"
FOLDER = ROOT / "vagrant"
PROVIDERS = ("virtualbox", "libvirt")
MIB = 1024

pytestmark = pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed")


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A home of Vagrant's own, and a VirtualBox that can say its version and nothing else."""
    tmp_path = tmp_path_factory.mktemp("vagrant")
    manage = tmp_path / "bin" / "VBoxManage"
    manage.parent.mkdir()
    manage.write_text("#!/bin/sh\necho 7.0.20r163906\n")
    manage.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VAGRANT_", "HARDWAY_"))}
    home, local = str(tmp_path / "home"), str(tmp_path / "local")
    path = f"{manage.parent}:{os.environ['PATH']}"
    return {**kept, "PATH": path, "VAGRANT_HOME": home, "VAGRANT_DOTFILE_PATH": local}


def given(provider: str, surroundings: dict[str, str], inventory: Path = INVENTORY) -> list[dict[str, Any]]:
    """What a provider is given, machine by machine."""
    program = ["ruby", "-W0", str(Path(__file__).with_name("vagrantfile.rb"))]
    argv = [*program, str(FOLDER), surroundings["VAGRANT_HOME"], provider]
    environment = {**surroundings, "HARDWAY_VAGRANT_INVENTORY": str(inventory)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    machines: list[dict[str, Any]] = json.loads(done.stdout)
    return machines


@pytest.mark.parametrize("provider", PROVIDERS)
def test_vagrant_finds_it_valid(provider: str, surroundings: dict[str, str]) -> None:
    environment = {**surroundings, "VAGRANT_DEFAULT_PROVIDER": provider}
    done = subprocess.run(
        ["vagrant", "validate"], cwd=FOLDER, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Vagrantfile validated successfully.\n"), done.stderr


@pytest.fixture(scope="module", params=PROVIDERS)
def machines(request: pytest.FixtureRequest, surroundings: dict[str, str]) -> list[dict[str, Any]]:
    """What each provider is given of the inventory that travels with hardway."""
    return given(request.param, surroundings)


def test_machines_have_the_inventory_s_names_and_addresses_and_nothing_but_ssh(machines: list[dict[str, Any]]) -> None:
    wanted = [(machine.name, machine.name, [str(machine.ip)]) for machine in load(INVENTORY).machines]
    assert [(one["name"], one["hostname"], one["addresses"]) for one in machines] == wanted
    assert {(one["provisioners"], *one["shared_folders"]) for one in machines} == {(0,)}
    assert {tuple(one["box"]) for one in machines} == {("debian/bookworm64", "12.20250126.1")}


def test_machines_have_the_memory_that_preflight_asks_for_and_fit_a_laptop(machines: list[dict[str, Any]]) -> None:
    memory = {one["name"]: one["memory"] for one in machines}
    # The kernel keeps some of a virtual machine's memory for itself: a tenth of a small one's at most.
    usable = {name: size * MIB * 9 // 10 for name, size in memory.items()}
    cluster = load(INVENTORY)
    assert all(usable[machine.name] >= CONTROLLER_MEMORY for machine in cluster.controllers)
    assert all(usable[machine.name] >= WORKER_MEMORY for machine in cluster.workers)
    assert sum(memory.values()) <= 10 * MIB


def test_another_inventory_gives_other_machines(surroundings: dict[str, str], tmp_path: Path) -> None:
    inventory = tmp_path / "mine.yaml"
    inventory.write_text(
        "cluster: mine\n"
        "machines:\n"
        "  one: {role: [controller, worker], address: 192.168.57.10}\n"
        "  two: {role: worker, address: 192.168.57.11}\n"
    )
    machines = given("libvirt", surroundings, inventory)
    assert [(one["name"], one["addresses"], one["memory"]) for one in machines] == [
        ("one", ["192.168.57.10"], 1792 + 1280),
        ("two", ["192.168.57.11"], 1280),
    ]


def test_a_machine_without_address_is_named(surroundings: dict[str, str], tmp_path: Path) -> None:
    inventory = tmp_path / "mine.yaml"
    inventory.write_text("cluster: mine\nmachines: {one: controller}\n")
    environment = {**surroundings, "HARDWAY_VAGRANT_INVENTORY": str(inventory), "VAGRANT_DEFAULT_PROVIDER": "libvirt"}
    done = subprocess.run(
        ["vagrant", "status"], cwd=FOLDER, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"{inventory}: one has no address" in done.stderr

"""vagrant/lxc/host.py: what it refuses, before it looks at this computer."""

import subprocess
import sys
from pathlib import Path

HOST = Path(__file__).parents[2] / "vagrant" / "lxc" / "host.py"


def refused(inventory: Path, text: str) -> str:
    inventory.write_text(text)
    done = subprocess.run([sys.executable, HOST, "bridge", inventory], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def test_a_machine_without_an_address_is_named_with_the_next_move(tmp_path: Path) -> None:
    machines = "{k: {role: controller, address: 192.168.56.10}, w1: worker, w2: worker}"
    said = refused(tmp_path / "hardway.yaml", f"cluster: a\nmachines: {machines}\n")
    assert "no address for w1, w2" in said and "Traceback" not in said
    assert "next   give each machine" in said


def test_addresses_of_two_networks_are_refused(tmp_path: Path) -> None:
    machines = "{k: {role: controller, address: 192.168.56.10}, w: {role: worker, address: 192.168.57.10}}"
    assert "one /24 network" in refused(tmp_path / "hardway.yaml", f"cluster: a\nmachines: {machines}\n")

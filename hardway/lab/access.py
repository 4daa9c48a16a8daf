"""How an operator gets in: the lab's SSH key, the machines' host keys, and the workspace's known_hosts."""

import subprocess
from pathlib import Path

from hardway.errors import LabError
from hardway.lab.model import Lab
from hardway.lab.user import Invoker

HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
ACCOUNTS = (("root", "root", 0), ("home/ops", "ops", 1000), ("home/guarded", "guarded", 1001))
"""Home folder, name and id of the machines' accounts; the ids are those of the image's recipe."""


def make_key(file: Path, comment: str) -> None:
    """An ed25519 key pair without a passphrase at `file` and `file.pub`."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)]
    result = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        raise LabError("an SSH key could not be made", tried=f"ssh-keygen -f {file}", said=result.stderr)


def ensure_operator_key(lab: Lab, invoker: Invoker) -> bytes:
    """The lab's public key, made now if the workspace has none; the files are the invoker's."""
    invoker.make_folder(lab.workspace, 0o700)
    invoker.make_folder(lab.private_key.parent, 0o700)
    public = lab.private_key.with_suffix(".pub")
    if not (lab.private_key.exists() and public.exists()):
        fresh = lab.private_key.with_name("id_ed25519.new")
        for stale in (fresh, fresh.with_name("id_ed25519.new.pub")):
            stale.unlink(missing_ok=True)
        make_key(fresh, f"hardway lab {lab.cluster}")
        invoker.write(public, Path(f"{fresh}.pub").read_bytes(), 0o644)
        invoker.write(lab.private_key, fresh.read_bytes(), 0o600)
        fresh.unlink()
        Path(f"{fresh}.pub").unlink()
    return public.read_bytes()


def known_hosts(lab: Lab, present: str, keys: dict[str, str]) -> str:
    """The text of known_hosts with this lab's lines replaced: `keys` is machine name -> `ssh-ed25519 AAAA…`."""
    ours: set[str] = set()
    for machine in lab.machines:
        ours |= {machine.name, str(machine.address)}
    kept = [line for line in present.splitlines() if not ours & set(line.partition(" ")[0].split(","))]
    new = [f"{machine.address},{machine.name} {keys[machine.name]}" for machine in lab.machines]
    return "".join(f"{line}\n" for line in kept + new)


def write_known_hosts(lab: Lab, invoker: Invoker) -> None:
    """Bring the workspace's known_hosts up to the host keys that the machines' disks hold."""
    keys = {
        machine.name: " ".join((lab.disk(machine.name) / "upper" / f"{HOST_KEY}.pub").read_text().split()[:2])
        for machine in lab.machines
    }
    present = lab.known_hosts.read_text() if lab.known_hosts.exists() else ""
    wanted = known_hosts(lab, present, keys)
    if wanted != present:
        invoker.write(lab.known_hosts, wanted.encode(), 0o600)

"""RevokedHostKeys: a list of keys, or a KRL of OpenSSH's, that no host may have."""

import subprocess
import tempfile

import paramiko

from hardway.errors import HostKeyError
from hardway.remote.known_hosts import key_fingerprint
from hardway.remote.model import last_lines
from hardway.remote.ssh_config import Hop


def refuse_revoked(machine: str, hop: Hop, key: paramiko.PKey) -> None:
    """Raises HostKeyError where the key is revoked, or where that cannot be found out, as ssh does."""
    if hop.revoked_keys is None:
        return
    with tempfile.NamedTemporaryFile(prefix="hardway-host-key-", suffix=".pub") as file:
        file.write(f"{key.get_name()} {key.get_base64()}\n".encode())
        file.flush()
        argv = ["ssh-keygen", "-Q", "-f", str(hop.revoked_keys), file.name]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        except OSError as error:
            raise _unknown(machine, hop, str(error)) from None
    if done.returncode == 0:
        return
    if b"REVOKED" in done.stdout:
        raise HostKeyError(
            f"the host key of {hop.host} is revoked: {key_fingerprint(key.asbytes())} ({hop.revoked_keys})",
            machine=machine,
            hint="give the machine a new host key",
        )
    raise _unknown(machine, hop, last_lines(done.stderr) or f"exit status {done.returncode}")


def _unknown(machine: str, hop: Hop, said: str) -> HostKeyError:
    return HostKeyError(
        f"whether the host key of {hop.host} is revoked cannot be found out: {said}",
        machine=machine,
        hint=f"RevokedHostKeys in your ssh_config names {hop.revoked_keys}: correct it",
    )

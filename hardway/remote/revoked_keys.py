"""RevokedHostKeys: a list of keys, or a KRL of OpenSSH's, that no host may have."""

import subprocess
import tempfile
from pathlib import Path

import paramiko

from hardway.errors import HostKeyError
from hardway.remote.known_hosts import key_fingerprint
from hardway.remote.ssh_config import Hop

_KRL = b"SSHKRL\n\0"


def refuse_revoked(machine: str, hop: Hop, key: paramiko.PKey) -> None:
    """Raises HostKeyError where the key is revoked, or where that cannot be found out, as ssh does."""
    path = hop.revoked_keys
    if path is None:
        return
    try:
        data = path.read_bytes()
        revoked = _in_krl(path, key) if data.startswith(_KRL) else key.get_base64().encode() in data.split()
    except OSError as error:
        raise HostKeyError(
            f"whether the host key of {hop.host} is good cannot be found out: {error.strerror}: {path}",
            machine=machine,
            hint="correct RevokedHostKeys in your ssh_config",
        ) from None
    if revoked:
        raise HostKeyError(
            f"the host key of {hop.host} is revoked: {key_fingerprint(key.asbytes())} ({path})",
            machine=machine,
            hint="give the machine a new host key",
        )


def _in_krl(path: Path, key: paramiko.PKey) -> bool:
    """Also where the list cannot be read: nothing is good then. Raises OSError without ssh-keygen."""
    with tempfile.NamedTemporaryFile(prefix="hardway-host-key-", suffix=".pub") as file:
        file.write(f"{key.get_name()} {key.get_base64()}\n".encode())
        file.flush()
        argv = ["ssh-keygen", "-Q", "-f", str(path), file.name]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode != 0

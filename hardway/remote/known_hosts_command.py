"""KnownHostsCommand: a program that prints lines of a known_hosts file."""

import shlex
import subprocess

import paramiko

from hardway.errors import HostKeyError
from hardway.remote.known_hosts import Entry, entries, key_fingerprint, lookup_name
from hardway.remote.model import last_lines
from hardway.remote.ssh_config import Hop
from hardway.remote.tokens import expanded

_SECONDS = 60.0


def known_by_command(machine: str, hop: Hop, key: paramiko.PKey | None) -> list[Entry]:
    """What the command says of a host; without a key it is asked which kinds are known. Raises HostKeyError."""
    if hop.known_hosts_command is None:
        return []
    tokens = {
        **dict(hop.tokens),
        "H": lookup_name(*hop.known_as),
        "I": "HOSTNAME" if key else "ORDER",
        "K": key.get_base64() if key else "NONE",
        "t": key.get_name() if key else "NONE",
        "f": key_fingerprint(key.asbytes()) if key else "NONE",
    }
    # ssh splits first, so that no value becomes two words; no shell reads it
    argv = [expanded(word, tokens, environment=False) for word in shlex.split(hop.known_hosts_command)]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(machine, argv, str(error)) from None
    if done.returncode != 0:
        raise _failed(machine, argv, last_lines(done.stderr) or f"exit status {done.returncode}")
    return entries(done.stdout.decode(errors="replace"), "KnownHostsCommand")


def _failed(machine: str, argv: list[str], said: str) -> HostKeyError:
    return HostKeyError(
        f"KnownHostsCommand failed, so no host key can be checked: {said.splitlines()[-1]}",
        machine=machine,
        tried=shlex.join(argv),
        said=said if "\n" in said else None,
        hint="run that command by hand; it comes from your ssh_config",
    )

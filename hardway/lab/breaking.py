"""Breaks a lab: runs a fault's script on a machine, with the lab's own key and as root."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from shlex import quote

from hardway.errors import LabError
from hardway.lab import marker
from hardway.lab.model import Address, Lab

LIMIT = 60
"""Seconds for one script."""


def run(lab: Lab, name: str, script: str, values: Mapping[str, str]) -> None:
    """Runs sh on a machine of the lab; `values` are its variables. Raises LabError with what it said."""
    address = require(lab, name)
    assignments = "".join(f"{key}={quote(value)}\n" for key, value in values.items())
    known = lab.workspace / "known_hosts"
    argv = ["ssh", "-F", "none", "-i", str(lab.private_key), "-o", f"UserKnownHostsFile={known}", f"root@{address}"]
    try:
        done = subprocess.run(
            [*argv, "sh -eu"],
            input=f"{assignments}{script}\n",
            text=True,
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"did not break within {LIMIT} s", machine=name, hint="hardway lab status") from None
    if done.returncode:
        raise LabError("could not be broken", machine=name, said=done.stderr or done.stdout, hint="hardway init")


def require(lab: Lab, name: str) -> Address:
    """The address of a machine that runs. Raises LabError; nothing is contacted outside of the lab."""
    machine = lab.machine(name)
    if machine is None or name not in (marker.running(lab.cluster) or {}):
        raise LabError(f"{name} does not run in the lab {lab.cluster}", hint="hardway lab up")
    return machine.address


def put(path: str, content: bytes) -> str:
    """The script that replaces what is in a file; owner and mode stay. `content` is text, such as PEM."""
    return f"cat >{quote(path)} <<'HARDWAY_FORGED'\n{content.decode().rstrip()}\nHARDWAY_FORGED"

"""What stands at the beginning of a script: the folder, `ssh`, and the functions that the rest calls."""

from __future__ import annotations

import shlex
from pathlib import Path

from hardway.inventory.model import Cluster
from hardway.phases.access import ssh_config
from hardway.phases.base import Model
from hardway.views.shell.words import document

PROVE = r"""
# prove MACHINE SECONDS HOW WANTED: asks a machine what stands on standard input until the answer is right
prove() {
  local query answer deadline=$((SECONDS + $2))
  query=$(cat)
  while true; do
    if answer=$(ssh "$1" "$query" 2>/dev/null | sed 's/^ *//; s/ *$//'); then
      case $3 in
        succeeds) return ;;
        equals) [ "$answer" != "$4" ] || return 0 ;;
        contains) [[ $answer != *"$4"* ]] || return 0 ;;
        starts-with) [[ $answer != "$4"* ]] || return 0 ;;
      esac
    fi
    if ((SECONDS >= deadline)); then
      printf 'not proved on %s: %s\nwanted: %s %s\nit said: %s\n' "$1" "$query" "$3" "$4" "$answer" >&2
      return 1
    fi
    sleep 0.5
  done
}"""

ARCH = r"""
# arch_of MACHINE: as publishers name it
arch_of() { ssh "$1" uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/'; }"""


def prelude(model: Model, title: str, workspace: Path, *, first: bool) -> list[str]:
    """`first`: nothing was typed yet, so the way to the machines is written down, too."""
    lines = [
        "#!/usr/bin/env bash",
        f"# {title}",
        "# For machines that hold no cluster yet. Read it, then: bash THIS-FILE",
        "set -euo pipefail",
        "umask 077",
    ]
    lines += [f"mkdir -p {shlex.quote(str(workspace))}", f"cd {shlex.quote(str(workspace))}", *_ssh(model.cluster)]
    if first:
        lines += [
            "",
            "# How ssh finds the machines, and whom it believes to be them",
            "cat >ssh_config " + _config(model),
        ]
        lines += _known_hosts(model.cluster)
    return lines


def _config(model: Model) -> str:
    return "\n".join(document(ssh_config(model)))


def _ssh(cluster: Cluster) -> list[str]:
    """One connection a machine for all that is typed; as root where the account is none."""
    shared = '-o ControlMaster=auto -o ControlPersist=60 -o "ControlPath=$sockets/%C"'
    plain = f"command ssh -F ssh_config {shared}"
    lines = [
        "sockets=$(mktemp -d)",
        "close() {",
        '  for socket in "$sockets"/*; do command ssh -o "ControlPath=$socket" -O exit - 2>/dev/null || true; done',
        '  rm -rf "$sockets"',
        "}",
        "trap close EXIT",
    ]
    if all(machine.ssh.user in (None, "root") for machine in cluster.machines):
        return [*lines, f'ssh() {{ {plain} "$@"; }}']
    return [
        *lines,
        "# ssh MACHINE COMMAND…: as root there",
        f'ssh() {{ local machine=$1; shift; {plain} "$machine" "sudo sh -c $(printf %q "$*")"; }}',
    ]


def _known_hosts(cluster: Cluster) -> list[str]:
    if cluster.lab is not None:
        return []
    scans = []
    for machine in cluster.machines:
        host = machine.ssh.host or str(machine.ip)
        scans.append(f"  ssh-keyscan -p {machine.ssh.port or 22} {shlex.quote(host)}")
    return [
        "# First contact: compare with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on their consoles",
        "[ -s known_hosts ] || {", *scans, "} >known_hosts",
    ]  # fmt: skip

"""What stands at the beginning of a script: the folder, `ssh`, and the functions that the rest calls."""

from __future__ import annotations

import shlex
from pathlib import Path

from hardway.declare.phases.access import SSH_CONFIG, ssh_config
from hardway.declare.phases.base import Model
from hardway.explain.shell.words import Who, document
from hardway.inventory.model import Cluster

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

TOOLS = (
    "# A Mac needs more than what Apple ships: brew install bash openssl@3 coreutils gnu-tar, and first in PATH",
    "# openssl@3/bin, coreutils/libexec/gnubin and gnu-tar/libexec/gnubin, which are below $(brew --prefix)/opt",
    "if ((BASH_VERSINFO[0] < 4)) || ! openssl version | grep -q '^OpenSSL [3-9]'; then",
    '  echo "this needs bash 4 and OpenSSL 3, or newer; here are bash $BASH_VERSION and $(openssl version)" >&2',
    "  exit 1",
    "fi",
)
"""Apple has bash 3.2, LibreSSL and BSD's tar."""


def prelude(model: Model, title: str, workspace: Path, *, first: bool) -> list[str]:
    """`first`: nothing was typed yet, so the way to the machines is always written, and their keys are asked for."""
    lines = [
        "#!/usr/bin/env bash",
        f"# {title}",
        "# For machines that hold no cluster yet. Read it, then: bash THIS-FILE",
        *TOOLS,
        "set -euo pipefail",
        "umask 077",
    ]
    lines += [f"mkdir -p {shlex.quote(str(workspace))}", f"cd {shlex.quote(str(workspace))}"]
    if any(not file.shown for file in model.cluster.files):
        beside = shlex.quote(str(model.cluster.path.parent.absolute()))
        lines.append(f"ln -sfn {beside} inventory  # where files of your own are")
    lines += _ssh(model.cluster)
    # A chapter may be typed before any other: the way to the machines is written where there is none.
    written = "" if first else f"[ -e {SSH_CONFIG} ] || "
    lines += [
        "",
        "# How ssh finds the machines, and whom it believes to be them",
        f"{written}cat >{SSH_CONFIG} {_config(model)}",
    ]
    return [*lines, *_known_hosts(model.cluster)] if first else lines


def _config(model: Model) -> str:
    return "\n".join(document(ssh_config(model)))


_ROOT = {
    "never": 'exec "$@"',
    "always": 'exec sudo -n "$@"',
    "unless-root": '[ "$(id -u)" = 0 ] || exec sudo -n "$@"; exec "$@"',
}
"""What a machine is to do with a command, as `Ssh.sudo` has it."""


def _ssh(cluster: Cluster) -> list[str]:
    """One connection a machine for all that is typed; as root where the account is none."""
    shared = '-o ControlMaster=auto -o ControlPersist=60 -o "ControlPath=$sockets/%C"'
    plain = f"command ssh -F ssh_config {shared}"
    lines = [
        # Not in $TMPDIR: on a Mac that is so long a path that no socket can be made below it.
        "sockets=$(mktemp -d /tmp/hardway.XXXXXX)",
        "close() {",
        '  for socket in "$sockets"/*; do command ssh -o "ControlPath=$socket" -O exit - 2>/dev/null || true; done',
        '  rm -rf "$sockets"',
        "}",
        "trap close EXIT",
    ]
    ways: dict[str, list[str]] = {}
    for machine in cluster.machines:
        ways.setdefault(machine.ssh.sudo, []).append(machine.name)
    if list(ways) == ["never"]:
        return [*lines, f'ssh() {{ {plain} "$@"; }}']
    usual, *others = sorted(ways, key=lambda way: len(ways[way]), reverse=True)
    cases = [f"    {'|'.join(ways[way])}) root='{_ROOT[way]}' ;;" for way in others]
    return [
        *lines,
        "# ssh MACHINE COMMAND…: as root there, where need be by sudo, which must ask for no password",
        "ssh() {",
        "  local machine=$1 typed=${*:2} quote=\"'\\\\''\"",
        f"  local root='{_ROOT[usual]}'",
        *(["  case $machine in", *cases, "  esac"] if cases else []),
        f"  {plain} \\",
        "    \"$machine\" \"exec sh -c '$root' sh sh -c '${typed//\\'/$quote}'\"",
        "}",
    ]


def _known_hosts(cluster: Cluster) -> list[str]:
    """A lab's keys are known; all others are recorded over the route that hardway takes, so it finds them later."""
    if cluster.lab is not None:
        return []
    first = "command ssh -n -F ssh_config -o StrictHostKeyChecking=accept-new"
    # A machine may be the jump host of others, and then must be known before them.
    direct_first = sorted(cluster.machines, key=lambda machine: machine.ssh.jump is not None)
    who = Who(tuple(machine.name for machine in direct_first))
    return [
        "# First contact: what is not known yet is written down. Compare it with what machines say on their consoles:",
        "# ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        *who.loop([f"{first} {who.word} true"]),
        "ssh-keygen -lf known_hosts",
    ]

"""What a machine has of the network: addresses, routes, ports that are taken, and names that it knows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from typing import Literal, cast

from hardway.inventory.model import Address, Range
from hardway.probe.script import Answers, Question

ADDRESSES = Question("addresses", "ip -o addr show")
ROUTES = Question("routes", "ip -4 route show table main; ip -6 route show table main 2>/dev/null || :")
LISTENERS = Question(
    "ports",
    r"""
ss -Hltnp 2>/dev/null
for p in $(ss -Hltnp 2>/dev/null | grep -o 'pid=[0-9]*' | sort -u | cut -d= -f2); do
  echo "@$p $(grep -om1 '[^/]*[.]service' /proc/$p/cgroup 2>/dev/null)"
done""",
)
_KINDS = ("unicast", "blackhole", "unreachable", "prohibit", "throw")


Reached = Literal["open", "refused", "silent", "rejected", "unrouted"]
"""`refused`: by the machine itself, on which nothing listens there yet; `rejected`: by a firewall that says so;
`unrouted`: the caller has no route there."""
DIAL_SECONDS = 2.5
"""The kernel dials again after one second, so one lost packet is not taken for a firewall."""


@dataclass(frozen=True)
class Route:
    """`text` is as `ip` shows it; `via` is empty where the range is on the machine's own link. Default has length 0."""

    to: Range
    text: str
    via: str = ""


@dataclass(frozen=True)
class Listener:
    """A TCP port that is taken, by a process of a unit (empty, and 0: none that the kernel names)."""

    port: int
    address: str
    process: str = ""
    pid: int = 0
    unit: str = ""


def addresses(answers: Answers) -> dict[Address, str]:
    """The answer to ADDRESSES: the interface of each."""
    found: dict[Address, str] = {}
    for line in answers["addresses"].lines:
        if match := re.match(r"\d+: (\S+)\s+inet6? (\S+)", line):
            found[ip_interface(match[2]).ip] = match[1]
    return found


def routes(answers: Answers) -> tuple[Route, ...]:
    """The answer to ROUTES. A way of several hops has no `via`."""
    found = []
    for line in answers["routes"].lines:
        words = [word for word in line.split() if word not in _KINDS]
        if line[0].isspace() or not words:
            continue
        via = words[words.index("via") + 1] if "via" in words[:-1] else ""
        try:
            # Of IPv6 `ip` says how much routers prefer it.
            default = "::/0" if ":" in via or "pref" in words else "0.0.0.0/0"
            to = ip_network(default if words[0] == "default" else words[0], strict=False)
        except ValueError:
            continue
        found.append(Route(to, line, via))
    return tuple(found)


def listeners(answers: Answers) -> tuple[Listener, ...]:
    """The answer to LISTENERS."""
    lines = answers["ports"].lines
    units = dict(line[1:].partition(" ")[::2] for line in lines if line.startswith("@"))
    found = []
    for line in lines:
        words = line.split()
        if line.startswith("@") or len(words) < 4:
            continue
        address, _, port = words[3].rpartition(":")
        holder = re.search(r'\("([^"]+)",pid=(\d+)', line)
        name, pid = (holder[1], holder[2]) if holder else ("", "0")
        found.append(Listener(int(port), address, name, int(pid), units.get(pid, "")))
    return tuple(found)


def resolve(names: Sequence[str], family: int) -> Question:
    """Which address of that IP version the machine finds for each of these names."""
    one = f"set -- $(timeout 2 getent ahostsv{family} $n); echo $n ${{1:-}}"
    return Question("names", f"for n in {shlex.join(names)}; do {one}; done" if names else ":")


def resolved(answers: Answers) -> dict[str, str]:
    """The answer to `resolve`: addresses by name; empty for one that the machine does not know."""
    return dict(line.partition(" ")[::2] for line in answers["names"].lines)


_DIAL = rf"""command -v bash >/dev/null || exit 0
dial() {{
  said=$(LC_ALL=C timeout {DIAL_SECONDS} bash -c "exec 3<>/dev/tcp/$1/$2" 2>&1)
  case "$? $said" in
    0*) echo "$1 $2 open";; 124*) echo "$1 $2 silent";; *refused*) echo "$1 $2 refused";;
    *"Network is unreachable"*) echo "$1 $2 unrouted";; *) echo "$1 $2 rejected";;
  esac
}}
# A firewall that rejects sends ICMP, which looks like a refusal to who dials; the kernel counts them.
unreachable() {{
  sed -n 's/^Icmp: [0-9]* [0-9]* [0-9]* \([0-9]*\) .*/\1/p' /proc/net/snmp
  grep -s Icmp6InDestUnreachs /proc/net/snmp6 || :
}}
before=$(unreachable)
answers=$(%s
wait)
if [ "$before" = "$(unreachable)" ]; then echo "$answers"; exit 0; fi
echo "$answers" | while read -r host port word; do
  if [ "$word" = refused ]; then
    before=$(unreachable)
    set -- $(dial "$host" "$port")
    [ "$before" = "$(unreachable)" ] && word=$3 || word=rejected
  fi
  echo "$host $port $word"
done"""


def of_another_family(nameservers: Sequence[str], families: Collection[int]) -> bool:
    """Whether none of them has an address of these IP versions, and one is another machine's."""
    there: set[int] = set()
    for server in nameservers:
        try:
            # A link-local one has its interface behind it.
            address = ip_address(server.partition("%")[0])
        except ValueError:
            return False
        if not address.is_loopback:
            there.add(address.version)
    return bool(there) and there.isdisjoint(families)


def dial(dials: Sequence[tuple[str, int]]) -> Question:
    """Dials these addresses and ports, all at once. Without bash nothing is dialled."""
    return Question("reached", _DIAL % "\n".join(f"dial {host} {port} &" for host, port in dials))


def reached(answers: Answers) -> dict[tuple[str, int], Reached]:
    """The answer to `dial`, by address and port."""
    found = {}
    for line in answers["reached"].lines:
        words = line.split()
        if len(words) == 3:
            found[words[0], int(words[1])] = cast(Reached, words[2])
    return found

"""Connections of one kind as one line of the map: who calls whom, and which certificates they show each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hardway.console.words import ranges
from hardway.map import Connection, Map, Mark
from hardway.map.live import worst
from hardway.values import OPERATOR

KEY_PAIR = "pki/sa"


@dataclass(frozen=True)
class Kind:
    """`authority` is the CA that it rests upon, as its place in the map's authorities; None: no certificate."""

    number: int
    connections: tuple[Connection, ...]
    authority: int | None

    @property
    def first(self) -> Connection:
        return self.connections[0]

    @property
    def mark(self) -> Mark:
        return worst(one.mark for one in self.connections)

    @property
    def port(self) -> str:
        return str(self.first.port or "any")

    @property
    def is_beside(self) -> bool:
        """Whether each caller calls its own machine only."""
        return all(one.caller.machine == one.server.machine for one in self.connections)


def kinds(drawn: Map) -> list[Kind]:
    """In the order of their numbers."""
    names = [one.name for one in drawn.authorities]
    by_number: dict[int, list[Connection]] = {}
    for one in drawn.connections:
        by_number.setdefault(one.number, []).append(one)
    found: list[Kind] = []
    for number, mine in sorted(by_number.items()):
        authority = mine[0].checked_by if mine[0].checked_by in names else mine[0].trusted_by
        found.append(Kind(number, tuple(mine), names.index(authority) if authority in names else None))
    return found


def who(kind: Kind, everybody: Sequence[str]) -> str:
    """`controller-0..2 to worker-0..2`; `each machine: its own`."""
    calling = {one.caller.machine for one in kind.connections}
    callers = _machines(calling, everybody)
    servers = _machines({one.server.machine for one in kind.connections}, everybody)
    if len(calling) > 1 and callers == servers:
        return f"{callers}, each {'its own' if kind.is_beside else 'other' if _others(kind) else 'to each'}"
    return callers if callers == servers else f"{callers} to {servers}"


def shown(drawn: Map, names: Iterable[str]) -> str:
    """For whom certificates speak: `system:node:worker-0..2 (system:nodes)`."""
    unique = set(filter(None, names))
    users: dict[str, None] = {}
    groups: dict[str, None] = {}
    for one in drawn.authorities:
        for leaf in one.signs:
            if leaf.name in unique:
                users[leaf.common_name] = None
                groups |= dict.fromkeys(leaf.organizations)
    if not users:
        return "a token signed with sa.key" if KEY_PAIR in unique else ""
    return f"{ranges(users)} ({', '.join(groups)})" if groups else ranges(users)


def authority(drawn: Map, name: str) -> str:
    """The short name by which the map calls a CA, or the key that checks tokens."""
    if name == KEY_PAIR:
        return "sa.pub"
    known = next((one.common_name for one in drawn.authorities if one.name == name), "")
    return known.removeprefix("kubernetes-") if known != "kubernetes-ca" else known


def machine_name(name: str) -> str:
    return "your computer" if name == OPERATOR else name


def _machines(names: Collection[str], everybody: Sequence[str]) -> str:
    return ranges(machine_name(name) for name in everybody if name in names)


def _others(kind: Kind) -> bool:
    return all(one.caller.machine != one.server.machine for one in kind.connections)

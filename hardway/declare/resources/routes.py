"""The routes of one machine to the pods of others, as one resource."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, ClassVar, Self

from hardway.declare.resources.base import (
    Absent,
    Context,
    Difference,
    ManualStep,
    Observed,
    Present,
    Resource,
    Unknown,
    quote,
)


@dataclass(frozen=True)
class Table:
    """What the kernel has: which destinations are as declared, and how each other one goes (`via 10.0.0.9`)."""

    right: frozenset[str]
    others: Mapping[str, str]


@dataclass(frozen=True)
class Routes(Resource):
    """Routes in force now; the unit that brings them back after a reboot is a `Service`.

    `table` has pairs of a destination and the address that it goes by. What hardway noted and no longer declares is
    deleted, and no route besides.
    """

    kind: ClassVar[str] = "routes"
    table: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        return "pods"

    @classmethod
    def probe(cls, wanted: Sequence[Self]) -> str:
        destinations: list[str] = []
        for one in wanted:
            destinations += [to for to, _ in one.table]
        return show_routes(destinations)

    @classmethod
    def parse(cls, wanted: Sequence[Self], output: str) -> dict[str, Observed]:
        seen: dict[str, str] = {}
        for line in output.splitlines():
            words = line.split()
            if len(words) > 2 and words[1] == "via":
                seen[words[0]] = f"via {words[2]}"
            elif words:
                seen[words[0]] = " ".join(words[1:])
        return {one.key: one._seen(seen) for one in wanted}

    def _seen(self, seen: Mapping[str, str]) -> Observed:
        if not seen:
            return Absent()
        right = frozenset(to for to, via in self.table if seen.get(to) == f"via {via}")
        return Present(Table(right, {to: how for to, how in seen.items() if to not in right}))

    def diff(self, observed: Observed, context: Context) -> Difference | None:
        if isinstance(observed, Unknown):
            return None
        there = _table(observed)
        lacking = [(to, via) for to, via in self.table if to not in there.right]
        extra = self._extra(there, context)
        wrong = [to for to, _ in lacking if to in there.others]
        if not lacking and not extra:
            return None
        if len(lacking) == len(self.table) and not wrong and not extra:
            return Difference("create", "is not there", after=f"{len(lacking)} routes")
        missing = [to for to, _ in lacking if to not in there.others]
        why = [f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not there"] if missing else []
        why += [f"{to} goes {there.others[to]}" for to in wrong]
        why += [f"{to} is no longer declared" for to in extra]
        before = [f"{to} {there.others[to]}" for to in (*wrong, *extra)]
        after = [f"{to} via {via}" for to, via in lacking]
        return Difference("update", "; ".join(why), "\n".join(before), "\n".join(after))

    def _extra(self, there: Table, context: Context) -> list[str]:
        """Routes that hardway set once, that are still there, and that nothing declares."""
        wanted = {to for to, _ in self.table}
        noted = context.noted.get(self.key, {}).get("routes", ())
        return [to for to in noted if to in there.others and to not in wanted]

    def steps(self, difference: Difference, context: Context) -> str:
        routes = dict(self.table)
        if difference.verb == "create":
            return "\n".join(_replace(to, via) for to, via in self.table)
        changed = [line.partition(" ")[0] for line in difference.after.splitlines()]
        gone = [line.partition(" ")[0] for line in difference.before.splitlines()]
        lines = [_delete(to) for to in gone if to not in routes]
        return "\n".join([*lines, *(_replace(to, routes[to]) for to in changed)])

    def manual_steps(self) -> tuple[ManualStep, ...]:
        return tuple(ManualStep(_replace(to, via)) for to, via in self.table)

    def entry(self, observed: Observed, context: Context) -> dict[str, Any]:
        return {"routes": [*(to for to, _ in self.table), *self._extra(_table(observed), context)]}

    @classmethod
    def undo(cls, name: str, entry: Mapping[str, Any]) -> str:
        return "\n".join(_delete(str(to)) for to in entry.get("routes", ()) if _is_part(str(to)))


def show_routes(wanted: Iterable[str]) -> str:
    """The command that lists the routes of the families of these destinations."""
    if any(":" in to for to in wanted):
        return "{ ip -4 route show; ip -6 route show; }"
    return "ip -4 route show"


def _is_part(to: str) -> bool:
    """Whether it is a network, and not the way to everything."""
    try:
        return ip_network(to).prefixlen > 0
    except ValueError:
        return False


def _table(observed: Observed) -> Table:
    return observed.value if isinstance(observed, Present) else Table(frozenset(), {})


def _replace(to: str, via: str) -> str:
    return quote("ip", "route", "replace", to, "via", via, "proto", "static")


def _delete(to: str) -> str:
    return f"ip route del {quote(to)} proto static 2>/dev/null || true"

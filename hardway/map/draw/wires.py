"""The lines beside the tiers: each kind of connection has one, in a lane of its own, with a branch to each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hardway.declare.network.flows import ENDPOINT
from hardway.map import MachineOnMap
from hardway.map.draw.kinds import Kind

HEADER, ROW = 33.0, 21.0
_SPREAD, _FREE = 6.0, 8.5
"""Between two lines that end in one row; around a number, so that no other line touches it."""

Side = Literal["left", "right"]
SIDES: tuple[Side, ...] = ("left", "right")
_API = ("haproxy", "kube-apiserver", ENDPOINT)


@dataclass(frozen=True)
class Tier:
    """Machines of the same roles; `rows` are their components from top to bottom."""

    machines: tuple[MachineOnMap, ...]
    rows: tuple[str, ...]
    top: float
    height: float

    @property
    def roles(self) -> tuple[str, ...]:
        return self.machines[0].roles

    def middle(self, row: str) -> float:
        return self.top + HEADER + ROW * (self.rows.index(row) + 0.5)


@dataclass(frozen=True)
class Landing:
    """Where a line meets a tier: in its row, with an arrow where it arrives."""

    y: float
    arrow: bool


@dataclass(frozen=True)
class Wire:
    """One kind of connection: a vertical line at `x`, a branch to each landing, its number at the height `tag`."""

    kind: Kind
    side: Side
    x: float
    landings: tuple[Landing, ...]
    tag: float


@dataclass(frozen=True)
class _Stop:
    """One end of one line in one row."""

    number: int
    height: float
    arrow: bool


def side_of(kind: Kind) -> Side:
    """To the left what goes to the API, to the right what goes elsewhere."""
    return "left" if kind.first.server.component in _API else "right"


def lanes(tiers: Sequence[Tier], kinds: Sequence[Kind]) -> dict[int, int]:
    """The lane of each kind, by its number: what is shorter runs nearer, and no two over each other."""
    spans = {}
    for kind in kinds:
        heights = [stop.height for stop in _stops(tiers, kind)]
        spans[kind.number] = (min(heights) - ROW / 2, max(heights) + ROW / 2)
    taken: list[list[tuple[float, float]]] = []
    found = {}
    for number, (top, bottom) in sorted(spans.items(), key=lambda one: (one[1][1] - one[1][0], one[0])):
        free = (lane for lane, used in enumerate(taken) if all(bottom <= low or high <= top for low, high in used))
        lane = next(free, len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((top, bottom))
        found[number] = lane
    return found


def wires(
    tiers: Sequence[Tier], kinds: Sequence[Kind], lane: Mapping[int, int], at: Callable[[int], float], side: Side
) -> list[Wire]:
    """The lines of one side; `at` gives a lane's place."""
    stops = {kind.number: _stops(tiers, kind) for kind in kinds}
    heights = _apart(stops, lane)
    landings = {
        number: tuple(Landing(height, stop.arrow) for stop, height in zip(mine, heights[number], strict=True))
        for number, mine in stops.items()
    }
    crossings = [(lane[number], one.y) for number, mine in landings.items() for one in mine]
    return [
        Wire(
            kind,
            side,
            at(lane[kind.number]),
            landings[kind.number],
            _tag(landings[kind.number], [y for other, y in crossings if other > lane[kind.number]]),
        )
        for kind in kinds
    ]


def _stops(tiers: Sequence[Tier], kind: Kind) -> list[_Stop]:
    callers = {(one.caller.machine, one.caller.component) for one in kind.connections}
    servers = {(one.server.machine, one.server.component) for one in kind.connections}
    return [
        *(_Stop(kind.number, height, False) for height in _heights(tiers, callers)),
        *(_Stop(kind.number, height, True) for height in _heights(tiers, servers)),
    ]


def _heights(tiers: Sequence[Tier], ends: Iterable[tuple[str, str]]) -> list[float]:
    wanted = set(ends)
    return [
        tier.middle(row)
        for tier in tiers
        for row in tier.rows
        if any((machine.name, row) in wanted for machine in tier.machines)
    ]


def _apart(stops: Mapping[int, Sequence[_Stop]], lane: Mapping[int, int]) -> dict[int, list[float]]:
    """The height of each stop, so that lines which end in one row neither meet nor cross there.

    Of those that go up the nearest ends on top, of those that go down the nearest at the bottom.
    """
    rows: dict[float, list[tuple[tuple[int, int, int], int, int]]] = defaultdict(list)
    for number, mine in stops.items():
        middle = sum(stop.height for stop in mine) / len(mine)
        for place, stop in enumerate(mine):
            down = middle > stop.height
            rows[stop.height].append(((down, -lane[number] if down else lane[number], stop.arrow), number, place))
    found = {number: [0.0] * len(mine) for number, mine in stops.items()}
    for height, group in rows.items():
        step = min(_SPREAD, (ROW - 4) / len(group))
        for index, (_, number, place) in enumerate(sorted(group)):
            found[number][place] = height + step * (index - (len(group) - 1) / 2)
    return found


def _tag(landings: Sequence[Landing], crossings: Sequence[float]) -> float:
    """A place on the line for its number: near its caller, where no other line passes."""
    top, bottom = min(one.y for one in landings), max(one.y for one in landings)
    start = next(one.y for one in landings if not one.arrow)
    own = [one.y for one in landings]
    tries = [top + step for step in range(1, int(bottom - top))]
    free = [y for y in tries if all(abs(y - other) >= _FREE for other in (*crossings, *own))]
    return min(free, key=lambda y: abs(y - start), default=(top + bottom) / 2)

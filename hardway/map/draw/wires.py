"""The lines beside the tiers: each kind of connection has one, in a lane of its own, with a branch to each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
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


@dataclass(frozen=True)
class _Span:
    """What a line takes of its lane."""

    top: float
    bottom: float
    number: int

    def overlaps(self, other: _Span) -> bool:
        return self.bottom > other.top and other.bottom > self.top


def side_of(kind: Kind) -> Side:
    """To the left what goes to the API, to the right what goes elsewhere."""
    return "left" if kind.first.server.component in _API else "right"


def lanes(tiers: Sequence[Tier], kinds: Sequence[Kind]) -> dict[int, int]:
    """The lane of each kind, by its number: what is shorter runs nearer, and no two over each other."""
    spans: list[_Span] = []
    for kind in kinds:
        heights = [stop.height for stop in _stops(tiers, kind)]
        spans.append(_Span(min(heights) - ROW / 2, max(heights) + ROW / 2, kind.number))
    taken: list[list[_Span]] = []
    found: dict[int, int] = {}
    for span in sorted(spans, key=lambda one: (one.bottom - one.top, one.number)):
        lane = 0
        while lane < len(taken) and any(map(span.overlaps, taken[lane])):
            lane += 1
        if lane == len(taken):
            taken.append([])
        taken[lane].append(span)
        found[span.number] = lane
    return found


def wires(
    tiers: Sequence[Tier], kinds: Sequence[Kind], lane: Mapping[int, int], at: Callable[[int], float], side: Side
) -> list[Wire]:
    """The lines of one side; `at` gives a lane's place."""
    stops = {kind.number: _stops(tiers, kind) for kind in kinds}
    heights = _apart(stops, lane)
    landings: dict[int, list[Landing]] = {}
    crossings: list[tuple[int, float]] = []
    for number, mine in stops.items():
        for stop, height in zip(mine, heights[number], strict=True):
            landings.setdefault(number, []).append(Landing(height, stop.arrow))
            crossings.append((lane[number], height))
    found: list[Wire] = []
    for kind in kinds:
        here, own = lane[kind.number], landings[kind.number]
        tag = _tag(own, [y for other, y in crossings if other > here])
        found.append(Wire(kind, side, at(here), tuple(own), tag))
    return found


def _stops(tiers: Sequence[Tier], kind: Kind) -> list[_Stop]:
    callers: set[tuple[str, str]] = set()
    servers: set[tuple[str, str]] = set()
    for one in kind.connections:
        callers.add((one.caller.machine, one.caller.component))
        servers.add((one.server.machine, one.server.component))
    stops: list[_Stop] = []
    for ends, arrow in ((callers, False), (servers, True)):
        for tier in tiers:
            for row in tier.rows:
                if not ends.isdisjoint((machine.name, row) for machine in tier.machines):
                    stops.append(_Stop(kind.number, tier.middle(row), arrow))
    return stops


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
    own = [one.y for one in landings]
    top, bottom = min(own), max(own)
    start = next(one.y for one in landings if not one.arrow)
    others = (*crossings, *own)
    best = (top + bottom) / 2
    nearest = inf
    for step in range(1, int(bottom - top)):
        y = top + step
        free = all(abs(y - other) >= _FREE for other in others)
        if free and abs(y - start) < nearest:
            best, nearest = y, abs(y - start)
    return best

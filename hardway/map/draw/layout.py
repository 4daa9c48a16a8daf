"""Where everything goes. Machines of the same roles stand side by side in a tier, a component of theirs is a row;
connections run beside the tiers, one line for each kind, so that a hundred machines make no more lines than seven."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil

from hardway.declare.network.flows import ENDPOINT
from hardway.map import MachineOnMap, Map
from hardway.map.draw.kinds import Kind
from hardway.map.draw.paper import width
from hardway.map.draw.wires import HEADER, ROW, SIDES, Side, Tier, Wire, lanes, side_of, wires
from hardway.values import OPERATOR

WIDTH = 760.0
EDGE, LANE, NEAR = 18.0, 17.0, 14.0
"""The page's margin; between two lines that run side by side; from a tier to the first of them."""
TOP, GAP, LABEL, MARGIN = 62.0, 16.0, 126.0, 6.0
BODY, SMALL = 10.0, 8.4
SHRUNK = 0.75
"""A long name is written so much smaller at most."""
MOST_COLUMNS = 5


@dataclass(frozen=True)
class Layout:
    """From `left` to `right` the tiers stand; beside them the wires run."""

    tiers: tuple[Tier, ...]
    wires: tuple[Wire, ...]
    left: float
    right: float
    bottom: float

    @property
    def room(self) -> tuple[float, float]:
        """From where to where machines may stand."""
        return self.left + LABEL, self.right - MARGIN


def port_words(machine: MachineOnMap, row: str) -> str:
    """A cell: `6443`, `2379 2380 (2381)`; in brackets what listens on 127.0.0.1 only."""
    component = next(one for one in machine.components if one.name == row)
    if row == "pods":
        return machine.pods
    words = [f"({port.number})" if port.local else str(port.number) for port in component.ports]
    return " ".join(words) or ("socket" if component.socket else "")


def laid_out(drawn: Map, kinds: Sequence[Kind], first_height: Callable[[float], float]) -> Layout:
    """`first_height` computes from the room there is how high the operator's tier is, where the CAs are kept."""
    beside: dict[Side, list[Kind]] = {side: [] for side in SIDES}
    for kind in kinds:
        beside[side_of(kind)].append(kind)
    left, right = 2 * EDGE, WIDTH - 2 * EDGE
    # How much is beside the tiers depends on their order, and that on the room that is left for them.
    for _ in range(3):
        room = right - MARGIN - left - LABEL
        tiers = _tiers(drawn, room, first_height(room))
        levels = {side: lanes(tiers, beside[side]) for side in SIDES}
        left = EDGE + NEAR + LANE * len(set(levels["left"].values()))
        right = WIDTH - EDGE - NEAR - LANE * len(set(levels["right"].values()))
    found = (
        *wires(tiers, beside["left"], levels["left"], lambda lane: left - NEAR - LANE * lane, "left"),
        *wires(tiers, beside["right"], levels["right"], lambda lane: right + NEAR + LANE * lane, "right"),
    )
    return Layout(tuple(tiers), found, left, right, tiers[-1].top + tiers[-1].height)


def _rank(machine: MachineOnMap) -> tuple[int, tuple[str, ...]]:
    order = (OPERATOR, ENDPOINT, "load-balancer", "controller", "worker")
    if "controller" in machine.roles:
        return order.index("controller"), machine.roles
    return min(order.index(role) for role in machine.roles), machine.roles


def _tiers(drawn: Map, room: float, first_height: float) -> list[Tier]:
    tiers: list[Tier] = []
    top = TOP
    for _, group in groupby(sorted(drawn.machines, key=_rank), key=_rank):
        machines = list(group)
        names: dict[str, None] = {}
        for machine in machines:
            names |= dict.fromkeys(one.name for one in machine.components)
        rows = tuple(names)
        columns = _columns(machines, rows, room)
        for part in _parts(machines, columns):
            height = max(HEADER + ROW * len(rows) + 7, 0 if tiers else first_height)
            tiers.append(Tier(tuple(part), rows, top, height))
            top += height + GAP
    return tiers


def _columns(machines: Iterable[MachineOnMap], rows: Sequence[str], room: float) -> int:
    """How many machines fit side by side."""
    needed = 0.0
    for one in machines:
        words = [width(port_words(one, row), BODY) for row in rows]
        needed = max(needed, SHRUNK * width(one.name, BODY, bold=True), width(one.address, SMALL), *words)
    return max(1, min(MOST_COLUMNS, int(room / (needed + 16))))


def _parts(machines: Sequence[MachineOnMap], columns: int) -> Iterable[Sequence[MachineOnMap]]:
    """In rows of nearly the same number."""
    count = ceil(len(machines) / columns)
    size = ceil(len(machines) / count)
    return [machines[start : start + size] for start in range(0, len(machines), size)]

"""The map: machines, ports, and who trusts whom, read from what the chapters declare."""

from hardway.views.map.drawn import drawn
from hardway.views.map.live import coloured
from hardway.views.map.values import Authority, Component, Connection, End, Leaf, MachineOnMap, Map, Mark, Port

__all__ = [
    "Authority",
    "Component",
    "Connection",
    "End",
    "Leaf",
    "MachineOnMap",
    "Map",
    "Mark",
    "Port",
    "coloured",
    "drawn",
]

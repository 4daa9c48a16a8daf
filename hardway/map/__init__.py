"""The map: machines, ports, and who trusts whom, read from what the chapters declare."""

from hardway.map.drawn import drawn
from hardway.map.live import coloured
from hardway.map.values import Authority, Component, Connection, End, Leaf, MachineOnMap, Map, Mark, Port

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

"""A walk through the chapters as values: where somebody is, and what keeps a chapter from being done."""

from hardway.walk.hints import Hint, hints
from hardway.walk.place import PREFLIGHT, STATIONS, Place

__all__ = ["PREFLIGHT", "STATIONS", "Hint", "Place", "hints"]

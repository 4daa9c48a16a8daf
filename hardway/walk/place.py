"""How far a walk has come: a small file of the workspace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from hardway.declare.phases import PHASE_NAMES
from hardway.errors import WorkspaceError

FORMAT = 1
PREFLIGHT = "preflight"
STATIONS = (PREFLIGHT, *PHASE_NAMES)


@dataclass(frozen=True)
class Place:
    """`next` is the station to go on with, empty at the end; `done` maps stations to how they were left behind."""

    next: str = PREFLIGHT
    done: Mapping[str, str] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        return bool(self.done)

    def after(self, station: str, how: str) -> Place:
        """The place once this station is behind."""
        position = STATIONS.index(station) + 1
        following = STATIONS[position] if position < len(STATIONS) else ""
        return Place(following, {**self.done, station: how})

    def at(self, station: str) -> Place:
        return replace(self, next=station)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str) -> Place:
        """Raises WorkspaceError where the text is damaged, or of a hardway with other chapters."""
        try:
            raw = json.loads(text)
            if raw["format"] > FORMAT:
                raise WorkspaceError(f"{where} was written by a newer hardway", hint="use that version, or a newer one")
            place = cls(raw["next"], dict(raw["done"]))
            if raw["format"] != FORMAT or not {place.next, *place.done} <= {*STATIONS, ""}:
                raise ValueError("of another hardway")
            return place
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(f"{where} is damaged: {error}", hint="hardway walk --restart starts again") from error

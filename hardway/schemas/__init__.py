"""JSON Schemas of all that `-o json` prints. The files beside this one are derived from the values; see `derive`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
EVENTS = "events"
"""The schema of one line of a run, and of the error with which any command may end."""


def names() -> list[str]:
    """The schemas there are: `events`, and a document each."""
    return sorted(path.name.removesuffix(".json") for path in FOLDER.glob("*.json"))


def schema(name: str) -> dict[str, Any]:
    """One of `names`, as it was shipped."""
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return read

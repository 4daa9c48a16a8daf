"""The cluster's binaries and images, and which of them are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hardway.artifacts.get import Row


@dataclass(frozen=True)
class Stock:
    """One file; source, digest and size (bytes) are empty where nothing is there yet."""

    name: str
    component: str
    version: str
    arch: str
    source: str
    digest: str
    size: int
    state: Literal["ready", "missing", "pulled by the workers"]


def stock(row: Row) -> Stock:
    need = row.need
    return Stock(need.name, need.component, need.version, need.arch, row.source, row.digest, row.size, row.state)

"""Which changes come from another version of hardway: told from what the journals note as declared last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import hardway
from hardway.declare.declaration import digest
from hardway.declare.resources import Present, Service
from hardway.declare.resources.files import FILE_KINDS, Stat
from hardway.engine.changes import Change
from hardway.engine.observe import View
from hardway.inventory.model import Cluster
from hardway.journal import DIGITS


@dataclass(frozen=True)
class Origin:
    """Why something is declared otherwise than when all was last in order: `version` runs now, `before` ran then.

    `inventory`: that differs, too, and it cannot be told which of the two it comes from.
    """

    version: str
    before: str
    inventory: bool = False


def origins(cluster: Cluster, changes: Sequence[Change], views: Mapping[str, View]) -> dict[tuple[str, str], Origin]:
    """The changes that come from another version, by machine and key.

    Not among them is what somebody changed on the machine, and of what no journal says how it was declared.
    """
    found: dict[tuple[str, str], Origin] = {}
    for change in changes:
        view = views[change.machine]
        declared = view.journal.declared
        if declared is None or declared.by == hardway.__version__:
            continue
        restarts = isinstance(change.resource, Service) and _inputs_come(change.resource, change.machine, found)
        if restarts or (_redeclared(change, declared.digests) and _untouched(change, view)):
            differs = declared.inventory != cluster.written
            found[change.machine, change.key] = Origin(hardway.__version__, declared.by, differs)
    return found


def _redeclared(change: Change, before: Mapping[str, str]) -> bool:
    now = digest(change.resource)[:DIGITS] if change.resource else None
    return before.get(change.key) != now


def _untouched(change: Change, view: View) -> bool:
    """Whether it is as an earlier version left it."""
    entry = view.journal.entries.get(change.key, {})
    seen = view.observed.get(change.key)
    there = seen.value if isinstance(seen, Present) else None
    edited = isinstance(there, Stat) and "digest" in entry and entry["digest"] != there.digest
    return entry.get("by") != hardway.__version__ and not edited


def _inputs_come(service: Service, machine: str, found: Mapping[tuple[str, str], Origin]) -> bool:
    for path in (*service.inputs, *service.reload_inputs):
        if any((machine, f"{kind}:{path}") in found for kind in FILE_KINDS):
            return True
    return False

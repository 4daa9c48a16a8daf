"""The order in which a plan's changes are made: what stops first, what is deleted last. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from hardway.declare.phases import PHASE_NAMES
from hardway.engine.changes import Change

Step = tuple[str, list[Change]]
"""A phase, and changes of it that are made together."""


def in_order(changes: Sequence[Change]) -> list[Step]:
    """Units that are no longer declared stop; then all phases create and update; then files that are no longer
    declared are deleted.

    A unit that finds its files elsewhere from now on needs the old ones until it has restarted, and its restart belongs
    to another phase than its files. Stops and deletions go from the last phase to the first.
    """
    replaced = {(one.machine, one.resource.name) for one in changes if one.resource is not None}
    stopping, between, deleted = [], [], []
    for change in changes:
        if change.stops:
            stopping.append(change)
        elif change.deletes_file and (change.machine, change.name) not in replaced:
            deleted.append(change)
        else:
            between.append(change)
    backwards = tuple(reversed(PHASE_NAMES))
    return [*_by_phase(backwards, stopping), *_by_phase(PHASE_NAMES, between), *_by_phase(backwards, deleted)]


def _by_phase(names: Sequence[str], changes: Sequence[Change]) -> list[Step]:
    steps: dict[str, list[Change]] = {name: [] for name in names}
    for change in changes:
        steps[change.phase].append(change)
    return [(name, own) for name, own in steps.items() if own]

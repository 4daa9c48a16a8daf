"""A look as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from hardway.console.prometheus import Sample, metric
from hardway.watch.watch import Kind, Watched


def lines(found: Watched) -> list[str]:
    """All metrics, each with its help and its type."""
    own = {"cluster": found.cluster}
    values: list[tuple[str, str, float]] = [
        ("well", "1 where nothing was found.", found.well),
        ("looked", "When this look was, in seconds since the epoch.", found.at.timestamp()),
        ("machines", "Machines of the inventory.", found.machines),
        ("machines_reached", "Machines that answered.", found.reached),
        ("etcd_members", "Members of etcd that vote.", found.members),
        ("etcd_members_serving", "Members that serve.", found.serving),
        ("etcd_quorum", "Members that must serve.", found.quorum),
        ("nodes", "Workers of the inventory.", found.nodes),
        ("nodes_ready", "Nodes that are Ready.", found.ready),
    ]
    if found.certificate_ends:
        ends = found.certificate_ends.timestamp()
        values.append(("certificate_not_after", "When the first certificate ends, in seconds since the epoch.", ends))
    if found.backup_taken:
        taken = found.backup_taken.timestamp()
        values.append(("backup_taken", "When the newest backup was taken, in seconds since the epoch.", taken))
    told = list(metric("hardway_watch_findings", "Findings, by what they are about.", _kinds(found)))
    for name, help_text, value in values:
        told += metric(f"hardway_watch_{name}", help_text, [(own, value)])
    return told


def _kinds(found: Watched) -> Iterator[Sample]:
    """Also those of which there is none: an alert needs a series that was 0."""
    counts = Counter(one.kind for one in found.findings)
    for kind in get_args(Kind):
        yield {"cluster": found.cluster, "kind": kind}, counts[kind]

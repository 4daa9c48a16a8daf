"""What tests read out of the counting clients' report."""

from typing import Any

import pytest
from lab.load import Load


def a_class(requests: int, slowest: float, *errors: dict[str, Any]) -> dict[str, Any]:
    return {
        "requests": requests, "failed": len(errors), "p50": 0.01, "p99": 0.2, "p999": slowest, "slowest": slowest,
        "errors": list(errors),
    }  # fmt: skip


def report(**changes: Any) -> dict[str, Any]:
    classes = {"new": a_class(100, 0.5), "watch": a_class(1, 0.1)}
    watch = {"events": 50, "relisted": 0, "skipped": 0, "missing": [], "twice": [], "disorder": []}
    return {
        "seconds": 5.0, "classes": classes, "acknowledged": 50, "unacknowledged": 0, "lost": [], "twice": [],
        "watch": watch, "error": "",
    } | changes  # fmt: skip


def test_a_report_in_which_all_is_well() -> None:
    load = Load()
    load.read(report())
    assert (load.requests, load.failed, load.slowest, load.acknowledged) == (101, 0, 0.5, 50)
    assert (load.lost, load.watch_gaps) == ([], [])


def test_a_report_of_everything_that_can_go_wrong() -> None:
    error = {"time": "10:00:00.123", "verb": "update", "error": "connection refused", "seconds": 0.25}
    watch = {"events": 9, "relisted": 2, "skipped": 7, "missing": ["a#1"], "twice": ["a#2"], "disorder": ["a#3"]}
    load = Load()
    load.read(report(classes={"kept": a_class(10, 7.0, error)}, lost=["a#0"], twice=["kept#4"], watch=watch))
    assert (load.failed, load.slowest, load.relisted, load.skipped) == (1, 7.0, 2, 7)
    assert load.lost == ["a#0", "kept#4 made twice"]
    assert load.watch_gaps == ["a#1 missing", "a#2 twice", "a#3 disorder"]
    assert str(load).splitlines() == [
        "10 requests, 1 failed, slowest 7.00 s; 50 writes, 2 lost; "
        "3 gaps of the watch; listed again 2 times, 7 skipped",
        "  kept: 10 requests, 1 failed, p50 0.010, p99 0.200, slowest 7.000 s",
        "    10:00:00.123 update after 0.25 s: connection refused",
        "  lost: a#0",
        "  lost: kept#4 made twice",
        "  watch: a#1 missing",
        "  watch: a#2 twice",
        "  watch: a#3 disorder",
    ]


def test_nothing_lost_is_not_said_where_nothing_could_be_read_back() -> None:
    with pytest.raises(AssertionError, match="connection refused"):
        Load().read(report(error="connection refused"))

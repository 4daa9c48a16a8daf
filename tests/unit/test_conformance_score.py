"""What the conformance run counts: nothing that did not run passes, and each test is asked for by exactly one part."""

import re
from pathlib import Path

import pytest

from tests.conformance.suite import NAMES, PARTS, SHORT, Score, page, read, wanted

REPORT = """\
<testsuites><testsuite>
<testcase name="[It] [sig-network] DNS should resolve [Conformance] [sig-network, Conformance]" status="passed"/>
<testcase name="[It] [sig-node] Pods should run [Conformance] [sig-node]" status="failed">
<failure message="timed out&#10;at pods.go:1"/></testcase>
<testcase name="[It] [sig-api-machinery] Watchers see all [Conformance] [sig-api-machinery]" status="skipped"/>
<testcase name="[SynchronizedBeforeSuite]" status="passed"/>
</testsuite></testsuites>
"""
DNS, PODS, WATCHERS = (
    "[sig-network] DNS should resolve [Conformance]",
    "[sig-node] Pods should run [Conformance]",
    "[sig-api-machinery] Watchers see all [Conformance]",
)


def test_a_report_is_counted_test_by_test(tmp_path: Path) -> None:
    (tmp_path / "part.xml").write_text(REPORT)
    score = Score()
    read(tmp_path / "part.xml", score)
    assert (score.passed, score.failed) == ({DNS}, {PODS: "timed out"})
    assert score.missing([DNS, PODS, WATCHERS]) == [WATCHERS]
    assert page(score, [DNS, PODS, WATCHERS], {"in all": 90.0}) == [
        "1 of 3 conformance tests passed, 1 of them at the first attempt",
        "  in all: 1.5 min",
        "did not run:",
        f"  {WATCHERS}",
        "failed twice:",
        f"  {PODS}",
        "    timed out",
    ]


def test_a_part_without_a_report_passed_nothing(tmp_path: Path) -> None:
    score = Score()
    read(tmp_path / "absent.xml", score)
    assert score.missing([DNS]) == [DNS]


def test_the_parts_run_each_test_once() -> None:
    names = NAMES.read_text().splitlines()
    assert len(names) == len(set(names)) == 446
    assert wanted(PARTS) == names
    for name in names:
        parts = [one for one in PARTS if re.search(one.focus, name) and not (one.skip and re.search(one.skip, name))]
        assert len(parts) == 1, name


@pytest.mark.parametrize("area", ["[sig-network]", "[sig-node]", "[sig-api-machinery]"])
def test_the_short_run_has_tests_of_each_area(area: str) -> None:
    assert sum(name.startswith(area) for name in wanted(SHORT)) >= 5

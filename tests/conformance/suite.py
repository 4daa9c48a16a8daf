"""Runs the suite in its parts, and scores what the first attempt and one more gave."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.programs import COMPONENT, Parts

NAMES = COMPONENT / "names.txt"
"""Every test that a conformant cluster of this version must pass."""
_TEST = re.compile(r"^\[It\] ")


@dataclass(frozen=True)
class Part:
    """Tests that may run side by side, as many as `processes` at a time."""

    name: str
    focus: str
    skip: str
    processes: int


PARTS = (
    Part("parallel", r"\[Conformance\]", r"\[Serial\]|\[Slow\]|\[Disruptive\]", 8),
    Part("slow", r"\[Slow\].*\[Conformance\]", r"\[Serial\]|\[Disruptive\]", 6),
    Part("serial", r"\[Serial\].*\[Conformance\]|\[Disruptive\].*\[Conformance\]", "", 1),
)
SHORT = (
    Part(
        "short",
        r"\[sig-network\] (DNS should provide DNS for (the cluster|services)|Services should (be able to create a "
        r"functioning NodePort|be able to change|serve a basic endpoint|provide secure master)|Networking Granular "
        r"Checks: Pods|EndpointSlice|HostPort).*\[Conformance\]|\[sig-node\] (ConfigMap|Secrets|Downward API|Variable "
        r"Expansion|Security Context|Probing container should (be|\*not\* be) restarted with a (exec|/healthz)).*"
        r"\[Conformance\]|\[sig-api-machinery\] (Watchers|ResourceQuota should (create|verify)|Servers with support).*"
        r"\[Conformance\]",
        r"\[Serial\]|\[Slow\]|\[Disruptive\]",
        8,
    ),
)
"""The quickest of the network, of nodes and of the API."""


@dataclass
class Score:
    """Names of tests by how they went; `again`: failed at first, passed alone."""

    passed: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def tried(self) -> set[str]:
        return self.passed | self.again | set(self.failed)

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Tests that were to run and of which no report speaks."""
        return sorted(set(wanted) - self.tried)


def wanted(parts: Sequence[Part]) -> list[str]:
    """The conformance tests that these parts run."""
    found = []
    for name in NAMES.read_text().splitlines():
        for part in parts:
            if re.search(part.focus, name) and not (part.skip and re.search(part.skip, name)):
                found.append(name)
                break
    return found


def run(made: Parts, parts: Sequence[Part], kubeconfig: Path, kubectl: Path, reports: Path) -> Score:
    """Each part once, then what failed once more, alone. Reports (JUnit) and logs are written into `reports`."""
    score = Score()
    for part in parts:
        _ginkgo(made, part, kubeconfig, kubectl, reports)
        read(reports / f"{part.name}.xml", score)
    if score.failed:
        alone = "|".join(re.escape(name) for name in sorted(score.failed))
        _ginkgo(made, Part("again", alone, "", 1), kubeconfig, kubectl, reports)
        second = Score()
        read(reports / "again.xml", second)
        for name in second.passed & set(score.failed):
            del score.failed[name]
            score.again.add(name)
    return score


def read(report: Path, score: Score) -> None:
    """Adds what a JUnit report says. A report that is not there says nothing: its tests stay missing."""
    if not report.exists():
        return
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("name", "")
        if not _TEST.match(name):
            continue
        # Ginkgo appends the labels to the name.
        plain = _TEST.sub("", name).partition(" [Conformance]")[0] + " [Conformance]"
        failure = case.find("failure")
        if failure is None:
            failure = case.find("error")
        if failure is not None:
            score.failed[plain] = (failure.get("message") or failure.text or "").strip().partition("\n")[0]
        elif case.get("status") == "passed":
            score.passed.add(plain)


def _ginkgo(made: Parts, part: Part, kubeconfig: Path, kubectl: Path, reports: Path) -> None:
    """One part. Its status says no more than its report does, so it is the report that counts."""
    ginkgo = [
        str(made / "ginkgo"), "run", f"--procs={part.processes}", f"--focus={part.focus}", f"--skip={part.skip}",
        "--no-color", "--silence-skips", f"--output-dir={reports}", f"--junit-report={part.name}.xml", "--timeout=2h",
        str(made / "e2e.test"), "--",
    ]  # fmt: skip
    ginkgo += ["--provider=skeleton", f"--kubeconfig={kubeconfig}", f"--kubectl-path={kubectl}"]
    ginkgo += ["--disable-log-dump", "--allowed-not-ready-nodes=0"]
    with (reports / f"{part.name}.log").open("w") as log:
        subprocess.run([word for word in ginkgo if word != "--skip="], stdout=log, stderr=log, check=False)


def page(score: Score, expected: Sequence[str], seconds: Mapping[str, float]) -> list[str]:
    """The result, as a person reads it."""
    missing = score.missing(expected)
    lines = [
        f"{len(score.passed) + len(score.again)} of {len(expected)} conformance tests passed, "
        f"{len(score.passed)} of them at the first attempt",
    ]
    lines += [f"  {name}: {taken / 60:.1f} min" for name, taken in seconds.items()]
    for title, names in (("passed when run again", sorted(score.again)), ("did not run", missing)):
        lines += [f"{title}:", *(f"  {name}" for name in names)] if names else []
    if score.failed:
        lines.append("failed twice:")
    for name, said in sorted(score.failed.items()):
        lines += [f"  {name}", f"    {said}"]
    return lines

"""`python -m tests.bench [RUNS]`: one table of how long things take on lab machines of its own. Needs root.

`python -m tests.bench growth`: many simulated machines, see `growth`; `python -m tests.bench cpu`: ratios, see `cpu`.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import cpu, growth
from tests.lab.driving import HARDWAY, Ran, Site, renamed

CLUSTER = "hwtest-7"
RUNS = 3
AGAIN = 5
BY_HAND = 12.4
"""Seconds of a hand-written parallel script from its start to three Ready nodes, archives cached."""


class Ready:
    """Sees when three nodes are Ready, asked through the load balancer with the new kubeconfig."""

    def __init__(self, site: Site) -> None:
        self.seconds = float("nan")
        self._site = site
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        # Once a second only: whoever looks takes time from what is measured.
        while not self._over.wait(1.0):
            if not (self._site.workspace / "kubeconfig").exists():
                continue
            argv, env = self._site.own_kubectl()
            words = ["get", "nodes", "--no-headers", "--request-timeout=2s"]
            said = subprocess.run([*argv, *words], env=env, capture_output=True, text=True, check=False).stdout
            if said.count(" Ready ") == 3:
                self.seconds = time.monotonic() - self._began
                return

    def __enter__(self) -> "Ready":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@dataclass(frozen=True)
class Build:
    up: float
    init: Ran
    ready: float


@contextmanager
def fresh(site: Site) -> Iterator[float]:
    """Fresh machines; the seconds that they took to answer SSH."""
    site.down()
    try:
        yield site.up().seconds
    finally:
        site.down()


def build(site: Site, up: float) -> Build:
    with Ready(site) as ready:
        ran = site.init()
    return Build(up, ran, ready.seconds)


def stages(ran: Ran) -> dict[str, float]:
    found: dict[str, float] = {}
    for event in ran.events:
        if event["event"] == "StepFinished":
            found[event["step"]] = found.get(event["step"], 0) + event["seconds"]
    return found


def sent(ran: Ran) -> int:
    """Bytes of the stage streams that the machines took."""
    taken: dict[str, int] = {}
    for event in ran.events:
        if event["event"] == "Transferred":
            taken[event["machine"]] = max(taken.get(event["machine"], 0), event["sent"])
    return sum(taken.values())


def row(what: str, values: Iterable[float], note: str = "") -> None:
    known = sorted(values)
    print(f"{what:<34}{statistics.median(known):>8.2f}{known[0]:>8.2f}{known[-1]:>8.2f}   {note}".rstrip(), flush=True)


def command_seconds(*words: str) -> float:
    began = time.monotonic()
    subprocess.run([*HARDWAY, *words], stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="hardway-bench-") as folder:
        site = Site.of(Path(folder), CLUSTER, renamed("lab.yaml", CLUSTER))
        builds, again = [], []
        for run in range(runs):
            with fresh(site) as up:
                builds.append(build(site, up))
                if run == runs - 1:
                    # The first of them may find something to note; the bench is about those after it.
                    site.init()
                    again = [site.init() for _ in range(AGAIN)]
    report(builds, again)


def report(builds: list[Build], again: list[Ran]) -> None:
    print(f"{'seconds':<34}{'median':>8}{'best':>8}{'worst':>8}")
    row("hardway --help", [command_seconds("--help") for _ in range(AGAIN)], "wanted: 0.3")
    row("lab up, root made", [one.up for one in builds], "wanted: 6")
    ready = [one.ready for one in builds]
    by_hand = f"{statistics.median(ready) / BY_HAND:.2f} x a hand-written script; wanted: 1.5, then 1.1"
    row("init to three Ready nodes", ready, by_hand)
    row("init, fresh machines", [one.init.seconds for one in builds], "to the last proof")
    total = statistics.median(one.init.seconds for one in builds)
    parts = [stages(one.init) for one in builds]
    for name in parts[0]:
        seconds = [part.get(name, 0.0) for part in parts]
        row(f"  {name}", seconds, f"{statistics.median(seconds) / total:.0%}")
    row("init again, no change", [one.seconds for one in again], "wanted: 3, then 2")
    for name in stages(again[0]):
        row(f"  {name}", [stages(one).get(name, 0.0) for one in again])
    print(f"\n{statistics.median(sent(one.init) for one in builds) / 2**20:.0f} MB sent to seven machines")


if __name__ == "__main__":
    if sys.argv[1:2] == ["growth"]:
        growth.main(sys.argv[2:])
    elif sys.argv[1:2] == ["cpu"]:
        cpu.main(sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else RUNS)

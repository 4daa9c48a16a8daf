"""`python -m tests.bench`: a lab of its own, raised, built and taken down, several times over.

Needs root and binaries in the cache (`hardway artifacts get`). Times are of whole commands, by the
clock, and medians of the runs; the steps are those of the run's own events.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
HARDWAY = (sys.executable, "-m", "hardway")
CLUSTER, NETWORK = "hwbench", "10.244"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    result = work()
    return time.monotonic() - began, result


class Bench:
    """One inventory: the seven machines on a network of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        text = (REPOSITORY / "inventories" / "lab.yaml").read_text()
        lines = [f"cluster: {CLUSTER}" if line.startswith("cluster:") else line for line in text.splitlines()]
        (folder / "hardway.yaml").write_text("\n".join(lines).replace("10.240.", f"{NETWORK}.") + "\n")

    def hardway(self, *words: str) -> str:
        done = subprocess.run((*HARDWAY, *words), cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"hardway {' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def until_ready(self, began: float, found: list[float]) -> None:
        """Notes the seconds until three nodes are Ready, as the API has it."""
        config = self.folder / ".hardway" / CLUSTER / "kubeconfig"
        query = ["kubectl", f"--kubeconfig={config}", "get", "nodes", "--request-timeout=2s", "-o", "json"]
        # Begins when the machines have been written to: before, it would only take time from the run.
        while time.monotonic() - began < 120:
            time.sleep(0.5)
            if time.monotonic() - began < 8 or not config.exists():
                continue
            answer = subprocess.run(query, capture_output=True, text=True, check=False)
            if answer.returncode == 0 and answer.stdout.count('"KubeletReady"') == 3:
                found.append(time.monotonic() - began)
                return

    def init(self, watch: bool) -> tuple[float, list[dict[str, Any]], float | None]:
        """Seconds, events, and seconds to Ready where that is watched (it costs the run some)."""
        ready: list[float] = []
        began = time.monotonic()
        if watch:
            watcher = threading.Thread(target=self.until_ready, args=(began, ready), daemon=True)
            watcher.start()
        seconds, said = timed(lambda: self.hardway("init", "--yes", "-o", "json"))
        if watch:
            watcher.join(30)
        return (
            seconds,
            [json.loads(line) for line in said.splitlines() if line.startswith("{")],
            min(ready, default=None),
        )


def median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):6.2f}   ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="builds from fresh machines")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory(prefix="hardway-bench-") as name:
        bench = Bench(Path(name))
        try:
            report(bench, runs)
        finally:
            bench.hardway("lab", "down")


def report(bench: Bench, runs: int) -> None:
    ups, inits, readies, steps, sent = [], [], [], {}, 0
    for run in range(runs):
        bench.hardway("lab", "down")
        seconds, _ = timed(lambda: bench.hardway("lab", "up"))
        ups.append(seconds)
        seconds, events, ready = bench.init(watch=run == runs - 1 and runs > 1)
        inits.append(seconds)
        readies += [ready] if ready else []
        for event in events:
            if event["event"] == "StageFinished":
                steps.setdefault(event["stage"], {}).setdefault(run, 0.0)
                steps[event["stage"]][run] += event["seconds"]
        totals = {event["machine"]: event["total"] for event in events if event["event"] == "Transferred"}
        sent = max(sent, sum(totals.values()))
    agains = [timed(lambda: bench.hardway("init", "--yes"))[0] for _ in range(5)]
    helps = [timed(lambda: subprocess.run((*HARDWAY, "--help"), capture_output=True, check=True))[0] for _ in range(5)]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seconds: median (from to)")
    print(f"  lab up, root made              {median(ups)}")
    print(f"  init on fresh machines         {median(inits)}   {sent / 2**20:.0f} MB sent")
    if readies:
        print(f"  … to three nodes Ready         {median(readies)}   (one run, watched twice a second)")
    for step, by_run in steps.items():
        print(f"      {step:<26} {median(list(by_run.values()))}")
    print(f"  init with no change            {median(agains)}")
    print(f"  hardway --help                 {median(helps)}")


if __name__ == "__main__":
    main()

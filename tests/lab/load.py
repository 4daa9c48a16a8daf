"""Clients that count (`components/load`), as a block of a test: built once, started, and asked at the end."""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driving import REPOSITORY, Site, until

from hardway.artifacts.store import default_store

SOURCE = REPOSITORY / "components" / "load"
READY_LIMIT, END_LIMIT = 90, 60


@dataclass
class Load:
    """What clients met with. `classes` is by name, as the program reports it; empty until the block has ended."""

    classes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    written: int = 0

    @property
    def requests(self) -> int:
        return sum(one["requests"] for one in self.classes.values())

    @property
    def failed(self) -> int:
        return sum(one["failed"] for one in self.classes.values())

    @property
    def slowest(self) -> float:
        return max(float(one["slowest"]) for one in self.classes.values())

    def __str__(self) -> str:
        busy = " ".join(f"{one:.1f}" for one in os.getloadavg())
        lines = [
            f"{self.requests} requests, {self.failed} failed, slowest {self.slowest:.2f} s; {self.written} writes, "
            f"{len(self.lost)} lost, {len(self.unseen)} not seen by the watch; load average {busy}"
        ]
        for name, one in self.classes.items():
            lines += [f"  {name}: {error}" for error in one["errors"]]
        return "\n".join(lines)


def program() -> Path:
    """The built program; a new one where its source has changed."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.read_bytes())
    built = default_store().root / "tests" / f"load-{digest.hexdigest()[:16]}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        new = built.with_suffix(f".{os.getpid()}")
        subprocess.run(["go", "build", "-trimpath", "-o", new, "."], cwd=SOURCE, check=True)
        new.rename(built)
    return built


@contextmanager
def counting(site: Site, folder: Path) -> Iterator[Load]:
    """Clients at work for as long as the block lasts."""
    kubeconfig, report, ready = site.workspace / "kubeconfig", folder / "report.json", folder / "ready"
    words = [program(), "-kubeconfig", kubeconfig, "-report", report, "-ready", ready]
    load = Load()
    with (folder / "load.log").open("w+") as log:
        process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log)
        try:
            until(lambda: ready.exists() or process.poll() is not None, READY_LIMIT, "the clients are answered")
            yield load
            process.send_signal(signal.SIGTERM)
            code = process.wait(END_LIMIT)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        assert code == 0, log.read()
    found = json.loads(report.read_text())
    load.classes, load.lost, load.unseen = found["classes"], found["lost"], found["unseen"]
    load.written = found["written"]

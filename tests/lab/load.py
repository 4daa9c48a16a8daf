"""Clients that count (`components/load`), as a block of a test: built once, started, and asked at the end."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hardway.artifacts.store import default_store

SOURCE = Path(__file__).resolve().parents[2] / "components" / "load"
READY_LIMIT, END_LIMIT = 90, 120
"""Seconds. The program's own limits are shorter."""


@dataclass
class Load:
    """What clients met with; empty until the block has ended.

    `classes` is by name, as the program reports it, its times in seconds. Writes are quoted as OBJECT#NUMBER.
    """

    classes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    watch_gaps: list[str] = field(default_factory=list)
    relisted: int = 0
    skipped: int = 0
    """Writes that the watch could not show: an API server cannot go on from before its own start, so clients list."""

    def read(self, report: Mapping[str, Any]) -> None:
        """Takes over the program's report. Fails where the program could read nothing back."""
        assert not report["error"], f"the load could read nothing back: {report['error']}"
        self.classes, self.acknowledged = report["classes"], report["acknowledged"]
        self.lost = report["lost"] + [f"{one} made twice" for one in report["twice"]]
        watch = report["watch"]
        self.relisted, self.skipped = watch["relisted"], watch["skipped"]
        self.watch_gaps = [f"{one} {what}" for what in ("missing", "twice", "disorder") for one in watch[what]]

    @property
    def requests(self) -> int:
        return sum(one["requests"] for one in self.classes.values())

    @property
    def failed(self) -> int:
        return sum(one["failed"] for one in self.classes.values())

    @property
    def closed(self) -> int:
        """Writes on a kept HTTP/1.1 connection that its server closed just as they were sent: they ended at once.

        Nobody repeats such a write, and no order of restarts can help it (docs/decisions/rolling.md).
        """
        errors = self.classes["kept"]["errors"]
        return sum(one["error"].endswith("EOF") and one["seconds"] < 0.2 for one in errors)

    @property
    def slowest(self) -> float:
        return max((float(one["slowest"]) for one in self.classes.values()), default=0.0)

    def __str__(self) -> str:
        lines = [
            f"{self.requests} requests, {self.failed} failed, slowest {self.slowest:.2f} s; "
            f"{self.acknowledged} writes, {len(self.lost)} lost; "
            f"{len(self.watch_gaps)} gaps of the watch; listed again {self.relisted} times, {self.skipped} skipped"
        ]
        for name, one in self.classes.items():
            lines.append(
                f"  {name}: {one['requests']} requests, {one['failed']} failed, "
                f"p50 {one['p50']:.3f}, p99 {one['p99']:.3f}, slowest {one['slowest']:.3f} s"
            )
            for error in one["errors"]:
                lines.append(f"    {error['time']} {error['verb']} after {error['seconds']:.2f} s: {error['error']}")
        for what, writes in (("lost", self.lost), ("watch", self.watch_gaps)):
            lines += [f"  {what}: {write}" for write in writes[:20]]
        return "\n".join(lines)


def assert_served(load: Load) -> None:
    """Nobody noticed, but for one write on a kept connection that ended just as it was sent: nobody repeats those."""
    assert load.requests > 100
    assert (load.lost, load.watch_gaps) == ([], []), str(load)
    assert load.failed <= min(load.closed, 1), str(load)


@cache
def program() -> Path:
    """The built program; a new one where its source has changed."""
    digest = hashlib.sha256()
    for path in sorted(SOURCE.iterdir()):
        digest.update(path.read_bytes())
    built = default_store().root / "tests" / f"load-{digest.hexdigest()[:16]}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        new = built.with_suffix(f".{os.getpid()}")
        subprocess.run(["go", "build", "-mod=readonly", "-trimpath", "-o", new, "."], cwd=SOURCE, check=True)
        new.rename(built)
    return built


@contextmanager
def counting(kubeconfig: Path, folder: Path, *, rate: float = 20, namespace: str = "") -> Iterator[Load]:
    """Clients at work for as long as the block lasts; their files are in `folder`.

    `rate` is requests a second of each class. Without `namespace` they have one of their own.
    """
    binary, report, ready = program(), folder / "report.json", folder / "ready"
    words = [f"-kubeconfig={kubeconfig}", f"-report={report}", f"-ready-file={ready}", f"-rate={rate}"]
    load = Load()
    with (folder / "load.log").open("w+") as log:
        process = subprocess.Popen([binary, *words, f"-namespace={namespace}"], stdout=log, stderr=log)
        try:
            _wait_for(ready, process, log.name)
            yield load
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(END_LIMIT)
            finally:
                process.kill()
                process.wait()
    assert code in (0, 1), f"the load ended with {code}:\n{Path(log.name).read_text()}"
    load.read(json.loads(report.read_text()))
    assert code == int(bool(load.failed or load.lost or load.watch_gaps)), load


def _wait_for(ready: Path, process: "subprocess.Popen[bytes]", log: str) -> None:
    deadline = time.monotonic() + READY_LIMIT
    while not ready.exists():
        late = time.monotonic() > deadline
        assert process.poll() is None and not late, f"the load is not answered:\n{Path(log).read_text()}"
        time.sleep(0.1)

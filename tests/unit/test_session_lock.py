"""Locks on machines: another run's is refused, what an interrupted run left behind is waited for."""

import os
import socket
import subprocess
from pathlib import Path

import pytest
from fake.cluster import PAIR, FakeCluster

from hardway.engine.session import holder, lock
from hardway.errors import Locked
from hardway.events import Event, Note

HERE = f"root@{socket.gethostname()}"


class Held:
    """Stands in for a machine's lock: so many refusals by this holder, then it is free."""

    def __init__(self, by: str, refusals: int) -> None:
        self.by, self.refusals = by, refusals

    def lock(self, who: str, path: str = "") -> None:
        if self.refusals:
            self.refusals -= 1
            raise Locked(f"locked by {self.by}", machine="hand")


def locked(tmp_path: Path, held: Held) -> list[Event]:
    told: list[Event] = []
    session = FakeCluster.new(tmp_path, PAIR).session(told.append)
    session.machines["hand"].lock = held.lock
    lock(session, holder("init"))
    return told


def ended_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_what_an_interrupted_run_began_is_waited_for_and_said_once(tmp_path: Path) -> None:
    held = Held(f"{HERE} (pid {ended_pid()}, since 2026-01-01 10:00:00 UTC): hardway init", 3)
    assert locked(tmp_path, held) == [Note("hand: what an interrupted run began there is not done yet; waiting for it")]
    assert held.refusals == 0


@pytest.mark.parametrize(
    "by",
    [
        f"{HERE} (pid {os.getpid()}, since 2026-01-01 10:00:00 UTC): hardway init",
        "ann@elsewhere.example (pid 1, since 2026-01-01 10:00:00 UTC): hardway init",
        "somebody who has not said who",
    ],
    ids=["alive here", "elsewhere", "unsaid"],
)
def test_a_run_that_lives_or_may_live_elsewhere_is_not_waited_for(tmp_path: Path, by: str) -> None:
    with pytest.raises(Locked, match="locked by"):
        locked(tmp_path, Held(by, 1))

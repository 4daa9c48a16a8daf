"""The command `hardway` as a whole, in this process, on a cluster of played machines: only dialling is played."""

import sys
from collections.abc import Callable, Collection

import pytest
from fake.cluster import FakeCluster
from in_process import ran

from hardway.engine import session
from hardway.errors import Unreachable
from hardway.remote import MachineIO, Target

Ran = tuple[int, str, str]


class PlayedFleet:
    """Connects to the machines of the cluster; `away` do not answer."""

    def __init__(self, cluster: FakeCluster, away: Collection[str]) -> None:
        self._cluster, self._away = cluster, away

    def connect(self, target: Target) -> MachineIO:
        if target.name in self._away:
            raise Unreachable(f"{target.host}: no answer within 3 s", machine=target.name, tried="ssh")
        return self._cluster.machines[target.name]

    def close(self) -> None:
        pass


class Commands:
    """Runs commands for the cluster; `away` are machines that do not answer."""

    def __init__(
        self, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.cluster, self.away = cluster, set[str]()
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setattr(session, "Fleet", lambda **given: PlayedFleet(cluster, self.away))
        # The cache of a user who has this one.
        monkeypatch.setenv("XDG_CACHE_HOME", str(cluster.root))
        if not (cluster.root / "hardway").exists():
            (cluster.root / "hardway").symlink_to(cluster.root / "cache")

    def __call__(self, *words: str) -> Ran:
        """Exit status, standard output and error."""
        return ran(self._monkeypatch, self._capsys, *words, "-i", str(self.cluster.inventory))

    def at_a_terminal(self, answer: Callable[[], str]) -> None:
        """From now on somebody sits there, who answers every question."""
        self._monkeypatch.setenv("TERM", "dumb")
        self._monkeypatch.setattr(sys, "stdin", Person(answer))
        self._monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)


class Person:
    def __init__(self, answer: Callable[[], str]) -> None:
        self._answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return f"{self._answer()}\n"

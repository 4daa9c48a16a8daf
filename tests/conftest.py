"""What several rooms of tests share: clusters of fake machines."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake.cluster import FakeCluster, room
from fake.machine import why_not
from hypothesis import HealthCheck, settings

NewCluster = Callable[[str], FakeCluster]

LONGER = (
    "HARDWAY_EXAMPLES", "HARDWAY_ROLLS", "HARDWAY_KILLS", "HARDWAY_SETTINGS", "HARDWAY_UPGRADES", "HARDWAY_FAULTS",
    "HARDWAY_IN_TURN", "HARDWAY_GROWS",
)  # fmt: skip
"""How long the series of `make soak` are."""

# What somebody has set for their own cluster is not meant for these tests.
for name in [name for name in os.environ if name.startswith("HARDWAY_")]:
    if name not in LONGER:
        del os.environ[name]

# A busy computer is no failing test: speed is measured in tests/bench.
settings.register_profile("hardway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("hardway")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """All cores for what needs no lab; the lab's tests share one lab, and run in one process."""
    return os.cpu_count() or 1 if "not lab" in config.option.markexpr else 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In continuous integration a test that was skipped, for want of a program or of root, has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and exitstatus == 0 and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} skipped, and nothing may be skipped where CI is set", red=True)


@pytest.fixture
def new_room() -> Iterator[Callable[[], Path]]:
    """Makes folders that are gone after the test."""
    rooms: list[Path] = []

    def make() -> Path:
        rooms.append(room())
        return rooms[-1]

    yield make
    for one in rooms:
        shutil.rmtree(one)


@pytest.fixture
def new_cluster(new_room: Callable[[], Path]) -> NewCluster:
    """Makes the bare machines of an inventory's text."""
    if why_not():
        pytest.skip(why_not())
    return lambda inventory: FakeCluster.new(new_room(), inventory)


@pytest.fixture(scope="session")
def built_once() -> Iterator[dict[str, FakeCluster]]:
    """Clusters that were built before, by inventory: to be copied, not used."""
    built: dict[str, FakeCluster] = {}
    yield built
    for one in built.values():
        shutil.rmtree(one.root)


@pytest.fixture
def built_cluster(built_once: dict[str, FakeCluster], new_room: Callable[[], Path]) -> NewCluster:
    """A cluster of an inventory's text that already stands: a copy of one, since building takes a second."""
    if why_not():
        pytest.skip(why_not())

    def copy(inventory: str) -> FakeCluster:
        if inventory not in built_once:
            built_once[inventory] = FakeCluster.new(room(), inventory)
            built_once[inventory].init()
        return built_once[inventory].copied(new_room())

    return copy

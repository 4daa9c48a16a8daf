"""Labs for tests: one at a time in a process, each taken down whatever happens."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from driving import CLUSTERS, SEVEN, Labs, Site, renamed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of long tests that take turns one runs each day, so that a whole run stays below an hour; `make soak` has all."""
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        if mark := item.get_closest_marker("in_turn"):
            groups.setdefault(mark.args[0], []).append(item)
    if os.environ.get("HARDWAY_IN_TURN") == "all":
        return
    today = datetime.now(UTC).toordinal()
    left = [one for group in groups.values() for one in group if one is not group[today % len(group)]]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


@pytest.fixture(scope="session")
def _terminable() -> Iterator[None]:
    """A terminated run takes its lab down as an interrupted one does."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def labs(tmp_path_factory: pytest.TempPathFactory, _terminable: None) -> Iterator[Labs]:
    if os.geteuid() != 0:
        pytest.skip("the lab needs root")
    labs = Labs(tmp_path_factory.mktemp("labs"))
    try:
        yield labs
    finally:
        labs.close()


@pytest.fixture(scope="session")
def seven_site(labs: Labs) -> Site:
    return labs.make(SEVEN, renamed("lab.yaml", SEVEN))


@pytest.fixture
def seven(labs: Labs, seven_site: Site) -> Site:
    """Seven machines with a proved cluster. Where the test before left it so, this takes a second at most."""
    labs.only(seven_site)
    is_settled = seven_site.settled == seven_site.inventory.read_text()
    if not is_settled and seven_site.hardway("init", "--yes", code=None).code != 0:
        labs.fresh(seven_site)
        seven_site.init()
    return seven_site


NewSite = Callable[[str, str], Site]


@pytest.fixture
def new_site(labs: Labs) -> NewSite:
    """Boots the fresh machines of a small lab from (cluster, inventory text)."""

    def make(cluster: str, text: str) -> Site:
        assert cluster in CLUSTERS
        return labs.fresh(labs.make(cluster, text))

    return make

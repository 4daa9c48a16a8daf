"""etcd begins once: a first start that is cut anywhere is ended by the same command."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from fake.cluster import PAIR, FakeCluster, keys

from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.etcd import FIRST_START

TO_ETCD = PHASE_NAMES[: PHASE_NAMES.index("etcd") + 1]
STEPS = 10
"""More than a run asks of the controller; the test of the last one says so."""


class Killed(BaseException):
    """The operator's process is gone."""


def killed_after(made: FakeCluster, count: int) -> bool:
    """Runs the chapter etcd until the controller has answered so often; whether it was killed before its end."""
    head = made.machines["head"]
    head.asked.clear()

    def stop(what: str) -> None:
        if len(head.asked) >= count:
            raise Killed

    head.after = stop
    try:
        made.init(("etcd",))
    except Killed:
        return True
    finally:
        head.after = lambda what: None
    return False


@pytest.fixture
def before_etcd(new_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    made = new_cluster(PAIR)
    made.init(TO_ETCD[:-1])
    return made


@pytest.mark.parametrize("count", range(1, STEPS + 1))
def test_cut_at_any_step_it_is_ended_by_the_same_command(before_etcd: FakeCluster, count: int) -> None:
    made = before_etcd
    assert made.state().etcd == "absent"
    assert killed_after(made, count) == (count < STEPS)
    made.init(("etcd",))
    assert made.state().etcd == "initialized"
    assert (made.root / "net/initialised").read_text() == "head\n"
    assert not (made.machines["head"].root / FIRST_START.lstrip("/")).exists()
    assert keys(made.init(TO_ETCD).changes) == []


def test_an_etcd_that_is_initialized_and_was_not_recorded_is_found(before_etcd: FakeCluster) -> None:
    made = before_etcd

    def stop(what: str) -> None:
        if what == "etcd":
            raise Killed

    made.machines["head"].after = stop
    with suppress(Killed):
        made.init(("etcd",))
    made.machines["head"].after = lambda what: None
    state = made.state()
    assert (state.etcd, bool(state.etcd_token)) == ("bootstrapping", True)
    again = made.init(("etcd",))
    assert (again.state.etcd, again.state.etcd_token) == ("initialized", state.etcd_token)
    assert [key for key in keys(again.changes) if key[2] != f"file:{FIRST_START}"] == []

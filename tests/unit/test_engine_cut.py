"""A plan applied leaves an empty plan; also when the run was cut anywhere, and then run again."""

import functools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from fake.cluster import ONE, PAIR, FakeCluster, keys, room
from fake.machine import Cut, why_not
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from strategies import inventories

from hardway import data, journal
from hardway.declare.resources import Present, Service
from hardway.engine.observe import View
from hardway.events import Event
from hardway.remote import ConnectionLost

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

EXAMPLES = int(os.environ.get("HARDWAY_EXAMPLES", "1"))
"""Each is two or three runs of a cluster's whole life: more of them for a long evening."""

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""A cut is small as it is, and every try takes seconds."""

cuts = st.builds(Cut, st.integers(0, 19), st.one_of(st.integers(1, 12), st.integers(1, 400)), st.booleans())


@contextmanager
def cluster(inventory: str) -> Iterator[FakeCluster]:
    place = room()
    try:
        yield FakeCluster.new(place, inventory)
    finally:
        shutil.rmtree(place)


Shape = dict[str, dict[str, int]]
Noted = dict[str, tuple[set[str], frozenset[str]]]


def shape(made: FakeCluster) -> Shape:
    """Which files there are on each machine, and their modes; not their contents, which hold random keys."""
    return {name: {path: mode for path, (mode, _) in one.tree().items()} for name, one in made.machines.items()}


def noted(made: FakeCluster) -> Noted:
    """What each machine's journal holds, and what of it was begun and not ended."""
    read = {name: journal.read(one.read(journal.PATH)) for name, one in made.machines.items()}
    return {name: (set(one.entries), one.open) for name, one in read.items()}


@functools.cache
def undisturbed(inventory: str) -> tuple[Shape, Noted]:
    """What a run that nothing disturbs leaves behind."""
    with cluster(inventory) as made:
        made.init()
        return shape(made), noted(made)


def assert_whole(made: FakeCluster, inventory: str) -> None:
    """Nothing is left to do, and nothing was left behind that an undisturbed run would not leave."""
    assert_nothing_is_left_to_do(made)
    files, entries = undisturbed(inventory)
    assert shape(made) == files
    assert noted(made) == entries


def assert_nothing_is_left_to_do(made: FakeCluster) -> None:
    """One more run changes nothing, everything runs with what lies there, etcd began once."""
    again = made.init()
    assert (keys(again.changes), again.made) == ([], [])
    for name in made.machines:
        for one in again.declaration.on(name):
            if isinstance(one.resource, Service):
                assert_runs_with_what_is_there(made, name, one.resource, again.views[name])
    members = (made.root / "net/initialised").read_text().split()
    assert sorted(members) == sorted(machine.name for machine in made.cluster.controllers)


def assert_runs_with_what_is_there(made: FakeCluster, name: str, service: Service, view: View) -> None:
    seen = view.observed[service.key]
    assert isinstance(seen, Present)
    assert seen.value.is_active
    digests = {
        path: view.stat(path).digest  # type: ignore[union-attr]
        for path in service.inputs
        if not path.endswith(".d")
    }
    read = made.machines[name].runs_with(service.unit)
    assert {path: read.get(path, digest) for path, digest in digests.items()} == digests


@pytest.mark.parametrize("name", ["lab", "single"])
def test_the_inventories_that_travel_with_hardway_leave_an_empty_plan(name: str) -> None:
    text = (data.folder("inventories") / f"{name}.yaml").read_text()
    with cluster(text) as made:
        assert made.init().changes
        assert_nothing_is_left_to_do(made)


@settings(
    max_examples=max(1, EXAMPLES // 2), deadline=None, phases=NO_SHRINKING, suppress_health_check=list(HealthCheck)
)
@given(inventories().filter(lambda text: text.count("address: ") <= 3))
def test_any_right_inventory_leaves_an_empty_plan(text: str) -> None:
    with cluster(text) as made:
        made.init()
        assert_nothing_is_left_to_do(made)


@settings(max_examples=EXAMPLES, deadline=None, phases=NO_SHRINKING)
@given(cut=cuts)
# Once etcd had formed and nobody had noted it: its first start stayed allowed for ever.
@example(cut=Cut(8, 400))
# Tried again after the answer was lost: what the first try needed had been removed by it.
@example(cut=Cut(10, 400, dead=False))
def test_a_run_killed_at_any_command_is_ended_by_the_same_run_again(cut: Cut) -> None:
    with cluster(ONE) as made:
        made.machines["solo"].cut = cut
        with suppress(ConnectionLost):
            made.init()
        made.machines["solo"].restored()
        made.init()
        assert_whole(made, ONE)


@settings(max_examples=max(1, EXAMPLES // 2), deadline=None, phases=NO_SHRINKING)
@given(first=cuts, second=cuts, on=st.sampled_from(["head", "hand"]))
def test_a_run_killed_twice_on_one_of_two_machines_is_ended_by_the_third(first: Cut, second: Cut, on: str) -> None:
    with cluster(PAIR) as made:
        for cut in (first, second):
            made.machines[on].restored(cut)
            with suppress(ConnectionLost):
                made.init()
        made.machines[on].restored()
        made.init()
        assert_whole(made, PAIR)


class Killed(BaseException):
    """The operator's process is gone."""


@settings(max_examples=max(1, EXAMPLES // 2), deadline=None, phases=NO_SHRINKING)
@given(after=st.integers(0, 160))
def test_an_operator_killed_at_any_moment_goes_on_with_the_same_command(after: int) -> None:
    with cluster(ONE) as made:
        told = 0

        def until(event: Event) -> None:
            nonlocal told
            told += 1
            if told > after:
                raise Killed

        with suppress(Killed):
            made.init(events=until)
        made.init()
        assert_whole(made, ONE)

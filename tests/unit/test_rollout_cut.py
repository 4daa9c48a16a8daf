"""A rolling change that is killed anywhere is ended by the same command, and no member is lost by it."""

import hashlib
import itertools
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date

import pytest
from fake.cluster import FakeCluster, room
from fake.machine import Cut, why_not
from hypothesis import Phase
from test_engine_cut import assert_nothing_is_left_to_do

from hardway.remote import ConnectionLost

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

EXAMPLES = int(os.environ.get("HARDWAY_EXAMPLES", "1"))
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
THREE = """\
cluster: three
endpoint: api.example.net
machines:
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: [controller, worker], address: 10.240.0.12}
"""
CHANGE = "settings: {etcd: {snapshot-count: 20000}, kube-apiserver: {event-ttl: 2h}, kubelet: {maxPods: 90}}\n"
CONTROLLERS = ("c0", "c1", "c2")
CALLS = 40
"""More than a controller is asked: to observe, to hold still, to hand over, to take files, each chapter, to observe."""
COMMANDS = (1, 4, 16, 64, 10_000)
"""Where a script is killed: at its beginning, further on, and when all of it is done and only the answer is lost."""
EVERY_STEP = list(itertools.product(CONTROLLERS, range(CALLS), COMMANDS))
STEPS = EVERY_STEP if EXAMPLES > 1 else random.Random(date.today().isoformat()).sample(EVERY_STEP, 3)


@contextmanager
def changed_cluster() -> Iterator[FakeCluster]:
    """A cluster whose inventory says more since it was built."""
    place = room()
    try:
        made = FakeCluster.new(place, THREE)
        made.init()
        made.inventory.write_text(THREE + CHANGE)
        yield made
    finally:
        shutil.rmtree(place)


def authorities(made: FakeCluster) -> dict[str, str]:
    """Digests of all keys and certificates of CAs in the workspace."""
    pki = made.workspace().root / "pki"
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(pki.rglob("*ca.*"))}


def served(made: FakeCluster) -> list[str]:
    return [name for name in CONTROLLERS if (made.root / "net" / f"etcd-{name}").exists()]


@pytest.mark.parametrize(("name", "call", "command"), STEPS)
def test_a_rolling_change_that_is_killed_at_a_step_is_ended_by_the_same_command(
    name: str, call: int, command: int
) -> None:
    with changed_cluster() as made:
        before, members = authorities(made), (made.root / "net" / "members").read_text()
        for machine in made.machines.values():
            machine.restored()
        made.machines[name].restored(Cut(call, command))
        with suppress(ConnectionLost):
            made.init()
        # Whatever was under way, a majority never stopped serving.
        assert len(served(made)) >= 2
        made.machines[name].restored()
        made.init()
        assert_nothing_is_left_to_do(made)
        assert authorities(made) == before
        assert (made.root / "net" / "members").read_text() == members


def test_no_machine_is_asked_for_more_steps_than_are_tried() -> None:
    with changed_cluster() as made:
        for machine in made.machines.values():
            machine.asked.clear()
        made.init()
        asked = {name: len(machine.asked) for name, machine in made.machines.items()}
        assert max(asked.values()) < CALLS

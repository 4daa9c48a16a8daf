"""A rolling change that is killed anywhere is ended by the same command, and no member is lost by it."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from fake.cluster import FakeCluster, room
from fake.machine import Cut, why_not
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
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
# Calls: observing, who serves, holding still, handing over, the intents, the upload, each chapter, observing again.
cuts = st.builds(Cut, st.integers(0, 24), st.one_of(st.integers(1, 40), st.integers(1, 400)), st.just(True))


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


@settings(max_examples=EXAMPLES, deadline=None, phases=NO_SHRINKING)
@given(name=st.sampled_from(CONTROLLERS), cut=cuts)
def test_a_rolling_change_that_is_killed_anywhere_is_ended_by_the_same_command(name: str, cut: Cut) -> None:
    with changed_cluster() as made:
        before, members = authorities(made), (made.root / "net" / "members").read_text()
        for machine in made.machines.values():
            machine.restored()
        made.machines[name].restored(cut)
        with suppress(ConnectionLost):
            made.init()
        # Whatever was under way, a majority never stopped serving.
        assert len(served(made)) >= 2
        made.machines[name].restored()
        made.init()
        assert_nothing_is_left_to_do(made)
        assert authorities(made) == before
        assert (made.root / "net" / "members").read_text() == members

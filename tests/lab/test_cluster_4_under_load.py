"""Rolling changes under clients that count: no request fails, no write is lost, no event is missed.

`HARDWAY_ROLLS` has each made so many times (`make soak`: ten). In every run of the tests a restart of machines, and on
most days a rotation, rolls these components under the same clients.
"""

import os
from pathlib import Path

import pytest
from driving import Site
from load import Load, counting
from rolls import settings

pytestmark = pytest.mark.lab

TIMES = int(os.environ.get("HARDWAY_ROLLS", "0"))
__test__ = bool(TIMES)
CHANGES = {
    "kube-apiserver": "kube-apiserver: {event-ttl: {number}h}",
    "etcd": "etcd: {snapshot-count: {number}000}",
    "haproxy": "haproxy: {defaults: {retries: {number}}}",
    "kubelet": "kubelet: {maxPods: {number}}",
}
CONTROLLERS = {"controller-0", "controller-1", "controller-2"}
WORKERS = {"worker-0", "worker-1", "worker-2"}
CHANGED = {
    "kube-apiserver": CONTROLLERS,
    "etcd": CONTROLLERS,
    "haproxy": {"lb-0"},
    "kubelet": WORKERS,
}


@pytest.mark.parametrize("component", CHANGES)
def test_a_rolling_change_costs_no_caller_anything(seven: Site, component: str, tmp_path: Path) -> None:
    text = "{" + CHANGES[component] + "}"
    counted: list[Load] = []
    for number in range(90, 90 + TIMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        with (
            counting(seven.workspace / "kubeconfig", folder) as load,
            settings(seven, text.replace("{number}", str(number)), back=False),
        ):
            ran = seven.hardway("apply", "--yes", "-o", "json")
        print(f"{component} {number}: {load}")
        assert {machine for machine, _, _ in ran.changes} >= CHANGED[component]
        counted.append(load)
    seven.init()
    for load in counted:
        assert load.requests > 100
        assert (load.lost, load.watch_gaps) == ([], []), str(load)
        assert load.failed == 0, str(load)

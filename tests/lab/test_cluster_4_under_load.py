"""Rolling changes under clients that count: no request fails, no write is lost, no event is missed.

All of them in one run; `HARDWAY_ROLLS` has each made by itself, so many times (`make soak`: ten).
"""

import os
from pathlib import Path

import pytest
from driving import Site
from load import Load, counting
from rolls import settings

pytestmark = pytest.mark.lab

TIMES = int(os.environ.get("HARDWAY_ROLLS", "0"))
CHANGES = {
    "kube-apiserver": "kube-apiserver: {event-ttl: {number}h}",
    "etcd": "etcd: {snapshot-count: {number}000}",
    "haproxy": "haproxy: {defaults: {retries: {number}}}",
    "kubelet": "kubelet: {maxPods: {number}}",
}


@pytest.mark.parametrize("component", CHANGES if TIMES else ["all"])
def test_a_rolling_change_costs_no_caller_anything(seven: Site, component: str, tmp_path: Path) -> None:
    text = "{" + CHANGES.get(component, ", ".join(CHANGES.values())) + "}"
    counted: list[Load] = []
    for number in range(90, 90 + max(1, TIMES)):
        folder = tmp_path / str(number)
        folder.mkdir()
        wanted = text.replace("{number}", str(number))
        with counting(seven, folder) as load, settings(seven, wanted, back=False):
            seven.hardway("apply", "--yes")
        print(f"{component} {number}: {load}")
        counted.append(load)
    seven.init()
    for load in counted:
        assert load.requests > 100
        assert (load.failed, load.lost, load.unseen) == (0, [], []), str(load)

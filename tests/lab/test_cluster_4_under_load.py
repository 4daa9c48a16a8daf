"""Rolling changes under clients that count: no request fails, no write is lost, no event is missed.

`HARDWAY_ROLLS` says how often each change is made (`make soak`: ten times).
"""

import os
from pathlib import Path

import pytest
from driving import Site
from load import Load, counting
from rolls import settings

pytestmark = pytest.mark.lab

TIMES = int(os.environ.get("HARDWAY_ROLLS", "1"))
CHANGES = {
    "kube-apiserver": "{{kube-apiserver: {{event-ttl: {number}h}}}}",
    "etcd": "{{etcd: {{snapshot-count: {number}000}}}}",
    "haproxy": "{{haproxy: {{defaults: {{retries: {number}}}}}}}",
    "kubelet": "{{kubelet: {{maxPods: {number}}}}}",
}


@pytest.mark.parametrize("component", CHANGES)
def test_a_rolling_change_costs_no_caller_anything(seven: Site, component: str, tmp_path: Path) -> None:
    counted: list[Load] = []
    for number in range(90, 90 + TIMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        with counting(seven, folder) as load, settings(seven, CHANGES[component].format(number=number), back=False):
            seven.hardway("apply", "--yes")
        print(f"{component} {number}: {load}")
        counted.append(load)
    seven.init()
    for load in counted:
        assert load.requests > 100
        assert (load.failed, load.lost, load.unseen) == (0, [], []), str(load)

"""A rolling change whose hardway is killed at any time: the same command ends it, and nothing was lost.

`HARDWAY_KILLS` says how often (`make soak`: 30 times). In every run of the tests a rotation is killed once.
"""

import json
import os
import random
import time

import pytest
from driving import Site
from rolls import settings

pytestmark = pytest.mark.lab

TIMES = int(os.environ.get("HARDWAY_KILLS", "0"))
__test__ = bool(TIMES)
LONGEST = 60.0
"""Seconds; a roll of etcd and the API servers takes about as long."""
CONTROLLERS = ("controller-0", "controller-1", "controller-2")


def hashes(site: Site) -> set[int]:
    """Of all that etcd holds, as each member has it at one revision."""
    revision = min(_status(site, name)["header"]["revision"] for name in CONTROLLERS)
    return {
        json.loads(site.etcd(name, "endpoint", "hashkv", f"--rev={revision}", "-w", "json"))[0]["HashKV"]["hash"]
        for name in CONTROLLERS
    }


def _status(site: Site, name: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = json.loads(site.etcd(name, "endpoint", "status", "-w", "json"))[0]["Status"]
    return found


def test_a_roll_that_is_killed_is_ended_by_the_same_command(seven: Site) -> None:
    cluster, authorities = seven.etcd_cluster_id("controller-0"), seven.authorities()
    seven.kubectl("create", "configmap", "kept", "--from-literal=word=kept")
    seed = random.randrange(1 << 32)
    draw = random.Random(seed)
    try:
        for number in range(TIMES):
            after = draw.uniform(1, LONGEST)
            wanted = f"{{etcd: {{snapshot-count: {20000 + number}}}, kube-apiserver: {{event-ttl: {60 + number}m}}}}"
            with settings(seven, wanted, back=False):
                run = seven.start("apply", "--yes")
                time.sleep(after)
                run.kill()
                run.wait()
                print(f"seed {seed}: killed after {after:.1f} s")
                seven.hardway("apply", "--yes")
                seven.unchanged("apply", "--yes")
            assert (seven.etcd_cluster_id("controller-0"), seven.authorities()) == (cluster, authorities)
            assert len(hashes(seven)) == 1
            assert seven.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.word}") == "kept"
    finally:
        seven.kubectl("delete", "configmap", "kept")
    seven.init()

"""Reset takes everything away that hardway brought; a build that is killed again and again ends in a cluster."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from driving import Labs, Site, until

pytestmark = pytest.mark.lab

SEED = int(os.environ.get("HARDWAY_TEST_SEED", time.time_ns() % 10**6))
KILLS = 5
STEPS = ("connect", "observe", "upload", "hosts", "etcd", "control-plane", "workers", "routes", "dns", "proofs")


@pytest.fixture(scope="module")
def traced(labs: Labs, seven_site: Site) -> Site:
    """A cluster on machines that are remembered as they were before hardway touched them."""
    labs.only(seven_site)
    if not seven_site.bare:
        labs.fresh(seven_site)
        seven_site.bare = seven_site.traces()
        seven_site.init()
    return seven_site


def assert_bare(site: Site) -> None:
    """Nothing is left of hardway, and nothing of the machine's own is missing or changed."""
    left = {
        (machine, what, line)
        for machine, now in site.traces().items()
        for what, lines in now.items()
        for line in lines ^ site.bare[machine][what]
    }
    assert sorted(left) == []
    # Whoever asked for it got in by SSH, so that works too.
    assert site.hardway("lab", "status").out.count("answers") == len(site.machines)


def test_reset_leaves_nothing_and_keeps_the_keys(traced: Site) -> None:
    traced.kubectl("create", "deployment", "app", "--replicas=6", "--image=registry.k8s.io/pause:3.10.2")
    authorities = traced.authorities()["operator"]
    assert "reset" in traced.hardway("reset", code=2).out
    traced.hardway("reset", "--yes")
    assert_bare(traced)
    assert traced.authorities()["operator"] == authorities
    assert traced.hardway("reset", "--yes", "-o", "json").finished["changed"] == 0


@pytest.mark.in_turn("resets")
def test_a_build_killed_at_any_moment_ends_in_a_proved_cluster(traced: Site) -> None:
    print(f"HARDWAY_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    traced.hardway("reset", "--yes")
    authorities = traced.authorities()["operator"]
    formed: set[int] = set()
    for step in sorted(chance.sample(STEPS, KILLS), key=STEPS.index):
        seconds = chance.uniform(0, 1.5)
        print(f"killed {seconds:.2f} s after the begin of {step}: {kill(traced, step, seconds)}")
        assert traced.authorities()["operator"] == authorities
        formed |= cluster_ids(traced)
        assert len(formed) <= 1
    ran = unlocked(traced)
    assert ran["ok"]
    assert {traced.etcd_cluster_id("controller-1")} | formed == {traced.etcd_cluster_id("controller-0")}
    assert len(traced.nodes_ready()) == 3
    traced.unchanged("init")


def kill(site: Site, step: str, seconds: float) -> str:
    """Starts an init and kills it so many seconds after a step began; returns what it was at by then."""
    at = "before the first step"
    with site.start("init", "--yes", "-o", "json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout
        for line in run.stdout:
            event = json.loads(line)
            if event["event"] == "StepStarted":
                at = event["step"]
                if at == step:
                    break
        try:
            run.wait(seconds)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
        for line in run.stdout:
            # The kill may have cut the last one.
            if line.startswith('{"event": "StepStarted"') and line.endswith("}\n"):
                at = json.loads(line)["step"]
    return f"at {at}, status {run.returncode}"


def cluster_ids(site: Site) -> set[int]:
    """Of the etcd that has formed, if one has."""
    found = set()
    for machine in ("controller-0", "controller-1", "controller-2"):
        said = site.on(machine, ETCD_STATUS, code=None)
        found |= {int(one) for one in re.findall(r'"cluster_id":(\d+)', said)}
    return found


ETCD_STATUS = (
    "cd /etc/etcd/pki 2>/dev/null && systemctl is-active -q etcd && timeout 5 etcdctl --cacert=ca.crt "
    "--cert=healthcheck-client.crt --key=healthcheck-client.key member list -w json 2>/dev/null"
)


def unlocked(site: Site) -> dict[str, object]:
    """An init to its end. A step that a killed run began on a machine goes on, and holds the lock until it ends."""
    ran = site.hardway("init", "--yes", "-o", "json", code=None)
    deadline = time.monotonic() + 120
    while ran.code == 4 and time.monotonic() < deadline:
        time.sleep(1)
        ran = site.hardway("init", "--yes", "-o", "json", code=None)
    assert ran.code == 0, ran.told
    return ran.finished


@pytest.mark.in_turn("resets")
def test_reset_needs_no_workspace_and_init_gives_a_cluster_again(traced: Site, tmp_path: Path) -> None:
    authorities = traced.authorities()["operator"]
    bare_hands = tmp_path / "workspace"
    bare_hands.mkdir(0o700)
    shutil.copytree(traced.workspace / "lab", bare_hands / "lab")
    shutil.copy2(traced.workspace / "known_hosts", bare_hands / "known_hosts")
    traced.hardway("reset", "--yes", "--workspace", str(bare_hands))
    assert_bare(traced)
    # The workspace that was left out still knows a cluster: its end is for the operator to say.
    said = " ".join(traced.hardway("init", "--yes", code=1).out.split())
    assert "none of these machines has ever seen it" in said
    traced.hardway("reset", "--yes")
    assert_bare(traced)
    traced.init()
    assert traced.authorities()["operator"] == authorities
    until(lambda: len(traced.nodes_ready()) == 3, 30, "three Ready nodes")
    traced.unchanged("init")

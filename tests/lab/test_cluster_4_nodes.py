"""Machines of a cluster that serves: a drain that a budget forbids, a worker that leaves and comes back, restarts."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from driving import AGNHOST, Site, other_restarts, until
from load import counting

pytestmark = pytest.mark.lab

APP = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: moved}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: moved}}}}
  template:
    metadata: {{labels: {{app: moved}}}}
    spec:
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway,
          labelSelector: {{matchLabels: {{app: moved}}}}}}
      containers:
      - {{name: server, image: "{AGNHOST}", args: [netexec],
          readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: moved}}
spec: {{minAvailable: BUDGET, selector: {{matchLabels: {{app: moved}}}}}}
"""
WORKER = "worker-1"


@pytest.fixture
def app(seven: Site, tmp_path: Path) -> Iterator[Path]:
    """A Deployment with a pod on each worker; its budget allows nothing."""
    file = tmp_path / "app.yaml"
    file.write_text(APP.replace("BUDGET", "3"))
    seven.kubectl("apply", "-f", str(file))
    seven.kubectl("rollout", "status", "deployment/moved", "--timeout=90s")
    yield file
    seven.kubectl("delete", "-f", str(file))


def node_of_each_pod(site: Site) -> list[str]:
    pods = json.loads(site.kubectl("get", "pods", "-l", "app=moved", "-o", "json"))["items"]
    return [pod["spec"]["nodeName"] for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def cordoned(site: Site) -> list[str]:
    nodes = json.loads(site.kubectl("get", "nodes", "-o", "json"))["items"]
    return [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")]


def loosened(site: Site, app: Path) -> None:
    app.write_text(APP.replace("BUDGET", "2"))
    site.kubectl("apply", "-f", str(app))


def test_a_drain_that_a_budget_forbids_leaves_the_node_as_it_was(seven: Site, app: Path) -> None:
    said = " ".join(seven.hardway("node", "drain", WORKER, "--timeout", "8", code=1).out.split())
    assert "budget default/moved allows no eviction since" in said
    assert cordoned(seven) == []
    assert len(node_of_each_pod(seven)) == 3
    assert WORKER in node_of_each_pod(seven)
    loosened(seven, app)
    seven.hardway("node", "drain", WORKER)
    assert cordoned(seven) == [WORKER]
    assert WORKER not in node_of_each_pod(seven)
    seven.hardway("node", "uncordon", WORKER)
    assert cordoned(seven) == []


def test_a_drain_that_is_interrupted_leaves_the_node_as_it_was(seven: Site, app: Path) -> None:
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        drain = seven.start("node", "drain", WORKER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: cordoned(seven) == [WORKER], 60, "the node is cordoned")
        end(drain)
        drain.wait(60)
        # What is killed can undo nothing; but the next run knows whose cordon that is.
        assert cordoned(seven) == ([WORKER] if end is subprocess.Popen.kill else [])
    seven.hardway("node", "drain", WORKER, "--timeout", "5", code=1)
    assert cordoned(seven) == []


HOOKS = """
hooks:
  before_drain: {run: 'echo $HARDWAY_NODE $HARDWAY_ADDRESS >drained', machines: worker}
  after_drain: {run: 'touch /run/drained', on: node}
"""


def test_hooks_run_around_a_drain_and_one_that_fails_keeps_it_from_beginning(seven: Site, app: Path) -> None:
    loosened(seven, app)
    text = seven.inventory.read_text()
    try:
        seven.inventory.write_text(text + HOOKS)
        seven.hardway("node", "drain", WORKER)
        assert (seven.folder / "drained").read_text().split() == [WORKER, seven.machines[WORKER]]
        assert seven.on(WORKER, "ls /run/drained")
        seven.hardway("node", "uncordon", WORKER)
        seven.inventory.write_text(text + HOOKS.replace("echo ", "echo too early; false "))
        assert "too early" in seven.hardway("node", "drain", WORKER, code=1).out
        assert cordoned(seven) == []
    finally:
        seven.inventory.write_text(text)


def test_a_worker_leaves_and_comes_back(seven: Site, app: Path, tmp_path: Path) -> None:
    loosened(seven, app)
    text = seven.inventory.read_text()
    with counting(seven.workspace / "kubeconfig", tmp_path) as load:
        seven.hardway("node", "remove", WORKER, "--yes")
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    assert sorted(seven.nodes_ready()) == ["worker-0", "worker-2"]
    assert set(node_of_each_pod(seven)) == {"worker-0", "worker-2"}
    assert "10.200.1.0/24" not in seven.on("worker-0", "ip route")
    assert seven.on(WORKER, "ls /etc/kubernetes /var/lib/hardway 2>/dev/null || true") == ""
    try:
        lines = [line for line in text.splitlines() if f"{WORKER}:" not in line]
        seven.inventory.write_text("\n".join(lines) + "\n")
        seven.unchanged("apply", "--yes")
    finally:
        seven.inventory.write_text(text)
    said = " ".join(seven.hardway("plan", code=3).out.split())
    assert "its line is still in the inventory: init adds it again" in said
    seven.init()
    assert sorted(seven.nodes_ready()) == ["worker-0", "worker-1", "worker-2"]
    seven.unchanged("init")


@pytest.mark.in_turn("come and go")
def test_a_lost_worker_is_forgotten(seven: Site) -> None:
    """It does not answer any more, and somebody deleted it from the inventory: that blocks every run."""
    text = seven.inventory.read_text()
    seven.on(WORKER, "systemctl stop kubelet")
    try:
        lines = [line for line in text.splitlines() if f"{WORKER}:" not in line]
        seven.inventory.write_text("\n".join(lines) + "\n")
        said = seven.hardway("apply", "--yes", code=1).out
        assert f"hardway node remove {WORKER} --gone" in said
        assert "its kubelet still reports" in seven.hardway("node", "remove", WORKER, "--gone", "--yes", code=1).out
        until(lambda: WORKER not in seven.nodes_ready(), 90, "the Node is not Ready")
        seven.hardway("node", "remove", WORKER, "--gone", "--yes")
        seven.unchanged("apply", "--yes")
    finally:
        seven.inventory.write_text(text)
    seven.init()
    assert WORKER in seven.nodes_ready()


def test_machines_restart_one_at_a_time_and_no_request_fails(seven: Site, app: Path, tmp_path: Path) -> None:
    loosened(seven, app)
    leader = json.loads(seven.hardway("etcd", "status", "-o", "json").out)["leader"]
    started = "systemctl show -p UserspaceTimestampMonotonic --value"
    before = {name: seven.on(name, started) for name in ("worker-2", leader)}
    command = ("node", "reboot", leader, "worker-2", "--yes")
    with counting(seven.workspace / "kubeconfig", tmp_path) as load:
        killed = seven.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: seven.on("worker-2", started, code=None) not in ("", before["worker-2"]), 120, "it restarts")
        killed.kill()
        killed.wait()
        first = seven.on("worker-2", started)
        seven.hardway(*command, timeout=600)
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    # The same command went on with the machine that was left, and ended what was left undone on the first.
    assert seven.on("worker-2", started) == first
    assert seven.on(leader, started) != before[leader]
    assert cordoned(seven) == []
    assert json.loads(seven.hardway("etcd", "status", "-o", "json").out)["leader"] != leader
    seven.unchanged("init")
    seven.unchanged("node", "reboot", "--rolling", "--if-needed", "--yes")


@pytest.mark.in_turn("come and go")
def test_a_workers_name_goes_to_another_machine(seven: Site, app: Path, tmp_path: Path) -> None:
    """The same address, another disk: host key, machine id and all that was there are new."""
    loosened(seven, app)
    known = seven.workspace / "known_hosts"
    before = known.read_text()
    certificate = seven.on(WORKER, "sha256sum /etc/kubernetes/pki/kubelet.crt")
    others = seven.processes()
    assert "is not new" in seven.hardway("node", "replace", WORKER, "--yes", code=1).out
    with counting(seven.workspace / "kubeconfig", tmp_path) as load:
        seven.hardway("node", "drain", WORKER)
        seven.hardway("lab", "power-off", WORKER)
        shutil.rmtree(Path("/var/lib/hardway-lab", seven.cluster, "machines", WORKER))
        seven.up()
        # The lab writes down the new host key; who has real machines still has the old one there.
        known.write_text(before)
        until(lambda: WORKER not in seven.nodes_ready(), 90, "the Node is not Ready")
        refused = seven.hardway("node", "replace", WORKER, "--yes", code=1).out
        assert "is not the one that is known" in refused
        assert f"hardway node replace {WORKER} --accept-new-host-keys" in refused
        seven.hardway("node", "replace", WORKER, "--yes", "--accept-new-host-keys")
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    assert seven.hardway("lab", "up").code == 0
    assert seven.on(WORKER, "sha256sum /etc/kubernetes/pki/kubelet.crt") != certificate
    assert WORKER in seven.nodes_ready()
    assert cordoned(seven) == []
    after = seven.processes()
    assert other_restarts(others, after, *(one for one in others if one[0] == WORKER)) == []
    seven.hardway("plan")
    seven.unchanged("init")

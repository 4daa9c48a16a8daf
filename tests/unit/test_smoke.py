"""The smoke test asks everything of everybody, tells which pair failed, and leaves nothing behind."""

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from hardway.declare.phases.base import Proof
from hardway.engine.session import Session
from hardway.errors import CommandFailed, HardwayError
from hardway.events import Event, Note, Proved
from hardway.inventory.model import Cluster, Machine, Network
from hardway.remote import ConnectionLost, Result
from hardway.smoke import smoke, trials
from hardway.smoke.trials import Echo, Pod
from hardway.values import Role
from hardway.workspace import Workspace

VERSIONS = {"kubernetes": "1.36.4"}


def machine(name: str, last: int, *roles: Role) -> Machine:
    return Machine(name, frozenset(roles), IPv4Address(f"192.0.2.{last}"), pod_cidr=IPv4Network(f"10.200.{last}.0/24"))


SEVEN = Cluster(
    "seven",
    (
        machine("lb-0", 30, "load-balancer"),
        *(machine(f"controller-{n}", 10 + n, "controller") for n in range(3)),
        *(machine(f"worker-{n}", 20 + n, "worker") for n in range(3)),
    ),
)
ONE = Cluster("one", (machine("k1", 10, "controller", "worker"),))


def echo(cluster: Cluster) -> Echo:
    pods = (Pod(f"echo-{one.name}", one.name, f"10.200.{n}.2") for n, one in enumerate(cluster.workers))
    return Echo(tuple(pods), "10.32.0.77", 30123)


def names(proofs: Sequence[Proof]) -> list[str]:
    return [proof.name for proof in proofs]


def test_every_pair_of_workers_is_tried_both_ways() -> None:
    tried = names(list(trials.from_pods(SEVEN, echo(SEVEN))))
    pairs = {(a.name, b.name) for a in SEVEN.workers for b in SEVEN.workers if a != b}
    assert {f"the pod on {a} reaches the pod on {b}" for a, b in pairs} <= set(tried)


def test_every_pod_tries_service_api_and_name_and_every_node_its_port() -> None:
    tried = names(list(trials.from_pods(SEVEN, echo(SEVEN))))
    for n, worker in enumerate(SEVEN.workers):
        assert f"the pod on {worker.name} reaches a Service by its address" in tried
        assert f"the pod on {worker.name} reaches the API at 10.32.0.1" in tried
        assert f"the pod on {worker.name} finds kubernetes.default.svc.cluster.local" in tried
        assert f"NodePort 30123 of {worker.name}, seen from controller-{n}" in tried


def test_every_controller_reaches_every_pod_and_every_kubelet_gives_logs_and_exec() -> None:
    tried = list(trials.from_controllers(SEVEN, echo(SEVEN)))
    reached = [(one.machine, one.expected) for one in tried if one.name.startswith("its API server reaches")]
    assert reached == [(c.name, f"echo-{w.name}") for c in SEVEN.controllers for w in SEVEN.workers]
    for worker in SEVEN.workers:
        assert f"logs of the pod on {worker.name}" in names(tried)
        assert f"exec in the pod on {worker.name}: it asks the cluster's DNS" in names(tried)


def test_trials_are_shared_among_the_controllers() -> None:
    asked = [proof.machine for proof in trials.from_pods(SEVEN, echo(SEVEN))]
    assert {name: asked.count(name) for name in set(asked)} == {f"controller-{n}": 6 for n in range(3)}


def test_a_node_port_is_seen_from_another_machine_wherever_there_is_one() -> None:
    two = Cluster("two", (machine("k1", 10, "controller", "worker"), machine("k2", 11, "controller")))
    [port] = [one for one in trials.from_pods(two, echo(two)) if one.name.startswith("NodePort")]
    assert port.machine == "k2"


def test_a_single_machine_tries_what_it_has() -> None:
    assert names(list(trials.from_pods(ONE, echo(ONE)))) == [
        "the pod on k1 reaches a Service by its address",
        "the pod on k1 reaches the API at 10.32.0.1",
        "the pod on k1 finds kubernetes.default.svc.cluster.local",
        "NodePort 30123 of k1, seen from k1",
    ]


@pytest.mark.parametrize("cluster", [SEVEN, ONE])
def test_every_trial_says_where_to_look_next(cluster: Cluster) -> None:
    made = echo(cluster)
    every = (
        *trials.begun(cluster, VERSIONS),
        *trials.from_controllers(cluster, made),
        *trials.from_pods(cluster, made),
    )
    assert all("look at: hardway " in proof.why for proof in every)


def test_the_name_is_held_to_the_address_that_the_failure_names(tmp_path: Path) -> None:
    [name] = [one for one in trials.from_pods(ONE, echo(ONE)) if "finds" in one.name]
    refused = r'{"errors":["reading failed. err: read udp 10.200.0.2:4-\u003e10.32.0.1:9: read: connection refused"]}'
    assert name.holds(0, run_with_kubectl(tmp_path, name.query, f"echo '{refused}'").stdout)
    unknown = '{"errors":["lookup kubernetes.default: no such host"]}'
    assert not name.holds(0, run_with_kubectl(tmp_path, name.query, f"echo '{unknown}'").stdout)


def test_pods_are_read_by_node_and_those_going_away_left_out() -> None:
    def pod(name: str, node: str, **meta: str) -> dict[str, Any]:
        return {
            "kind": "Pod", "metadata": {"name": name, **meta}, "spec": {"nodeName": node},
            "status": {"podIP": "10.200.0.9"},
        }  # fmt: skip

    spec = {"clusterIP": "10.32.0.7", "ports": [{"nodePort": 31000}]}
    service = {"kind": "Service", "metadata": {"name": "echo"}, "spec": spec}
    items = [pod("b", "w1"), pod("old", "w1", deletionTimestamp="2026-01-01T00:00:00Z"), service, pod("a", "w0")]
    assert trials.echo(json.dumps({"items": items})) == Echo(
        (Pod("a", "w0", "10.200.0.9"), Pod("b", "w1", "10.200.0.9")), "10.32.0.7", 31000
    )


def test_pods_are_as_the_strictest_pod_security_wants_them_one_to_a_worker() -> None:
    documents = list(yaml.safe_load_all(smoke.manifest(SEVEN)))
    assert [one["kind"] for one in documents] == ["Namespace", "Secret", "ServiceAccount", "Service", "Deployment"]
    assert documents[0]["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    deployment = documents[-1]["spec"]
    assert deployment["replicas"] == 3
    [container] = deployment["template"]["spec"]["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def run_with_kubectl(folder: Path, script: str, kubectl: str) -> "subprocess.CompletedProcess[str]":
    """Runs a script of ours with this shell text in kubectl's place."""
    fake = folder / "kubectl"
    fake.write_text(f"#!/bin/sh\n{kubectl}\n")
    fake.chmod(0o755)
    script = script.replace(f"{trials.BIN}/kubectl", str(fake))
    return subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=20, check=False)


API = """
cd {folder}
case "$*" in
*" create "*)
  cat >/dev/null
  if [ -e exists ]; then echo "Error from server (AlreadyExists): namespaces already exists" >&2; exit 1; fi
  touch exists ;;
*" delete namespace "*) rm -f exists; touch deleted ;;
esac"""


@pytest.mark.parametrize("left_behind", [False, True])
def test_what_an_earlier_run_left_behind_is_deleted_first(tmp_path: Path, left_behind: bool) -> None:
    if left_behind:
        (tmp_path / "exists").touch()
    done = run_with_kubectl(tmp_path, smoke.creation("kind: Namespace"), API.format(folder=tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "exists").exists()
    assert (tmp_path / "deleted").exists() is left_behind


def test_an_api_that_refuses_is_quoted(tmp_path: Path) -> None:
    done = run_with_kubectl(tmp_path, smoke.creation("kind: Namespace"), "cat >/dev/null; echo Forbidden >&2; exit 1")
    assert (done.returncode, done.stderr) == (1, "Forbidden\n")


FORWARDING = """
case "$*" in
*" port-forward "*)
  echo 'Forwarding from 127.0.0.1:40123 -> 8080'; echo 'Forwarding from [::1]:40123 -> 8080'
  echo $$ >{folder}/forward; exec tail -f /dev/null ;;
*--server=http://127.0.0.1:40123*) echo echo-k1 ;;
esac"""


def test_port_forward_asks_through_the_port_it_was_given_and_ends_it(tmp_path: Path) -> None:
    [forward] = [one for one in trials.from_controllers(ONE, echo(ONE)) if one.name.startswith("port-forward")]
    done = run_with_kubectl(tmp_path, forward.query, FORWARDING.format(folder=tmp_path))
    assert forward.holds(done.returncode, done.stdout)
    pid = (tmp_path / "forward").read_text().strip()
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_a_pod_that_does_not_start_is_told_with_the_events_about_it(tmp_path: Path) -> None:
    [rollout] = [one for one in trials.begun(ONE, VERSIONS) if "Deployment" in one.name]
    kubectl = """case "$*" in
*" rollout "*) echo 'Waiting: 0 of 1 updated replicas are available...'; echo 'error: timed out' >&2; exit 1 ;;
*" events "*) echo 'echo-x   Failed to pull image "agnhost"' ;; esac"""
    done = run_with_kubectl(tmp_path, rollout.query, kubectl)
    assert not rollout.holds(done.returncode, done.stdout)
    assert done.stdout.splitlines() == ["error: timed out", 'echo-x   Failed to pull image "agnhost"']


@dataclass
class Api:
    """A cluster as the smoke test's own commands change it; `down` are controllers that do not answer."""

    exists: bool = False
    down: frozenset[str] = frozenset()

    def run(self, name: str, what: str) -> str:
        if name in self.down:
            raise CommandFailed("the API does not answer", machine=name)
        if what.startswith("make"):
            self.exists = True
        if what.startswith("delete"):
            self.exists = False
        made = echo(SEVEN)
        pods = [
            {
                "kind": "Pod",
                "metadata": {"name": one.name},
                "spec": {"nodeName": one.node},
                "status": {"podIP": one.address},
            }
            for one in made.pods
        ]
        service = {
            "kind": "Service",
            "spec": {"clusterIP": made.service_address, "ports": [{"nodePort": made.node_port}]},
        }
        return json.dumps({"items": [*pods, service]})


@dataclass
class Controller:
    name: str
    api: Api

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        return Result(0, self.api.run(self.name, what).encode(), b"", 0.0)


Answering = Callable[[Proof], bool]


def try_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: Api, holds: Answering
) -> tuple[list[Proved], list[Event]]:
    def prove(session: Session, proofs: Sequence[tuple[str, Proof]], *, wait: float) -> list[Proved]:
        return [Proved(one.machine, phase, one.name, holds(one), "", one.why) for phase, one in proofs]

    monkeypatch.setattr(smoke, "prove", prove)
    events: list[Event] = []
    machines: Any = {one.name: Controller(one.name, api) for one in SEVEN.controllers}
    session = Session(SEVEN, Workspace(tmp_path), machines, events.append)
    try:
        return smoke.smoke_test(session, SEVEN, VERSIONS), events
    except BaseException as error:
        error.args = (*error.args, events)
        raise


def test_everything_is_tried_and_nothing_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = Api()
    proved, _ = try_out(monkeypatch, tmp_path, api, lambda proof: True)
    made = echo(SEVEN)
    every = (*trials.begun(SEVEN, VERSIONS), *trials.from_controllers(SEVEN, made), *trials.from_pods(SEVEN, made))
    assert [one.what for one in proved] == names(every)
    assert not api.exists


def test_it_ends_where_later_trials_could_only_fail_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = Api()
    proved, _ = try_out(monkeypatch, tmp_path, api, lambda proof: "reaches the pod on worker-1" not in proof.name)
    assert not any(one.what.startswith("NodePort") for one in proved)
    assert [one.machine for one in proved if not one.holds] == ["controller-0", "controller-1", "controller-2"]
    assert not api.exists


def test_an_interrupt_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = Api()

    def interrupted(proof: Proof) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_out(monkeypatch, tmp_path, api, interrupted)
    assert not api.exists


def test_another_controller_cleans_up_when_the_first_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api = Api()

    def lost(proof: Proof) -> bool:
        api.down = frozenset({"controller-0", "controller-1"})
        return False

    try_out(monkeypatch, tmp_path, api, lost)
    assert not api.exists


def test_what_failed_first_is_told_when_cleaning_up_fails_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = Api()

    def lost(proof: Proof) -> bool:
        api.down = frozenset(one.name for one in SEVEN.controllers)
        raise ConnectionLost("the line was cut", machine="controller-0")

    with pytest.raises(HardwayError, match="the line was cut") as failure:
        try_out(monkeypatch, tmp_path, api, lost)
    [note] = [event for event in failure.value.args[-1] if isinstance(event, Note)]
    assert note.level == "warning"
    assert note.text.startswith("the namespace hardway-smoke-test is still there")


def test_failing_to_clean_up_after_success_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    api = Api()

    def going_down(proof: Proof) -> bool:
        if proof.name.startswith("NodePort"):
            api.down = frozenset(one.name for one in SEVEN.controllers)
        return True

    with pytest.raises(CommandFailed):
        try_out(monkeypatch, tmp_path, api, going_down)


@dataclass
class Asked:
    """A controller that answers the same to everything."""

    name: str
    answer: str

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        return Result(0, self.answer.encode(), b"", 0.0)


@pytest.mark.parametrize(
    ("plugin", "answer", "waiting"),
    [
        ("none", "worker-0 True\nworker-1 False\n", ["worker-1", "worker-2"]),
        ("none", "worker-0 True\nworker-1 True\nworker-2 True\n", []),
        ("bridge", "worker-0 False\n", []),
    ],
)
def test_nodes_wait_for_a_network_only_where_their_owner_brings_it(
    tmp_path: Path, plugin: Literal["bridge", "none"], answer: str, waiting: list[str]
) -> None:
    cluster = replace(SEVEN, network=Network(plugin=plugin))
    machines: Any = {"controller-0": Asked("controller-0", answer)}
    assert smoke.without_network(Session(cluster, Workspace(tmp_path), machines), cluster) == waiting


def test_with_a_second_family_everything_is_tried_over_both() -> None:
    workers = tuple(replace(machine(f"w{n}", 20 + n, "worker"), address6=IPv6Address(f"fd00:2::{n}")) for n in range(2))
    network = Network(service_cidr6=IPv6Network("fd00:32::/112"), pod_cidr6=IPv6Network("fd00:200::/56"))
    both = Cluster("both", (machine("k1", 10, "controller"), *workers), network=network)
    pods = (Pod("a", "w0", "10.200.0.2", "fd00:200::2"), Pod("b", "w1", "10.200.1.2", "fd00:200:0:1::2"))
    tried = list(trials.from_pods(both, Echo(pods, "10.32.0.77", 30123, "fd00:32::77", 30124)))
    over_ipv6 = [proof.name for proof in tried if "IPv6" in proof.name]
    assert over_ipv6 == [
        "the pod on w0 reaches the pod on w1 over IPv6",
        "the pod on w0 reaches a Service by its address over IPv6",
        "the pod on w0 finds the IPv6 address of a Service by its name",
        "the pod on w1 reaches the pod on w0 over IPv6",
        "the pod on w1 reaches a Service by its address over IPv6",
        "the pod on w1 finds the IPv6 address of a Service by its name",
        "NodePort 30124 of w0, seen from k1 over IPv6",
        "NodePort 30124 of w1, seen from k1 over IPv6",
    ]
    assert "--server=http://[fd00:2::1]:30124 " in tried[-1].query
    services = [one for one in yaml.safe_load_all(smoke.manifest(both)) if one["kind"] == "Service"]
    assert [one["spec"].get("ipFamilies") for one in services] == [None, ["IPv6"]]


def test_the_second_service_is_told_by_its_address() -> None:
    def service(address: str, port: int) -> dict[str, Any]:
        return {"kind": "Service", "spec": {"clusterIP": address, "ports": [{"nodePort": port}]}}

    items = [service("fd00:32::7", 31001), service("10.32.0.7", 31000)]
    assert trials.echo(json.dumps({"items": items})) == Echo((), "10.32.0.7", 31000, "fd00:32::7", 31001)

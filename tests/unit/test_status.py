"""What a cluster's machines say becomes fields: members, versions, certificates."""

import json
from collections.abc import Callable

from fake.cluster import PAIR, FakeCluster
from played_case import cluster, recorded_answers

from hardway.declare.phases import PHASE_NAMES
from hardway.declare.phases.paths import PKI
from hardway.engine.plan import Selection, observe_and_plan
from hardway.operations.etcd_bootstrap import BOOTSTRAP
from hardway.preview.plan import preview
from hardway.probe import control
from hardway.probe.script import Answer, Answers
from hardway.status.status import EtcdMember, status, status_of_etcd

NewCluster = Callable[[str], FakeCluster]


def test_every_member_is_told_with_its_endpoint_version_and_size() -> None:
    etcd = status_of_etcd(cluster(), {name: recorded_answers(name) for name in ("front", "one", "two")})
    assert etcd.leader == "one"
    assert etcd.members[0] == EtcdMember(
        "one", "https://10.249.0.10:2379", True, "3.6.14", leader=True, size=1777664, in_use=1097728, revision=2086
    )  # fmt: skip
    assert [(one.name, one.serving) for one in etcd.members] == [("one", True), ("two", True), ("three", False)]


def test_a_member_that_is_no_machine_of_the_inventory_is_listed_and_not_judged() -> None:
    said = recorded_answers("one")
    more = said["members"].raw + b"ab12, unstarted, , https://10.249.0.77:2380, , true\n"
    etcd = status_of_etcd(cluster(), {"one": Answers({**said, "members": Answer(0, more)})})
    assert etcd.members[-1] == EtcdMember("https://10.249.0.77:2380", "", None, learner=True)


def test_an_alarm_is_told_of_the_member_that_raised_it() -> None:
    said = recorded_answers("one")
    known = next(one for one in control.members(said) if one.name == "three")
    answer = json.loads(said["etcd"].output)
    answer[0]["Status"]["errors"] = [f"memberID:{int(known.identity, 16)} alarm:NOSPACE "]
    etcd = status_of_etcd(cluster(), {"one": Answers({**said, "etcd": Answer(0, json.dumps(answer).encode())})})
    assert {one.name: one.alarms for one in etcd.members} == {"one": (), "two": (), "three": ("NOSPACE",)}


def test_a_cluster_is_told_with_what_lies_on_its_machines(built_cluster: NewCluster) -> None:
    made = built_cluster(PAIR)
    session = made.session()
    selection = Selection(PHASE_NAMES, frozenset(made.machines), BOOTSTRAP)
    plan = observe_and_plan(session, made.state(), selection, made.resolver(), {})
    found = status(session, plan, preview(session, plan, list(made.machines), ()))
    assert [(one.name, one.reachable, one.api) for one in found.machines] == [
        ("head", True, "ready"), ("hand", True, ""),
    ]  # fmt: skip
    assert found.machines[0].versions["kube-apiserver"] == found.kubernetes == "1.36.4"
    assert {"containerd", "kubelet"} <= found.machines[1].versions.keys()
    ends = {(one.machine, one.path): one for one in found.certificates}
    assert ends["operator", "pki/ca.crt"].not_after == ends["head", f"{PKI}/ca.crt"].not_after
    assert ends["hand", "/etc/kubernetes/kubelet.conf#client"].name == "system:node:hand"
    assert all(one.days_left > 300 for one in found.certificates)
    assert sorted(found.certificates, key=lambda one: one.not_after) == list(found.certificates)

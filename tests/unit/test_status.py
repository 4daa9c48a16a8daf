"""What a cluster's machines say becomes fields: members, versions, certificates."""

import json

from played_case import cluster, recorded_answers

from hardway.probe import control
from hardway.probe.script import Answer, Answers
from hardway.status.status import EtcdMember, status_of_etcd


def test_every_member_is_told_with_its_endpoint_version_and_size() -> None:
    etcd = status_of_etcd(cluster(), {name: recorded_answers(name) for name in ("front", "one", "two")})
    assert etcd.leader == "one"
    assert etcd.members[0] == EtcdMember(
        "one", "https://10.249.0.10:2379", True, "3.6.14", leader=True, size=1777664
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
    status = json.loads(said["etcd"].output)
    status[0]["Status"]["errors"] = [f"memberID:{int(known.identity, 16)} alarm:NOSPACE "]
    etcd = status_of_etcd(cluster(), {"one": Answers({**said, "etcd": Answer(0, json.dumps(status).encode())})})
    assert {one.name: one.alarms for one in etcd.members} == {"one": (), "two": (), "three": ("NOSPACE",)}

"""Whole runs over fake machines: what a change restarts, what stops a run, what a reset leaves."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import ONE, PAIR, FakeCluster, keys
from fake.machine import FakeMachine

from hardway import journal
from hardway.engine.blockers import Blocked
from hardway.engine.changes import Change
from hardway.engine.plan import Plan
from hardway.engine.reset import reset
from hardway.errors import CommandFailed, HardwayError, NotConverged, UsageError

NewCluster = Callable[[str], FakeCluster]

THREE = """\
cluster: three
endpoint: api.example.net
machines:
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
"""
ETCD, KUBELET = "/etc/systemd/system/etcd.service", "/etc/systemd/system/kubelet.service"


@pytest.fixture
def one(built_cluster: NewCluster) -> FakeCluster:
    """A machine that is a cluster already."""
    return built_cluster(ONE)


@pytest.fixture
def three(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(THREE)


def solo(made: FakeCluster) -> FakeMachine:
    return made.machines["solo"]


def restarted(changes: list[Change]) -> list[str]:
    return [change.key.partition(":")[2] for change in changes if change.restarts]


def test_etcd_is_initialised_by_its_first_start_alone(one: FakeCluster) -> None:
    assert one.state().etcd == "initialized"
    assert not solo(one).has("/run/etcd/first-start.env")
    assert (one.root / "net/initialised").read_text() == "solo\n"


def test_a_unit_edited_by_hand_is_put_right_and_restarts_alone(one: FakeCluster) -> None:
    text = solo(one).read(KUBELET)
    solo(one).write(KUBELET, text + "# edited\n")
    outcome = one.init()
    assert keys(outcome.changes) == [
        ("solo", "update", f"file:{KUBELET}"),
        ("solo", "restart", "service:kubelet.service"),
    ]
    assert solo(one).read(KUBELET) == text


def test_a_unit_edited_and_restarted_by_hand_is_put_right_and_restarted(one: FakeCluster) -> None:
    text = solo(one).read(KUBELET)
    solo(one).write(KUBELET, text + "# edited\n")
    solo(one).run("systemctl daemon-reload; systemctl restart kubelet.service", timeout=5, what="by hand")
    edited = solo(one).runs_with("kubelet.service")[KUBELET]
    outcome = one.init()
    assert restarted(outcome.changes) == ["kubelet.service"]
    assert solo(one).runs_with("kubelet.service")[KUBELET] != edited


def test_a_unit_edited_and_put_back_by_hand_without_a_restart_in_between_needs_one(one: FakeCluster) -> None:
    text = solo(one).read(KUBELET)
    solo(one).write(KUBELET, text + "# edited\n")
    solo(one).run("systemctl daemon-reload; systemctl restart kubelet.service", timeout=5, what="by hand")
    solo(one).write(KUBELET, text)
    solo(one).run("systemctl daemon-reload", timeout=5, what="by hand")
    assert keys(one.init().changes) == [("solo", "restart", "service:kubelet.service")]


def test_a_deleted_unit_file_comes_back_and_nothing_else_restarts(three: FakeCluster) -> None:
    (three.machines["c1"].root / ETCD.lstrip("/")).unlink()
    outcome = three.init(["etcd"])
    assert keys(outcome.changes) == [("c1", "create", f"file:{ETCD}"), ("c1", "restart", "service:etcd.service")]


def test_what_was_not_chosen_is_left_and_restarts_nothing(one: FakeCluster) -> None:
    ca = "/etc/etcd/pki/ca.crt"
    content = solo(one).read(ca)
    etcd = solo(one).read("/fake/units/etcd.service")
    solo(one).write(ca, content + "# edited\n")
    one.init(["etcd"])  # whose CA is newer than its process: that restarts it, once
    again = one.init(["etcd"])
    assert keys(again.changes) == []
    assert solo(one).read(ca) != content
    assert solo(one).read("/fake/units/etcd.service") != etcd
    assert restarted(one.init().changes)
    assert solo(one).read(ca) == content


def test_a_key_that_was_touched_is_hashed_and_found_as_it_was(one: FakeCluster) -> None:
    one.init()
    path = solo(one).root / "etc/kubernetes/pki/kube-apiserver.key"
    os.utime(path, (1, 1))
    solo(one).asked.clear()
    assert one.init().changes == []
    assert solo(one).asked == ["observe", "hash 1 files", "write the journal"]
    solo(one).asked.clear()
    one.init()
    assert solo(one).asked == ["observe"]


def test_a_stopped_service_starts_again(one: FakeCluster) -> None:
    solo(one).run("systemctl stop kube-scheduler.service", timeout=5, what="by hand")
    assert keys(one.init().changes) == [("solo", "start", "service:kube-scheduler.service")]


def test_a_disabled_service_is_enabled_and_goes_on_running(one: FakeCluster) -> None:
    before = solo(one).read("/fake/units/kubelet.service")
    solo(one).run("systemctl disable kubelet.service", timeout=5, what="by hand")
    assert keys(one.init().changes) == [("solo", "enable", "service:kubelet.service")]
    assert solo(one).read("/fake/units/kubelet.service") == before


def test_a_member_that_does_not_come_back_stops_the_roll(three: FakeCluster) -> None:
    three.lead("c0")
    three.inventory.write_text(THREE + "settings: {etcd: {snapshot-count: 20000}}\n")
    three.machines["c1"].write("/fake/broken/etcd.service", "")
    before = {name: three.machines[name].read("/fake/units/etcd.service") for name in ("c0", "c2")}
    with pytest.raises(CommandFailed) as caught:
        three.init()
    assert (caught.value.machine, caught.value.what) == ("c1", "etcd stopped at service:etcd.service (status 1)")
    assert "it is broken" in (caught.value.said or "")
    assert {name: three.machines[name].read("/fake/units/etcd.service") for name in before} == before
    (three.machines["c1"].root / "fake/broken/etcd.service").unlink()
    assert restarted(three.init().changes) == ["etcd.service"] * 3
    assert three.init().changes == []


def test_a_dead_group_starts_all_at_once(three: FakeCluster) -> None:
    for name in ("c0", "c1", "c2"):
        three.machines[name].run("systemctl stop etcd.service", timeout=5, what="power cut")
    assert sorted(keys(three.init(["etcd"]).changes)) == [
        (name, "start", "service:etcd.service") for name in ("c0", "c1", "c2")
    ]


def test_a_limited_run_changes_the_chosen_machines_only(three: FakeCluster) -> None:
    for name in ("c1", "c2"):
        three.machines[name].run("systemctl stop kube-scheduler.service", timeout=5, what="by hand")
    assert keys(three.init(names=["c1"]).changes) == [("c1", "start", "service:kube-scheduler.service")]


def test_etcd_does_not_form_without_all_of_its_members(new_cluster: NewCluster) -> None:
    made = new_cluster(THREE)
    with pytest.raises(Blocked, match="c2 would be left out"):
        made.init(names=["c0", "c1"])
    assert made.machines["c0"].asked == []


@pytest.mark.parametrize("lie", [Path.write_text, lambda path, text: path.symlink_to("/etc/passwd")])
def test_a_file_of_somebody_else_is_not_overwritten(
    new_cluster: NewCluster, lie: Callable[[Path, str], object]
) -> None:
    made = new_cluster(ONE)
    path = solo(made).root / KUBELET.lstrip("/")
    lie(path, "theirs\n")
    with pytest.raises(Blocked, match="in the way") as caught:
        made.init()
    assert (caught.value.machine, caught.value.said) == ("solo", KUBELET)
    assert not solo(made).has(journal.PATH)
    made.init(adopt=True)
    assert solo(made).read(KUBELET).startswith("[Unit]")
    assert not path.is_symlink()


def test_a_file_that_is_right_already_is_nobodys_business(new_cluster: NewCluster, one: FakeCluster) -> None:
    made = new_cluster(ONE)
    text = solo(one).read("/etc/crictl.yaml")
    solo(made).write("/etc/crictl.yaml", text)
    (solo(made).root / "etc/crictl.yaml").chmod(0o600)
    made.init()
    assert (solo(made).root / "etc/crictl.yaml").stat().st_mode & 0o777 == 0o644


def test_a_hosts_file_without_a_last_newline_keeps_its_last_name(new_cluster: NewCluster) -> None:
    made = new_cluster(ONE)
    solo(made).write("/etc/hosts", "127.0.0.1 localhost\n10.9.9.9 printer")
    made.init()
    assert solo(made).read("/etc/hosts").splitlines()[:3] == [
        "127.0.0.1 localhost",
        "10.9.9.9 printer",
        "# BEGIN hardway",
    ]


def test_half_a_line_in_the_journal_swallows_no_other(one: FakeCluster) -> None:
    whole = set(journal.read(solo(one).read(journal.PATH)).entries)
    lines = solo(one).read(journal.PATH).splitlines(keepends=True)
    kept = [line for line in lines if KUBELET not in line]
    solo(one).write(journal.PATH, "".join(kept) + '{"op":"intent","key":"fi')
    (solo(one).root / KUBELET.lstrip("/")).unlink()
    one.init()
    # What is there as declared is taken over, since a line is missing.
    assert set(journal.read(solo(one).read(journal.PATH)).entries) >= whole


def test_a_disk_that_is_full_is_found_before_anything_changed(new_cluster: NewCluster) -> None:
    made = new_cluster(ONE)
    solo(made).write("/fake/full", "")
    before = solo(made).tree()
    with pytest.raises(CommandFailed) as caught:
        made.init()
    assert "No space left on device" in (caught.value.said or "")
    assert solo(made).tree() == before
    (solo(made).root / "fake/full").unlink()
    made.init()
    assert made.init().changes == []


def test_what_no_role_asks_for_any_more_stops_before_its_files_go(built_cluster: NewCluster) -> None:
    made = built_cluster(PAIR.replace("role: controller", "role: [controller, worker]"))
    made.rewrite("role: [controller, worker]", "role: controller")
    order: list[str] = []
    head = made.machines["head"]
    head.after = lambda what: order.append(f"{what}: {head.has('/fake/units/kubelet.service')}, "
                                           f"{head.has('/etc/kubernetes/pki/kubelet.key')}")  # fmt: skip
    made.init()
    assert not any(seen.endswith("True, False") for seen in order), order
    for path in (KUBELET, "/usr/local/bin/kubelet", "/etc/kubernetes/kubelet.conf", "/var/lib/kubelet"):
        assert not head.has(path), path
    assert head.has("/fake/units/kube-apiserver.service")
    assert made.init().changes == []


def test_an_api_that_is_down_is_unknown_and_not_empty(one: FakeCluster) -> None:
    solo(one).write("/fake/broken/kube-apiserver.service", "")
    solo(one).run("systemctl stop kube-apiserver.service", timeout=5, what="by hand")
    with pytest.raises(NotConverged, match="objects:coredns could not be checked") as caught:
        one.init(["dns"])
    assert "connection to the server was refused" in (caught.value.said or "")


def test_objects_that_were_deleted_come_back(one: FakeCluster) -> None:
    objects = one.root / "net/objects"
    (objects / "Deployment_kube-system_coredns").unlink()
    outcome = one.init()
    assert [(change.key, change.difference.why) for change in outcome.changes] == [
        ("objects:coredns", "Deployment/kube-system/coredns")
    ]
    assert (objects / "Deployment_kube-system_coredns").exists()


def test_changes_to_a_cluster_that_serves_are_shown_before_any_is_made(one: FakeCluster) -> None:
    shown: list[Change] = []

    def refuse(plan: Plan) -> None:
        shown.extend(plan.changes)
        raise UsageError("no")

    (solo(one).root / KUBELET.lstrip("/")).unlink()
    with pytest.raises(UsageError):
        one.init(review=refuse)
    assert restarted(shown) == ["kubelet.service"]
    assert not solo(one).has(KUBELET)


def test_something_that_changes_a_file_back_is_named(one: FakeCluster) -> None:
    machine = solo(one)

    def meddle(what: str) -> None:
        machine.write("/etc/crictl.yaml", "meddled\n")

    machine.write("/etc/crictl.yaml", "meddled\n")
    machine.after = meddle
    with pytest.raises(NotConverged, match=r"file:/etc/crictl.yaml still differs .* content differs") as caught:
        one.init()
    assert caught.value.machine == "solo"
    assert (caught.value.said or "").count("sha256:") == 2


@pytest.fixture
def bare_then_reset(new_cluster: NewCluster, one: FakeCluster) -> tuple[FakeCluster, dict[str, object]]:
    bare, made = new_cluster(ONE), one
    before: dict[str, object] = {**solo(bare).tree(), "routes": solo(bare).read("/fake/routes")}
    solo(made).write("/var/lib/kubelet/pod", "what a pod wrote")
    reset(made.session())
    made.workspace().forget_state()
    return made, before


def test_a_reset_leaves_the_machine_as_it_was(bare_then_reset: tuple[FakeCluster, dict[str, object]]) -> None:
    made, before = bare_then_reset
    assert {**solo(made).tree(), "routes": solo(made).read("/fake/routes")} == before
    assert solo(made).read("/proc/sys/net/ipv4/ip_forward".replace("/proc/sys", "/fake/sysctls")) == "0\n"
    assert list((solo(made).root / "fake/units").iterdir()) == []
    assert not solo(made).has("/var/lib/etcd")


def test_after_a_reset_init_works_again(bare_then_reset: tuple[FakeCluster, dict[str, object]]) -> None:
    made, _ = bare_then_reset
    made.init()
    assert made.init().changes == []


def test_a_reset_that_was_cut_goes_on(one: FakeCluster) -> None:
    machine = solo(one)
    machine.write("/fake/bin/userdel", "#!/bin/sh\nkill -9 $PPID\n")
    with pytest.raises(HardwayError):
        reset(one.session())
    machine.write("/fake/bin/userdel", "#!/bin/sh\n")
    assert reset(one.session()) > 0
    assert not machine.has("/var/lib/hardway")


def test_a_reset_of_a_bare_machine_does_nothing(new_cluster: NewCluster) -> None:
    made = new_cluster(ONE)
    assert reset(made.session()) == 0

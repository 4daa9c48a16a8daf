"""What stops first and what is deleted last, so that nothing runs whose files are gone."""

import re
from collections.abc import Callable

import pytest
from fake.cluster import FakeCluster, keys
from fake.machine import FakeMachine

from hardway import journal
from hardway.declare.resources import Difference, Directory, File, Resource, Service
from hardway.engine.blockers import Blocked
from hardway.engine.changes import Change
from hardway.engine.ordering import in_order
from hardway.errors import CommandFailed

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
UNIT, NEW, OLD = "/etc/systemd/system/etcd.service", "/etc/etcd/pki", "/etc/kubernetes/pki/etcd"


def gone(phase: str, key: str, machine: str = "m") -> Change:
    return Change(machine, phase, key, Difference("delete", "is no longer declared"))


def made(phase: str, resource: Resource, machine: str = "m") -> Change:
    return Change(machine, phase, resource.key, Difference("create", "is not there"), resource)


def steps(*changes: Change) -> list[tuple[str, list[str]]]:
    return [(phase, [one.key for one in mine]) for phase, mine in in_order(changes)]


def test_units_stop_first_and_files_go_last_both_from_the_last_phase_to_the_first() -> None:
    found = steps(
        gone("certs", "file:/old.crt"),
        gone("etcd", "service:a.service"), gone("etcd", "file:/a.service"),
        gone("workers", "service:b.service"), gone("workers", "binary:/b"),
        made("certs", File("/new.crt", "")), made("etcd", Service("etcd.service")),
    )  # fmt: skip
    assert found == [
        ("workers", ["service:b.service"]), ("etcd", ["service:a.service"]),
        ("certs", ["file:/new.crt"]), ("etcd", ["service:etcd.service"]),
        ("workers", ["binary:/b"]), ("etcd", ["file:/a.service"]), ("certs", ["file:/old.crt"]),
    ]  # fmt: skip


def test_what_is_no_file_goes_in_its_own_phase() -> None:
    assert steps(gone("routes", "route:10.0.0.0/24"), made("routes", File("/r", ""))) == [
        ("routes", ["route:10.0.0.0/24", "file:/r"])
    ]


def test_what_is_replaced_in_its_place_goes_first() -> None:
    changes = (gone("certs", "file:/x"), made("certs", Directory("/x")))
    assert steps(*changes) == [("certs", ["file:/x", "directory:/x"])]
    elsewhere = (gone("certs", "file:/x"), made("certs", Directory("/x"), "other"))
    assert steps(*elsewhere) == [("certs", ["directory:/x"]), ("certs", ["file:/x"])]


@pytest.fixture
def old(built_cluster: NewCluster) -> FakeCluster:
    """Three controllers as an older hardway left them: etcd's own pairs below /etc/kubernetes/pki."""
    cluster = built_cluster(THREE)
    for machine in members(cluster):
        age(machine)
    return cluster


def members(cluster: FakeCluster) -> list[FakeMachine]:
    return [cluster.machines[name] for name in ("c0", "c1", "c2")]


def age(machine: FakeMachine) -> None:
    lines = machine.read(journal.PATH).splitlines(keepends=True)
    kept = [line for line in lines if not re.search(rf'"(file|directory):(/etc/etcd|{NEW}|{NEW}/ca.crt)"', line)]
    machine.write(journal.PATH, "".join(kept).replace(f"{NEW}/", f"{OLD}/"))
    machine.write(UNIT, machine.read(UNIT).replace(f"{NEW}/", f"{OLD}/"))
    command = f"rm {NEW}/ca.crt && mv {NEW}/* {OLD}/ && rm -r /etc/etcd && chmod 0600 {UNIT} && systemctl daemon-reload"
    machine.run(f"{command} && systemctl restart etcd.service", timeout=10, what="by hand")
    machine.restored()


def test_etcds_files_move_and_no_member_ever_runs_without_its_own(old: FakeCluster) -> None:
    lacking: list[tuple[str, str, str]] = []
    stopped: set[tuple[str, ...]] = set()

    def look(name: str, what: str) -> None:
        running = [one for one in members(old) if one.has("/fake/units/etcd.service")]
        stopped.add(tuple(one.name for one in members(old) if one not in running))
        for one in running:
            reads = [path for path in one.runs_with("etcd.service") if "/pki/" in path]
            lacking.extend((what, one.name, path) for path in reads if not one.has(path))

    for name, machine in old.machines.items():
        machine.after = lambda what, name=name: look(name, what)  # type: ignore[misc]
    outcome = old.init()
    assert lacking == []
    assert stopped == {()}
    restarted = [(one.machine, one.key) for one in outcome.changes if one.key == "service:etcd.service"]
    assert restarted == [(f"c{n}", "service:etcd.service") for n in range(3)]
    for machine in members(old):
        assert not machine.has(f"{OLD}/server.key")
        assert machine.has(f"{OLD}/ca.crt")
        assert {path for path in machine.runs_with("etcd.service") if "pki" in path} == {
            f"{NEW}/{name}" for name in ("ca.crt", "server.crt", "server.key", "peer.crt", "peer.key")
        }
    assert old.init().changes == []


def test_a_member_that_does_not_come_back_leaves_all_old_files(old: FakeCluster) -> None:
    old.machines["c0"].write("/fake/broken/etcd.service", "")
    with pytest.raises(CommandFailed, match="etcd stopped at"):
        old.init()
    assert all(machine.has(f"{OLD}/server.key") for machine in members(old))


def test_a_phase_alone_deletes_nothing_that_a_unit_still_reads(old: FakeCluster) -> None:
    assert {one.difference.verb for one in old.init(["certs"]).changes} == {"create"}
    assert old.machines["c0"].has(f"{OLD}/server.key")
    old.init(["etcd"])
    assert keys(old.init(["certs"]).changes)[0] == ("c0", "delete", f"file:{OLD}/healthcheck-client.key")
    assert old.init().changes == []


def test_a_unit_is_not_started_without_what_another_phase_brings(old: FakeCluster) -> None:
    before = [one.read("/fake/units/etcd.service") for one in members(old)]
    with pytest.raises(Blocked, match=r"etcd\.service would start without /etc/etcd/pki/ca\.crt") as caught:
        old.init(["etcd"])
    assert caught.value.hint == "hardway certs"
    assert [one.read("/fake/units/etcd.service") for one in members(old)] == before

"""`files:` of an inventory: the operator's own files on machines, as other files are; what is refused, and why."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import PAIR, FakeCluster, keys

from hardway import journal
from hardway.artifacts.catalogue import releases_for
from hardway.declare.declaration import declare
from hardway.declare.phases.base import Model
from hardway.declare.resources import OperatorFile, Service
from hardway.declare.undo import is_ours, undo
from hardway.engine.reset import reset
from hardway.errors import InventoryError
from hardway.inventory import owned
from hardway.inventory.allot import allot_pod_cidrs
from hardway.inventory.load import load
from hardway.state import State

CA = "/etc/kubernetes/pki/oidc-ca.crt"
DROP_IN = "/etc/systemd/system/kubelet.service.d/20-corp.conf"
KEY = "/etc/corp/webhook.key"
FILES = f"""\
files:
  {CA}: {{source: oidc.pem, machines: controller, restart: kube-apiserver}}
  {DROP_IN}: {{source: corp.conf, machines: [hand]}}
  {KEY}: {{source: corp.key, mode: 0600, machines: [worker], restart: [kubelet, kube-proxy]}}
"""
PRIVATE = b"-----BEGIN PRIVATE KEY-----\n\xff not shown\n"


@pytest.fixture
def pair(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    """A cluster that runs, and to which files are given now."""
    made = built_cluster(PAIR)
    (made.root / "oidc.pem").write_text("CA 1\n")
    (made.root / "corp.conf").write_text("[Service]\n")
    (made.root / "corp.key").write_bytes(PRIVATE)
    made.inventory.write_text(PAIR + FILES)
    return made


def test_files_are_put_where_they_are_read_and_what_reads_them_restarts(pair: FakeCluster) -> None:
    outcome = pair.init()
    assert sorted(keys(outcome.changes)) == [
        ("hand", "create", f"operator-file:{KEY}"),
        ("hand", "create", f"operator-file:{DROP_IN}"),
        ("hand", "restart", "service:kube-proxy.service"),
        ("hand", "restart", "service:kubelet.service"),
        ("head", "create", f"operator-file:{CA}"),
        ("head", "restart", "service:kube-apiserver.service"),
    ]
    assert pair.machines["head"].read(CA) == "CA 1\n"
    assert (pair.machines["hand"].root / KEY[1:]).read_bytes() == PRIVATE
    assert (pair.machines["hand"].root / KEY[1:]).stat().st_mode & 0o777 == 0o600
    assert keys(pair.init().changes) == []


def test_drift_is_put_right(pair: FakeCluster) -> None:
    pair.init()
    pair.machines["head"].write(CA, "edited\n")
    assert keys(pair.init().changes) == [
        ("head", "update", f"operator-file:{CA}"),
        ("head", "restart", "service:kube-apiserver.service"),
    ]
    assert pair.machines["head"].read(CA) == "CA 1\n"


def test_what_the_inventory_no_longer_names_is_deleted_unless_somebody_wrote_it_anew(pair: FakeCluster) -> None:
    pair.init()
    pair.machines["hand"].write(DROP_IN, "somebody else's\n")
    pair.inventory.write_text(PAIR)
    pair.init()
    assert not pair.machines["head"].has(CA)
    assert not pair.machines["hand"].has(KEY)
    assert pair.machines["hand"].read(DROP_IN) == "somebody else's\n"
    assert keys(pair.init().changes) == []


def test_a_reset_takes_them_away(pair: FakeCluster) -> None:
    pair.init()
    reset(pair.session())
    assert not pair.machines["head"].has(CA)
    assert not pair.machines["hand"].has("/etc/corp")


def test_the_plan_shows_what_changes_in_a_text_and_no_key(pair: FakeCluster) -> None:
    pair.init()
    (pair.root / "oidc.pem").write_text("CA 2\n")
    (pair.root / "corp.key").write_bytes(PRIVATE + b"not shown either\n")
    shown = json.dumps(pair.plan().to_json())
    assert "+CA 2" in shown
    assert f"operator-file:{KEY}" in shown
    assert "not shown" not in shown


def test_a_journal_alone_deletes_no_file_of_somebody_else() -> None:
    assert not is_ours("operator-file:/etc/passwd")
    assert not is_ours("operator-file:/etc/kubernetes/pki/ca.crt")
    assert not is_ours("operator-file:/usr/bin/sudo")
    assert undo("operator-file:/etc/corp/a", {"digest": "0" * 64}).startswith(f"if holds /etc/corp/a {'0' * 64}; then")


def test_all_that_hardway_puts_somewhere_is_owned(pair: FakeCluster) -> None:
    for machine in pair.machines.values():
        for key in journal.read(machine.read(journal.PATH)).entries:
            kind, _, path = key.partition(":")
            if kind in ("file", "binary", "block") and not path.startswith("/run/"):
                assert owned.by(path), path


GIVEN = "cluster: c\nmachines: {k1: {role: controller, address: 10.0.8.1}, w1: {role: worker, address: 10.0.8.2}}\n"
BELOW = "is not below one of /etc, /opt, /root, /srv, /usr/local, /var/lib; put it there"
MISTAKES = {
    "hardway's own": (
        "/etc/kubernetes/pki/ca.crt: {source: ca}",
        'files."/etc/kubernetes/pki/ca.crt": hardway writes that file itself; right: another path',
    ),
    "a unit of hardway's": (
        "/etc/systemd/system/etcd.service: {source: ca}",
        'files."/etc/systemd/system/etcd.service": hardway writes that file itself; right: another path',
    ),
    "data": (
        "/var/lib/etcd/member/x: {source: ca}",
        "files./var/lib/etcd/member/x: a component keeps its data there; right: another path",
    ),
    "what the machine needs": (
        "/etc/fstab: {source: ca}",
        "files./etc/fstab: the machine cannot be without its own; right: another path",
    ),
    "gone with the next boot": ("/run/x: {source: ca}", f'files./run/x: "/run/x" {BELOW}'),
    "a way around": (
        "/etc/a/../b: {source: ca}",
        'files."/etc/a/../b": "/etc/a/../b" is not a path on machines; right: the whole path, such as '
        "/etc/ssl/corp.pem",
    ),
    "no such source": ("/etc/a: {source: nope}", "files./etc/a.source: FOLDER/nope: No such file or directory"),
    "a folder": ("/etc/a: {source: .}", "files./etc/a.source: FOLDER: is not a file"),
    "a mode that is none": (
        "/etc/a: {source: ca, mode: 888}",
        "files./etc/a.mode: 888 is not a file's mode; right: octal and readable by its owner, such as 0600",
    ),
    "a setuid mode": (
        "/etc/a: {source: ca, mode: 4755}",
        "files./etc/a.mode: 4755 is not a file's mode; right: octal and readable by its owner, such as 0600",
    ),
    "a key for everybody": ("/etc/a: {source: key}", "files./etc/a: key holds a private key; right: mode: 0600"),
    "nobody": ("/etc/a: {source: ca, machines: k9}", 'files./etc/a.machines: no machine or role is named "k9"'),
    "restarts what is not there": (
        "/etc/a: {source: ca, machines: k1, restart: kubelet}",
        "files./etc/a.restart: kubelet runs on no machine that gets this file; right: machines: worker",
    ),
    "a user of controllers": (
        "/etc/a: {source: ca, owner: etcd}",
        "files./etc/a.owner: only controllers have the user etcd; right: machines: controller",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("line", "problem"), MISTAKES.values(), ids=MISTAKES)
def test_what_no_machine_should_get_is_refused_with_its_place(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "ca").write_text("CA\n")
    (tmp_path / "key").write_bytes(PRIVATE)
    path = tmp_path / "hardway.yaml"
    path.write_text(f"{GIVEN}files:\n  {line}\n")
    with pytest.raises(InventoryError) as caught:
        load(path)
    assert [one.replace(str(tmp_path), "FOLDER").partition(": ")[2] for one in caught.value.problems] == [problem]


@pytest.mark.parametrize("mode", ["0640", '"0640"', "640", "0o640"])
def test_a_mode_is_octal_however_it_is_written(tmp_path: Path, mode: str) -> None:
    (tmp_path / "ca").write_text("CA\n")
    path = tmp_path / "hardway.yaml"
    path.write_text(f"{GIVEN}files: {{/etc/a: {{source: ca, mode: {mode}}}}}\n")
    assert [file.mode for file in load(path).files] == [0o640]


def placed(folder: Path, line: str) -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """By machine, the chapter of the file, and which units restart and reload for it."""
    (folder / "ca").write_text("CA\n")
    path = folder / "hardway.yaml"
    balancer = GIVEN.replace("w1: {", "lb: {role: load-balancer, address: 10.0.8.9}, w1: {")
    path.write_text(f"{balancer}files:\n  {line}\n")
    cluster = allot_pod_cidrs(load(path), {})
    target = cluster.files[0].path
    versions = {name: one.version for name, one in releases_for(cluster.kubernetes).items()}
    declaration = declare(Model(cluster, State("c", "0"), versions))
    found: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
    for one in declaration.placed:
        if isinstance(one.resource, OperatorFile):
            services = [s.resource for s in declaration.on(one.machine) if isinstance(s.resource, Service)]
            restart = tuple(service.unit for service in services if target in service.inputs)
            again = tuple(service.unit for service in services if target in service.reload_inputs)
            found[one.machine] = (one.phase, restart, again)
    return found


PLACES = {
    "read by nobody": (
        "/etc/motd: {source: ca}",
        {"k1": ("hosts", (), ()), "lb": ("hosts", (), ()), "w1": ("hosts", (), ())},
    ),
    "what HAProxy can read again": (
        "/etc/corp/errors.http: {source: ca, machines: lb, restart: haproxy}",
        {"lb": ("load-balancer", (), ("kube-apiserver-lb.service",))},
    ),
    "a drop-in": (
        "/etc/systemd/system/kube-apiserver-lb.service.d/9.conf: {source: ca, machines: load-balancer}",
        {"lb": ("load-balancer", ("kube-apiserver-lb.service",), ())},
    ),
    "in the chapter of the first that reads it": (
        "/etc/corp/a: {source: ca, restart: [kube-apiserver, etcd, kubelet]}",
        {
            "k1": ("etcd", ("etcd.service", "kube-apiserver.service"), ()),
            "lb": ("hosts", (), ()),
            "w1": ("workers", ("kubelet.service",), ()),
        },
    ),
    "once its owner is there": (
        "/etc/corp/a: {source: ca, machines: k1, owner: 'root:etcd'}",
        {"k1": ("etcd", (), ())},
    ),
}


@pytest.mark.parametrize(("line", "where"), PLACES.values(), ids=PLACES)
def test_each_machine_gets_it_in_the_chapter_that_needs_it(
    tmp_path: Path, line: str, where: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]
) -> None:
    assert placed(tmp_path, line) == where

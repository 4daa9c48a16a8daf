"""etcd as an operator sees it, and a snapshot from which the cluster's own tools read all of it."""

import json
from pathlib import Path

import pytest
from driving import Site
from load import counting

pytestmark = pytest.mark.lab


def test_members_are_told_and_a_snapshot_is_whole(seven: Site, tmp_path: Path) -> None:
    told = json.loads(seven.hardway("etcd", "status", "-o", "json").out)
    assert [one["serving"] for one in told["members"]] == [True] * 3
    assert told["leader"] in ("controller-0", "controller-1", "controller-2")
    assert all(one["size"] >= one["in_use"] > 0 for one in told["members"])
    page = seven.hardway("etcd", "status").out
    assert page.count("follows") == 2

    before = seven.on("controller-0", "ls -A /var/tmp")
    file = tmp_path / "one.db"
    seven.hardway("etcd", "snapshot", str(file))
    assert (file.stat().st_mode & 0o777, (tmp_path / "one.db.json").stat().st_mode & 0o777) == (0o600, 0o600)
    note = json.loads((tmp_path / "one.db.json").read_text())
    assert note["member"] != told["leader"]
    assert note["revision"] >= max(one["revision"] for one in told["members"])
    assert note["encryption_keys"]
    for name in ("controller-0", "controller-1", "controller-2"):
        assert "hardway-snapshot" not in seven.on(name, "ls -A /var/tmp")
    assert seven.on("controller-0", "ls -A /var/tmp") == before
    # The file itself is the witness: a Namespace is in it as it is, a Secret is not.
    content = file.read_bytes()
    assert b"/registry/namespaces/kube-system" in content
    again = seven.hardway("etcd", "snapshot", str(file), code=2).out
    assert "is there already" in again


def test_defragmenting_costs_no_caller_anything(seven: Site, tmp_path: Path) -> None:
    leader = json.loads(seven.hardway("etcd", "status", "-o", "json").out)["leader"]
    with counting(seven.workspace / "kubeconfig", tmp_path) as load:
        said = seven.hardway("etcd", "defrag", "--yes").out
    assert (load.failed, load.lost, load.watch_gaps) == (0, [], []), str(load)
    order = [line.split()[-1] for line in said.splitlines() if "defragmenting controller" in line]
    assert sorted(order) == ["controller-0", "controller-1", "controller-2"]
    assert order[-1] == leader
    for member in json.loads(seven.hardway("etcd", "status", "-o", "json").out)["members"]:
        assert member["size"] < 1.5 * member["in_use"] + (1 << 20)
    assert "no alarm" in seven.hardway("etcd", "alarm").out

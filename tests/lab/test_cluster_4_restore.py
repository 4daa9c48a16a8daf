"""Back to a snapshot: rehearsed, refused where it does not fit, done, and nothing of the time after it runs on."""

import json
import time
from pathlib import Path

import pytest
from driving import AGNHOST, Site, until

pytestmark = pytest.mark.lab


def deployed(site: Site, name: str) -> None:
    words = [f"--image={AGNHOST}", "--replicas=2", "--", "/agnhost", "netexec"]
    site.kubectl("create", "deployment", name, *words)
    site.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")


def containers(site: Site) -> set[str]:
    """Names of the Deployments' containers that run, as each worker's runtime has them."""
    said = site.everywhere("crictl ps -o json", ("worker-0", "worker-1", "worker-2"))
    found = set()
    for text in said.values():
        for one in json.loads(text)["containers"]:
            found.add(one["labels"]["io.kubernetes.pod.name"].rsplit("-", 2)[0])
    return found


def revision(site: Site) -> int:
    listed = site.kubectl("get", "--raw", "/api/v1/namespaces/default/configmaps?limit=1")
    return int(json.loads(listed)["metadata"]["resourceVersion"])


@pytest.mark.in_turn("disasters")
def test_a_restore_brings_back_what_was_and_nothing_of_what_came_after(seven: Site, tmp_path: Path) -> None:
    file = tmp_path / "one.db"
    deployed(seven, "kept")
    seven.kubectl("create", "secret", "generic", "kept", "--from-literal=word=kept")
    seven.hardway("etcd", "snapshot", str(file))
    seven.kubectl("delete", "secret", "kept")
    deployed(seven, "late")
    before = revision(seven)

    data = bytearray(file.read_bytes())
    data[100_000] ^= 1
    (tmp_path / "damaged.db").write_bytes(data)
    assert "is damaged" in seven.hardway("etcd", "restore", str(tmp_path / "damaged.db"), "--yes", code=1).out
    note = json.loads((tmp_path / "one.db.json").read_text())
    (tmp_path / "foreign.db").write_bytes(file.read_bytes())
    (tmp_path / "foreign.db.json").write_text(json.dumps({**note, "cluster_id": "feed" * 8}))
    assert (
        "is of another cluster" in seven.hardway("etcd", "restore", str(tmp_path / "foreign.db"), "--yes", code=1).out
    )
    processes = seven.processes()
    assert "opens with" in seven.hardway("etcd", "restore", str(file), "--rehearse").out
    assert seven.processes() == processes
    assert seven.on("controller-0", "ls -A /var/lib/etcd-restore | grep -v '[.]db$' || true") == ""

    began = time.monotonic()
    run = seven.start("etcd", "restore", str(file), "--yes")
    # Killed when members have stopped, it goes on by the same command.
    until(lambda: "before-restore" in seven.on("controller-0", "ls /var/lib/etcd", code=None), 120, "data is swapped")
    run.kill()
    run.wait()
    seven.hardway("etcd", "restore", str(file), "--yes")
    print(f"restored in {time.monotonic() - began:.0f} s, killed once")
    assert seven.kubectl("get", "secret", "kept", "-o", "jsonpath={.data.word}") == "a2VwdA=="
    assert "late" not in seven.kubectl("get", "deployments", "-o", "name")
    assert revision(seven) > before
    until(lambda: "late" not in containers(seven), 60, "no pod of after the snapshot runs on")
    assert "kept" in containers(seven)
    for name in ("controller-0", "controller-1", "controller-2"):
        assert seven.on(name, "ls -d /var/lib/etcd/before-restore-*").count("before-restore") == 1
        assert seven.on(name, "ls -A /var/lib/etcd-restore 2>/dev/null || true") == ""
        seven.on(name, "rm -rf /var/lib/etcd/before-restore-*")
    seven.kubectl("delete", "deployment", "kept")
    seven.kubectl("delete", "secret", "kept")
    seven.hardway("smoke-test")
    seven.unchanged("init")


@pytest.mark.in_turn("disasters")
def test_a_lost_majority_is_recovered_from_the_member_that_is_left(seven: Site) -> None:
    assert "a majority of etcd serves" in seven.hardway("etcd", "recover", "--yes", code=1).out
    seven.kubectl("create", "configmap", "last", "--from-literal=word=kept")
    for name in ("controller-1", "controller-2"):
        seven.on(name, "systemctl kill -s KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd/member")
    ran = seven.hardway("etcd", "recover", "--yes")
    print(f"recovered in {ran.seconds:.0f} s")
    assert "controller-0 got furthest" in ran.out
    assert seven.kubectl("get", "configmap", "last", "-o", "jsonpath={.data.word}") == "kept"
    assert seven.etcd("controller-1", "member", "list").count(", started, ") == 3
    seven.on("controller-0", "rm -rf /var/lib/etcd/before-restore-*")
    seven.kubectl("delete", "configmap", "last")
    seven.hardway("smoke-test")
    seven.unchanged("init")

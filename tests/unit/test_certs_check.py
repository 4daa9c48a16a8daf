"""`hardway certs check` on played machines: what is there, what is served, what it says and how it ends."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fake.cluster import FakeCluster
from played_run import Commands

from hardway.cli.certs_check import span
from hardway.declare import pki
from hardway.errors import UsageError

NewCluster = Callable[[str], FakeCluster]

TRIO = """\
cluster: trio
machines:
  lb: {role: load-balancer, address: 10.240.0.5}
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
"""


@pytest.fixture
def trio(built_cluster: NewCluster) -> FakeCluster:
    found = built_cluster(TRIO)
    serves(found, "lb", "6443", found.machines["head"].read("/etc/kubernetes/pki/kube-apiserver.crt"))
    return found


@pytest.fixture
def hardway(trio: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(trio, monkeypatch, capsys)


def serves(made: FakeCluster, machine: str, port: str, pem: str) -> None:
    """Whatever is there, this is shown."""
    (made.machines[machine].root / "fake/served").mkdir(exist_ok=True)
    made.machines[machine].write(f"/fake/served/{port}", pem)


def issued(made: FakeCluster, name: str, days: float) -> str:
    """A certificate like the one of that name, with as many days left."""
    values = made.workspace().values()
    there = pki.read(values[f"pki/{name}.crt"])
    ca = "pki/etcd/ca" if name.startswith("etcd/") else "pki/ca"
    now = datetime.now(UTC) - timedelta(days=200)
    name_of_ca = pki.read(values[f"{ca}.crt"]).common_name
    old = pki.issue_ca(pki.CertificateSpec(name_of_ca, is_ca=True), values[f"{ca}.key"], now)
    spec = pki.CertificateSpec(there.common_name, there.organizations, there.dns_names, there.addresses, days=1)
    pem = pki.issue(spec, values[f"pki/{name}.key"], old, values[f"{ca}.key"], now + timedelta(days=199 + days))
    return pem.decode()


def checked(hardway: Commands, *words: str) -> tuple[int, Any]:
    code, out, _ = hardway("certs", "check", "-o", "json", *words)
    return code, json.loads(out)


def test_a_new_cluster_is_well_and_each_port_shows_what_lies_there(hardway: Commands) -> None:
    code, told = checked(hardway)
    assert code == 0
    shown = [(one["machine"], one["component"], one["address"], one["as_on_disk"]) for one in told["served"]]
    assert shown == [
        ("lb", "kube-apiserver", "10.240.0.5:6443", True),
        ("lb", "haproxy", "admin.sock", True),
        ("head", "kube-apiserver", "10.240.0.10:6443", True),
        ("head", "etcd", "10.240.0.10:2379", True),
        ("head", "etcd", "10.240.0.10:2380", True),
        ("head", "kube-controller-manager", "127.0.0.1:10257", None),
        ("head", "kube-scheduler", "127.0.0.1:10259", None),
        ("hand", "kubelet", "10.240.0.20:10250", True),
    ]
    assert told["unread"] == []


def test_each_certificate_is_told_with_its_ca_names_and_serial(hardway: Commands, trio: FakeCluster) -> None:
    _, told = checked(hardway)
    places = {(one["machine"], one["path"]): one for one in told["disk"]}
    server = places["head", "/etc/etcd/pki/server.crt"]
    known = pki.read(trio.workspace().values()["pki/etcd/server-head.crt"])
    assert server["name"] == "etcd/server-head"
    assert server["certificate"] == {
        "subject": "CN=head", "issuer": "CN=etcd-ca", "ca": "etcd", "generation": 1, "is_ca": False,
        "dns_names": list(known.dns_names), "addresses": list(known.addresses),
        "not_before": known.not_before.isoformat(), "not_after": known.not_after.isoformat(),
        "days_left": 364, "serial": f"{known.serial:X}", "age": "good",
    }  # fmt: skip
    names = {key: one["name"] for key, one in places.items()}
    assert names["head", "/etc/kubernetes/scheduler.conf#client"] == "kube-scheduler"
    assert names["head", "/etc/kubernetes/scheduler.conf#ca"] == "ca"
    assert names["hand", "/etc/kubernetes/kubelet.conf#client"] == "kubelet-hand"
    assert names["lb", "/etc/kubernetes/pki/haproxy-health.pem"] == "haproxy-health"
    assert names["operator", "pki/break-glass.crt"] == "break-glass"
    assert ("operator", "kubeconfig#client") in places


@pytest.mark.parametrize(("left", "age", "code"), [(-0.5, "expired", 3), (0.2, "ending", 3), (0.9, "good", 0)])
def test_what_ends_soon_is_status_3(hardway: Commands, trio: FakeCluster, left: float, age: str, code: int) -> None:
    pem = issued(trio, "kubelet-hand", left)
    trio.machines["hand"].write("/etc/kubernetes/pki/kubelet.crt", pem)
    found, told = checked(hardway)
    ages = {(one["machine"], one["path"]): one["certificate"]["age"] for one in told["disk"]}
    assert (found, ages["hand", "/etc/kubernetes/pki/kubelet.crt"]) == (code, age)


def test_a_span_of_time_stands_for_what_is_due(hardway: Commands) -> None:
    assert checked(hardway, "--warn", "364d")[0] == 0
    assert checked(hardway, "--warn", "366d")[0] == 3


def test_a_process_that_shows_an_older_certificate_is_told(hardway: Commands, trio: FakeCluster) -> None:
    serves(trio, "head", "2379", issued(trio, "etcd/server-head", 0.9))
    code, told = checked(hardway)
    assert code == 3
    assert [one["address"] for one in told["served"] if one["as_on_disk"] is False] == ["10.240.0.10:2379"]
    _, page, _ = hardway("certs", "check")
    assert "differs  head: etcd at 10.240.0.10:2379 shows another certificate than" in page


def test_what_a_kubelet_renews_by_itself_is_due_only_when_the_kubelet_is_late(
    hardway: Commands, trio: FakeCluster
) -> None:
    hand = trio.machines["hand"]
    (hand.root / "var/lib/kubelet/pki").mkdir()
    for left, age in ((0.2, "good"), (0.05, "ending")):
        hand.write("/var/lib/kubelet/pki/kubelet-client-current.pem", issued(trio, "kubelet-hand", left))
        _, told = checked(hardway)
        [own] = [one for one in told["disk"] if one["path"].endswith("kubelet-client-current.pem")]
        assert (own["certificate"]["age"], own["name"]) == (age, "")


def test_machines_and_ports_that_say_nothing_are_status_1(hardway: Commands, trio: FakeCluster) -> None:
    trio.machines["head"].run("systemctl stop kube-scheduler.service", timeout=10, what="by hand")
    hardway.away.add("hand")
    code, told = checked(hardway)
    assert code == 1
    assert [one["machine"] for one in told["unread"]] == ["hand"]
    assert [one["component"] for one in told["served"] if one["certificate"] is None] == ["kube-scheduler"]


def test_the_page_names_each_certificate_once_and_what_to_do(hardway: Commands, trio: FakeCluster) -> None:
    trio.machines["hand"].write("/etc/kubernetes/pki/kubelet.crt", issued(trio, "kubelet-hand", 0.2))
    code, page, error = hardway("certs", "check")
    assert (code, error) == (3, "")
    [row] = [line for line in page.splitlines() if "d, ends" in line and "kubelet-hand" in line]
    assert row.split()[:2] == ["kubelet-hand", "kubernetes"]
    assert f"hardway certs renew -i {trio.inventory}\n" in page
    _, early, _ = hardway("certs", "check", "--warn", "400d")
    assert f"hardway certs renew -i {trio.inventory} --all\n" in early
    _, longer, _ = hardway("certs", "check", "-v")
    assert "found in head:/etc/kubernetes/pki/kube-apiserver.crt" in longer


def test_the_collector_gets_whole_files_that_it_may_read(hardway: Commands, trio: FakeCluster) -> None:
    folder = trio.root / "collector"
    folder.mkdir()
    path = folder / "hardway.prom"
    hardway("certs", "check", "--prometheus", str(path))
    end = pki.read(trio.workspace().values()["pki/kube-apiserver.crt"]).not_after.timestamp()
    lines = path.read_text().splitlines()
    assert (
        'hardway_certificate_file_not_after{cluster="trio",machine="head",path="/etc/kubernetes/pki/kube-apiserver.crt",'
        f'name="kube-apiserver",ca="kubernetes"}} {end:.0f}'
    ) in lines
    assert (
        'hardway_certificate_served_as_on_disk{cluster="trio",machine="hand",component="kubelet",'
        'address="10.240.0.20:10250"} 1'
    ) in lines
    kinds = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds)) == 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(folder.iterdir()) == [path]


def test_a_collectors_file_that_cannot_be_written_leaves_the_old_one(hardway: Commands, trio: FakeCluster) -> None:
    code, _, error = hardway("certs", "check", "--prometheus", str(trio.root / "nowhere" / "hardway.prom"))
    assert code == 2
    assert "could not be written: No such file or directory" in " ".join(error.split())


@pytest.mark.parametrize("text", ["30", "d", "-1d", "30 d", "1y"])
def test_a_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="right: 30d, 12h or 2w"):
        span(text, "--warn")

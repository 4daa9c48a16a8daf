"""`hardway certs renew` on played machines: what is issued again, what is restarted, and that nothing need be valid."""

import os
import shutil
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo

import pytest
from fake.authorities import company
from fake.cluster import FakeCluster, keys, room
from fake.machine import Cut, why_not
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from played_run import Commands

from hardway.certificates.renewal import renewal
from hardway.declare import pki
from hardway.engine.converge import Outcome
from hardway.engine.guards import first_state
from hardway.engine.plan import declared
from hardway.engine.selection import Renewal
from hardway.errors import UsageError
from hardway.remote import ConnectionLost

NewCluster = Callable[[str], FakeCluster]
Later = Callable[[FakeCluster, timedelta], None]

EXAMPLES = int(os.environ.get("HARDWAY_EXAMPLES", "1"))
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
THREE = """\
cluster: three
machines:
  lb: {role: load-balancer, address: 10.240.0.5}
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
"""
SHORT = THREE + "certs: {ca_days: 30, leaf_days: 20}\n"
CONTROLLERS = ("c0", "c1", "c2")
CAS = frozenset({"pki/ca.crt", "pki/etcd/ca.crt", "pki/front-proxy-ca.crt"})


@pytest.fixture
def three(built_cluster: NewCluster) -> FakeCluster:
    return built_cluster(THREE)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """For plans, played etcdctl and kubectl it is so much later."""

    def move(made: FakeCluster, by: timedelta) -> None:
        class Moved(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + by

        monkeypatch.setattr("hardway.engine.plan.datetime", Moved)
        (made.root / "net" / "later").write_text(f"{by.total_seconds():.0f}")

    return move


def chosen(made: FakeCluster, *words: str, everything: bool = False, new_key: bool = False) -> Renewal:
    values = made.workspace().values()
    now = datetime.now().astimezone()
    return renewal(made.declaration(), values, now, words, everything=everything, new_key=new_key)


def serials(made: FakeCluster) -> dict[str, int]:
    found: dict[str, int] = {}
    for path, content in made.workspace().values().items():
        if path.endswith(".crt"):
            found[path] = pki.read(content).serial
    return found


def private_keys(made: FakeCluster) -> dict[str, bytes]:
    return {path: content for path, content in made.workspace().values().items() if path.endswith(".key")}


def restarts(outcome: Outcome) -> set[tuple[str, str]]:
    return {
        (verb, key.removeprefix("service:")) for _, verb, key in keys(outcome.changes) if key.startswith("service:")
    }


def assert_all_is_well(made: FakeCluster) -> None:
    """Everything runs, and nothing is left to do but what names the folder of this copy."""
    for name in CONTROLLERS:
        for unit in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
            assert made.machines[name].has(f"/fake/units/{unit}.service"), (name, unit)
    plan = made.plan()
    assert plan.blockers == ()
    assert [item.key for item in plan.items if not item.key.endswith("ssh_config")] == []


def test_all_are_issued_again_for_their_keys_and_only_what_cannot_reload_is_restarted(three: FakeCluster) -> None:
    before, kept = serials(three), private_keys(three)
    outcome = three.init(renewal=chosen(three, everything=True))
    after = serials(three)
    assert {path for path in before if after[path] == before[path]} == CAS
    assert private_keys(three) == kept
    assert restarts(outcome) == {
        ("restart", "kube-controller-manager.service"), ("restart", "kube-scheduler.service"),
        ("reload", "kube-apiserver-lb.service"), ("restart", "kubelet.service"), ("restart", "kube-proxy.service"),
    }  # fmt: skip
    assert (
        three.machines["c1"].read("/etc/etcd/pki/peer.crt")
        == three.workspace().values()["pki/etcd/peer-c1.crt"].decode()
    )
    assert_all_is_well(three)


@pytest.mark.parametrize(
    ("words", "issued", "restarted"),
    [
        (("kube-scheduler",), {"kube-scheduler"}, {("restart", "kube-scheduler.service")}),
        (("etcd/*-c1",), {"etcd/server-c1", "etcd/peer-c1"}, set()),
        (("kube-apiserver", "apiserver-kubelet-client"), {"kube-apiserver", "apiserver-kubelet-client"}, set()),
        (("haproxy-health",), {"haproxy-health"}, {("reload", "kube-apiserver-lb.service")}),
        ((), set(), set()),
    ],
)
def test_what_is_named_is_issued_again(
    three: FakeCluster, words: Collection[str], issued: set[str], restarted: set[tuple[str, str]]
) -> None:
    before = serials(three)
    outcome = three.init(renewal=chosen(three, *words))
    after = serials(three)
    assert {path for path in before if after[path] != before[path]} == {f"pki/{name}.crt" for name in issued}
    assert restarts(outcome) == restarted
    assert_all_is_well(three)


def test_a_new_key_comes_only_where_it_is_asked_for(three: FakeCluster) -> None:
    before = private_keys(three)
    three.init(renewal=chosen(three, "front-proxy-client", new_key=True))
    after = private_keys(three)
    assert {path for path in before if after[path] != before[path]} == {"pki/front-proxy-client.key"}
    assert (
        three.machines["c0"].read("/etc/kubernetes/pki/front-proxy-client.key").encode()
        == (after["pki/front-proxy-client.key"])
    )
    assert_all_is_well(three)


def test_what_else_differs_waits_for_a_run_of_its_own(three: FakeCluster) -> None:
    three.inventory.write_text(THREE + "settings: {etcd: {snapshot-count: 20000}}\n")
    three.machines["w0"].write("/etc/crictl.yaml", "by hand\n")
    outcome = three.init(renewal=chosen(three, "kube-scheduler"))
    assert restarts(outcome) == {("restart", "kube-scheduler.service")}
    assert three.machines["w0"].read("/etc/crictl.yaml") == "by hand\n"
    left = {item.name for item in three.plan().items}
    assert {"/etc/crictl.yaml", "/etc/systemd/system/etcd.service", "etcd.service"} <= left


def test_a_ca_is_issued_again_for_its_key_with_all_that_it_signed(three: FakeCluster) -> None:
    before, kept = serials(three), private_keys(three)
    outcome = three.init(renewal=chosen(three, "etcd/ca"))
    after = serials(three)
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {path for path in before if path.startswith("pki/etcd/")} | {"pki/apiserver-etcd-client.crt"}
    assert private_keys(three) == kept
    assert {("restart", "etcd.service"), ("restart", "kube-apiserver.service")} <= restarts(outcome)
    assert_all_is_well(three)


def test_certificates_that_have_all_expired_are_renewed_without_the_api(three: FakeCluster, later: Later) -> None:
    later(three, timedelta(days=400))
    outcome = three.init(renewal=Renewal())
    assert len([path for path in outcome.made if path.endswith(".crt")]) == len(serials(three)) - len(CAS)
    assert not {key for _, key in restarts(outcome)} & {"etcd.service", "kube-apiserver.service"}
    assert_all_is_well(three)


@pytest.mark.parametrize("down", [("c1",), CONTROLLERS])
def test_what_went_down_since_all_has_expired_comes_back(
    three: FakeCluster, later: Later, down: Collection[str]
) -> None:
    later(three, timedelta(days=400))
    for name in down:
        for unit in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            three.machines[name].run(f"systemctl stop {unit}.service", timeout=10, what="by hand")
    three.init(renewal=Renewal())
    assert_all_is_well(three)


def test_cas_that_have_expired_too_are_renewed_and_etcd_is_restarted_at_once(
    built_cluster: NewCluster, later: Later
) -> None:
    """No member would be let in by the others, so one by one none would come back."""
    short = built_cluster(SHORT)
    later(short, timedelta(days=31))
    asked: list[str] = []
    for name in CONTROLLERS:
        short.machines[name].after = lambda what, name=name: asked.append(f"{name} {what}")  # type: ignore[misc]
    outcome = short.init(renewal=Renewal(CAS))
    told = [one.partition(" ")[2] for one in asked]
    assert told.count("etcd") == 3
    first = told.index("etcd")
    assert told[first : first + 3] == ["etcd", "etcd", "etcd"]
    assert ("restart", "kube-apiserver.service") in restarts(outcome)
    assert_all_is_well(short)


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@settings(max_examples=EXAMPLES, deadline=None, phases=NO_SHRINKING)
@given(
    name=st.sampled_from(("c0", "w0", "lb")),
    cut=st.builds(Cut, st.integers(0, 14), st.one_of(st.integers(1, 40), st.integers(1, 300)), st.just(True)),
)
def test_a_renewal_that_is_killed_anywhere_is_ended_by_the_same_command(name: str, cut: Cut) -> None:
    place = room()
    try:
        made = FakeCluster.new(place, THREE)
        made.init()
        before, kept = serials(made), private_keys(made)
        for machine in made.machines.values():
            machine.restored()
        made.machines[name].restored(cut)
        with suppress(ConnectionLost):
            made.init(renewal=chosen(made, everything=True))
        made.machines[name].restored()
        made.init(renewal=chosen(made, everything=True))
        assert_all_is_well(made)
        after = serials(made)
        assert {path for path in before if after[path] == before[path]} == CAS
        assert private_keys(made) == kept
    finally:
        shutil.rmtree(place)


def test_names_that_are_none_and_new_keys_for_cas_are_refused(three: FakeCluster) -> None:
    with pytest.raises(UsageError, match="no certificate is named 'etcd'") as error:
        chosen(three, "etcd")
    assert "kube-apiserver, apiserver-kubelet-client" in (error.value.hint or "")
    with pytest.raises(UsageError, match="etcd/ca: a CA with a new key is another CA"):
        chosen(three, "etcd/ca", new_key=True)


def test_what_others_sign_is_left_to_them(new_cluster: NewCluster) -> None:
    made = new_cluster("certs: {authorities: {etcd: {certificate: etcd.crt}}}\n" + THREE)
    (made.root / "etcd.crt").write_bytes(company("Etcd").crt)
    _, declaration = declared(made.cluster, first_state(made.cluster))
    now = datetime.now().astimezone()
    everything = renewal(declaration, {}, now, (), everything=True).paths
    assert "pki/kube-apiserver.crt" in everything
    assert not {path for path in everything if "etcd" in path}
    with pytest.raises(UsageError, match="etcd/peer-c1 cannot be signed: the key of its CA is not here"):
        renewal(declaration, {}, now, ["etcd/peer-c1"])
    with pytest.raises(UsageError, match="etcd/ca is a CA of yours") as error:
        renewal(declaration, {}, now, ["etcd/ca"])
    assert (error.value.hint or "").endswith("etcd.crt")


def test_the_command_asks_for_agreement_and_names_what_it_will_do(
    three: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hardway = Commands(three, monkeypatch, capsys)
    monkeypatch.setattr("hardway.cli.certs_renew.prove", lambda *given, **named: None)
    before = serials(three)
    code, _, error = hardway("certs", "renew", "kube-scheduler")
    assert code == 1
    assert "changes to a running cluster, and no terminal to ask on; nothing was changed" in " ".join(error.split())
    assert f"hardway certs renew -i {three.inventory} kube-scheduler --expect " in error
    assert serials(three) == before
    plan = error.rpartition("--expect ")[2].split()[0]
    code, _, _ = hardway("certs", "renew", "kube-scheduler", "--expect", plan)
    assert code == 0
    assert serials(three)["pki/kube-scheduler.crt"] != before["pki/kube-scheduler.crt"]
    code, _, error = hardway("certs", "renew", "--all", "kube-scheduler")
    assert (code, "--all leaves no name to choose" in error) == (2, True)

"""When a certificate is issued again, by which run, and what waits for a command."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

import pytest
from fake.cluster import ONE, FakeCluster
from played_run import Commands

from hardway.lint.rules.times import is_pending

NewCluster = Callable[[str], FakeCluster]
Later = Callable[[timedelta], None]

SHORT = ONE + "certs: {ca_days: 30, leaf_days: 20}\n"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    """From then on plans are made so much later."""

    def move(by: timedelta) -> None:
        class Moved(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + by

        monkeypatch.setattr("hardway.engine.plan.datetime", Moved)

    return move


def test_short_lives_are_not_issued_anew_by_every_run(built_cluster: NewCluster) -> None:
    short = built_cluster(SHORT)
    plan = short.plan()
    assert [item.name for item in plan.items if item.name.endswith(".crt")] == []
    assert plan.findings == ()


def test_leaves_are_issued_again_and_a_ca_waits_for_its_command(built_cluster: NewCluster, later: Later) -> None:
    short = built_cluster(SHORT)
    later(timedelta(days=14))
    made = [item.name for item in short.plan().items if item.machine == "operator" and item.name.endswith(".crt")]
    assert "pki/kube-apiserver.crt" in made
    assert not [name for name in made if name.endswith("ca.crt")]
    before = short.workspace().values()["pki/ca.crt"]
    later(timedelta(days=21))
    pending = [(one.what, one.fix) for one in short.plan().findings if is_pending(one)]
    assert [fix for _, fix in pending] == [
        "hardway certs renew ca", "hardway certs renew etcd/ca", "hardway certs renew front-proxy-ca"
    ]  # fmt: skip
    assert pending[0][0].startswith("the CA pki/ca.crt expires in 8 days, on ")
    short.init()
    assert short.workspace().values()["pki/ca.crt"] == before
    assert short.plan().items == ()


def test_plan_and_status_show_what_waits_with_its_command(
    built_cluster: NewCluster, later: Later, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = built_cluster(SHORT)
    later(timedelta(days=21))
    hardway = Commands(short, monkeypatch, capsys)
    for command in ("plan", "status"):
        _, page, _ = hardway(command)
        told = " ".join(page.split())
        assert "pending" in told
        assert "the CA pki/etcd/ca.crt expires in 8 days, on " in told
        assert "hardway certs renew etcd/ca" in told
    _, document, _ = hardway("status", "-o", "json")
    assert [one["command"] for one in json.loads(document)["pending"]] == [
        "hardway certs renew ca", "hardway certs renew etcd/ca", "hardway certs renew front-proxy-ca"
    ]  # fmt: skip


def test_an_expired_ca_blocks_with_the_command_that_renews_it(built_cluster: NewCluster, later: Later) -> None:
    short = built_cluster(SHORT)
    later(timedelta(days=31))
    blocked = {(one.kind, one.hint) for one in short.plan().blockers}
    assert ("lint:expired", "hardway certs renew ca") in blocked

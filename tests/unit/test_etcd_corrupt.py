"""A member whose data is not what the others have is taken away, on played machines, and joins again."""

from collections.abc import Callable

import pytest
from fake.cluster import FakeCluster, keys
from played_run import Commands
from test_etcd_replace import members, run
from test_rollout_cut import THREE

from hardway.errors import HardwayError
from hardway.operations import etcd_defrag
from hardway.operations.etcd_defrag import Alarm


@pytest.fixture
def corrupt(built_cluster: Callable[[str], FakeCluster]) -> FakeCluster:
    """c1 has other data than the rest."""
    made = built_cluster(THREE)
    (made.root / "net/alarms").write_text(f"{made.member('c1')} CORRUPT\n")
    return made


def test_it_is_named_with_what_brings_it_back(
    corrupt: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = Commands(corrupt, monkeypatch, capsys)("etcd", "alarm")
    assert (code, "c1 raised CORRUPT" in out, "hardway etcd replace c1" in out) == (1, True, True)
    with pytest.raises(HardwayError, match="c1 raised CORRUPT") as refused:
        etcd_defrag.clear(corrupt.session())
    assert "hardway etcd replace c1" in (refused.value.hint or "")


def test_it_is_named_also_where_it_does_not_answer(corrupt: FakeCluster) -> None:
    corrupt.machines["c1"].run("systemctl stop etcd.service", timeout=10, what="stop it")
    assert etcd_defrag.alarms(corrupt.session()) == (Alarm("c1", "CORRUPT"),)


def test_cleared_the_others_serve_and_it_joins_again(
    corrupt: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = Commands(corrupt, monkeypatch, capsys)("etcd", "alarm", "--clear", "--yes")
    assert (code, "hardway etcd replace c1" in out) == (0, True)
    assert members(corrupt) == [("c0", "false"), ("c2", "false")]
    assert corrupt.machines["c1"].has("/var/lib/etcd/member.lost")
    run(corrupt, "c1")
    assert members(corrupt) == [("c0", "false"), ("c1", "false"), ("c2", "false")]
    assert etcd_defrag.alarms(corrupt.session()) == ()
    assert keys(corrupt.init().changes) == []


def test_no_majority_is_given_away_for_it(corrupt: FakeCluster) -> None:
    corrupt.machines["c2"].run("systemctl stop etcd.service", timeout=10, what="stop it")
    with pytest.raises(HardwayError, match="not all others serve"):
        etcd_defrag.set_aside(corrupt.session(), "c1")
    assert corrupt.machines["c1"].has("/var/lib/etcd/member")

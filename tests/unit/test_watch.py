"""`hardway watch`: what it finds on played machines, whom it says it to, and how it ends."""

import json
import os
import select
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fake.cluster import FakeCluster
from played_run import Commands

from hardway.certificates.check import Certificates, Description, OnDisk, Served
from hardway.errors import HardwayError, UsageError
from hardway.preview.plan import Preview
from hardway.status.status import Etcd, EtcdMember, MachineStatus, Status
from hardway.watch import hook, metrics
from hardway.watch.watch import Backups, Finding, Watched, judged
from hardway.workspace import OPENING, WATCHED, Workspace

NOW = datetime(2026, 11, 28, 3, tzinfo=UTC)
THREE = """\
cluster: three
machines:
  lb: {role: load-balancer, address: 10.240.0.5}
  head: {role: controller, address: 10.240.0.10}
  neck: {role: controller, address: 10.240.0.11}
  chin: {role: controller, address: 10.240.0.12}
  hand: {role: worker, address: 10.240.0.20}
"""


def member(name: str, serving: bool | None = True, **more: Any) -> EtcdMember:
    return EtcdMember(name, f"https://{name}:2379", serving, **more)


def status(members: list[EtcdMember], machines: list[MachineStatus] | None = None, leader: str = "c0") -> Status:
    return Status("lab", "https://api", "1.36.4", Etcd(tuple(members), leader), tuple(machines or ()), (), 0, True)


PREVIEW = Preview("lab", (), False, (), True, (), (), {}, (), (), (), (), "id")
CERTIFICATES = Certificates("lab", NOW, (), (), ())
SAYS = Description("CN=x", "CN=ca", "etcd", 1, False, (), (), NOW, NOW + timedelta(days=3), 3, "A1", "good")


def findings(found: Status, certificates: Certificates = CERTIFICATES, backups: Backups | None = None) -> list[Finding]:
    return list(judged(found, PREVIEW, certificates, backups).findings)


def kinds(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.kind, one.subject) for one in found]


@pytest.mark.parametrize(
    ("serving", "voters", "said"),
    [
        (3, 3, ""), (2, 3, "if one more fails"), (1, 3, "nothing can be written"), (5, 5, ""), (4, 5, ""),
        (3, 5, "if one more fails"), (1, 1, ""), (0, 1, "nothing can be written"), (2, 2, ""),
    ],
)  # fmt: skip
def test_quorum_is_told_before_it_is_lost(serving: int, voters: int, said: str) -> None:
    members = [member(f"c{number}", number < serving) for number in range(voters)]
    [*told] = [one.what for one in findings(status(members)) if one.kind == "quorum"]
    assert len(told) == bool(said)
    assert all(said in what for what in told)
    # A learner has no vote.
    learner = [*members, member("new", True, learner=True)]
    assert [one.what for one in findings(status(learner)) if one.kind == "quorum"] == told


def test_everything_that_is_wrong_is_found_once() -> None:
    found = status(
        [member("c0"), member("c1", alarms=("NOSPACE",)), member("c2"), member("stranger", None)],
        [
            MachineStatus("c0", ("controller",), True, api="not ready"),
            MachineStatus("w0", ("worker",), True, node="not ready"),
            MachineStatus("w1", ("worker",), False),
        ],
    )
    ending = replace(SAYS, age="ending")
    certificates = replace(
        CERTIFICATES,
        disk=tuple(OnDisk("c0", f"/pki/{number}.crt", "", ending) for number in range(5)),
        served=(Served("c1", "etcd", "10.0.0.1:2379", "/pki/0.crt", SAYS, False),
                Served("c2", "etcd", "10.0.0.2:2379", "/pki/0.crt", None, None)),
    )  # fmt: skip
    told = findings(found, certificates, Backups("/b", None, timedelta(hours=26)))
    assert kinds(told) == [
        ("machine", "w1"), ("quorum", "etcd"), ("etcd", "c1 NOSPACE"), ("etcd", "stranger"), ("api", "c0"),
        ("node", "w0"), ("certificate", "c0"), ("certificate", "c1 etcd"), ("certificate", "c2 etcd"), ("backup", "/b"),
    ]  # fmt: skip
    [several] = [one.what for one in told if one.subject == "c0" and one.kind == "certificate"]
    assert several == "/pki/0.crt ends in 3 days, /pki/1.crt ends in 3 days, /pki/2.crt ends in 3 days, and 2 more"
    assert all(one.next.startswith("hardway ") for one in told)


@pytest.mark.parametrize(("hours", "old"), [(1, False), (26, False), (27, True)])
def test_a_backup_grows_too_old(hours: int, old: bool) -> None:
    backups = Backups("/b", NOW - timedelta(hours=hours), timedelta(hours=26))
    assert kinds(findings(status([member("c0")]), backups=backups)) == [("backup", "/b")] * old


def look(*told: Finding) -> Watched:
    return Watched("lab", NOW, told, 7, 7, 3, 3, 2, 3, 3, NOW, None)


WRONG = Finding("etcd", "c1", "its etcd does not serve", "hardway logs c1 etcd")


def test_metrics_have_a_series_for_what_is_not_wrong() -> None:
    lines = metrics.lines(look(WRONG))
    assert 'hardway_watch_findings{cluster="lab",kind="etcd"} 1' in lines
    assert 'hardway_watch_findings{cluster="lab",kind="quorum"} 0' in lines
    assert 'hardway_watch_well{cluster="lab"} 0' in lines
    assert f'hardway_watch_looked{{cluster="lab"}} {NOW.timestamp():.0f}' in lines
    assert not any("backup_taken" in line for line in lines)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "work space")
    made.create()
    return made


def script(folder: Path, text: str) -> str:
    path = folder / "the hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return shlex.quote(str(path))


def test_a_hook_is_told_of_changes_alone(workspace: Workspace, tmp_path: Path) -> None:
    to = tmp_path / "told"
    run = f"{script(tmp_path, f'[ $1 = --to ] && cat >>{to} && echo >>{to}')} --to"
    more = replace(WRONG, kind="node", subject="w0")
    looks = [look(), look(WRONG), look(replace(WRONG, what="other words")), look(WRONG, more), look(), look()]
    assert [hook.tell(workspace, run, one) for one in looks] == [False, True, False, True, True, False]
    told = [json.loads(line) for line in to.read_text().splitlines()]
    assert [(len(one["findings"]), one["well"]) for one in told] == [(1, False), (2, False), (0, True)]
    # Another hook was told nothing yet.
    assert hook.tell(workspace, "true", look(WRONG))


def test_a_hook_that_fails_is_told_again(workspace: Workspace, tmp_path: Path) -> None:
    run = script(tmp_path, "echo no such channel; exit 7")
    for _ in range(2):
        with pytest.raises(HardwayError, match="ended with 7") as failed:
            hook.tell(workspace, run, look(WRONG))
        assert failed.value.said == "no such channel"
    assert not (workspace.root / WATCHED).exists()
    (workspace.root / WATCHED).write_text("{")
    assert hook.tell(workspace, script(tmp_path, "exit 0"), look(WRONG))
    for wrong in ("", "'"):
        with pytest.raises(UsageError):
            hook.words_of(wrong)
    with pytest.raises(HardwayError, match="No such file"):
        hook.tell(workspace, "/no/such/program", look(WRONG))


def ends(pid: int) -> bool:
    """Whether a process that was killed is gone; a signal takes its time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


def test_a_hook_has_its_time_and_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    """Also where the command itself ends, and what it has started holds its output."""
    left = tmp_path / "pid"
    for text in (f"echo $$ >{left}; exec sleep 600", f"sleep 600 & echo $! >{left}"):
        with pytest.raises(HardwayError, match="did not end within 1 s"):
            hook.tell(workspace, script(tmp_path, text), look(WRONG), limit=1)
        assert ends(int(left.read_text()))


@pytest.fixture
def hardway(
    built_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Commands:
    return Commands(built_cluster(THREE), monkeypatch, capsys)


def watched(hardway: Commands, *words: str) -> tuple[int, Any]:
    code, out, err = hardway("watch", "--once", "-o", "json", *words)
    assert err == ""
    return code, json.loads(out)


def test_what_is_not_there_is_found(hardway: Commands, tmp_path: Path) -> None:
    _, told = watched(hardway)
    before = told["findings"]
    assert {one["kind"] for one in before} <= {"node", "certificate", "drift"}
    (hardway.cluster.root / "net" / "etcd-neck").unlink()
    hardway.away.add("hand")
    code, told = watched(hardway, "--backups", str(tmp_path), "--prometheus", str(tmp_path / "hardway.prom"))
    new = {(one["kind"], one["subject"]) for one in told["findings"] if one not in before}
    assert {("machine", "hand"), ("quorum", "etcd"), ("etcd", "neck"), ("backup", str(tmp_path))} <= new
    assert (code, told["well"], told["serving"], told["quorum"], told["reached"]) == (3, False, 2, 2, 4)
    assert 'hardway_watch_etcd_members_serving{cluster="three"} 2\n' in (tmp_path / "hardway.prom").read_text()


def test_it_goes_on_looking_and_says_what_it_could_not(
    hardway: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paused: list[float] = []
    opening = hardway.cluster.workspace().root / OPENING

    def pause(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 1:
            opening.write_text("1")
        elif len(paused) == 2:
            opening.unlink()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("hardway.cli.watch.sleep", pause)
    code, out, err = hardway("watch", "--every", "2m")
    assert (code, paused) == (130, [120.0] * 3)
    assert [line.split()[3] for line in out.splitlines() if " UTC " in line] == ["three:", "three:"]
    assert "is half opened" in err


def test_a_timer_looks_once_each_time(hardway: Commands, tmp_path: Path) -> None:
    code, out, _ = hardway(
        "watch", "install", "--every", "10m", "--backups", str(tmp_path), "--hook", "notify 'on call'", "--print"
    )
    assert code == 0
    assert "OnUnitInactiveSec=600" in out
    assert f"watch --once --backups {tmp_path} --max-age 26h --hook" in out
    assert "\"notify 'on call'\"" in out
    assert hardway("watch", "install", "--every", "soon", "--print")[0] == 2
    assert hardway("watch", "--once", "--hook", "'")[0] == 2

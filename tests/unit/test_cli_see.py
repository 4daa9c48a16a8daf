"""plan, verify, render and status on the command line: exit codes, one JSON document, nothing written."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hardway.cli.app import app
from hardway.declare.phases import PHASE_NAMES
from hardway.engine.blockers import Blocker
from hardway.events import Proved
from hardway.preview.items import Item
from hardway.preview.page import command, plan_page
from hardway.preview.plan import Preview, Unobserved
from hardway.status.page import status_page
from hardway.status.status import CertificateStatus, Etcd, EtcdMember, MachineStatus, Status
from hardway.verify.page import verify_page
from hardway.verify.verification import Verification

INVENTORY = """\
cluster: pair
machines:
  head: {role: controller, address: 10.240.0.10}
  hand: {role: worker, address: 10.240.0.20}
"""
EMPTY = Preview(
    cluster="pair",
    machines=("head", "hand"),
    limited=False,
    phases=PHASE_NAMES,
    initialized=True,
    items=(),
    blockers=(),
    unmanaged={},
    unknown=(),
    unobserved=(),
    to_get=(),
    rolls=(),
    identifier="0123456789abcdef",
)
CHANGE = Item("head", "etcd", "file:/etc/systemd/system/etcd.service", "update", ("not as hardway wrote it",))
RESTART = Item("head", "etcd", "service:etcd.service", "restart", ("pid 7, started then",))
BLOCKER = Blocker("pending:upgrade", "1.35.6 → 1.36.4 is an upgrade", hint="put 1.35.6 back")
GONE = Unobserved("hand", "no answer", "", "is it up?")
HOLDS = Proved("head", "etcd", "a member is healthy", True, "is healthy", "it counts")
FAILS = Proved("head", "etcd", "one leader", False, "2; wanted: equals '1'", "two leaders are two clusters")


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (EMPTY, 0),
        (replace(EMPTY, items=(CHANGE,)), 3),
        (replace(EMPTY, items=(CHANGE,), blockers=(BLOCKER,)), 1),
        (replace(EMPTY, blockers=(BLOCKER,)), 1),
        (replace(EMPTY, items=(CHANGE,), unobserved=(GONE,)), 1),
        (replace(EMPTY, unobserved=(GONE,)), 1),
        (replace(EMPTY, unknown=(Unobserved("head", "objects:rbac", "no answer"),)), 1),
    ],
)
def test_exit_codes_tell_seen_and_same_from_seen_and_different_from_not_seen(found: Preview, code: int) -> None:
    assert found.exit_code == code


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(EMPTY, items=(CHANGE,)), "hardway apply etcd -l head"),
        (replace(EMPTY, items=(CHANGE,), initialized=False), "hardway init"),
        (replace(EMPTY, items=(CHANGE,), initialized=False, phases=("etcd",)), "hardway apply etcd"),
        (replace(EMPTY, items=(CHANGE,), limited=True, machines=("head",)), "hardway apply etcd -l head"),
        (replace(EMPTY, items=(CHANGE,), adopt=True), "hardway apply etcd -l head --adopt"),
        (replace(EMPTY, items=(CHANGE,), blockers=(BLOCKER,)), ""),
        (EMPTY, ""),
        (replace(EMPTY, items=(replace(CHANGE, phase="smoke-test"),)), "hardway apply smoke-test"),
        (replace(EMPTY, items=tuple(replace(CHANGE, phase=name) for name in PHASE_NAMES[:4])), "hardway init"),
    ],
)
def test_a_plan_names_the_command_that_does_it_and_nothing_beside_it(found: Preview, words: str) -> None:
    assert command(found) == words


def test_what_is_alike_on_several_machines_is_told_once() -> None:
    both = tuple(replace(CHANGE, machine=name) for name in EMPTY.machines)
    lines = plan_page(replace(EMPTY, items=both), seconds=1.0)
    assert lines[:3] == ["head hand: etcd", "", "  ~ /etc/systemd/system/etcd.service"]
    assert len([line for line in lines if line.startswith("  ~")]) == 1


def test_a_plan_ends_with_counts_the_command_and_the_next_question() -> None:
    lines = plan_page(replace(EMPTY, items=(CHANGE, RESTART)), seconds=1.0)
    assert lines[-6:] == [
        "1 other machine as declared. 2 machines observed in 1.0 s, nothing changed.",
        "1 to update, 1 restart. Plan 0123456789ab.",
        "",
        "Do it:  hardway apply etcd -l head",
        "        with --expect 0123456789ab: this plan, or nothing",
        "Logs:  hardway logs head etcd",
    ]


def test_the_next_commands_repeat_the_inventory() -> None:
    changing, holding = replace(EMPTY, items=(CHANGE, RESTART)), replace(EMPTY, unmanaged={"head": ("file:/a",)})
    shown = [plan_page(one, seconds=1.0, given="-i s.yaml") for one in (changing, holding)]
    shown += [verify_page(Verification(one, (HOLDS, FAILS), 0), seconds=1.0, given="-i s.yaml")
              for one in (changing, EMPTY, replace(EMPTY, unobserved=(GONE,)))]  # fmt: skip
    assert [line[line.index("hardway ") :] for lines in shown for line in lines if "  hardway " in line] == [
        "hardway apply -i s.yaml etcd -l head",
        "hardway logs -i s.yaml head etcd",
        "hardway apply -i s.yaml --adopt",
        "hardway verify -i s.yaml",
        "hardway apply -i s.yaml etcd -l head",
        "hardway logs -i s.yaml head",
        "hardway preflight -i s.yaml -l hand",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_long_lines_of_a_diff_stay_within_the_width(width: int) -> None:
    long = "--initial-cluster=" + ",".join(f"controller-{n}=https://10.240.0.{n}:2380" for n in range(9))
    shown = replace(CHANGE, diff=("--- there", "+++ declared", "@@ -1,2 +1,2 @@", f" {long}", f"-{long}", f"+{long}x"))
    lines = plan_page(replace(EMPTY, items=(shown,)), seconds=1.0, width=width)
    assert max(map(len, lines)) <= width
    assert "x" in "".join(lines).replace(" ", "")[-400:]


def test_verify_tells_each_proof_with_its_evidence_and_what_a_failed_one_is_good_for() -> None:
    lines = verify_page(Verification(EMPTY, (HOLDS, FAILS), 0), seconds=1.0)
    assert lines == [
        "etcd  1 of 2",
        "  ok  head: a member is healthy: is healthy",
        "  NO  head: one leader: 2; wanted: equals '1'",
        "      why it matters: two leaders are two clusters",
        "",
        "1 of 2 proofs hold; 2 machines as declared (1.0 s).",
        "",
        "Nothing differs, so look at what runs:  hardway logs head",
    ]


def test_verify_ends_with_what_puts_a_difference_right() -> None:
    lines = verify_page(Verification(replace(EMPTY, items=(CHANGE, RESTART)), (HOLDS,), 0), seconds=1.0)
    assert "  ~ /etc/systemd/system/etcd.service" in lines
    assert lines[-1] == "Put it right:  hardway apply etcd -l head"


def test_status_is_one_screen() -> None:
    from datetime import UTC, datetime

    names = [f"controller-{number}" for number in range(6)]
    machines = tuple(MachineStatus(name, ("controller",), True, "debian 12", 7200, "ready") for name in names)
    members = tuple(EtcdMember(name, f"https://{name}:2379", True, "3.6.14", name == names[2]) for name in names)
    certificate = CertificateStatus("admin", "controller-1", "/etc/k/a.crt", datetime(2026, 12, 21, tzinfo=UTC), 30)
    found = Status(
        "lab", "https://10.240.0.30:6443", "1.36.4", Etcd(members, names[2]), machines, (certificate,), 0, True
    )  # fmt: skip
    lines = status_page(found, seconds=1.0)
    assert len(lines) < 24 and max(map(len, lines)) <= 80
    assert lines[-3:-1] == [
        "etcd          6 of 6 serving, 3.6.14, controller-2 leads",
        "certificates  the next to expire is /etc/k/a.crt on controller-1, in 30 days",
    ]
    assert found.well
    ill = [
        replace(found, complete=False),
        replace(found, machines=(replace(machines[0], api="not ready"),)),
        replace(found, etcd=Etcd((replace(members[0], serving=False),))),
        replace(found, etcd=Etcd((replace(members[0], alarms=("NOSPACE",)),))),
    ]
    assert [one.well for one in ill] == [False] * 4


def test_render_asks_no_machine_and_gives_the_same_bytes_before_anything_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hardway.yaml").write_text(INVENTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARDWAY_INVENTORY", raising=False)

    def written() -> dict[str, bytes]:
        ran = CliRunner().invoke(app, ["render", "tree"], catch_exceptions=False)
        assert ran.exit_code == 0
        return {str(path): path.read_bytes() for path in Path("tree").rglob("*") if path.is_file()}

    first = written()
    assert written() == first
    assert "⟦etcd/initial-cluster-token|" in first["tree/head/run/etcd/first-start.env"].decode()
    assert not (tmp_path / ".hardway").exists()


def test_plan_as_json_is_one_document() -> None:
    told: dict[str, Any] = json.loads(json.dumps(replace(EMPTY, items=(CHANGE,)).to_json()))
    assert told["items"][0]["key"] == "file:/etc/systemd/system/etcd.service"
    assert told["identifier"] == EMPTY.identifier

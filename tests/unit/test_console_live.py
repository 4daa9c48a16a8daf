"""The live table: what it holds, and that it fits."""

import pytest

from hardway.console.board import Board
from hardway.console.drawing import draw
from hardway.events import (
    ArtifactProgress,
    Changed,
    MachineProgress,
    Proved,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Transferred,
)

PHASES = (
    "hosts", "certs", "kubeconfigs", "encryption", "etcd", "control-plane", "load-balancer", "workers", "access",
    "routes", "dns", "smoke-test",
)  # fmt: skip
MACHINES = ("lb-0", "controller-0", "worker-0")


def board(*events, phases=PHASES, machines=MACHINES) -> Board:
    made = Board()
    for event in (RunStarted("init", "lab", machines, phases), *events):
        made.take(event, 10.0)
    return made


def test_cells_tell_what_each_machine_had_to_do():
    made = board(
        Changed("operator", "certs", "pki/ca.key", "create"),
        StepStarted("etcd"),
        MachineProgress("controller-0", "etcd", "running"),
        MachineProgress("controller-0", "etcd", "done"),
        StepFinished("etcd", 1),
        StepStarted("workers"),
        MachineProgress("worker-0", "workers", "running"),
    )
    drawn = draw(made, 80, 24, 14.0).plain.splitlines()
    assert drawn == [
        " hardway init  lab                                                workers  0:04",
        "",
        "                1  2  3  4  5  6  7  8  9 10 11 12    SENT   BUSY",
        " lb-0           ─  ─  ─  ─  ─  ─  ─  ·  ·  ·  ·  ·",
        " controller-0   ─  ─  ─  ─  ■  ─  ─  ·  ·  ·  ·  ·",
        " worker-0       ─  ─  ─  ─  ─  ─  ─  ►  ·  ·  ·  ·           0:04  workers",
        " operator       ─  ■  ─  ─  ─  ─  ─  ·  ·  ·  ·  ·",
        "",
        " 1 hosts  2 certs  3 kubeconfigs  4 encryption  5 etcd  6 control-plane",
        " 7 load-balancer  8 workers  9 access  10 routes  11 dns  12 smoke-test",
        " ■ done   ► at work   ─ nothing to do   · to come",
    ]


def test_one_chapter_stands_by_its_name():
    drawn = draw(board(phases=("etcd",)), 80, 24, 10.0).plain.splitlines()
    assert drawn[2].split() == ["etcd", "SENT", "BUSY"]
    assert drawn[3].split() == ["lb-0", "·"]


def test_the_end_leaves_nothing_to_come():
    made = board(RunFinished(True, 1, 0, 1.0))
    assert all(set(row.cells) == set(PHASES) for row in made.rows.values())


def test_a_failed_proof_stays_failed():
    made = board(
        Proved("worker-0", "dns", "resolves", False, "SERVFAIL"), Proved("worker-0", "dns", "runs", True, "2 pods")
    )
    assert made.rows["worker-0"].cells == {"dns": "failed"}


def test_the_machine_that_ended_the_run_is_marked():
    made = board(
        StepStarted("etcd"),
        MachineProgress("controller-0", "etcd", "running"),
        MachineProgress("worker-0", "etcd", "running"),
    )
    made.stop(frozenset({"worker-0"}), 12.0)
    assert made.rows["controller-0"].cells["etcd"] == "running"
    assert made.rows["worker-0"].cells["etcd"] == "failed"
    assert made.rows["worker-0"].busy == 2.0


def test_bytes_of_two_streams_add_up():
    made = board(Transferred("worker-0", 50, 100), Transferred("worker-0", 100, 100), Transferred("worker-0", 5, 40))
    assert made.sent.of("worker-0") == 105
    assert made.sent.under_way("worker-0") == (5, 40)


def test_a_stream_tells_its_share():
    made = board(
        StepStarted("upload"),
        MachineProgress("worker-0", "upload", "running"),
        Transferred("worker-0", 82_000_000, 163_000_000),
    )
    (row,) = [line for line in draw(made, 80, 24, 10.0).plain.splitlines() if line.startswith(" worker-0")]
    assert row.split()[-5:] == ["82", "MB", "upload", "50", "%"]


def test_a_stream_that_lasts_reports_its_rate_since_it_began_again():
    made = board(StepStarted("upload"), MachineProgress("worker-0", "upload", "running"))
    for sent, now in ((0, 10.0), (50_000_000, 20.0), (0, 30.0), (4_000_000, 32.0)):
        made.take(Transferred("worker-0", sent, 100_000_000), now)
    (row,) = [line for line in draw(made, 100, 24, 34.0).plain.splitlines() if line.startswith(" worker-0")]
    assert row.endswith("upload 4 % 1.0 MB/s")


def test_artifacts_on_their_way_have_a_line_each_and_many_are_counted():
    made = Board()
    for number in range(6):
        made.take(ArtifactProgress(f"file-{number}", "download", 30_000_000, 60_000_000), 10.0)
    made.take(ArtifactProgress("file-5", "download", 60_000_000, 60_000_000), 11.0)
    drawn = draw(made, 80, 24, 12.0).plain.splitlines()
    assert len(drawn) == 5
    assert drawn[0].split() == ["download", "file-0", "━━━━━━──────", "30", "MB", "of", "60", "MB", "0:02"]
    assert drawn[-1] == " and 1 more"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("count", [3, 100])
def test_it_fits_any_terminal(width, count):
    machines = tuple(f"a-machine-with-a-rather-long-name-{number}" for number in range(count))
    made = board(
        StepStarted("control-plane"),
        *(MachineProgress(name, "control-plane", "running", "waits for etcd to answer") for name in machines[::2]),
        *(ArtifactProgress(f"{name}.tar.gz", "download", 1, 10**9) for name in machines),
        machines=machines,
    )
    for ascii_only in (False, True):
        drawn = draw(made, width, 30, 99999.0, ascii_only=ascii_only).plain
        assert max(map(len, drawn.splitlines())) < width
        assert len(drawn.splitlines()) <= 30
        assert not ascii_only or drawn.replace("…", "").isascii()


def test_with_many_machines_those_at_work_are_seen():
    machines = tuple(f"worker-{number}" for number in range(50))
    made = board(StepStarted("workers"), MachineProgress("worker-40", "workers", "running"), machines=machines)
    drawn = draw(made, 80, 24, 10.0).plain
    assert " worker-40 " in drawn
    assert "more machines" in drawn

"""Plain lines: what a reader of a log sees."""

import io
from datetime import datetime

import pytest

from hardway.console.plain import SILENCE, Plain
from hardway.console.words import changes, clock, duration, machines, ranges, size
from hardway.events import (
    ArtifactProgress,
    Changed,
    Event,
    MachineProgress,
    Note,
    Proved,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    Transferred,
)

CONTROLLERS = ("controller-0", "controller-1", "controller-2")
MACHINES = ("lb-0", *CONTROLLERS, "worker-0")
START = RunStarted("init", "lab", MACHINES, ("certs", "etcd", "workers"))


class Log:
    """A sink of plain lines with a clock of its own."""

    def __init__(self, verbose: int = 0) -> None:
        self.out, self.err, self.seconds = io.StringIO(), io.StringIO(), 100.0
        noon = datetime(2026, 11, 21, 12, 0)
        self.sink = Plain(self.out, self.err, verbose, now=lambda: noon, ticks=lambda: self.seconds)

    def lines(self, *events: Event) -> list[str]:
        for event in events:
            self.sink(event)
        return [line.removeprefix("12:00:00 ") for line in self.out.getvalue().splitlines()]


def etcd(machine: str) -> list[Changed]:
    return [
        Changed(machine, "etcd", "file:/etc/etcd/etcd.conf", "create", "is not there"),
        Changed(machine, "etcd", "file:/etc/systemd/system/etcd.service", "create", "is not there"),
        Changed(machine, "etcd", "directory:/var/lib/etcd", "create", "is not there"),
        Changed(machine, "etcd", "service:etcd.service", "start", "is inactive"),
    ]


def test_machines_that_were_treated_alike_share_a_line():
    told = Log().lines(
        START,
        StepStarted("etcd"),
        *(change for machine in reversed(CONTROLLERS) for change in etcd(machine)),
        Changed("worker-0", "etcd", "file:/etc/hosts", "update", "content differs"),
        StepFinished("etcd", 1.3),
    )
    assert told == [
        "init            lab: lb-0 controller-0..2 worker-0",
        "etcd            controller-0..2: each created 2 files, 1 folder; started etcd.service",
        "etcd            worker-0: updated /etc/hosts (1.3 s)",
    ]


def test_verbose_tells_each_change_and_then_only_counts():
    told = Log(verbose=1).lines(StepStarted("etcd"), *etcd("controller-0"), StepFinished("etcd", 1.3))
    assert told == [
        "etcd            controller-0: created /etc/etcd/etcd.conf  (is not there)",
        "etcd            controller-0: created /etc/systemd/system/etcd.service  (is not there)",
        "etcd            controller-0: created /var/lib/etcd  (is not there)",
        "etcd            controller-0: started etcd.service  (is inactive)",
        "etcd            controller-0: 4 changes (1.3 s)",
    ]


def test_what_the_operator_makes_is_told_by_chapter_before_the_next_stage():
    made = [Changed("operator", "certs", f"pki/{name}", "create") for name in ("ca.key", "ca.crt", "a.crt")]
    told = Log().lines(*made, StepStarted("upload"))
    assert told == ["certs           operator: created 1 key, 2 certificates"]


def test_a_stage_tells_who_took_part_and_how_much_was_sent():
    told = Log().lines(
        START,
        StepStarted("upload"),
        Transferred("worker-0", 50, 163_000_000),
        Transferred("worker-0", 163_000_000, 163_000_000),
        Transferred("lb-0", 12_000_000, 12_000_000),
        StepFinished("upload", 4.6),
    )
    assert told[1:] == ["upload          lb-0 worker-0, 175 MB sent, 38 MB/s (4.6 s)"]


def test_artifacts_are_told_as_they_come_and_together():
    told = Log().lines(
        StepStarted("artifacts"),
        ArtifactProgress("etcd", "build", 0, 1),
        ArtifactProgress("etcd", "build", 1, 1),
        ArtifactProgress("runc", "download", 5, 12_000_000),
        ArtifactProgress("runc", "download", 12_000_000, 12_000_000),
        ArtifactProgress("runc", "ready", 12_000_000, 12_000_000),
        ArtifactProgress("etcd", "ready", 27_000_000, 27_000_000),
        StepFinished("artifacts", 25),
    )
    assert [line.removeprefix("artifacts").strip() for line in told] == [
        "build etcd begins",
        "build etcd (0.0 s)",
        "download runc, 12 MB (0.0 s)",
        "2 files at hand, 39 MB (25 s)",
    ]


def test_failed_proofs_are_told_one_by_one_and_the_others_counted():
    told = Log().lines(
        StepStarted("workers"),
        Proved("worker-0", "workers", "kubelet is active", True, "active"),
        Proved("worker-0", "workers", "node is Ready", False, "NotReady"),
        StepFinished("workers", 2),
    )
    assert told == [
        "workers         worker-0: node is Ready: FAILED: NotReady",
        "workers         1 of 2 proofs held (2.0 s)",
    ]


def test_the_end_says_what_changed_how_long_and_what_next():
    told = Log().lines(
        START,
        *etcd("controller-0"),
        *etcd("controller-1"),
        RunFinished(True, 8, 2, 14.2, ("kubectl get nodes",)),
    )
    assert told[2:] == [
        "",
        "Done in 14.2 s: 8 changes on 2 machines.",
        "  etcd 8",
        "  2 services started or restarted",
        "",
        "Next",
        "  kubectl get nodes",
    ]


def test_a_run_without_changes_says_so():
    assert Log().lines(START, RunFinished(True, 0, 0, 1.9))[-1] == "Nothing to do: 5 machines as declared (1.9 s)."


def test_a_run_that_breaks_off_says_how_far_it_came():
    log = Log()
    log.lines(START, *etcd("controller-0"))
    log.seconds += 3
    log.sink.broke_off()
    assert "Stopped after 3.0 s: 4 changes made so far." in log.lines()


def test_a_run_that_breaks_off_in_a_chapter_says_where_it_had_begun():
    log = Log()
    log.lines(
        START, MachineProgress("controller-0", "etcd", "running"), MachineProgress("worker-0", "upload", "running")
    )
    log.sink.broke_off()
    assert "Stopped after 0.0 s: changes begun on controller-0." in log.lines()


def test_warnings_go_to_the_error_stream():
    log = Log()
    assert log.lines(Note("late", "warning"), Note("by the way")) == ["note            by the way"]
    assert log.err.getvalue() == "12:00:00 warning         late\n"


def test_a_log_that_is_silent_says_what_is_waited_for():
    log = Log()
    started = [MachineProgress(name, "etcd", "running") for name in CONTROLLERS]
    log.lines(START, StepStarted("etcd"), *started, MachineProgress("controller-1", "etcd", "done"))
    log.seconds += SILENCE - 1
    log.sink.still()
    log.seconds += 1
    log.sink.still()
    log.sink.still()
    assert log.lines()[1:] == ["etcd            still at work: controller-0 controller-2"]


def test_a_long_silence_while_sending_tells_how_far_it_is():
    log = Log()
    log.sink(StepStarted("upload"))
    log.sink(MachineProgress("worker-0", "upload", "running"))
    log.sink(Transferred("worker-0", 0, 163_000_000))
    log.seconds += 20
    log.sink(Transferred("worker-0", 20_000_000, 163_000_000))
    log.sink.still()
    assert log.lines() == ["upload          still at work: worker-0 has 20 MB of 163 MB at 1.0 MB/s"]


@pytest.mark.parametrize(
    ("names", "everybody", "said"),
    [
        (["worker-1", "controller-1", "controller-0"], (), "controller-0 controller-1 worker-1"),
        (["w9", "w10", "w8"], (), "w8..10"),
        (["w08", "w09", "w10"], (), "w08 w09 w10"),
        (MACHINES, MACHINES, "all 5 machines"),
        (["a", "b"], ("a", "b"), "a b"),
    ],
)
def test_machines_in_few_words(names, everybody, said):
    assert machines(names, everybody) == said


def test_ranges_keep_the_order_given():
    assert ranges(["lb-0", "a-0", "a-1", "a-2", "a-4"]) == "lb-0 a-0..2 a-4"


def test_many_services_are_counted():
    assert changes([Changed("m", "c", f"service:{n}.service", "restart") for n in "abcd"]) == "restarted 4 services"


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (999, "999 B"), (12_345, "12 kB"), (1_250_000, "1.2 MB"), (163e6, "163 MB"), (1.1e9, "1.1 GB")],
)  # fmt: skip
def test_sizes(count, said):
    assert size(count) == said


def test_times():
    assert [duration(s) for s in (1.34, 42, 59.7, 289, 7500)] == ["1.3 s", "42 s", "1 min", "4 min 49 s", "2 h 5 min"]
    assert [clock(s) for s in (7, 760, 3760)] == ["0:07", "12:40", "1:02:40"]

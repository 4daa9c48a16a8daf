"""A component tries what it is to be started with: what counts as taken, and what a rollout does where it is not."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake.cluster import FakeCluster
from fake.commands import BINARIES

from hardway.declare.resources import Context, Difference, File, Service, Trial
from hardway.engine import trials
from hardway.engine.changes import Change
from hardway.engine.trials import REFUSED, trial_script
from hardway.errors import CommandFailed

UNIT, CONFIG = "kubelet.service", "/etc/kubelet/config.yaml"


def tried(folder: Path, program: str, ends: str = "", reaches: str = "") -> tuple[int, str]:
    """Exit status and words of a trial by a program of that text."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    service = Service(UNIT, trial=Trial((str(path), f"--config={CONFIG}"), ends, reaches))
    change = Change("m1", "workers", service.key, Difference("restart", ""), service)
    script = trial_script(service, [change], Context("m1"))
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30)
    return ran.returncode, ran.stderr.strip()


KUBERNETES = """printf '%s\\n' 'I1 started' 'E1 run.go:72] "command failed" err="open \\"x\\": is bad"'; exit 1"""
TAKEN = {
    "ends well": ("exit 0", "", ""),
    "ends as it must": ("echo 'no lock file specified'; exit 1", "no lock file", ""),
    "goes on after its configuration": ("echo 'dial: refused'; exec sleep 100", "", "refused"),
}
REFUSED_WITH = {
    "of Kubernetes": (KUBERNETES, "", "", 'open "x": is bad'),
    "of a flag": ("echo 'Error: unknown flag: --x'; exit 1", "", "", "unknown flag: --x"),
    "of etcd": (
        """echo '{"level":"fatal","msg":"discovery failed","error":"bad \\"x\\"","stacktrace":"y"}'; exit 1""",
        "data directory", "", 'bad "x"',
    ),
    "another end than it must have": ("echo 'out of memory'; exit 1", "no lock file", "", "out of memory"),
    "after it got so far": ("echo 'dial: refused'; sleep 0.3; echo 'panic: no'; exit 1", "", "refused", "no"),
}  # fmt: skip


@pytest.mark.parametrize(("program", "ends", "reaches"), TAKEN.values(), ids=TAKEN)
def test_a_program_that_takes_its_configuration(tmp_path: Path, program: str, ends: str, reaches: str) -> None:
    assert tried(tmp_path, program, ends, reaches) == (0, "")


@pytest.mark.parametrize(("program", "ends", "reaches", "said"), REFUSED_WITH.values(), ids=REFUSED_WITH)
def test_a_program_that_does_not_says_why(tmp_path: Path, program: str, ends: str, reaches: str, said: str) -> None:
    assert tried(tmp_path, program, ends, reaches) == (REFUSED, said)


def test_a_program_that_goes_on_for_ever_is_ended_and_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_TRIAL", trials._TRIAL.replace(f"left={trials.TRIAL_SECONDS * 5}", "left=2"))
    assert tried(tmp_path, "exec sleep 100") == (0, "")


def test_what_is_not_in_place_yet_is_read_where_it_waits_and_named_as_it_will_be() -> None:
    service = Service(UNIT, trial=Trial(("/bin/kubelet", f"--config={CONFIG}", f"--other={CONFIG}.d")))
    changes = [
        Change("m1", "workers", f"file:{CONFIG}", Difference("update", ""), File(CONFIG, "a: 1\n")),
        Change("m1", "workers", service.key, Difference("restart", ""), service),
    ]
    script = trial_script(service, changes, Context("m1"))
    staged = next(word for word in script.split() if word.startswith("--config="))
    assert staged.startswith("--config=/var/lib/hardway/stage/files/")
    assert f"--other={CONFIG}.d" in script
    assert f"s|{staged.removeprefix('--config=')}|{CONFIG}|g" in script


def test_who_is_not_restarted_tries_nothing() -> None:
    service = Service(UNIT, trial=Trial(("/bin/kubelet",)))
    start = Change("m1", "workers", service.key, Difference("start", ""), service)
    assert trial_script(service, [start], Context("m1")) == ""
    assert trial_script(service, [], Context("m1")) == ""


THREE = """\
cluster: three
machines:
  lb: {role: load-balancer, address: 10.240.0.5}
  c0: {role: controller, address: 10.240.0.10}
  c1: {role: controller, address: 10.240.0.11}
  c2: {role: controller, address: 10.240.0.12}
  w0: {role: worker, address: 10.240.0.20}
"""
API_SERVER = "/etc/systemd/system/kube-apiserver.service"
PICKY = """\
#!/bin/sh
case "$*" in *--goaway-chance=2*) echo 'E1 "command failed" err="--goaway-chance can not be 2"'; exit 1 ;; esac
"""


def test_a_rollout_stops_before_its_first_member_changes(
    new_cluster: Callable[[str], FakeCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BINARIES, "kube-apiserver", PICKY)
    made = new_cluster(THREE)
    made.init()
    before = {name: machine.read(API_SERVER) for name, machine in made.machines.items() if name.startswith("c")}
    running = {name: made.machines[name].runs_with("kube-apiserver.service") for name in before}
    made.inventory.write_text(THREE + "settings: {kube-apiserver: {goaway-chance: 2}}\n")
    with pytest.raises(CommandFailed) as caught:
        made.init()
    error = caught.value
    assert error.what == "kube-apiserver does not take what it would be started with: --goaway-chance can not be 2"
    assert error.machine in before
    others = ", ".join(name for name in before if name != error.machine)
    assert error.said == f"it runs on as before; {others}: not touched"
    assert {name: made.machines[name].read(API_SERVER) for name in before} == before
    assert {name: made.machines[name].runs_with("kube-apiserver.service") for name in before} == running

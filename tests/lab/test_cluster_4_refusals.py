"""What hardway refuses on a living cluster: a clear error, and nothing lost, made or restarted."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from driving import Labs, Ran, Site, renamed, until

pytestmark = pytest.mark.lab


@contextmanager
def nothing_happens(site: Site) -> Iterator[None]:
    """No process starts, no file is written and no authority is made, whatever was refused."""
    before = site.processes(), site.authorities(), site.writings()
    yield
    assert (site.processes(), site.authorities(), site.writings()) == before


def refused(site: Site, *words: str, code: int = 1) -> str:
    """What was said: a cause and a next move, and never a traceback."""
    said = site.hardway(*words, code=code).out
    assert "error" in said
    assert "next" in said
    assert "Traceback" not in said
    return " ".join(said.split())


@contextmanager
def aside(path: Path, *kept: str) -> Iterator[None]:
    """A folder is lost but for a few files; it comes back after."""
    away = path.with_name(f"{path.name}.aside")
    path.rename(away)
    path.mkdir(0o700)
    for name in kept:
        source = away / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, path / name)
    try:
        yield
    finally:
        shutil.rmtree(path)
        away.rename(path)


def test_a_lost_workspace_makes_no_new_authority(seven: Site) -> None:
    with nothing_happens(seven):
        with aside(seven.workspace, "lab", "known_hosts"):
            said = refused(seven, "init", "--yes")
            assert not (seven.workspace / "pki").exists()
        assert "part of a running cluster" in said
        assert "restore the workspace" in said
    seven.unchanged("init")


def test_a_lost_key_is_not_created_again(seven: Site) -> None:
    for lost in ("pki/ca.key", "pki/sa.key", "secrets/encryption-key"):
        path = seven.workspace / lost
        content = path.read_bytes()
        path.unlink()
        try:
            said = refused(seven, "init", "--yes")
            assert not path.exists()
        finally:
            path.touch(0o600)
            path.write_bytes(content)
        assert lost in said
    seven.unchanged("init")


def test_a_wiped_etcd_member_is_not_initialised_again(seven: Site) -> None:
    cluster = seven.etcd_cluster_id("controller-0")
    seven.on("controller-2", "systemctl stop etcd && mv /var/lib/etcd/member /var/lib/member.aside")
    try:
        with nothing_happens(seven):
            said = refused(seven, "init", "--yes")
        assert "controller-2: its etcd data is gone" in said
        assert "a wiped member must not be initialised again" in said
        # systemd alone, as at a boot, makes no second cluster either.
        seven.on(
            "controller-2", "systemctl start --no-block etcd; sleep 3; systemctl stop etcd; rm -rf /var/lib/etcd/*"
        )
        assert seven.etcd_cluster_id("controller-0") == cluster
    finally:
        seven.on("controller-2", "mv /var/lib/member.aside /var/lib/etcd/member && systemctl start etcd")
    assert seven.etcd("controller-0", "endpoint", "health", "--cluster", "2>&1").count("is healthy") == 3
    seven.init()


@contextmanager
def held(site: Site, command: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has all its locks, stopped in the middle."""
    with site.start(command, "-o", "json", stdout=subprocess.PIPE) as run:
        try:
            assert run.stdout
            for line in run.stdout:
                event = json.loads(line)
                if event["event"] == "StepStarted" and event["step"] == "observe":
                    break
            run.send_signal(signal.SIGSTOP)
            yield run
        finally:
            run.kill()
            run.wait()


def test_a_second_operator_is_told_who_is_at_work(seven: Site, tmp_path: Path) -> None:
    colleague = Site.of(tmp_path / "colleague", seven.cluster, seven.inventory.read_text())
    shutil.copytree(seven.folder, colleague.folder, dirs_exist_ok=True)
    with held(seven, "init") as first:
        same = refused(seven, "init", "--yes", code=4)
        assert str(first.pid) in same
        other = refused(colleague, "init", "--yes", code=4)
        assert str(first.pid) in other
        assert any(machine in other for machine in seven.machines)
    # The holder was killed: its locks went with it.
    seven.unchanged("init")
    # Of the copy only what names its own folder is made anew.
    assert {machine for machine, _, _ in colleague.init().changes} <= {"operator"}


def test_a_lab_that_is_down_is_said_at_once_without_contacting_an_address(labs: Labs) -> None:
    site = labs.make("hwtest-3", renamed("lab-small.yaml", "hwtest-3"))
    for words in (("init", "--yes"), ("reset", "--yes"), ("kubectl", "get", "nodes"), ("ssh", "node-0"), ("etcd",)):
        began = time.monotonic()
        said = refused(site, *words)
        assert "the lab hwtest-3 is not up; no address was contacted" in said
        # No time-out of any connection is as short.
        assert time.monotonic() - began < 5
    assert not (site.workspace / "logs").exists()


def test_a_machine_that_cannot_be_reached_is_named(seven: Site) -> None:
    seven.hardway("lab", "power-off", "worker-2")
    try:
        said = refused(seven, "init", "--yes")
        assert "worker-2: " in said
        assert "worker-1: " not in said
        seven.unchanged("etcd", "-l", "controller")
    finally:
        seven.hardway("lab", "power-on", "worker-2")
    until(lambda: len(seven.nodes_ready()) == 3, 60, "worker-2 is Ready")
    seven.unchanged("init")


def without(*machines: str) -> Callable[[str], str]:
    """Takes machines out of an inventory's text."""

    def edit(text: str) -> str:
        gone = tuple(f"  {machine}:" for machine in machines)
        return "\n".join(line for line in text.splitlines() if not line.startswith(gone)) + "\n"

    return edit


CHANGED: dict[str, tuple[Callable[[str], str], str]] = {
    "a controller was taken out": (
        without("controller-1", "controller-2"),
        "controller-1: is part of the running cluster (controller) and not in the inventory",
    ),
    "a worker was taken out": (
        without("worker-2"),
        "worker-2: is part of the running cluster (worker) and not in the inventory",
    ),
    "an address was changed": (
        lambda text: text.replace("10.245.0.12", "10.245.0.13"),
        "controller-2: has address 10.245.0.12 in the running cluster, the inventory says 10.245.0.13",
    ),
    "the service range was changed": (
        lambda text: text.replace("10.32.0.", "10.33.0."),
        "network.service_cidr is 10.32.0.0/24 in the running cluster and cannot become 10.33.0.0/24",
    ),
    "another version is asked for": (
        lambda text: text.replace("\nendpoint:", "\nkubernetes: 1.35.6\nendpoint:"),
        "Kubernetes 1.36.4 → 1.35.6 is a downgrade; not supported",
    ),
}  # fmt: skip


def test_what_an_ordinary_run_must_not_change_is_refused(seven: Site) -> None:
    text = seven.inventory.read_text()
    try:
        with nothing_happens(seven):
            for change, (edit, expected) in CHANGED.items():
                seven.inventory.write_text(edit(text))
                assert expected in refused(seven, "init", "--yes"), change
    finally:
        seven.inventory.write_text(text)


def test_a_mistake_in_the_inventory_is_told_in_one_line_with_its_place(seven: Site) -> None:
    text = seven.inventory.read_text()
    seven.inventory.write_text(text.replace("role: worker, address: 10.245.0.21", "rol: worker, address: 10.245.0.21"))
    try:
        ran: Ran = seven.hardway("init", "--yes", code=2)
    finally:
        seven.inventory.write_text(text)
    line = 1 + next(n for n, one in enumerate(text.splitlines()) if "worker-1:" in one)
    assert f"hardway.yaml:{line}:" in ran.out
    assert "rol" in ran.out

"""Building from Go modules: keys, refusals, and a real build of the smallest component."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hardway.artifacts.build import Build, built, go_version, plan_build, refuse_other_machine, run_build
from hardway.artifacts.catalogue import Arch, Recipe, Release, releases_for
from hardway.artifacts.store import Store, default_store
from hardway.errors import ArtifactError
from hardway.events import ArtifactProgress, Event, discard

RELEASES = releases_for("1.36.4")
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example.test/hello\n\ngo 1.24.0\n")
    (folder / "main.go").write_text('package main\n\nvar word string\n\nfunc main() { println("hello", word) }\n')
    return folder


def build_of(folder: Path, arch: Arch = "amd64", version: str = "go1.26.8", word: str = "a") -> Build:
    recipe = Recipe("hello", (("hello", "example.test/hello"),), (("main.word", word),))
    return Build(Release("hello", "1.0", recipe), arch, folder, version)


def fake_go(folder: Path, answer: str) -> str:
    """A search path with a `go` that answers so, and nothing else."""
    folder.mkdir()
    script = folder / "go"
    script.write_text(f"#!/bin/sh\nprintf '{answer}'\n")
    script.chmod(0o755)
    return str(folder)


class TestKey:
    def test_it_is_stable(self, module: Path) -> None:
        assert build_of(module).key == build_of(module).key

    def test_it_does_not_depend_on_where_the_module_lies(self, module: Path, tmp_path: Path) -> None:
        assert build_of(Path(shutil.copytree(module, tmp_path / "copy"))).key == build_of(module).key

    @pytest.mark.parametrize(
        "changed",
        [
            lambda folder: build_of(folder, arch="arm64"),
            lambda folder: build_of(folder, version="go1.26.9"),
            lambda folder: build_of(folder, word="b"),
        ],
        ids=["architecture", "Go version", "flags"],
    )
    def test_it_depends_on(self, module: Path, changed: Callable[[Path], Build]) -> None:
        assert changed(module).key != build_of(module).key

    @pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go"])
    def test_it_depends_on_each_file(self, module: Path, name: str) -> None:
        before = build_of(module).key
        with (module / name).open("a") as file:
            file.write("// changed\n")
        assert build_of(module).key != before


class TestCommand:
    def test_it_is_reproducible_and_static(self) -> None:
        build = Build(RELEASES["kubernetes"], "arm64", Path("/components"), "go1.26.8")
        assert build.command[:6] == (
            "go",
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
        )
        assert build.command[6].startswith("-s -w -X k8s.io/component-base/version.gitVersion=v1.36.4 ")
        assert build.environment["CGO_ENABLED"] == "0"
        assert (build.environment["GOARCH"], build.environment["GOFLAGS"]) == ("arm64", "")

    def test_runc_is_linked_statically_with_seccomp(self) -> None:
        build = Build(RELEASES["runc"], "amd64", Path("/components"), "go1.26.8")
        assert "seccomp,netgo,osusergo" in build.command
        assert build.command[-1].endswith("-extldflags -static")
        assert build.environment["CGO_ENABLED"] == "1"

    def test_runc_for_the_other_architecture_says_what_it_needs(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        monkeypatch.setenv("PATH", str(tmp_path))
        build = Build(RELEASES["runc"], "arm64", tmp_path, "go1.26.8")
        assert build.environment["CC"] == "aarch64-linux-gnu-gcc"
        with pytest.raises(ArtifactError, match="runc for arm64 needs a C compiler") as failed:
            run_build(build, store, discard)
        assert "gcc-aarch64-linux-gnu pkg-config libseccomp-dev:arm64" in (failed.value.hint or "")

    def test_where_there_is_no_linux_what_is_built_with_c_is_refused(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("platform.system", lambda: "Darwin")
        with pytest.raises(ArtifactError, match="runc is built with a C compiler for Linux, and this is Darwin") as it:
            run_build(Build(RELEASES["runc"], "amd64", tmp_path, "go1.26.8"), store, discard)
        assert it.value.hint == "use `--source download` or a mirror, or build on Linux"


class TestGo:
    def test_a_missing_go_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="no `go` on PATH") as failed:
            go_version("1.26.0", str(tmp_path))
        assert "--source download" in (failed.value.hint or "")

    def test_an_old_go_is_said_with_both_versions(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match=r"needs Go 1\.26\.0 or newer, and .*/go is go1\.24\.1"):
            go_version("1.26.0", fake_go(tmp_path / "bin", "go1.24.1\\nlocal\\n"))

    def test_an_old_go_that_fetches_the_newer_one_will_do(self, tmp_path: Path) -> None:
        path = fake_go(tmp_path / "bin", "go1.24.1\\nauto\\n")
        assert go_version("1.26.0", path) == "go1.26.0"

    def test_a_newer_go_is_used_as_it_is(self, tmp_path: Path) -> None:
        assert go_version("1.26.0", fake_go(tmp_path / "bin", "go1.27.1\\nlocal\\n")) == "go1.27.1"

    def test_a_go_that_does_not_work_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="does not work"):
            go_version("1.26.0", fake_go(tmp_path / "bin", ""))


@needs_go
class TestBuilding:
    def test_a_component_is_built_once(self, store: Store) -> None:
        build = plan_build(RELEASES["pause"], "amd64")
        events: list[Event] = []
        assert built(build, store) is None
        first = run_build(build, store, events.append)
        assert run_build(build, store, events.append) == first == built(build, store)
        assert events == [ArtifactProgress("pause", "build", 0, 1), ArtifactProgress("pause", "build", 1, 1)]

    def test_two_runs_at_once_build_it_once(self, store: Store, module: Path) -> None:
        events: list[Event] = []
        with ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(run_build, build_of(module), Store(store.root), events.append) for _ in range(4)]
        assert len({run.result()["hello"].digest for run in runs}) == 1
        assert events.count(ArtifactProgress("hello", "build", 0, 1)) == 1

    def test_variables_and_architecture_arrive(self, store: Store, module: Path) -> None:
        blob = run_build(build_of(module, word="there"), store, discard)["hello"]
        assert b"there" in blob.path.read_bytes()
        other = run_build(build_of(module, arch="arm64"), store, discard)["hello"]
        refuse_other_machine(other.path, "arm64")
        with pytest.raises(ArtifactError, match="for amd64 made an ELF file for machine 183"):
            refuse_other_machine(other.path, "amd64")

    def test_what_was_built_for_another_processor_is_refused_and_not_kept(
        self, store: Store, module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        go = Path(fake_go(tmp_path / "bin", "")) / "go"
        go.write_text('#!/bin/sh\nfor word; do case $word in */) to=$word;; esac; done\nprintf script >"${to}hello"\n')
        monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
        with pytest.raises(ArtifactError, match="the build of hello for arm64 made no ELF file") as failed:
            run_build(build_of(module, arch="arm64"), store, discard)
        assert "GOARCH=arm64" in (failed.value.hint or "")
        assert built(build_of(module, arch="arm64"), store) is None

    @pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-user")
    def test_what_was_built_for_arm64_runs_there(self) -> None:
        # In the user's own cache: cold it is half a minute, and the next `make test` has it.
        plugins = run_build(plan_build(RELEASES["cni-plugins"], "arm64"), default_store(), discard)
        for name in ("bridge", "host-local", "loopback", "portmap"):
            argv = ["qemu-aarch64", str(plugins[name].path)]
            said = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stderr
            assert said.startswith(f"CNI {name} plugin v1.9.1\n")

    def test_the_callers_settings_do_not_change_it(
        self, store: Store, module: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        plain = run_build(build_of(module), store, discard)
        monkeypatch.setenv("GOFLAGS", "-mod=vendor")
        monkeypatch.setenv("GOOS", "darwin")
        assert run_build(build_of(module), Store(tmp_path / "other"), discard)["hello"].digest == (
            plain["hello"].digest
        )

    def test_a_read_only_module_is_built(self, store: Store, module: Path) -> None:
        for path in (*module.iterdir(), module):
            path.chmod(0o555)
        assert run_build(build_of(module), store, discard)

    def test_a_failure_says_what_the_compiler_said(self, store: Store, module: Path) -> None:
        (module / "main.go").write_text("package main\n\nfunc main() { nothing() }\n")
        with pytest.raises(ArtifactError, match=r"hello 1\.0 for amd64 could not be built") as failed:
            run_build(build_of(module), store, discard)
        assert "undefined: nothing" in (failed.value.said or "")
        assert built(build_of(module), store) is None

    def test_a_lost_binary_is_built_again(self, store: Store, module: Path) -> None:
        first = run_build(build_of(module), store, discard)["hello"]
        first.path.unlink()
        assert built(build_of(module), store) is None
        assert run_build(build_of(module), store, discard)["hello"].digest == first.digest

    def test_pause_says_its_version(self, pause: Path) -> None:
        said = subprocess.run([pause, "--version"], capture_output=True, text=True, check=True).stdout
        assert said == "pause 3.10.2\n"

    @pytest.mark.skipif(os.geteuid() != 0, reason="needs a process namespace of its own")
    def test_pause_as_process_1_reaps_and_goes_when_told(self, pause: Path) -> None:
        script = f"sleep 0.01 & exec {pause}"
        argv = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        with subprocess.Popen(argv) as process:
            until(lambda: bool(first := children(process.pid)) and name_of(first[0]) == pause.name[:15])
            (init,) = children(process.pid)
            until(lambda: children(init) == [])
            os.kill(init, signal.SIGTERM)
            assert process.wait(5) == 0


@pytest.fixture
def pause(store: Store) -> Path:
    return run_build(plan_build(RELEASES["pause"], "amd64"), store, discard)["pause"].path


def until(holds: Callable[[], bool]) -> None:
    """Wait, five seconds at most, until it holds."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        os.sched_yield()


def children(pid: int) -> list[int]:
    """The children of a process, those that ended and were not reaped included."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_version_beyond_the_catalogue_is_not_built() -> None:
    with pytest.raises(ArtifactError, match=r"etcd 3\.6\.15 cannot be built: components/ pins another") as failed:
        plan_build(RELEASES["etcd"].at("3.6.15"), "amd64")
    assert "--source download" in (failed.value.hint or "")


def test_a_module_missing_from_the_installation_is_said() -> None:
    release = replace(RELEASES["pause"], recipe=replace(RELEASES["pause"].recipe, module="none"))
    with pytest.raises(ArtifactError, match=r"none/go\.mod is missing"):
        plan_build(release, "amd64")

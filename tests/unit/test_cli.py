"""The command line as a user meets it: what it lists, how it refuses, with which status it ends."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from in_process import ran, tree

from hardway import __version__
from hardway.cli.chapters import SUMMARIES
from hardway.cli.commands import COMMANDS
from hardway.declare.phases import PHASE_NAMES

LAB = """\
cluster: nobody-has-this-lab
lab: {network: 10.251.7.0/24}
machines:
  c0: {role: [controller, worker], address: 10.251.7.10}
"""
REAL = """\
cluster: real
machines:
  c0: {role: [controller, worker], address: 192.0.2.10, ssh: {host: 127.0.0.2, port: 1}}
  w0: {role: worker, address: 192.0.2.20, ssh: {host: 127.0.0.3, port: 1}}
"""
Run = Callable[..., "Ran"]
HEAVY = (
    "fabric", "paramiko", "pydantic", "jinja2", "cryptography", "yaml", "httpx", "zstandard", "rich.live",
    "hardway.cli.options", *(f"hardway.cli.{command.module}" for command in COMMANDS.values()),
)  # fmt: skip


@dataclass(frozen=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def hardway(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs the command in this process, in a folder of its own and without a terminal."""
    monkeypatch.chdir(here)
    monkeypatch.delenv("HARDWAY_INVENTORY", raising=False)
    for name, value in {"HOME": here, "XDG_CACHE_HOME": here / "cache", "COLUMNS": 100, "NO_COLOR": 1}.items():
        monkeypatch.setenv(name, str(value))

    return lambda *words: Ran(*ran(monkeypatch, capsys, *words))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "real.yaml").write_text(REAL)
    return tmp_path


def test_the_light_table_of_chapters_is_the_real_one() -> None:
    assert tuple(SUMMARIES) == PHASE_NAMES


def test_every_command_is_listed_with_the_first_line_of_its_own_help() -> None:
    own = {name: command.help.splitlines()[0].strip() for name, command in tree().commands.items()}
    assert own == {name: command.summary.strip() for name, command in COMMANDS.items()}


def test_help_lists_the_chapters_numbered_and_in_their_order(hardway: Run) -> None:
    ran = hardway("--help")
    assert ran.returncode == 0
    rows = re.findall(r"^\W*([a-z-]+)\s+(\d+)  ", ran.stdout, re.MULTILINE)
    assert [name for name, _ in rows] == list(PHASE_NAMES)
    assert [int(number) for _, number in rows] == list(range(1, len(PHASE_NAMES) + 1))
    for command in ("init", "apply", "reset", "preflight", "lab", "artifacts", "kubectl", "ssh", "logs", "inventory"):
        assert re.search(rf"^\W*{command}\s", ran.stdout, re.MULTILINE), command


def test_help_imports_nothing_heavy(here: Path) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['hardway', '--help']\n"
        "from hardway.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("module", ["plan", "init", "verify", "status"])
def test_a_run_that_gets_nothing_loads_no_client_for_downloads(module: str) -> None:
    code = f"import sys, hardway.cli.{module}\nprint([name for name in ('httpx', 'rich.live') if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_the_version_is_looked_up_once() -> None:
    """Each entry of a journal holds it, so hundreds of times in a run."""
    assert vars(sys.modules["hardway"])["__version__"] == __version__


@pytest.mark.parametrize("words", [("--help",), ("etcd", "--help"), ("init", "--help"), ("lab", "--help")])
def test_every_help_answers(hardway: Run, words: tuple[str, ...]) -> None:
    ran = hardway(*words)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_version(hardway: Run) -> None:
    ran = hardway("--version")
    assert (ran.returncode, ran.stdout) == (0, f"{__version__}\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("init", "-i", "missing.yaml"), "missing.yaml"),
        (("init",), "hardway.yaml"),
        (("init", "-i", "real.yaml", "--from", "etc"), "no chapter is named 'etc'"),
        (("apply", "-i", "real.yaml", "etcd", "nonsense"), "no chapter is named 'nonsense'"),
        (("init", "-i", "real.yaml", "--from", "dns", "--to", "hosts"), "dns comes after hosts"),
        (("init", "-i", "real.yaml", "-l", "c9"), "c9"),
        (("init", "--no-such-flag"), "--no-such-flag"),
        (("no-such-command",), "no-such-command"),
        (("init", "-i", "real.yaml", "--forks", "0"), "forks"),
        (("reset", "-i", "real.yaml"), "nothing was reset"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(hardway: Run, here: Path, words: tuple[str, ...], says: str) -> None:
    ran = hardway(*words)
    assert ran.returncode == 2, ran.stderr
    assert says in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not (here / ".hardway").exists()


@pytest.mark.parametrize("command", ["init", "etcd", "preflight", "ssh", "kubectl", "artifacts"])
def test_a_mistake_in_the_inventory_is_one_line_with_its_place(hardway: Run, here: Path, command: str) -> None:
    (here / "bad.yaml").write_text("cluster: bad\nmachines:\n  c0: {role: controler, address: 10.0.0.1}\n")
    words = {"ssh": ("ssh", "-i", "bad.yaml", "c0"), "kubectl": ("kubectl", "-i", "bad.yaml", "get", "nodes")}
    ran = hardway(*words.get(command, (command, "-i", "bad.yaml")))
    assert ran.returncode == 2
    assert re.search(r"bad\.yaml:3:\d+: machines\.c0", ran.stderr)
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "words",
    [("init",), ("etcd",), ("apply", "dns"), ("preflight",), ("reset", "--yes"), ("ssh", "c0"), ("logs", "c0"),
     ("kubectl", "get", "nodes")],
)  # fmt: skip
def test_with_its_lab_down_nothing_is_contacted(
    hardway: Run, here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("HARDWAY_INVENTORY", "lab.yaml")
    ran = hardway(*words)
    assert ran.returncode == 1
    assert "the lab nobody-has-this-lab is not up; no address was contacted" in ran.stderr
    assert "hardway lab up" in ran.stderr
    assert not (here / ".hardway").exists()


def test_machines_that_do_not_answer_are_named_with_the_next_move(hardway: Run) -> None:
    ran = hardway("preflight", "-i", "real.yaml")
    assert ran.returncode == 1
    assert "c0" in ran.stderr
    assert "w0" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_who_comes_second_is_told_and_ends_with_four(hardway: Run, here: Path) -> None:
    from hardway.workspace import Workspace

    workspace = Workspace(here / ".hardway" / "real")
    workspace.create()
    with workspace.lock("ann@office (pid 7): hardway init"):
        ran = hardway("init", "-i", "real.yaml")
    assert ran.returncode == 4
    assert "is in use by ann@office (pid 7): hardway init" in ran.stderr


def test_the_inventory_is_checked_and_its_schema_printed(hardway: Run) -> None:
    ran = hardway("inventory", "check", "-i", "real.yaml")
    assert (ran.returncode, "2 machines (1 controller, 2 workers)" in ran.stdout) == (0, True)
    assert '"machines"' in hardway("inventory", "schema").stdout


def test_a_new_inventory_calls_itself_by_its_own_name(hardway: Run) -> None:
    hardway("inventory", "new", "mine.yaml", "--shape", "lab")
    text = Path("mine.yaml").read_text()
    assert "hardway lab up -i mine.yaml" in text
    assert "inventories/" not in text


def test_a_fault_of_our_own_is_no_traceback_either(hardway: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **flags: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("hardway.cli.init.run", fail)
    ran = hardway("init")
    assert ran.returncode == 1
    assert "RuntimeError: boom" in ran.stderr
    assert "HARDWAY_DEBUG=1" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_interrupt_says_that_the_same_command_goes_on(hardway: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*words: object, **flags: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hardway.cli.init.run", interrupted)
    ran = hardway("init")
    assert ran.returncode == 130
    assert "interrupted" in ran.stderr
    assert "run the same command again; finished steps are skipped" in ran.stderr


def test_a_smoke_test_of_some_machines_is_refused_before_any_is_contacted(hardway: Run, here: Path) -> None:
    ran = hardway("smoke-test", "-i", "real.yaml", "-l", "w0")
    assert ran.returncode == 2
    assert "the smoke test needs all machines" in ran.stderr
    assert not (here / ".hardway").exists()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("hardway init -i real.yaml -l w", ["w0", "worker"]),
        ("hardway init -i real.yaml -l c0,w", ["c0,w0", "c0,worker"]),
        ("hardway ssh -i real.yaml w", ["w0", "worker"]),
        ("hardway logs -i real.yaml w", ["w0", "worker"]),
        ("hardway lab power-on -i real.yaml w", ["w0"]),
        ("hardway lab ssh -i real.yaml w", ["w0"]),
        ("hardway schema inventory-s", ["inventory-show"]),
    ],
)
def test_completion_knows_the_names_that_make_sense(hardway: Run, here: Path, words: str, offered: list[str]) -> None:
    asked = subprocess.run(
        [Path(sys.executable).with_name("hardway")], cwd=here, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "_HARDWAY_COMPLETE": "complete_bash", "COMP_CWORD": str(words.count(" ")),
             "COMP_WORDS": words},
    )  # fmt: skip
    assert asked.stdout.split() == offered


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("plan", "-o", "json", "--nonsense"), "--nonsense"),
        (("nonsense", "-o", "json"), "nonsense"),
        (("init", "--output=json", "--forks", "many"), "--forks"),
    ],
)
def test_a_wrong_command_line_is_json_too(hardway: Run, words: tuple[str, ...], what: str) -> None:
    ran = hardway(*words)
    failed = json.loads(ran.stdout)
    assert (ran.returncode, failed["kind"], failed["code"], ran.stderr) == (2, "UsageError", 2, "")
    assert what in failed["what"]


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyError("name"), OSError(28, "No space left on device")])
def test_a_program_that_asked_for_json_gets_every_failure_as_json(
    hardway: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*words: object, **flags: object) -> None:
        raise error

    monkeypatch.setattr("hardway.cli.init.run", fail)
    ran = hardway("init", "-o", "json")
    failed = json.loads(ran.stdout)
    assert (ran.returncode, failed["event"], failed["code"], ran.stderr) == (1, "Failed", 1, "")
    assert str(error.args[-1]) in failed["what"]

"""The computer that hardway is typed on: without a home or a name, with odd streams, killed: a line, no traceback."""

import errno
import json
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hardway.cli.computer import complete_environment
from hardway.cli.failing import as_error, wants_json
from hardway.cli.reach import to_machine
from hardway.console.streams import encodable
from hardway.errors import INTERRUPTED, HardwayError, Interrupted

INVENTORY = """\
cluster: real
machines:
  c0: {role: [controller, worker], address: 192.0.2.10, ssh: {host: 127.0.0.2, port: 1}}
"""
HARDWAY = f"{sys.executable} -m hardway"
NEXT = "next   send it to a terminal, or to a disk with space; then run it again"
NOBODY = 2**31 - 7
"""A uid that no computer knows."""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "hardway.yaml").write_text(INVENTORY)
    return tmp_path


def shell(here: Path, script: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """The script in that folder, with `hardway` as a variable and an environment of almost nothing."""
    return subprocess.run(
        ["bash", "-c", f"hardway='{HARDWAY}'; {script}"], cwd=here, capture_output=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "complete"),
    [
        ({}, {"HOME": "/", "LOGNAME": str(NOBODY)}),
        ({"USER": "ann"}, {"HOME": "/", "LOGNAME": "ann", "USER": "ann"}),
        ({"HOME": "/home/ann", "LOGNAME": "ann"}, {"HOME": "/home/ann", "LOGNAME": "ann"}),
    ],
)
def test_a_uid_without_a_passwd_entry_has_a_home_and_a_name(given: dict[str, str], complete: dict[str, str]) -> None:
    complete_environment(given, NOBODY)
    assert given == complete


def test_who_has_a_passwd_entry_has_its_home_where_none_is_set() -> None:
    environment: dict[str, str] = {}
    complete_environment(environment)
    assert environment == {"HOME": str(Path.home())}


@pytest.mark.parametrize(
    ("text", "encoding", "printed"),
    [
        ("[CHAPTER]… → ⟦token⟧ ·", "iso-8859-1", "[CHAPTER]... -> [[token]] ·"),
        ("[CHAPTER]… → ⟦token⟧ ·", "ascii", "[CHAPTER]... -> [[token]] -"),
        ("Zoë 日本", "iso-8859-1", "Zoë ??"),
        ("Zoë → 日本", "utf-8", "Zoë → 日本"),
    ],
)
def test_what_an_encoding_lacks_is_spelled(text: str, encoding: str, printed: str) -> None:
    assert encodable(text, encoding) == printed


@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii"])
@pytest.mark.parametrize(
    "words", ["plan -h", "render out", "explain workers", "plan", "inventory new --shape lab x.yaml"]
)
def test_every_page_can_be_printed_in_an_old_encoding(here: Path, encoding: str, words: str) -> None:
    ran = shell(here, f"$hardway {words}", PYTHONIOENCODING=encoding)
    assert b"UnicodeEncodeError" not in ran.stdout + ran.stderr
    assert ran.returncode == (1 if words == "plan" else 0), ran.stderr


@pytest.mark.parametrize("words", ["map", "explain -o shell etcd", "explain -o markdown etcd", "inventory new"])
def test_what_programs_read_is_utf_8_whatever_the_locale(here: Path, words: str) -> None:
    usual = shell(here, f"$hardway {words}", PYTHONIOENCODING="utf-8")
    assert (usual.returncode, usual.stderr) == (0, b"")
    assert shell(here, f"$hardway {words}", PYTHONIOENCODING="iso-8859-1").stdout == usual.stdout


@pytest.mark.parametrize("words", ["-h", "--version", "plan", "explain etcd", "schema events", "lab break --list"])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_an_output_that_cannot_be_written_is_a_line(here: Path, words: str, where: str) -> None:
    ran = shell(here, f"$hardway {words} {where}")
    said = ran.stderr.decode().splitlines()
    assert ran.returncode == 1
    assert [line.split(":")[0] for line in said] == ["error  standard output could not be written", NEXT]


@pytest.mark.parametrize("words", ["-h", "explain etcd", "schema events", "explain -o shell --all"])
def test_a_reader_that_leaves_is_told_nothing(here: Path, words: str) -> None:
    ran = shell(here, f"$hardway {words} | true; exit ${{PIPESTATUS[0]}}")
    assert (ran.returncode in (0, 1), ran.stderr) == (True, b"")


def test_all_streams_may_be_closed(here: Path) -> None:
    assert shell(here, "$hardway explain etcd <&- >&- 2>&-").returncode == 1
    ran = shell(here, "$hardway init --yes <&- 2>&1")
    assert b"Connection refused" in ran.stdout
    assert b"Traceback" not in ran.stdout


def test_a_working_folder_that_was_deleted_is_named(here: Path) -> None:
    gone = "mkdir gone && cd gone && rmdir ../gone && "
    for words in ("plan", "inventory check", "render out", "inventory new new.yaml"):
        ran = shell(here, f"{gone} $hardway {words}")
        assert (ran.returncode in (1, 2), b"Traceback" in ran.stderr) == (True, False)
        assert b"the working folder was deleted" in ran.stderr or b"cannot be written" in ran.stderr, ran.stderr
    whole = shell(here, f"{gone} $hardway inventory check -i {here}/hardway.yaml")
    assert whole.returncode == 0, whole.stderr


def test_a_file_of_ours_that_cannot_be_read_is_named_with_the_reason() -> None:
    error = as_error(PermissionError(errno.EACCES, "Permission denied", "/w/.hardway/real/state.json"))
    assert error.what == "/w/.hardway/real/state.json: Permission denied"
    assert error.hint


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("plan -h", "Inventory file. Default: $HARDWAY_INVENTORY, then ./hardway.yaml"),
        ("-h", "Machines, ports, and who trusts whom through which CA and certificate, as a picture. Asks no machine."),
        ("preflight", "check that the machine is up, and its address and port in the inventory"),
        ("explain etcd", "is lost with the majority of its members: of 1 it needs 1."),
    ],
)
def test_grep_finds_a_sentence_in_a_pipe(here: Path, words: str, sentence: str) -> None:
    ran = shell(here, f"$hardway {words} 2>&1 | grep -F '{sentence}'", COLUMNS="40")
    assert ran.returncode == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_whatever_ends_a_command_it_says_what_to_do_next(here: Path, name: str, form: str) -> None:
    """A run waits for what is no SSH server, and says nothing."""
    with socket.create_server(("127.0.0.2", 0)) as silent:
        (here / "hardway.yaml").write_text(INVENTORY.replace("port: 1", f"port: {silent.getsockname()[1]}"))
        command = [sys.executable, "-m", "hardway", "init", "--yes", "-o", form]
        pipe, root = subprocess.PIPE, str(Path(__file__).parents[2])
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": root}
        with subprocess.Popen(command, cwd=here, env=environment, stdout=pipe, stderr=pipe, text=True) as run:
            assert run.stdout
            run.stdout.readline()
            run.send_signal(getattr(signal, name))
            out, err = run.communicate(timeout=60)
    assert run.returncode == INTERRUPTED
    if form == "json":
        last = json.loads(out.splitlines()[-1])
        assert (last["event"], last["kind"], last["code"], bool(last["hint"])) == ("Failed", "Interrupted", 130, True)
    else:
        assert err.splitlines()[-1] == "next   run the same command again; finished steps are skipped"


@pytest.mark.parametrize(
    ("words", "wants"),
    [
        ("init -o json", True), ("plan --output json", True), ("plan -ojson", True), ("plan --output=json", True),
        ("init", False), ("explain -o shell", False), ("kubectl -- get pods -o json", False), ("plan -o", False),
    ],
)  # fmt: skip
def test_who_asked_for_json_is_known_before_the_command_is(words: str, wants: bool) -> None:
    assert wants_json(words.split()) == wants


def test_what_nohup_ignores_stays_ignored(here: Path) -> None:
    script = "import signal; from hardway.cli.failing import end_as_interrupted; end_as_interrupted(); "
    ran = shell(here, f"trap '' HUP; {sys.executable} -c '{script} print(signal.getsignal(signal.SIGHUP))'")
    assert ran.stdout.decode().strip() == "1"


def test_an_interrupt_names_the_signal() -> None:
    error = as_error(KeyboardInterrupt("SIGTERM"))
    assert (type(error), error.what, error.exit_code) == (Interrupted, "interrupted by SIGTERM", INTERRUPTED)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("plan", "my cluster.yaml"),
        ("doctor", "it's.yaml"),
        ("verify", "a$b;c.yaml"),
        ("explain etcd", "my cluster.yaml"),
    ],
)
def test_a_command_that_is_proposed_can_be_pasted_into_a_shell(here: Path, words: str, file: str) -> None:
    (here / file).write_text(INVENTORY)
    ran = shell(here, f'$hardway {words} -i "$FILE"', FILE=file)
    proposed = [line[line.index("hardway ") :] for line in ran.stdout.decode().splitlines() if "hardway " in line]
    given = [shlex.split(line)[shlex.split(line).index("-i") + 1] for line in proposed if " -i " in line]
    assert given
    assert set(given) == {file}


def test_a_new_inventory_names_itself_so_that_it_can_be_pasted(here: Path) -> None:
    ran = shell(here, '$hardway inventory new "my lab.yaml" --shape lab')
    assert ran.stdout.decode().endswith("hardway inventory check -i 'my lab.yaml'\n")
    assert "hardway lab up -i 'my lab.yaml' " in (here / "my lab.yaml").read_text()


def test_the_ssh_client_wants_a_passwd_entry_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: NOBODY)
    monkeypatch.setattr("shutil.which", lambda program: f"/usr/bin/{program}")
    here: Any = None
    with pytest.raises(HardwayError, match=f"the ssh client refuses uid {NOBODY}"):
        to_machine(here, "c0")

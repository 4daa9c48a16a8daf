"""What every machine promises, held against a local root and a real sshd alike."""

import hashlib
import os
import shlex
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_machine import LocalMachine

from hardway.errors import CommandFailed, HardwayError, Locked, NotSettled, OutputTooLarge
from hardway.remote import ConnectionLost, MachineIO, model, run_with_retry

pytestmark = pytest.mark.contract
NewMachine = Callable[[], MachineIO]


@pytest.fixture
def scratch(machine: MachineIO) -> Iterator[str]:
    """A folder on the machine."""
    folder = f"/tmp/hardway-{uuid.uuid4().hex}"
    machine.run(f"mkdir {folder}", timeout=5, what="make a folder")
    yield folder
    run_with_retry(machine, f"rm -r {folder}", timeout=5, what="remove the folder")


def run(machine: MachineIO, script: str) -> tuple[int, bytes, bytes]:
    result = machine.run(script, timeout=20, what="a test", check=False)
    return result.code, result.stdout, result.stderr


def test_output_and_errors_are_kept_apart(machine: MachineIO) -> None:
    assert run(machine, "echo out; echo err >&2; printf end") == (0, b"out\nend", b"err\n")


def test_it_is_root_with_an_empty_input(machine: MachineIO) -> None:
    assert run(machine, "id -u; cat; pwd; umask") == (0, b"0\n/\n0022\n", b"")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 7", 7), ("false; echo not reached", 1), ("echo $unset", 2), ("kill -9 $$", 137)],
)
def test_an_exit_status_comes_back_and_the_shell_lives_on(machine: MachineIO, script: str, code: int) -> None:
    assert run(machine, script)[:2] == (code, b"")
    assert run(machine, "echo alive") == (0, b"alive\n", b"")


def test_nothing_of_a_script_stays_behind(machine: MachineIO) -> None:
    run(machine, "word=left; cd /usr; umask 077; set -f; trap 'echo trap' EXIT")
    assert run(machine, 'echo "${word-gone}"; pwd; umask') == (0, b"gone\n/\n0022\n", b"")


def test_a_failed_command_names_machine_step_and_last_words(machine: MachineIO) -> None:
    with pytest.raises(CommandFailed) as caught:
        machine.run("echo no such thing >&2; exit 3", timeout=5, what="start etcd")
    error = caught.value
    assert (error.machine, error.what, error.said) == ("m1", "start etcd: exit status 3", "no such thing")


def test_a_syntax_error_runs_nothing(machine: MachineIO) -> None:
    code, out, err = run(machine, "echo begun\nif true; then\n")
    assert (code, out) == (2, b"")
    assert b"yntax" in err
    assert run(machine, "echo alive") == (0, b"alive\n", b"")


def test_a_script_of_two_megabytes_that_talks_back(machine: MachineIO) -> None:
    line = "echo " + "x" * 994 + "\n"
    code, out, _ = run(machine, line * 2000)
    assert (code, len(out)) == (0, 2000 * 995)


def test_a_here_document_of_a_megabyte(machine: MachineIO) -> None:
    text = "".join(f"{number:07d}\n" for number in range(125_000))
    code, out, _ = run(machine, f"sha256sum <<'END'\n{text}END")
    assert (code, out.split()[0].decode()) == (0, hashlib.sha256(text.encode()).hexdigest())


def test_twenty_megabytes_of_output_on_both_streams(machine: MachineIO) -> None:
    code, out, err = run(machine, "head -c 10485760 /dev/zero >&2; head -c 10485760 /dev/zero")
    assert (code, len(out), len(err)) == (0, 10485760, 10485760)


@pytest.mark.parametrize("stream", ["1", "2"])
def test_output_without_an_end_is_ended(
    machine: MachineIO, scratch: str, monkeypatch: pytest.MonkeyPatch, stream: str
) -> None:
    monkeypatch.setattr(model, "MOST_OUTPUT", 4 << 20)
    with pytest.raises(OutputTooLarge) as caught:
        machine.run(f"echo $$ >{scratch}/pid; yes hello >&{stream}", timeout=30, what="read the journal")
    error = caught.value
    assert (error.machine, error.what) == ("m1", "read the journal: more than 4 MiB of output")
    assert (error.said or "").splitlines()[-3:-1] == ["hello", "hello"]
    # The connection is no good any more; the next script gets a new one, and the old one's is gone by then.
    ended = f'until [ ! -d "/proc/$(cat {scratch}/pid)" ]; do sleep 0.1; done; echo ended'
    assert run_with_retry(machine, ended, timeout=20, what="look").stdout == b"ended\n"


def test_as_much_output_as_there_may_be_is_an_answer(machine: MachineIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MOST_OUTPUT", (4 << 20) + 100)  # and the mark behind it
    assert len(run(machine, "head -c 4194304 /dev/zero")[1]) == 4 << 20


def test_what_a_left_over_child_prints_belongs_to_nobody(machine: MachineIO, scratch: str) -> None:
    run(
        machine,
        f"mkfifo {scratch}/go {scratch}/said; (read x <{scratch}/go; echo late; : >{scratch}/said) & ",
    )
    run(machine, f"echo >{scratch}/go; read x <{scratch}/said || :")
    assert run(machine, "echo mine") == (0, b"mine\n", b"")


def test_arguments_are_quoted_once(machine: MachineIO) -> None:
    words = ["a; reboot", "$(id)", "it's", "new\nline", "*", ""]
    assert run(machine, shlex.join(["printf", "%s|", *words]))[1] == "".join(f"{w}|" for w in words).encode()


def test_a_script_past_its_time_is_ended_and_says_how_far_it_came(machine: MachineIO, scratch: str) -> None:
    with pytest.raises(NotSettled) as caught:
        machine.run(f"echo $$ >{scratch}/pid; echo waiting for the leader >&2; sleep 60", timeout=0.3, what="wait")
    assert (caught.value.machine, caught.value.said) == ("m1", "waiting for the leader")
    assert run(machine, f'[ -d "/proc/$(cat {scratch}/pid)" ] || echo ended')[1] == b"ended\n"


def test_a_stream_arrives_as_it_was(machine: MachineIO, tmp_path: Path) -> None:
    parts = [os.urandom(3_000_000), b"", os.urandom(17)]
    files = [tmp_path / str(number) for number in range(3)]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(part)
    wanted = hashlib.sha256(b"".join(parts)).hexdigest()
    progress: list[int] = []
    for chunks in (parts, files):
        result = machine.stream(chunks, "sha256sum", what="stream", on_progress=progress.append)  # type: ignore[arg-type]
        assert result.text.split()[0] == wanted
    assert progress[-1] == 3_000_017


def test_a_stream_leaves_the_shell_free(machine: MachineIO) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        assert run(machine, "echo meanwhile")[1] == b"meanwhile\n"
        yield b"two"

    assert machine.stream(chunks(), "cat; id -u >&2", what="stream").stdout == b"onetwo"


def test_a_stream_nobody_reads_is_a_failed_command(machine: MachineIO) -> None:
    chunks = (bytes(1 << 20) for _ in range(64))
    with pytest.raises(CommandFailed) as caught:
        machine.stream(chunks, "head -c 10 >/dev/null; echo no room >&2; exit 9", what="upload")
    assert (caught.value.what, caught.value.said) == ("upload: exit status 9", "no room")


def test_a_file_missing_here_is_no_short_stream(machine: MachineIO, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    with pytest.raises(FileNotFoundError):
        machine.stream([tmp_path / "one", tmp_path / "two"], "cat", what="upload")


def test_a_full_disk_is_told_in_its_own_words(machine: MachineIO, scratch: str) -> None:
    if run(machine, f"mount -t tmpfs -o size=1m tmpfs {scratch}")[0]:
        pytest.skip("no mounts here")
    try:
        chunks = (bytes(1 << 20) for _ in range(8))
        if isinstance(machine, LocalMachine):  # a stream has a mount namespace of its own there
            with pytest.raises(CommandFailed, match="exit status 1") as caught:
                machine.run(f"head -c 8388608 /dev/zero >{scratch}/file", timeout=5, what="upload")
        else:
            with pytest.raises(CommandFailed, match="exit status 1") as caught:
                machine.stream(chunks, f"cat >{scratch}/file", what="upload")
        assert "No space left on device" in (caught.value.said or "")
        assert "free disk space there" in (caught.value.hint or "")
    finally:
        run(machine, f"umount {scratch}")


def test_a_lock_names_its_holder_and_goes_with_its_connection(new_machine: NewMachine, scratch: str) -> None:
    first, second = new_machine(), new_machine()
    first.lock("ann@office, pid 7, hardway init", f"{scratch}/lock")
    with pytest.raises(Locked, match="m1: locked by ann@office, pid 7, hardway init"):
        second.lock("bob", f"{scratch}/lock")
    first.close()
    second.lock("bob", f"{scratch}/lock")
    with pytest.raises(Locked, match="locked by bob"):
        new_machine().lock("ann", f"{scratch}/lock")


def test_a_script_that_outlives_its_connection_keeps_the_lock(new_machine: NewMachine, scratch: str) -> None:
    first, second = new_machine(), new_machine()
    first.lock("ann", f"{scratch}/lock")
    run(first, f"mkfifo {scratch}/go; (read x <{scratch}/go) >/dev/null 2>&1 &")
    first.close()
    with pytest.raises(Locked, match="locked by ann"):
        second.lock("bob", f"{scratch}/lock")
    run(second, f"echo >{scratch}/go")
    second.lock("bob", f"{scratch}/lock")


def test_a_lock_that_cannot_be_made_is_no_lock(machine: MachineIO) -> None:
    with pytest.raises(HardwayError, match="cannot take the lock /nowhere/lock"):
        machine.lock("ann", "/nowhere/lock")
    assert run(machine, "echo alive")[1] == b"alive\n"


@pytest.fixture
def cut(machine: MachineIO, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Cuts the machine's connections."""
    if isinstance(machine, LocalMachine):
        return lambda: os.kill(machine.process.pid, signal.SIGKILL)
    drop: Callable[[], None] = request.getfixturevalue("sshd").drop_all
    return drop


# Not over a local root: its script goes on writing to the pipe that it inherited, so there is no line to drop.
@pytest.mark.parametrize("new_machine", ["ssh"], indirect=True)
def test_a_dropped_connection_says_what_was_running(machine: MachineIO, scratch: str, cut: Callable[[], None]) -> None:
    run(machine, f"mkfifo {scratch}/begun")
    watcher = threading.Thread(target=lambda: (Path(f"{scratch}/begun").read_bytes(), cut()))
    watcher.start()
    with pytest.raises(ConnectionLost, match="lost during: join the cluster") as caught:
        machine.run(f"echo step one; echo >{scratch}/begun; sleep 5", timeout=20, what="join the cluster")
    watcher.join()
    assert caught.value.machine == "m1"
    with pytest.raises(ConnectionLost):
        machine.run("true", timeout=5, what="go on")
    machine.reconnect()
    assert run(machine, "echo again")[1] == b"again\n"


def test_what_may_be_repeated_is_repeated_once_with_the_lock_held(
    machine: MachineIO, new_machine: NewMachine, scratch: str, cut: Callable[[], None]
) -> None:
    machine.lock("ann", f"{scratch}/lock")
    cut()
    assert run_with_retry(machine, "echo done", timeout=5, what="observe").text == "done"
    with pytest.raises(Locked, match="locked by ann"):
        new_machine().lock("bob", f"{scratch}/lock")

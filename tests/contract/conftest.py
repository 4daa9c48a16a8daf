"""A real sshd on loopback, with keys, a fake sudo and everything else in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from local_machine import LocalMachine

from hardway.remote import Fleet, Machine, MachineIO, Target, shell

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")

FAKE_SUDO = """#!/bin/sh
# sudo's behaviour at its edges, decided by the file "mode" beside it; the rest is run as it is
mode=$(cat "${0%/*}/mode")
interactive=no prompt=
while :; do
  case $1 in
    -n) shift ;;
    -k) shift ;;
    -S) interactive=yes; shift ;;
    -p) prompt=$2; shift 2 ;;
    --) shift; break ;;
  esac
done
case $mode in
  free) exec "$@" ;;
  stranger) echo "ops is not in the sudoers file." >&2; exit 1 ;;
esac
[ $interactive = yes ] || { echo "sudo: a password is required" >&2; exit 1; }
for try in 1 2 3; do
  printf %s "$prompt" >&2
  IFS= read -r password || exit 1
  [ "$password" != "$mode" ] || exec "$@"
  echo "Sorry, try again." >&2
done
exit 1
"""


@dataclass(frozen=True)
class Sshd:
    """A running server: its folder, port, process and host key."""

    folder: Path
    port: int
    pid: int

    @property
    def fingerprint(self) -> str:
        printed = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / "host_key.pub"], capture_output=True, text=True, check=True
        )
        return printed.stdout.split()[1]

    def target(self, known_hosts: Path, name: str = "m1") -> Target:
        return Target(
            name,
            "127.0.0.1",
            port=self.port,
            key=self.folder / "id",
            known_hosts=known_hosts,
            become="none",
        )

    def sudo(self, mode: str) -> None:
        (self.folder / "bin" / "mode").write_text(mode)

    def sessions(self) -> list[int]:
        """Processes of connections that have logged in."""
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.pid)], capture_output=True, text=True)
        return [int(pid) for pid in listed.stdout.split()]

    def drop_all(self) -> None:
        """Cut every connection, as a reboot would."""
        for pid in self.sessions():
            os.kill(pid, signal.SIGKILL)


def new_key(path: Path, passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    return path


def certify(authority: Path, public: Path, name: str, *options: str) -> Path:
    """A certificate for a host's public key, beside it."""
    options = options or ("-h",)
    argv = ["ssh-keygen", "-q", "-s", authority, "-I", "test", "-n", name, *options, public]
    subprocess.run(argv, check=True, capture_output=True)
    return public.with_name(f"{public.stem}-cert.pub")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def programs_but_sudo(folder: Path) -> None:
    """All of this computer's but the sudo that it may have: without the fake one a machine has none."""
    if folder.exists():
        return
    folder.mkdir()
    for path in {path.name: path for place in ("/usr/bin", "/usr/sbin") for path in Path(place).iterdir()}.values():
        if path.name != "sudo":
            (folder / path.name).symlink_to(path)


def start_sshd(folder: Path, port: int, settings: str = "") -> "subprocess.Popen[bytes]":
    """`settings` come first, where sshd lets them win."""
    config = folder / "sshd_config"
    config.write_text(
        f"{settings}\nListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\n"
        f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\nLogLevel ERROR\n"
        f"SetEnv HOME={folder} PATH={folder}/bin:{folder}/programs\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    programs_but_sudo(folder / "programs")
    log = (folder / "log").open("ab")
    process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=log)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.02)
    raise AssertionError("sshd does not listen")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    if SSHD is None or os.geteuid() != 0:
        pytest.skip("needs sshd and root")
    folder = tmp_path_factory.mktemp("sshd")
    new_key(folder / "host_key")
    new_key(folder / "id")
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    (folder / "bin").mkdir()
    (folder / "bin" / "sudo").write_text(FAKE_SUDO)
    (folder / "bin" / "sudo").chmod(0o755)
    port = free_port()
    process = start_sshd(folder, port)
    yield Sshd(folder, port, process.pid)
    process.terminate()
    process.wait()


@pytest.fixture(autouse=True)
def no_habits_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and no agent, whoever runs the tests."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell, "LOCK_WAIT", 0.2)


@pytest.fixture
def known_hosts(sshd: Sshd, tmp_path: Path) -> Path:
    """The workspace's file, in which the server's key is already recorded."""
    path = tmp_path / "workspace" / "known_hosts"
    path.parent.mkdir()
    kind, blob = (sshd.folder / "host_key.pub").read_text().split()[:2]
    path.write_text(f"[127.0.0.1]:{sshd.port} {kind} {blob}\n")
    return path


class Asked:
    """Answers for secrets, and what was asked."""

    def __init__(self, **answers: str) -> None:
        self.prompts: list[str] = []
        self._answers = answers

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return next((answer for word, answer in self._answers.items() if word in prompt), "")


Connect = Callable[..., Machine]


@pytest.fixture
def connect(sshd: Sshd, known_hosts: Path) -> Iterator[Connect]:
    """Connects to the server; keyword arguments change the target, `ask` and `accept` the fleet."""
    fleets: list[Fleet] = []

    def open_machine(*, ask: Asked | None = None, accept: bool = False, **changes: object) -> Machine:
        fleet = Fleet(accept_new_host_keys=accept, ask_secret=ask or Asked(), timeout=5.0)
        fleets.append(fleet)
        return fleet.connect(replace(sshd.target(known_hosts), **changes))  # type: ignore[arg-type]

    yield open_machine
    for fleet in fleets:
        fleet.close()


@pytest.fixture(params=["local", "ssh"])
def new_machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], MachineIO]]:
    """Opens connections to one and the same machine: a private root here, or a real sshd."""
    opened: list[MachineIO] = []

    def open_one() -> MachineIO:
        if request.param == "ssh":
            opened.append(request.getfixturevalue("connect")())
        else:
            opened.append(LocalMachine("m1", tmp_path / "root"))
        return opened[-1]

    yield open_one
    for machine in opened:
        machine.close()


@pytest.fixture
def machine(new_machine: Callable[[], MachineIO]) -> MachineIO:
    return new_machine()

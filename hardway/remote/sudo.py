"""Starting a command as root in a channel: as root itself, by sudo, by sudo with a password.

A password goes to sudo's standard input, and only once sudo has asked for it: were it sent ahead and
not needed, the command behind it would read it.
"""

import contextlib
import re
import select
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import paramiko

from hardway.errors import AuthenticationFailed, OutputTooLarge, SudoRefused
from hardway.remote.model import ConnectionLost, last_lines
from hardway.remote.shell import new_mark

Become = Literal["sudo", "none"] | None
START_SECONDS = 30.0
AT_ONCE = 1 << 20
PIECE = 1 << 15
MOST_BEFORE_ROOT = 1 << 20
"""Bytes that login scripts and sudo may write before the root shell is there."""

_OURS = "hardway: this is our command"
"""Its first line on standard error; a server that runs something else in its place does not write it."""

_PLAIN = 'exec "$@"'
_SUDO = """LC_ALL=C
export LC_ALL
command -v sudo >/dev/null || { echo 'sudo: command not found' >&2; exit 127; }
"""
_WITHOUT_PASSWORD = f'{_SUDO}exec sudo -n -- "$@"'
_WANTS_PASSWORD = re.compile("password|interactive authentication")
"""As sudo and sudo-rs say it."""

_CLOUD_IMAGE = re.compile(r'login as the user "?([\w.-]+)"? rather than')
_AUTO = f'[ "$(id -u)" != 0 ] || exec "$@"\n{_WITHOUT_PASSWORD}'


@contextlib.contextmanager
def _broken_is_os_error() -> Iterator[None]:
    """Paramiko says in several ways that a connection broke; even a read can find it, by its own acknowledgement."""
    try:
        yield
    except (EOFError, paramiko.SSHException) as error:
        raise ConnectionResetError(str(error) or "it broke") from error


class ChannelPipe:
    """The streams of a channel (`shell.Pipe`); all raise OSError when the connection is broken."""

    STALLED_SECONDS = 120.0
    EXIT_SECONDS = 10.0

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        channel.settimeout(self.STALLED_SECONDS)
        self._poll = select.poll()
        self._poll.register(channel.fileno(), select.POLLIN)

    def send(self, data: bytes) -> None:
        # Channel.sendall copies all that is left for each packet; a piece is what fits into one.
        sent = 0
        with _broken_is_os_error():
            while sent < len(data):
                sent += self._channel.send(data[sent : sent + PIECE])

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        # Paramiko takes its sign back when one stream was read, also where it was just given for the other.
        if not self._channel.recv_ready() and not self._channel.recv_stderr_ready():
            self._poll.poll(max(0, seconds) * 1000)
        out = err = b""
        with _broken_is_os_error():
            # Once each: who writes faster than this reads would keep it here for ever.
            if self._channel.recv_ready():
                out = self._channel.recv(AT_ONCE)
            if self._channel.recv_stderr_ready():
                err = self._channel.recv_stderr(AT_ONCE)
        if not out and not err and (self._channel.eof_received or self._channel.closed):
            return None
        return out, err

    def end_of_input(self) -> None:
        with _broken_is_os_error():
            self._channel.shutdown_write()

    def exit_status(self) -> int:
        """-1 where the connection ended before the command did."""
        self._channel.status_event.wait(self.EXIT_SECONDS)
        return self._channel.exit_status

    def close(self) -> None:
        self._channel.close()


@dataclass(frozen=True)
class Started:
    """A command that runs as root; `stdout` and `stderr` are what it has already written."""

    pipe: ChannelPipe
    stdout: bytes
    stderr: bytes


class RootStarter:
    """Starts commands as root over one connection; remembers whether sudo wants a password."""

    def __init__(
        self, transport: paramiko.Transport, machine: str, user: str, become: Become, ask: Callable[[], str]
    ) -> None:
        self._transport = transport
        self._machine = machine
        self._user = user
        self._become = become
        self._ask = ask
        self._needs_password = False

    def start(self, argv: Sequence[str], hello: str) -> Started:
        """Start a command that writes `hello` on standard error as its first act.

        Raises SudoRefused, OutputTooLarge, ConnectionLost.
        """
        if not self._needs_password:
            wrapper = {"sudo": _WITHOUT_PASSWORD, "none": _PLAIN, None: _AUTO}[self._become]
            pipe = self._execute(wrapper, argv)
            started, said = self._await(pipe, hello, prompt=None)
            if started:
                return started
            if not any(line.startswith("sudo") and _WANTS_PASSWORD.search(line) for line in said.splitlines()):
                raise self._refused(said)
        self._needs_password = True
        prompt = f"hardway-{new_mark()}:"
        # -k: a password is asked for even where sudo remembers one, so it is always read by sudo
        pipe = self._execute(f'{_SUDO}exec sudo -k -S -p {prompt} -- "$@"', argv)
        started, said = self._await(pipe, hello, prompt)
        if started:
            return started
        raise self._refused(said.replace(prompt, "").strip())

    def _execute(self, wrapper: str, argv: Sequence[str]) -> ChannelPipe:
        try:
            channel = self._transport.open_session(timeout=START_SECONDS)
            first = f"echo {shlex.quote(_OURS)} >&2; "
            channel.exec_command("exec " + shlex.join(["/bin/sh", "-c", first + wrapper, "hardway", *argv]))
            return ChannelPipe(channel)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._transport.is_active():
                raise self._no_shell(str(error)) from error
            raise self._lost(str(error)) from error

    def _await(self, pipe: ChannelPipe, hello: str, prompt: str | None) -> tuple[Started | None, str]:
        """The started command, or what was said instead; answers the prompt once.

        Raises AuthenticationFailed where the server ran something else than was asked for.
        """
        out, err = b"", b""
        deadline = time.monotonic() + START_SECONDS
        answered = False
        while True:
            try:
                came = pipe.receive(deadline - time.monotonic())
            except OSError as error:
                raise self._lost(str(error)) from error
            if came is None:
                return None, self._after_ours(out, err)
            if time.monotonic() >= deadline:
                pipe.close()
                self._after_ours(out, err)
                raise self._lost(f"no root shell within {START_SECONDS:g} s: {last_lines(err)}")
            out, err = out + came[0], err + came[1]
            if len(out) + len(err) > MOST_BEFORE_ROOT:
                pipe.close()
                raise OutputTooLarge(
                    f"more than {MOST_BEFORE_ROOT >> 20} MiB of output before there was a root shell",
                    machine=self._machine,
                    said=last_lines(err or out) or None,
                    hint=f"look at what the login scripts of {self._user} and sudo print there",
                )
            before, found, after = err.partition(hello.encode())
            if found:
                return Started(pipe, out, after), ""
            prompts = before.count(prompt.encode()) if prompt else 0
            if prompts and not answered:
                answered = True
                pipe.send(self._password() + b"\n")
            elif prompts > 1:
                pipe.close()
                return None, "the password is wrong"

    def _after_ours(self, out: bytes, err: bytes) -> str:
        """What was written on standard error since our command began. Raises AuthenticationFailed where it did not."""
        _, began, said = err.decode(errors="replace").partition(_OURS)
        if not began:
            raise self._no_shell(last_lines(out.strip() + b"\n" + err.strip()).strip())
        return said

    def _no_shell(self, said: str) -> AuthenticationFailed:
        other = _CLOUD_IMAGE.search(said)
        hint = (
            f"name that user in the inventory: ssh: {{user: {other[1]}}}"
            if other
            else f"look at the login shell of {self._user}, at ForceCommand in sshd_config and command= in "
            "authorized_keys there, or name another user in the inventory (ssh: {user: …})"
        )
        cause = said.splitlines()[0] if said else "it printed nothing"
        return AuthenticationFailed(
            f"{self._user} logs in, but gets no shell there: {cause}",
            machine=self._machine,
            said=said if "\n" in said else None,
            hint=hint,
        )

    def _password(self) -> bytes:
        password = self._ask()
        if not password:
            raise SudoRefused(
                f"sudo asks {self._user} for a password, and none was given",
                machine=self._machine,
                hint=f"run it on a terminal, or give {self._user} NOPASSWD in sudoers",
            )
        return password.encode()

    def _refused(self, said: str) -> SudoRefused:
        if "command not found" in said:
            what, hint = "there is no sudo", f"install sudo there, or connect as root instead of {self._user}"
        elif "password is wrong" in said:
            what, hint = f"sudo did not take the password of {self._user}", "try again with the right one"
        else:
            what, hint = f"{self._user} cannot become root", f"allow {self._user} to run sh by sudo there"
        return SudoRefused(what, machine=self._machine, tried="sudo sh", said=said or None, hint=hint)

    def _lost(self, cause: str) -> ConnectionLost:
        return ConnectionLost(
            f"the connection was lost while becoming root: {cause}",
            machine=self._machine,
            hint="check that the machine is up, then run the same command again",
        )

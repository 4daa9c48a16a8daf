"""A machine over SSH, and the fleet that opens and closes them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import paramiko

from hardway.errors import CommandFailed, NotSettled
from hardway.remote.authentication import Secrets
from hardway.remote.connection import Dialer, forward, new_dialer
from hardway.remote.model import LOCK_PATH, AskSecret, ConnectionLost, Result, Target, bounded, checked, last_lines
from hardway.remote.shell import RootShell, loop_command, new_mark
from hardway.remote.sudo import RootStarter, Started

BLOCK = 1 << 20
RELOCK_WAIT = 60.0
"""Seconds to wait for our own lock after a reconnection: the script that was cut off may still hold it."""

_STREAM = """PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 022
cd /
printf '%s' "$1" >&2
exec sh -eu -c "$2"
"""


class Machine:
    """One machine as root over SSH (`MachineIO`)."""

    def __init__(self, target: Target, dialer: Dialer, secrets: Secrets, timeout: float) -> None:
        """Connects. Raises Unreachable, HostKeyError, AuthenticationFailed, SudoRefused."""
        self._target = target
        self._dialer = dialer
        self._secrets = secrets
        self._timeout = timeout
        self._held: tuple[str, str] | None = None
        self._connect()

    @property
    def name(self) -> str:
        return self._target.name

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        result = self._shell.run(script, timeout=timeout, what=what)
        return checked(self.name, what, result) if check else result

    def lock(self, holder: str, path: str = LOCK_PATH) -> None:
        self._shell.lock(holder, path)
        self._held = (holder, path)

    def stream(
        self,
        chunks: Iterable[bytes] | Sequence[Path],
        command: str,
        *,
        what: str,
        timeout: float = 300.0,
        on_progress: Callable[[int], None] | None = None,
        check: bool = True,
    ) -> Result:
        begun = time.monotonic()
        hello = new_mark()
        started = self._starter.start(["sh", "-c", _STREAM, "hardway", hello, command], hello)
        try:
            code, out, err = self._feed(started, blocks(chunks), what, timeout, on_progress)
        finally:
            started.pipe.close()
        if code < 0 and self._connection.is_connected:
            raise CommandFailed(
                f"{what}: killed by a signal",
                machine=self.name,
                tried=what,
                said=last_lines(err) or None,
                hint="check for the out-of-memory killer there: journalctl -k",
            )
        if code < 0:
            raise ConnectionLost(
                f"the connection was lost during: {what}",
                machine=self.name,
                tried=what,
                said=last_lines(err) or None,
                hint="check that the machine is up, then run the same command again",
            )
        result = Result(code, out, err, time.monotonic() - begun)
        return checked(self.name, what, result) if check else result

    def forward(self, host: str, port: int) -> paramiko.Channel:
        """A socket-like connection from the machine to host:port. Raises Unreachable, MachineError."""
        return forward(self._connection.transport, self.name, host, port, self._timeout)

    def reconnect(self) -> None:
        self.close()
        self._connect()
        if self._held:
            self._shell.lock(*self._held, wait=RELOCK_WAIT)

    def close(self) -> None:
        self._shell.close()
        self._connection.close()

    def _connect(self) -> None:
        self._connection = self._dialer.dial(self._target)
        user = self._connection.user
        try:
            self._starter = RootStarter(
                self._connection.transport,
                self.name,
                user,
                self._target.become,
                lambda: self._secrets.get(f"sudo password of {user}"),
            )
            hello = new_mark()
            self._shell = RootShell(self._starter.start(loop_command(hello), hello).pipe, self.name)
        except BaseException:
            self._connection.close()
            raise

    def _feed(
        self,
        started: Started,
        data: Iterator[bytes],
        what: str,
        timeout: float,
        on_progress: Callable[[int], None] | None,
    ) -> tuple[int, bytes, bytes]:
        """Exit status (-1: connection lost), output and errors of the command that took the data."""
        pipe, out, err, sent = started.pipe, bytearray(started.stdout), bytearray(started.stderr), 0

        def keep(came: tuple[bytes, bytes] | None) -> bool:
            if came is not None:
                out.extend(came[0])
                err.extend(came[1])
                bounded(self.name, what, out, err)
            return came is not None

        # where the command ends before it has read everything, its status says why; only the pipe's own
        # errors are passed over: a file that cannot be read here is no reason to send half of it
        for block in data:
            try:
                pipe.send(block)
                keep(pipe.receive(0))
            except OSError:
                break
            sent += len(block)
            if on_progress:
                on_progress(sent)
        deadline = time.monotonic() + timeout
        with contextlib.suppress(OSError):
            pipe.end_of_input()
            while keep(pipe.receive(deadline - time.monotonic())):
                if time.monotonic() > deadline:
                    raise NotSettled(
                        f"{what}: not done {timeout:g} s after the last of {sent} bytes was sent",
                        machine=self.name,
                        tried=what,
                        said=last_lines(bytes(err)) or "nothing so far",
                        hint="check the machine's load and disk, then run the same command again",
                    )
        return pipe.exit_status(), bytes(out), bytes(err)


class Fleet:
    """Opens machines, shares jump hosts and answers between them, and closes all of it.

    A context manager; `connect` may be called from several threads. Secrets are asked once each.
    """

    def __init__(self, *, accept_new_host_keys: bool, ask_secret: AskSecret, timeout: float = 10.0) -> None:
        self._accept_new = accept_new_host_keys
        self._secrets = Secrets(ask_secret)
        self._timeout = timeout
        self._dialers: dict[tuple[Path, Path | None, bool], Dialer] = {}
        self._machines: list[Machine] = []
        self._guard = threading.Lock()

    def connect(self, target: Target) -> Machine:
        """Raises Unreachable, HostKeyError, AuthenticationFailed, SudoRefused."""
        machine = Machine(target, self._dialer(target), self._secrets, self._timeout)
        with self._guard:
            self._machines.append(machine)
        return machine

    def close(self) -> None:
        with self._guard:
            for machine in self._machines:
                machine.close()
            for dialer in self._dialers.values():
                dialer.close()
            self._machines.clear()
            self._dialers.clear()

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _dialer(self, target: Target) -> Dialer:
        with self._guard:
            files = (target.known_hosts, target.ssh_config, target.own_config)
            if files not in self._dialers:
                self._dialers[files] = new_dialer(
                    target,
                    accept_new_host_keys=self._accept_new,
                    secrets=self._secrets,
                    timeout=self._timeout,
                )
            return self._dialers[files]


def blocks(chunks: Iterable[bytes] | Sequence[Path]) -> Iterator[bytes]:
    """Bytes as they come, files in blocks of 1 MiB."""
    for chunk in chunks:
        if isinstance(chunk, Path):
            with chunk.open("rb") as file:
                while block := file.read(BLOCK):
                    yield block
        else:
            yield chunk

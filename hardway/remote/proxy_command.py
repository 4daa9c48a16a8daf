"""ProxyCommand: a program whose standard streams are the line, run by the user's shell as ssh runs it."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading

from hardway.remote.model import last_lines

_END_SECONDS = 1.0


class ProxySocket(socket.socket):
    """Leads through a ProxyCommand, which ends with it."""

    def __init__(self, command: str, *, passes_socket: bool) -> None:
        """Raises OSError where there is no shell; where it is the command that fails, `failure` says so later.

        `passes_socket` is ProxyUseFdpass: the command sends a connected socket, and ends.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        shell = os.environ.get("SHELL") or "/bin/sh"
        with theirs:
            self._process = subprocess.Popen(
                [shell, "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._errors
            )
        self._let_go, self._hung_up = threading.Event(), False
        threading.Thread(target=self._end, daemon=True).start()
        if passes_socket:
            with ours:
                _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
            super().__init__(fileno=descriptors[0])
        else:
            super().__init__(fileno=ours.detach())

    def close(self) -> None:
        super().close()
        self._let_go.set()

    def _end(self) -> None:
        """Once the socket is closed the command has a moment to end by itself, with its own error."""
        self._let_go.wait()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
            return
        self._hung_up = True
        self._process.send_signal(signal.SIGHUP)
        self._process.wait()

    def failure(self) -> str | None:
        """What a command that ended by itself wrote on standard error, or its exit status; None for any other."""
        try:
            code = self._process.wait(2 * _END_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        if self._hung_up:
            return None
        self._errors.seek(0)
        said = last_lines(self._errors.read())
        return said or f"exit status {code}"

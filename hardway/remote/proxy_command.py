"""ProxyCommand: a program whose standard streams are the line, run by the user's shell as ssh runs it."""

import os
import socket
import subprocess
import tempfile
import threading

from hardway.remote.model import last_lines

_END_SECONDS = 1.0


class ProxyLine:
    """A ProxyCommand that runs; `socket` leads through it."""

    def __init__(self, command: str, *, passes_socket: bool) -> None:
        """Raises OSError where there is no shell; where it is the command that fails, `failure` says so later."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        shell = os.environ.get("SHELL") or "/bin/sh"
        with theirs:
            self._process = subprocess.Popen(
                [shell, "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=self._errors
            )
        self.socket = _passed(ours) if passes_socket else ours
        threading.Thread(target=self._process.wait, daemon=True).start()

    def failure(self) -> str | None:
        """What the command wrote on standard error, or its exit status, once it has ended; None while it runs."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        self._errors.seek(0)
        said = last_lines(self._errors.read())
        return said or f"exit status {code}"


def _passed(line: socket.socket) -> socket.socket:
    """ProxyUseFdpass: the command sends a connected socket, and ends."""
    with line:
        _, descriptors, _, _ = socket.recv_fds(line, 1, 1)
    return socket.socket(fileno=descriptors[0])

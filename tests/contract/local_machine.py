"""A machine without SSH: the very same root shell and scripts, run by a local `sh` in a private root.

The root is a folder of its own with the host's /usr, /dev and /proc bound into it inside a mount
namespace, so scripts may use /etc, /run, /var and the rest as they would on a machine, and a test
may look at them from outside. Needs root or unprivileged user namespaces.
"""

import os
import select
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hardway.errors import NotSettled
from hardway.remote.machine import blocks
from hardway.remote.model import LOCK_PATH, ConnectionLost, Result, checked
from hardway.remote.shell import RootShell, loop_command, new_mark

_FOLDERS = ("etc", "run", "var", "tmp", "opt", "root", "srv", "home", "usr", "dev", "proc", "sys")
_ENTER = """
set -eu
mount --rbind /usr "$1/usr"
mount -o remount,bind,ro "$1/usr"
for name in dev proc sys; do mount --rbind "/$name" "$1/$name"; done
exec chroot "$@"
"""


class ProcessPipe:
    """The streams of a local process (`hardway.remote.shell.Pipe`)."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._input = self.process.stdin
        self._outputs = [self.process.stdout.fileno(), self.process.stderr.fileno()]
        self._open = set(self._outputs)

    def send(self, data: bytes) -> None:
        if self._input.closed:
            raise OSError("it was closed here")
        rest = memoryview(data)
        while rest:
            rest = rest[self._input.write(rest) :]

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        if not self._open:
            return None
        ready, _, _ = select.select(list(self._open), [], [], max(0.0, seconds))
        came = {descriptor: os.read(descriptor, 1 << 20) for descriptor in ready}
        self._open -= {descriptor for descriptor, data in came.items() if not data}
        if not self._open:
            return None
        out, err = (came.get(descriptor, b"") for descriptor in self._outputs)
        return out, err

    def end_of_input(self) -> None:
        self._input.close()

    def close(self) -> None:
        """As a lost connection does: nothing is killed, the shell reads the end of its input."""
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream and not stream.closed:
                stream.close()
        self._open.clear()
        self.process.poll()


class LocalMachine:
    """`MachineIO` over local processes."""

    def __init__(self, name: str, root: Path) -> None:
        self._name = name
        self.root = root
        self._held: tuple[str, str] | None = None
        _furnish(root)
        self._connect()

    @property
    def name(self) -> str:
        return self._name

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
        begun, sent = time.monotonic(), 0
        process = subprocess.Popen(
            self._entered(["sh", "-eu", "-c", f"umask 022; cd /\n{command}"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin
        try:
            for block in blocks(chunks):
                process.stdin.write(block)
                sent += len(block)
                if on_progress:
                    on_progress(sent)
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it ended early: its status says why
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise NotSettled(f"{what}: not done after {timeout:g} s", machine=self.name) from error
        if process.returncode < 0:
            raise ConnectionLost(f"the connection was lost during: {what}", machine=self.name)
        result = Result(process.returncode, out, err, time.monotonic() - begun)
        return checked(self.name, what, result) if check else result

    def reconnect(self) -> None:
        self.close()
        self._connect()
        if self._held:
            self._shell.lock(*self._held, wait=60.0)

    def close(self) -> None:
        self._shell.close()

    def _connect(self) -> None:
        hello = new_mark()
        pipe = ProcessPipe(self._entered(loop_command(hello)))
        self.process = pipe.process
        said = b""
        while hello.encode() not in said:
            came = pipe.receive(10.0)
            assert came is not None, f"no private root: {said.decode()}"
            said += came[1]
        self._shell = RootShell(pipe, self.name)

    def _entered(self, argv: Sequence[str]) -> list[str]:
        unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
        return [*unshare, "sh", "-c", _ENTER, "enter", str(self.root), *argv]


def _furnish(root: Path) -> None:
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "os-release", "ld.so.cache"):
        source = Path("/etc") / name
        if source.exists() and not (root / "etc" / name).exists():
            (root / "etc" / name).write_bytes(source.read_bytes())

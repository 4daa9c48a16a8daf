"""What the rest of hardway sees of a machine: where it is, what can be asked of it, what came back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal, Protocol

from hardway.errors import CommandFailed, OutputTooLarge, Unreachable

AskSecret = Callable[[str], str] | None
"""Asks the operator for a secret by this prompt; an empty answer, or None here, means that none is given."""

LOCK_PATH = "/run/hardway.lock"
"""In /run and not in /run/lock, which every user may write: nobody else can open this file."""

LAST_LINES = 10
LAST_BYTES = 8000

MOST_OUTPUT = 64 << 20
"""Bytes of each stream of a command. The largest honest answers are the Nodes of an API (20 MB where there are 1000)
and a machine's journal (some MB)."""


@dataclass(frozen=True)
class Target:
    """How to reach one machine; what is None comes from ssh_config, or is ssh's own default.

    `jump` is written as ssh's ProxyJump (`[user@]host[:port]`, several by commas, `none`). `become`
    None uses sudo where the user is not root. `known_hosts` is the workspace's, where accepted host
    keys are recorded; `ssh_config` is read before the user's own, which counts only with `own_config`.
    """

    name: str
    host: str
    _: KW_ONLY
    known_hosts: Path
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    jump: str | None = None
    become: Literal["sudo", "none"] | None = None
    ssh_config: Path | None = None
    own_config: bool = True
    host_key_alias: str | None = None


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """Standard output as text, without the last newline."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class ConnectionLost(Unreachable):
    """A connection that worked is gone; what was running may or may not have finished."""


class MachineIO(Protocol):
    """One machine, as root. Used by one thread at a time."""

    @property
    def name(self) -> str: ...

    def run(self, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
        """Run a script with `sh -eu`, standard input empty; nothing of it runs before all of it arrived.

        `timeout` is in seconds, `what` names the step in errors. Raises CommandFailed (only with
        `check`), NotSettled past the time limit (the script is killed), OutputTooLarge, ProtocolError,
        ConnectionLost.
        """
        ...

    def lock(self, holder: str, path: str = LOCK_PATH) -> None:
        """Take the machine's lock for as long as this connection, or a script it began, lives.

        `holder` is what others read who want it too. Raises Locked after two seconds.
        """
        ...

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
        """Feed bytes, or whole files one after another, to a command's standard input.

        `on_progress` is told the bytes sent so far; `timeout` limits each wait, not the whole. Raises
        as `run` does.
        """
        ...

    def reconnect(self) -> None:
        """Connect again, and take the lock again if it was held."""
        ...

    def close(self) -> None: ...


def run_with_retry(machine: MachineIO, script: str, *, timeout: float, what: str, check: bool = True) -> Result:
    """Run a script that is safe to run twice: once more, on a new connection, if the first one is lost."""
    try:
        return machine.run(script, timeout=timeout, what=what, check=check)
    except ConnectionLost:
        machine.reconnect()
        return machine.run(script, timeout=timeout, what=what, check=check)


def last_lines(output: bytes, count: int = LAST_LINES) -> str:
    """The end of an output, for an error."""
    return "\n".join(output[-LAST_BYTES:].decode(errors="replace").rstrip().splitlines()[-count:])


def bounded(machine: str, what: str, *streams: bytes | bytearray) -> None:
    """Raises OutputTooLarge where one of the streams is longer than MOST_OUTPUT; who reads it must then hang up."""
    for stream in streams:
        if len(stream) > MOST_OUTPUT:
            raise OutputTooLarge(
                f"{what}: more than {MOST_OUTPUT >> 20} MiB of output",
                machine=machine,
                tried=what,
                said=last_lines(bytes(stream[-LAST_BYTES:])) or None,
                hint="it was ended; look at what prints that much there, then run the same command again",
            )


def checked(machine: str, what: str, result: Result) -> Result:
    """The result, or CommandFailed with the end of what the command said."""
    if result.code == 0:
        return result
    said = last_lines(result.stderr) or last_lines(result.stdout)
    raise CommandFailed(
        f"{what}: exit status {result.code}",
        machine=machine,
        tried=what,
        said=said or None,
        hint="free disk space there (df -h /var/lib), then run the same command again"
        if "No space left on device" in said
        else "the same command continues once the cause is gone",
    )

"""One root shell for each connection, fed with scripts: a script costs one round trip, no new channel, no sudo.

The shell is a loop that reads requests from its standard input. Marks that nobody can guess frame
what each script writes on both of its outputs, so what a login script or a child left running
prints in between is not taken for an answer.
"""

import re
import secrets
import threading
import time
from typing import Protocol

from hardway.errors import Locked, MachineError, NotSettled, OutputTooLarge, ProtocolError
from hardway.remote.model import ConnectionLost, Result, bounded, last_lines

GRACE = 15.0
"""Seconds past a script's own limit after which a silent connection counts as lost."""
LOCK_WAIT = 2.0
_TIMED_OUT, _LOCKED = (124, 137), 75

# - `read` takes single bytes and `head -c` never more than it is asked for, so the rest of the
#   standard input stays untouched; a shell that reads its script there would read ahead
# - the script comes through a descriptor of its own, so nothing in it can read what follows
# - `timeout` ends the script with all its children, also when nobody listens any more
# - descriptor 8 holds the lock, and the scripts inherit it
# - root's own home stays as it is: kubectl would keep what it learns of an API there
# - kubectl, etcdctl and ctr end after a few milliseconds, a fifth of which would go into collecting garbage;
#   beyond 512 MiB they collect as ever
LOOP = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
KUBECACHEDIR=/run/hardway-kubectl GOGC=400 GOMEMLIMIT=512MiB
export PATH LC_ALL KUBECACHEDIR GOGC GOMEMLIMIT
umask 022
cd /
take_lock() {
  request=$(head -c "$1")
  path=$(printf '%s\n' "$request" | head -n 1)
  umask 077
  command exec 8>>"$path" || return 74
  umask 022
  flock -w "$2" 8 || { cat "$path"; exec 8>&-; return 75; }
  printf '%s\n' "${request#"$path"?}" >"$path"
}
frame() { printf "$1" "$2" "$3"; printf "$1" "$2" "$3" >&2; }
printf '%s' "$1" >&2
while read -r verb mark size limit; do
  frame '%s%.0s\n' "$mark" 0
  case $verb in
  run)
    head -c "$size" | {
      timeout -k 5 "$limit" sh -eu /dev/fd/9 9<&0 </dev/null
      code=$?
      cat >/dev/null
      exit "$code"
    } ;;
  lock) take_lock "$size" "$limit" ;;
  esac
  frame '%s %s\n' "$mark" "$?"
done
"""


class Pipe(Protocol):
    """The three standard streams of a running shell."""

    def send(self, data: bytes) -> None:
        """Write all of it; raises OSError when the other end is gone."""
        ...

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        """What came on standard output and error within that time; None when both have ended."""
        ...

    def close(self) -> None: ...


def new_mark() -> str:
    return secrets.token_hex(16)


def loop_command(hello: str) -> list[str]:
    """The argument list that starts the loop; it writes `hello` on standard error when it is ready."""
    return ["sh", "-c", LOOP, "hardway", hello]


class RootShell:
    """The operator's end of the loop."""

    def __init__(self, pipe: Pipe, machine: str) -> None:
        self._pipe = pipe
        self._machine = machine
        self._turn = threading.Lock()

    def run(self, script: str, *, timeout: float, what: str) -> Result:
        """Any exit status is a result. Raises NotSettled past `timeout` seconds, ConnectionLost."""
        # parsed as a whole before any of it runs: a script cut short on its way does nothing
        payload = b"{\n" + script.encode() + b"\n}\n"
        result = self._ask("run", payload, timeout, what)
        if result.code in _TIMED_OUT and result.seconds >= timeout:
            raise NotSettled(
                f"{what}: not done within {timeout:g} s",
                machine=self._machine,
                tried=what,
                said=last_lines(result.stderr) or last_lines(result.stdout) or "nothing so far",
                hint="it was stopped; run the same command again",
            )
        return result

    def lock(self, holder: str, path: str, wait: float | None = None) -> None:
        """Raises Locked, naming the holder, after `wait` seconds (None: LOCK_WAIT)."""
        result = self._ask("lock", f"{path}\n{holder}".encode(), LOCK_WAIT if wait is None else wait, "lock")
        if result.code == _LOCKED:
            raise Locked(
                f"locked by {result.text or 'somebody who has not said who'}",
                machine=self._machine,
                hint="wait for it to finish; the lock ends with its connection",
            )
        if result.code:
            raise MachineError(
                f"cannot take the lock {path}",
                machine=self._machine,
                said=last_lines(result.stderr),
                hint="it needs flock (util-linux) and a writable /run",
            )

    def close(self) -> None:
        self._pipe.close()

    def _ask(self, verb: str, payload: bytes, limit: float, what: str) -> Result:
        with self._turn:
            mark = new_mark()
            out, err = _Frame(mark.encode()), _Frame(mark.encode())
            started = time.monotonic()
            try:
                self._pipe.send(f"{verb} {mark} {len(payload)} {limit:g}\n".encode() + payload)
                self._collect(out, err, started + limit + GRACE, what)
            except (OutputTooLarge, ProtocolError):
                # What is still to come would be taken for the next answer. The script ends when it writes to nobody.
                self.close()
                raise
            except OSError as error:
                self.close()
                raise ConnectionLost(
                    f"the connection was lost during: {what} ({error})",
                    machine=self._machine,
                    tried=what,
                    said=last_lines(bytes(err.content or out.content)) or None,
                    hint="check that the machine is up, then run the same command again",
                ) from error
            seconds = time.monotonic() - started
        return Result(out.code or 0, bytes(out.content), bytes(err.content), seconds)

    def _collect(self, out: "_Frame", err: "_Frame", deadline: float, what: str) -> None:
        while out.code is None or err.code is None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OSError("no answer any more")
            came = self._pipe.receive(left)
            if came is None:
                raise OSError("it was closed by the other end")
            try:
                out.feed(came[0])
                err.feed(came[1])
            except ValueError as error:
                raise ProtocolError(
                    f"{what}: the answer does not end as hardway's own shell ends it",
                    machine=self._machine,
                    tried=what,
                    said=str(error),
                    hint="something else writes into the connection there; nothing it said was used",
                ) from error
            bounded(self._machine, what, out.content, err.content)


class _Frame:
    """What is between two marks on one stream; `code` is known once the second one is there.

    Raises ValueError where no exit status is behind the second mark.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._started = False
        self._searched = 0
        self.content = bytearray()
        self.code: int | None = None

    def feed(self, data: bytes) -> None:
        if not data or self.code is not None:
            return
        self.content += data
        if not self._started:
            begin = self._mark + b"\n"
            at = self.content.find(begin)
            if at < 0:
                del self.content[: -len(begin)]  # what a child of an earlier script prints belongs to nobody
                return
            del self.content[: at + len(begin)]
            self._started = True
        at = self.content.find(self._mark, max(0, self._searched - len(self._mark)))
        end = self.content.find(b"\n", at) if at >= 0 else -1
        self._searched = len(self.content) if at < 0 else at
        if end >= 0:
            status = bytes(self.content[at + len(self._mark) : end])
            if not re.fullmatch(rb" \d{1,3}", status):
                raise ValueError(last_lines(status[:80], 1))
            self.code = int(status)
            del self.content[at:]

"""What the `ssh` client of this computer makes of its configuration: `ssh -G HOST`.

OpenSSH is the only reader of ssh_config that knows all of it: Match, Include, Canonicalize, tokens, environment. It
takes some 4 ms a host, so it is asked once for all hosts that no file treats differently.
"""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hardway.errors import UsageError
from hardway.remote.host_kinds import HostKinds

SYSTEM = Path("/etc/ssh/ssh_config")
ANSWER_SECONDS = 60.0
"""For one host: `Match exec` runs commands, CanonicalizeHostname asks name servers."""

Settings = Mapping[str, Sequence[str]]
"""Each keyword of ssh_config in lower case, with its values in their order."""

_READS = "debug1: Reading configuration data "
_CHATTER = re.compile("^debug|^OpenSSH_|^Pseudo-terminal|: terminating, ")


class NoClient(Exception):
    """There is no ssh client that could be asked, and why."""


@dataclass
class _Answer:
    """The settings of all hosts of a kind, as they were asked for one of them."""

    asking: threading.Lock = field(default_factory=threading.Lock)
    host: str = ""
    settings: Settings | None = None


class SshClient:
    """Asks ssh; may be used by several threads, each of which asks for another host."""

    def __init__(self, given: Path | None, *, own: bool) -> None:
        """Raises NoClient. `given` is read before the user's file and the system's, which count only with `own`."""
        program = shutil.which("ssh")
        if program is None:
            raise NoClient("there is no ssh client on this computer")
        self._program = program
        self._given, self._own = given, own
        self._answers: dict[tuple[object, ...], _Answer] = {}
        self._kinds: HostKinds | None = None
        self._guard = threading.Lock()

    def settings(self, host: str, options: Sequence[str]) -> Settings:
        """What `ssh OPTIONS HOST` goes by. Raises UsageError with ssh's own words, NoClient."""
        with self._guard:
            if self._kinds is None:
                self._kinds = self._first(host, options)
            answer = self._answers.setdefault((self._kinds.of(host), *options), _Answer())
        with answer.asking:
            if answer.settings is None:
                with self._files() as files:
                    answer.settings = _parsed(self._ask(host, [*files, *options]).stdout)
                answer.host = host
        return _for_host(answer.settings, answer.host, host)

    def _first(self, host: str, options: Sequence[str]) -> HostKinds:
        """How the files tell hosts apart: with -v ssh also says which ones it reads."""
        with self._files() as files:
            done = self._ask(host, ["-v", *files, *options])
            said = os.fsdecode(done.stderr).splitlines()
            kinds = HostKinds(Path(line.removeprefix(_READS)) for line in said if line.startswith(_READS))
        self._answers[(kinds.of(host), *options)] = _Answer(host=host, settings=_parsed(done.stdout))
        return kinds

    def _ask(self, host: str, options: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
        argv = [self._program, "-G", "-T", *options, "-o", "ControlPath=%C", "--", host]
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            raise UsageError(
                f"ssh -G {host}: no answer within {ANSWER_SECONDS:g} s",
                hint="look at Match exec and CanonicalizeHostname in your ssh_config",
            ) from None
        if done.returncode == 0:
            return done
        said = "\n".join(line for line in os.fsdecode(done.stderr).splitlines() if not _CHATTER.search(line))
        if said.startswith("No user exists"):
            raise NoClient(f"the ssh client does not work: {said}")
        if said == f"jumphost loop via {host}" and not any(option.startswith("ProxyJump=") for option in options):
            # `Host *` with a ProxyJump means the jump host, too: there ssh gives up
            return self._ask(host, ["-o", "ProxyJump=none", *options])
        if "-F" in options and self._given:
            said = said.replace(options[options.index("-F") + 1], str(self._given))
        first = next(iter(said.splitlines()), f"exit status {done.returncode}")
        raise UsageError(
            f"ssh does not understand its configuration: {first}",
            tried=f"ssh -G {host}",
            said=said if "\n" in said else None,
            hint="correct the line that it names",
        )

    @contextlib.contextmanager
    def _files(self) -> Iterator[list[str]]:
        """Options that make ssh read the given file before the user's and the system's.

        The given one is copied, not included: what is included may not be writable by a group. ssh takes the user's
        folder from the password database; where HOME is another, HOME counts here.
        """
        home, moved = Path.home(), home_moved()
        if self._given is None and self._own and not moved:
            yield []
            return
        with tempfile.NamedTemporaryFile(prefix="hardway-ssh-") as file:
            if self._given is not None:
                file.write(self._given.read_bytes())
            for path in (home / ".ssh" / "config", SYSTEM) if self._own else ():
                file.write(os.fsencode(f'\nMatch all\nInclude "{path}"\n'))
            if moved:
                known = f'"{home}/.ssh/known_hosts" "{home}/.ssh/known_hosts2"'
                file.write(os.fsencode(f"\nMatch all\nUserKnownHostsFile {known}\n"))
            file.flush()
            yield ["-F", file.name]


def home_moved() -> Path | None:
    """The user's folder by the password database, where HOME is another."""
    try:
        own = Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None
    return own if own != Path.home() else None


def local_user() -> str:
    """Who we are here; raises KeyError for a uid without a name, as containers have."""
    return pwd.getpwuid(os.getuid()).pw_name


def _parsed(printed: bytes) -> Settings:
    settings: dict[str, list[str]] = {}
    for line in os.fsdecode(printed).splitlines():
        keyword, _, value = line.partition(" ")
        settings.setdefault(keyword.lower(), []).append(value)
    return settings


def _for_host(settings: Settings, asked: str, host: str) -> Settings:
    """The settings as they are for another host of the same kind."""
    if asked == host:
        return settings
    names = [host.lower() if name == asked.lower() else name for name in settings["hostname"]]
    return {**settings, "hostname": names}

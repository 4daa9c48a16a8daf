"""ssh_config as ssh reads it: the given file, the user's, the system's; the first value wins."""

import getpass
import glob
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko

from hardway.errors import UsageError
from hardway.remote.model import Target

_MAX_DEPTH = 16
_MAX_HOPS = 8
SYSTEM = Path("/etc/ssh/ssh_config")


@dataclass(frozen=True)
class Hop:
    """One host on the way, with everything that ssh_config says about it.

    `key` is an explicitly given key; `identities` are ssh_config's. `known_as` is the name its host key
    is looked up by (with port 22 where it is an alias, as ssh has it).
    """

    written: str
    host: str
    port: int
    user: str
    key: Path | None
    identities: tuple[Path, ...]
    identities_only: bool
    use_agent: bool
    known_as: tuple[str, int]
    known_hosts: tuple[Path, ...]
    proxy_command: str | None


class SshConfig:
    """Where a name leads."""

    def __init__(self, given: Path | None) -> None:
        """Raises UsageError where a file cannot be understood, or the given one is missing."""
        self._config = paramiko.SSHConfig()
        if given is not None and not given.is_file():
            raise UsageError(
                f"{given}: no such ssh_config file", hint="create it, or remove ssh: {config: …} from the inventory"
            )
        for path in (given, Path.home() / ".ssh" / "config", SYSTEM):
            if path is not None and path.is_file():
                self._parse(path)

    def _parse(self, path: Path) -> None:
        try:
            self._config.parse(_expanded(path, 0))
        except (paramiko.SSHException, ValueError, OSError) as error:
            raise UsageError(f"{path}: not understood as an ssh_config: {error}") from error

    def route(self, target: Target) -> tuple[Hop, ...]:
        """The hops to a machine, first the one that is dialled directly, last the machine itself."""
        jumps = self._jumps(target.jump if target.jump is not None else self._own_jump(target.host), 0)
        before = [self._hop(*_parts(written), key=None) for written in jumps]
        hop = self._hop(target.host, target.user, target.port, key=target.key, alias=target.host_key_alias)
        return (*before, hop)

    def _jumps(self, jump: str | None, depth: int) -> list[str]:
        """All jump hosts in dialling order; only the first may have jump hosts of its own."""
        if not jump or jump.lower() == "none":
            return []
        if depth >= _MAX_HOPS:
            raise UsageError(f"ProxyJump {jump} is circular")
        hops = [hop.strip() for hop in jump.split(",")]
        return [*self._jumps(self._own_jump(_parts(hops[0])[0]), depth + 1), *hops]

    def _own_jump(self, host: str) -> str | None:
        """What ssh_config says; a host that `Host *` makes its own jump host is dialled directly."""
        jump: str | None = self._lookup(host).get("proxyjump")
        return None if jump and _parts(jump.split(",")[0])[0] == host else jump

    def _hop(self, name: str, user: str | None, port: int | None, *, key: Path | None, alias: str | None = None) -> Hop:
        settings = self._lookup(name)
        host = settings.get("hostname", name)
        number = port or int(settings.get("port", 22))
        alias = alias or settings.get("hostkeyalias")
        user_files = settings.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
        system_files = settings.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts")
        return Hop(
            written=name,
            host=host,
            port=number,
            user=user or settings.get("user") or getpass.getuser(),
            key=key.expanduser() if key else None,
            identities=tuple(Path(path).expanduser() for path in settings.get("identityfile", [])),
            identities_only=settings.get("identitiesonly", "no").lower() == "yes",
            use_agent=settings.get("identityagent", "").lower() != "none",
            known_as=(alias, 22) if alias else (host, number),
            known_hosts=tuple(Path(p).expanduser() for p in shlex.split(f"{user_files} {system_files}")),
            proxy_command=settings.get("proxycommand"),
        )

    def _lookup(self, name: str) -> paramiko.SSHConfigDict:
        return self._config.lookup(name)


def _expanded(path: Path, depth: int) -> Iterator[str]:
    """The lines of a file with its Includes in place, which paramiko does not know.

    The Host or Match line that was in force before an Include is in force again after it.
    """
    if depth > _MAX_DEPTH:
        raise ValueError("Include is circular")
    scope = "Host *\n"
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        keyword, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if keyword.lower() in ("host", "match"):
            scope = line
        if keyword.lower() != "include":
            yield line
            continue
        for pattern in shlex.split(rest):
            base = SYSTEM.parent if path.is_relative_to(SYSTEM.parent) else Path.home() / ".ssh"
            for name in sorted(glob.glob(str(base / Path(pattern).expanduser()))):  # noqa: PTH207
                yield from _expanded(Path(name), depth + 1)
                yield "\n" + scope


def _parts(written: str) -> tuple[str, str | None, int | None]:
    """Host, user and port of `[user@]host[:port]`, `[v6]:port` or `ssh://…`."""
    user, _, rest = written.removeprefix("ssh://").rpartition("@")
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    else:
        host, port = rest, ""
    if port and not port.isdecimal():
        raise UsageError(f"jump host {written!r}: the port is no number")
    return host, user or None, int(port) if port else None

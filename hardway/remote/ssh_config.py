"""Where a name leads, and what counts on the way: ssh's configuration, with what the inventory says over it."""

import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardway.errors import UsageError
from hardway.remote.model import Target
from hardway.remote.plain_ssh_config import PlainReader
from hardway.remote.ssh_client import NoClient, Settings, SshClient, home_moved, local_user
from hardway.remote.tokens import expanded

_MAX_HOPS = 8
_NONE = "none"


@dataclass(frozen=True)
class Hop:
    """One host on the way, with everything that ssh_config says about it.

    `key` is an explicitly given key; `identities` are ssh_config's. `agent` is the agent's socket, `family` any, inet
    or inet6. `known_as` is the name its host key is looked up by (with port 22 where it is an alias, as ssh has it).
    `tokens` are what `%h` and its like stand for in what is expanded later.
    """

    written: str
    host: str
    port: int
    user: str
    key: Path | None
    identities: tuple[Path, ...]
    identities_only: bool
    certificates: tuple[Path, ...]
    agent: Path | None
    known_as: tuple[str, int]
    known_hosts: tuple[Path, ...]
    known_hosts_command: str | None
    revoked_keys: Path | None
    proxy_command: str | None
    proxy_passes_socket: bool
    family: str
    bind_address: str | None
    connect_seconds: float | None
    tokens: tuple[tuple[str, str], ...]


class SshConfig:
    """Where a name leads."""

    def __init__(self, given: Path | None, *, own: bool = True) -> None:
        """`own`: the user's and the system's files count, too. Raises UsageError where the given one is missing."""
        if given is not None and not given.is_file():
            raise UsageError(
                f"{given}: no such ssh_config file", hint="create it, or remove ssh: {config: …} from the inventory"
            )
        self._given, self._own = given, own
        self._reader: SshClient | PlainReader
        try:
            self._reader = SshClient(given, own=own)
        except NoClient as why:
            self._reader = PlainReader(given, own, str(why))

    def route(self, target: Target) -> tuple[Hop, ...]:
        """The hops to a machine, first the one that is dialled directly, last the machine itself.

        Raises UsageError for a configuration that cannot be read.
        """
        return self._route(target, 0)

    def _route(self, target: Target, depth: int) -> tuple[Hop, ...]:
        """As ssh -J: the last jump host is reached by way of those before it, the first one by its own."""
        if depth >= _MAX_HOPS:
            raise UsageError(f"ProxyJump {target.host} is circular")
        if target.jump:
            _check_ports(target.jump)
        settings = self._settings(target.host, _options(target))
        hop = _hop(target, settings)
        jump = _first(settings, "proxyjump")
        if jump is None:
            return (hop,)
        if target.jump is None and target.host in [_parts(written)[0] for written in jump.split(",")]:
            return (hop,)  # `Host *` with a ProxyJump means the jump host, too
        others, _, last = jump.rpartition(",")
        host, user, port = _parts(last)
        before = Target(target.name, host, user=user, port=port, jump=others or None, known_hosts=target.known_hosts)
        return (*self._route(before, depth + 1), hop)

    def _settings(self, host: str, options: Sequence[str]) -> Settings:
        try:
            return self._reader.settings(host, options)
        except NoClient as why:
            self._reader = PlainReader(self._given, self._own, str(why))
            return self._reader.settings(host, options)


def _options(target: Target) -> list[str]:
    """What the inventory says, as somebody would type it for ssh: it counts before any file."""
    options = []
    if target.user is not None:
        options += ["-l", target.user]
    if target.port is not None:
        options += ["-p", str(target.port)]
    if target.jump is not None:
        options += ["-o", f"ProxyJump={target.jump}"]
    if target.host_key_alias is not None:
        options += ["-o", f"HostKeyAlias={target.host_key_alias}"]
    return options


def _hop(target: Target, settings: Settings) -> Hop:
    host, port, user = settings["hostname"][0], int(settings["port"][0]), settings["user"][0]
    alias = _first(settings, "hostkeyalias")
    tokens = _tokens(target.host, settings)
    proxy = _first(settings, "proxycommand")
    return Hop(
        written=target.host,
        host=host,
        port=port,
        user=user,
        key=target.key.expanduser() if target.key else None,
        identities=_files(settings, "identityfile", tokens),
        identities_only=_first(settings, "identitiesonly") == "yes",
        certificates=_files(settings, "certificatefile", tokens),
        agent=_agent(_first(settings, "identityagent", "SSH_AUTH_SOCK")),
        known_as=(alias, 22) if alias else (host, port),
        known_hosts=(*_known_hosts(settings, "userknownhostsfile"), *_known_hosts(settings, "globalknownhostsfile")),
        known_hosts_command=_first(settings, "knownhostscommand"),
        revoked_keys=next(iter(_files(settings, "revokedhostkeys", tokens)), None),
        # its environment is left to the shell that runs it
        proxy_command=expanded(proxy, tokens, environment=False) if proxy else None,
        proxy_passes_socket=_first(settings, "proxyusefdpass") == "yes",
        family=_first(settings, "addressfamily") or "any",
        bind_address=_first(settings, "bindaddress"),
        connect_seconds=float(seconds) if (seconds := _first(settings, "connecttimeout")) else None,
        tokens=tuple(tokens.items()),
    )


def _tokens(written: str, settings: Settings) -> dict[str, str]:
    """ssh_config(5), TOKENS; `%C` is a digest that differs between versions, so ssh was asked for it."""
    host, port, user = settings["hostname"][0], settings["port"][0], settings["user"][0]
    here = socket.gethostname()
    tokens = {
        "%": "%",
        "C": settings.get("controlpath", [""])[0],
        "d": str(Path.home()),
        "h": host,
        "i": str(os.getuid()),
        "j": settings.get("proxyjump", [""])[0],
        "k": settings.get("hostkeyalias", [written])[0],
        "L": here.partition(".")[0],
        "l": here,
        "n": written,
        "p": port,
        "r": user,
    }
    with contextlib.suppress(KeyError):
        tokens["u"] = local_user()
    return tokens


def _first(settings: Settings, keyword: str, default: str | None = None) -> str | None:
    """The value, or None where it is `none`."""
    value = next(iter(settings.get(keyword, ())), default)
    return None if value is None or value.lower() == "none" else value


def _files(settings: Settings, keyword: str, tokens: dict[str, str]) -> tuple[Path, ...]:
    written = [value for value in settings.get(keyword, ()) if value.lower() != "none"]
    return tuple(Path(expanded(value, tokens, environment=True)).expanduser() for value in written)


def _agent(written: str | None) -> Path | None:
    """The agent's socket: a path, `SSH_AUTH_SOCK`, or the name of another variable after a `$`."""
    if written is None:
        return None
    if written == "SSH_AUTH_SOCK" or written.startswith("$"):
        socket_path = os.environ.get(written.removeprefix("$"))
        return Path(socket_path) if socket_path else None
    return _at_home(Path(written).expanduser())


def _known_hosts(settings: Settings, keyword: str) -> list[Path]:
    """The files of a line. ssh prints no quotes, so the files that exist decide whether a blank is part of a name."""
    words, paths = settings.get(keyword, [""])[0].split(" "), []
    while words:
        size = next((n for n in range(len(words), 1, -1) if Path(" ".join(words[:n])).is_file()), 1)
        name = " ".join(words[:size])
        del words[:size]
        if name and name.lower() != "none":
            paths.append(_at_home(Path(name).expanduser()))
    return paths


def _at_home(path: Path) -> Path:
    """ssh takes `~` from the password database, hardway from HOME."""
    home = home_moved()
    if home is None or not path.is_relative_to(home):
        return path
    moved = Path.home() / path.relative_to(home)
    return moved if moved.exists() or not path.exists() else path


def _check_ports(jump: str) -> None:
    for written in jump.split(","):
        _parts(written)


def _parts(written: str) -> tuple[str, str | None, int | None]:
    """Host, user and port of `[user@]host[:port]`, `[v6]:port` or `ssh://…`."""
    user, _, rest = written.strip().removeprefix("ssh://").rpartition("@")
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

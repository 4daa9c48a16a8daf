"""Opening connections as ssh itself would: through jump hosts, with host keys checked on every hop.

Each hop is a Fabric connection; what it is to do has been read from ssh_config before, so Fabric reads no
configuration of its own. docs/decisions/0003-ssh.md has the measurements behind the ciphers and the socket.
"""

import contextlib
import functools
import logging
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import fabric
import paramiko
from paramiko.auth_strategy import AuthFailure
from paramiko.ssh_exception import IncompatiblePeer

from hardway.errors import MachineError, Unreachable
from hardway.remote.authentication import Keyring, KeyStrategy, Secrets, ended_by_agent, refused
from hardway.remote.known_hosts import Entry, HostKeys, algorithms
from hardway.remote.known_hosts_command import known_by_command
from hardway.remote.model import Target
from hardway.remote.proxy_command import ProxySocket
from hardway.remote.revoked_keys import refuse_revoked
from hardway.remote.ssh_config import Hop, SshConfig
from hardway.remote.transport import Transport
from hardway.values import host_port

DIAL_SECONDS = 3.0
"""For the TCP handshake alone: a machine that is not up yet answers nothing for much longer."""
IDLE_LOOK_SECONDS = 1.0
KEEPALIVE_SECONDS, DEAD_AFTER_SECONDS = 15, 30
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED

# Without a handler of its own, a broken connection prints a traceback from paramiko's thread.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class _PromptSocket(socket.socket):
    """Acknowledges what it reads at once.

    Until the first command runs, sshd sends small packets with Nagle's algorithm on, and waits for the
    acknowledgement that our kernel delays: 45 ms of each connection.
    """

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        with contextlib.suppress(AttributeError, OSError):  # Linux only
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


class _OurHostKeys(paramiko.MissingHostKeyPolicy):
    """Fabric's client is given no host keys, so that all of them are judged here."""

    def __init__(self, host_keys: HostKeys, machine: str, hop: Hop) -> None:
        self._host_keys = host_keys
        self._machine = machine
        self._hop = hop

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        refuse_revoked(self._machine, self._hop, key)
        asked = functools.partial(known_by_command, self._machine, self._hop, key)
        self._host_keys.check(self._machine, *self._hop.known_as, key, self._hop.known_hosts, asked)


class Dialer:
    """Opens connections; jump hosts are connected to once and shared by all machines behind them."""

    def __init__(self, known_hosts: HostKeys, ssh_config: SshConfig, secrets: Secrets, timeout: float) -> None:
        self._host_keys = known_hosts
        self._ssh_config = ssh_config
        self._keyring = Keyring(secrets)
        self._timeout = timeout
        self._jumps: dict[tuple[Hop, ...], fabric.Connection] = {}
        self._jumping = threading.RLock()

    def dial(self, target: Target) -> fabric.Connection:
        """A connection that has logged in. Raises Unreachable, HostKeyError, AuthenticationFailed, UsageError."""
        *jumps, hop = self._ssh_config.route(target)
        return self._open(target.name, hop, self._jump(target.name, tuple(jumps)))

    def close(self) -> None:
        with self._jumping:
            for connection in self._jumps.values():
                connection.close()
            self._jumps.clear()

    def _jump(self, machine: str, hops: tuple[Hop, ...]) -> fabric.Connection | None:
        if not hops:
            return None
        with self._jumping:
            connection = self._jumps.get(hops)
            if connection is None or not connection.is_connected:
                connection = self._open(machine, hops[-1], self._jump(machine, hops[:-1]))
                self._jumps[hops] = connection
            return connection

    def _open(self, machine: str, hop: Hop, jump: fabric.Connection | None) -> fabric.Connection:
        while True:
            # the keyring does not offer a key again that ended a connection, so this ends
            with contextlib.suppress(AuthFailure):
                return self._open_once(machine, hop, jump)

    def _open_once(self, machine: str, hop: Hop, jump: fabric.Connection | None) -> fabric.Connection:
        connection = fabric.Connection(
            hop.host,
            user=hop.user,
            port=hop.port,
            gateway=jump,
            # lazy: without fabric.yaml; with an ssh_config, which is empty: without the user's; one each,
            # since a connection merges it while it opens, and another thread would find it empty
            config=fabric.Config(lazy=True, ssh_config=paramiko.SSHConfig()),
            connect_kwargs=self._connect_kwargs(machine, hop),
        )
        connection.client.set_missing_host_key_policy(_OurHostKeys(self._host_keys, machine, hop))
        proxy = None
        if jump is None and hop.proxy_command:
            proxy = _run_proxy(machine, hop, hop.proxy_command)
            connection.connect_kwargs["sock"] = proxy
        elif jump is None:
            connection.connect_kwargs["sock"] = _dial(machine, hop, self._timeout)
        began = time.monotonic()
        try:
            connection.open()
        except BaseException as error:
            # Which of Paramiko's own time limits ends it is chance; what it says then, too.
            silent = time.monotonic() - began >= self._timeout
            transport = connection.client.get_transport()
            broke = isinstance(error, paramiko.SSHException | EOFError | OSError) and not isinstance(error, AuthFailure)
            proxy_said = proxy.failure() if proxy and broke else None
            connection.client.close()
            if isinstance(error, AuthFailure) and not ended_by_agent(error):
                raise refused(machine, hop, error) from None
            if not broke or not isinstance(error, Exception):
                raise
            if transport is None and jump is not None:
                raise _no_way(machine, hop, jump, error) from error
            if isinstance(error, IncompatiblePeer):
                raise _unreachable(machine, hop, str(error), "allow one of those in its sshd_config") from error
            if proxy_said:
                raise _proxy_failed(machine, hop, proxy_said) from error
            cause = f"nothing more within {self._timeout:g} s" if silent else str(error) or "it hung up"
            raise _unreachable(machine, hop, f"answers, but not as an SSH server should: {cause}") from error
        connection.transport.set_keepalive(KEEPALIVE_SECONDS)
        # paramiko's thread wakes ten times a second by itself: for a thousand connections that is a whole core.
        connection.transport.sock.settimeout(IDLE_LOOK_SECONDS)
        return connection

    def _connect_kwargs(self, machine: str, hop: Hop) -> dict[str, Any]:
        asked = functools.partial(known_by_command, machine, hop, None)
        known = self._host_keys.known(*hop.known_as, hop.known_hosts, asked)
        return {
            "transport_factory": functools.partial(_transport, known),
            "auth_strategy": KeyStrategy(self._keyring, hop),
            # Fabric's own connect_timeout takes whole seconds only
            **dict.fromkeys(("timeout", "banner_timeout", "auth_timeout", "channel_timeout"), self._timeout),
        }


def _transport(known: Sequence[Entry], line: socket.socket, **options: Any) -> paramiko.Transport:
    transport = Transport(line, **options)
    security = transport.get_security_options()
    security.key_types = algorithms(known, tuple(security.key_types))
    return transport


def new_dialer(target: Target, *, accept_new_host_keys: bool, secrets: Secrets, timeout: float) -> Dialer:
    """A dialer for all machines with this target's known_hosts and ssh_config files."""
    host_keys = HostKeys(target.known_hosts, accept_new=accept_new_host_keys)
    return Dialer(host_keys, SshConfig(target.ssh_config, own=target.own_config), secrets, timeout)


def forward(transport: paramiko.Transport, machine: str, host: str, port: int, timeout: float) -> paramiko.Channel:
    """A connection from a machine onwards. Raises Unreachable, MachineError where forwarding is forbidden."""
    try:
        return transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout)
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _not_forwarded(machine, host, port, error) from error


def _not_forwarded(machine: str, host: str, port: int, error: Exception) -> MachineError:
    if isinstance(error, paramiko.ChannelException) and error.code == _PROHIBITED:
        return MachineError(
            "its SSH server forbids forwarding",
            machine=machine,
            hint="set AllowTcpForwarding yes (or local) in its sshd_config",
        )
    cause = error.text if isinstance(error, paramiko.ChannelException) else error
    return Unreachable(
        f"cannot reach {host_port(host, port)} from there: {cause}", machine=machine, tried=host_port(host, port)
    )


def _no_way(machine: str, hop: Hop, jump: fabric.Connection, error: Exception) -> Unreachable:
    """The jump host did not lead to the hop at all."""
    why = _not_forwarded(machine, hop.host, hop.port, error)
    return Unreachable(
        f"the jump host does not lead to {host_port(hop.host, hop.port)}: {why.what}",
        machine=machine,
        tried=f"from {jump.host} to {host_port(hop.host, hop.port)}",
        hint=why.hint or "check that the machine is up and that the jump host can resolve and reach its address",
    )


def _run_proxy(machine: str, hop: Hop, command: str) -> ProxySocket:
    try:
        return ProxySocket(command, passes_socket=hop.proxy_passes_socket)
    except (OSError, IndexError) as error:
        raise _proxy_failed(machine, hop, str(error)) from error


def _proxy_failed(machine: str, hop: Hop, said: str) -> Unreachable:
    return Unreachable(
        f"the ProxyCommand for {hop.written} failed: {said.splitlines()[-1]}",
        machine=machine,
        tried=hop.proxy_command,
        said=said if "\n" in said else None,
        hint="run that command by hand; it comes from your ssh_config",
    )


def _dial(machine: str, hop: Hop, timeout: float) -> socket.socket:
    limit = hop.connect_seconds or min(timeout, DIAL_SECONDS)
    try:
        dialled = _first_that_answers(hop, limit)
    except socket.gaierror as error:
        raise _unreachable(machine, hop, f"no address is known for this name ({error.strerror})") from error
    except TimeoutError as error:
        raise _unreachable(machine, hop, f"no answer within {limit:g} s") from error
    except OSError as error:
        raise _unreachable(machine, hop, error.strerror or str(error)) from error
    line = _PromptSocket(fileno=dialled.detach())
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_SECONDS * 1000)
    return line


def _first_that_answers(hop: Hop, limit: float) -> socket.socket:
    """Raises OSError, the one of the last address."""
    family = _FAMILIES.get(hop.family, socket.AF_UNSPEC)
    source = (hop.bind_address, 0) if hop.bind_address else None
    failure = OSError("no address")
    for *_, address in socket.getaddrinfo(hop.host, hop.port, family, socket.SOCK_STREAM):
        try:
            return socket.create_connection((str(address[0]), hop.port), timeout=limit, source_address=source)
        except OSError as error:
            failure = error
    raise failure


def _unreachable(
    machine: str,
    hop: Hop,
    cause: str,
    hint: str = "check that the machine is up, and its address and port in the inventory",
) -> Unreachable:
    return Unreachable(
        f"{host_port(hop.host, hop.port)}: {cause}",
        machine=machine,
        tried=f"ssh to {hop.user}@{hop.host} port {hop.port}",
        hint=hint,
    )

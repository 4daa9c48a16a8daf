"""Opening connections as ssh itself would: through jump hosts, with host keys checked on every hop.

On paramiko's Transport, without Fabric: Fabric 3.2 dials several jump hosts in the wrong order, passes
over Include and IdentitiesOnly, and accepts unknown host keys by default. Bulk data goes the same way.
Measured on loopback, two cores, 100 MB to each of seven servers at once with aes128-gcm@openssh.com:
paramiko 1.2 to 1.9 s with 0.7 s of processor time, the ssh binary 1.8 to 2.1 s with 0.8 s; one server
alone 0.2 to 0.4 s, 0.6 s. Windows of 64 MiB or packets of 256 KiB change nothing, and paramiko's own
first choice, aes128-ctr, costs 1.6 times the processor time. Seven connections with their root shells take
0.07 s, one script 3 ms.
"""

import contextlib
import logging
import socket
import threading

import paramiko

from hardway.errors import MachineError, Unreachable
from hardway.remote.authentication import Keyring, Secrets
from hardway.remote.known_hosts import HostKeys, algorithms
from hardway.remote.model import Target
from hardway.remote.ssh_config import Hop, SshConfig

DIAL_SECONDS = 3.0
"""For the TCP handshake alone: a machine that is not up yet answers nothing for much longer."""
KEEPALIVE_SECONDS, DEAD_AFTER_SECONDS = 15, 30
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")

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


class Dialer:
    """Opens transports; jump hosts are connected to once and shared by all machines behind them."""

    def __init__(self, known_hosts: HostKeys, ssh_config: SshConfig, secrets: Secrets, timeout: float) -> None:
        self._host_keys = known_hosts
        self._ssh_config = ssh_config
        self._keyring = Keyring(secrets)
        self._timeout = timeout
        self._jumps: dict[tuple[Hop, ...], paramiko.Transport] = {}
        self._jumping = threading.RLock()

    def dial(self, target: Target) -> tuple[paramiko.Transport, str]:
        """A connection that has logged in, and the user's name.

        Raises Unreachable, HostKeyError, AuthenticationFailed, UsageError.
        """
        *jumps, hop = self._ssh_config.route(target)
        return self._open(target.name, hop, self._jump(target.name, tuple(jumps))), hop.user

    def close(self) -> None:
        with self._jumping:
            for transport in self._jumps.values():
                transport.close()
            self._jumps.clear()

    def _jump(self, machine: str, hops: tuple[Hop, ...]) -> paramiko.Transport | None:
        if not hops:
            return None
        with self._jumping:
            transport = self._jumps.get(hops)
            if transport is None or not transport.is_active():
                transport = self._open(machine, hops[-1], self._jump(machine, hops[:-1]))
                self._jumps[hops] = transport
            return transport

    def _open(self, machine: str, hop: Hop, via: paramiko.Transport | None) -> paramiko.Transport:
        line = _through(machine, hop, via, self._timeout) if via else _dial(machine, hop, self._timeout)
        transport = paramiko.Transport(line)
        try:
            self._greet(machine, transport, hop)
            self._keyring.authenticate(machine, transport, hop)
        except BaseException:
            transport.close()
            raise
        transport.set_keepalive(KEEPALIVE_SECONDS)
        return transport

    def _greet(self, machine: str, transport: paramiko.Transport, hop: Hop) -> None:
        options = transport.get_security_options()
        options.ciphers = (*_CIPHERS, *(name for name in options.ciphers if name not in _CIPHERS))
        known = self._host_keys.known(*hop.known_as, hop.known_hosts)
        options.key_types = algorithms(known, tuple(options.key_types))
        transport.banner_timeout = self._timeout
        transport.auth_timeout = self._timeout
        try:
            transport.start_client(timeout=self._timeout)  # past the time-out it just returns
            key = transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            cause = str(error) or "it hung up"
            if transport.is_active():
                cause = f"nothing more within {self._timeout:g} s"
            raise _unreachable(machine, hop, f"answers, but not as an SSH server should: {cause}") from error
        self._host_keys.check(machine, *hop.known_as, key, hop.known_hosts)


def new_dialer(target: Target, *, accept_new_host_keys: bool, secrets: Secrets, timeout: float) -> Dialer:
    """A dialer for all machines with this target's known_hosts and ssh_config files."""
    host_keys = HostKeys(target.known_hosts, accept_new=accept_new_host_keys)
    return Dialer(host_keys, SshConfig(target.ssh_config), secrets, timeout)


def forward(transport: paramiko.Transport, machine: str, host: str, port: int, timeout: float) -> paramiko.Channel:
    """A connection from a machine onwards. Raises Unreachable, MachineError where forwarding is forbidden."""
    try:
        return transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout)
    except paramiko.ChannelException as error:
        if error.code == 1:
            raise MachineError(
                "its SSH server forbids forwarding",
                machine=machine,
                hint="set AllowTcpForwarding yes (or local) in its sshd_config",
            ) from error
        raise Unreachable(
            f"cannot reach {host}:{port} from there: {error.text}", machine=machine, tried=f"{host}:{port}"
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreachable(f"cannot reach {host}:{port} from there: {error}", machine=machine) from error


def _through(machine: str, hop: Hop, via: paramiko.Transport, timeout: float) -> paramiko.Channel:
    try:
        return forward(via, machine, hop.host, hop.port, timeout)
    except MachineError as error:
        jump = via.getpeername()[0] if not isinstance(via.sock, paramiko.Channel) else "the jump host"
        raise Unreachable(
            f"the jump host does not lead to {hop.host}:{hop.port}: {error.what}",
            machine=machine,
            tried=f"from {jump} to {hop.host}:{hop.port}",
            hint=error.hint or "is the machine up, and its address right as the jump host sees it?",
        ) from error


def _dial(machine: str, hop: Hop, timeout: float) -> socket.socket | paramiko.ProxyCommand:
    if hop.proxy_command:
        return paramiko.ProxyCommand(hop.proxy_command)
    try:
        dialled = socket.create_connection((hop.host, hop.port), timeout=min(timeout, DIAL_SECONDS))
    except socket.gaierror as error:
        raise _unreachable(machine, hop, f"no address is known for this name ({error.strerror})") from error
    except TimeoutError as error:
        raise _unreachable(machine, hop, f"no answer within {min(timeout, DIAL_SECONDS):g} s") from error
    except OSError as error:
        raise _unreachable(machine, hop, error.strerror or str(error)) from error
    line = _PromptSocket(fileno=dialled.detach())
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(AttributeError, OSError):  # Linux only
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_SECONDS * 1000)
    return line


def _unreachable(machine: str, hop: Hop, cause: str) -> Unreachable:
    return Unreachable(
        f"{hop.host}:{hop.port}: {cause}",
        machine=machine,
        tried=f"ssh to {hop.user}@{hop.host} port {hop.port}",
        hint="is the machine up, and are its address and port in the inventory right?",
    )

"""Who we are to an SSH server: keys of the agent and of files, in ssh's order, passphrases asked once."""

import base64
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import paramiko
from paramiko.auth_strategy import AuthFailure, AuthSource, AuthStrategy
from paramiko.ssh_exception import PartialAuthentication

from hardway.errors import AuthenticationFailed
from hardway.remote.known_hosts import key_fingerprint
from hardway.remote.model import AskSecret
from hardway.remote.ssh_config import Hop

_DEFAULTS = ("id_rsa", "id_ecdsa", "id_ed25519")


class Secrets:
    """Asks for each secret once in a run, however many machines and threads need it."""

    def __init__(self, ask: AskSecret) -> None:
        self._ask = ask
        self._answers: dict[str, str] = {}
        self._asking = threading.Lock()

    def get(self, prompt: str) -> str:
        with self._asking:
            if prompt not in self._answers:
                self._answers[prompt] = self._ask(prompt) if self._ask else ""
            return self._answers[prompt]


class _Unusable(Exception):
    """A key file that cannot be used, and why."""


class _Key(AuthSource):
    """One key to offer; `final` once the server's answer makes any further key pointless."""

    def __init__(self, user: str, words: str, load: Callable[[], paramiko.PKey]) -> None:
        super().__init__(user)
        self.words = words
        self.final = False
        self._load = load

    def __repr__(self) -> str:
        return self.words

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        key = self._load()
        try:
            more = transport.auth_publickey(self.username, key)
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.final = isinstance(error, paramiko.BadAuthenticationType) or not transport.is_active()
            raise
        if more:  # the strategy would take an empty answer and this one alike for success
            raise PartialAuthentication(more)
        return []


class KeyStrategy(AuthStrategy):
    """Offers an operator's keys to one host, until one is taken or the host has had enough."""

    def __init__(self, keyring: "Keyring", hop: Hop) -> None:
        super().__init__(paramiko.SSHConfig())
        self._keyring = keyring
        self._hop = hop

    def get_sources(self) -> Iterator[AuthSource]:
        with contextlib.ExitStack() as stack:
            agent = stack.enter_context(contextlib.closing(paramiko.Agent())) if self._hop.use_agent else None
            for key in self._keyring.keys(self._hop, agent.get_keys() if agent else ()):
                yield key
                if key.final:
                    return


def refused(machine: str, hop: Hop, failure: AuthFailure) -> AuthenticationFailed:
    """The error that names what was offered. Raises what is no answer of a server, but a fault of ours."""
    tried: list[str] = []
    cause = "there is no key to offer"
    for source, result in failure.result:
        key = cast(_Key, source)
        if isinstance(result, _Unusable):
            tried.append(f"{key.words} ({result})")
        elif isinstance(result, paramiko.SSHException | EOFError | OSError):
            tried.append(key.words)
        elif isinstance(result, Exception):
            raise result
        cause = "it refused all of them"
        if isinstance(result, paramiko.BadAuthenticationType):
            cause = f"it takes only {', '.join(result.allowed_types)}"
        elif key.final:
            cause = f"it hung up ({result})"
    return AuthenticationFailed(
        f"{hop.user}@{hop.host} does not let us in: {cause}",
        machine=machine,
        tried=", ".join(tried) or None,
        hint="name the right user and key in the inventory (ssh: {user: …, key: …}) or ssh_config, or "
        "load the key into the agent: ssh-add",
    )


class Keyring:
    """The keys of this operator; each file is read, and its passphrase asked, once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._loaded: dict[Path, paramiko.PKey | None] = {}
        self._loading = threading.Lock()

    def keys(self, hop: Hop, in_agent: tuple[paramiko.AgentKey, ...]) -> Iterator[_Key]:
        """As ssh: named keys that the agent holds, other keys of the agent, then files.

        A key that the inventory names comes first, so that an agent with many keys does not use up the
        server's patience; files with a passphrase come last, so that none is asked for in vain.
        """
        agent = {key.asbytes(): key for key in in_agent}
        named = hop.identities or tuple(Path.home() / ".ssh" / name for name in _DEFAULTS)
        files = [path for path in named if path.is_file() and path != hop.key]
        if given := hop.key:
            held = agent.pop(_public_blob(given), None)
            yield _held(hop, held) if held else self._file(hop, given)
        for path in list(files):
            if held := agent.pop(_public_blob(path), None):
                files.remove(path)
                yield _held(hop, held)
        if not hop.identities_only:
            yield from (_held(hop, key) for key in agent.values())
        for path in sorted(files, key=self._has_passphrase):
            yield self._file(hop, path)

    def _file(self, hop: Hop, path: Path) -> _Key:
        return _Key(hop.user, str(path), lambda: self._open(path))

    def _has_passphrase(self, path: Path) -> bool:
        try:
            return self._load(path) is None
        except _Unusable:
            return False

    def _open(self, path: Path) -> paramiko.PKey:
        """The key, decrypted by its passphrase where it has one. Raises _Unusable."""
        key = self._load(path)
        if key is not None:
            return key
        passphrase = self._secrets.get(f"passphrase of {path}")
        if not passphrase:
            raise _Unusable("it has a passphrase, and none was given")
        with self._loading:
            try:
                # annotated as str, but only bytes work
                key = paramiko.PKey.from_path(path, passphrase.encode())  # type: ignore[arg-type]
            except (TypeError, ValueError, paramiko.SSHException):
                raise _Unusable("the passphrase is wrong") from None
            self._loaded[path] = key
        return key

    def _load(self, path: Path) -> paramiko.PKey | None:
        """The key, or None where it needs a passphrase. Never chains a cause: it could quote the key."""
        with self._loading:
            if path not in self._loaded:
                try:
                    self._loaded[path] = paramiko.PKey.from_path(path)
                except TypeError:
                    self._loaded[path] = None
                except FileNotFoundError:
                    raise _Unusable("no such file") from None
                except (ValueError, OSError, paramiko.SSHException):
                    raise _Unusable("not a private key that can be read") from None
            return self._loaded[path]


def _held(hop: Hop, key: paramiko.AgentKey) -> _Key:
    return _Key(hop.user, f"agent key {key.comment or key_fingerprint(key.asbytes())}", lambda: key)


def _public_blob(path: Path) -> bytes:
    """What the `.pub` file beside a key holds: enough to find the key in an agent, with no passphrase."""
    try:
        return base64.b64decode(Path(f"{path}.pub").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return b""

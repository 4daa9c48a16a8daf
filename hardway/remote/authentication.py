"""Who we are to an SSH server: keys of the agent and of files, in ssh's order, passphrases asked once."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import paramiko
from paramiko.auth_strategy import AuthFailure, AuthSource, AuthStrategy
from paramiko.ssh_exception import PartialAuthentication

from hardway.errors import AuthenticationFailed
from hardway.remote.agent import ANSWER_SECONDS, Agent, CannotSign, HeldKey
from hardway.remote.key_files import CertifiedKey, PassphraseNeeded, Unusable, certified, load, public_blob, public_line
from hardway.remote.model import AskSecret, last_lines
from hardway.remote.ssh_config import Hop


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


class _Key(AuthSource):
    """One key to offer; `final` once the server's answer makes any further key pointless."""

    def __init__(self, user: str, words: str, load: Callable[[], paramiko.PKey], cannot_sign: set[str]) -> None:
        super().__init__(user)
        self.words = words
        self.final = False
        self.printed = b""
        self._load = load
        self._cannot_sign = cannot_sign

    def __repr__(self) -> str:
        return self.words

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        if self.words in self._cannot_sign:
            raise Unusable("the agent did not sign with it")
        key = self._load()
        if not server_takes(transport, key):
            raise Unusable("the server takes no RSA signatures")
        if isinstance(key, HeldKey | CertifiedKey):
            # the server waits meanwhile, and Paramiko would take that for its silence
            transport.auth_timeout = ANSWER_SECONDS
        try:
            more = transport.auth_publickey(self.username, key)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if isinstance(error, CannotSign):
                self._cannot_sign.add(self.words)
            # each attempt has a handler of its own; get_banner knows none once the server has hung up
            self.printed = getattr(transport.auth_handler, "banner", None) or b""
            self.final = isinstance(error, paramiko.BadAuthenticationType) or not transport.is_active()
            raise
        if more:  # the strategy would take an empty answer and this one alike for success
            raise PartialAuthentication(more)
        return []


class _NoKey(_Key):
    """Without any: there are servers that know a user by the network that he comes from."""

    def __init__(self, user: str) -> None:
        super().__init__(user, "", paramiko.PKey, set())

    def authenticate(self, transport: paramiko.Transport) -> list[str]:
        try:
            return transport.auth_none(self.username)
        except paramiko.BadAuthenticationType as error:
            others = [kind for kind in error.allowed_types if kind != "publickey"]
            more = f", and it takes only {', '.join(others)}" if others == error.allowed_types else ""
            raise Unusable(f"there is no key to offer{more}") from None


def server_takes(transport: paramiko.Transport, key: paramiko.PKey) -> bool:
    """Paramiko would close the connection over an RSA key that the server has no algorithm for."""
    kind = key.public_blob.key_type if key.public_blob else key.get_name()
    extensions: dict[str, bytes] = getattr(transport, "server_extensions", {})
    algorithms = extensions.get("server-sig-algs", b"")
    return "rsa" not in kind or not algorithms or b"rsa-sha2-" in algorithms


class KeyStrategy(AuthStrategy):
    """Offers an operator's keys to one host, until one is taken or the host has had enough."""

    def __init__(self, keyring: "Keyring", hop: Hop) -> None:
        super().__init__(paramiko.SSHConfig())
        self._keyring = keyring
        self._hop = hop

    def get_sources(self) -> Iterator[AuthSource]:
        offered = False
        with contextlib.closing(Agent(self._hop.agent)) as agent:
            for key in self._keyring.keys(self._hop, agent.keys):
                offered = True
                yield key
                if key.final:
                    return
        if not offered:
            yield _NoKey(self._hop.user)


def ended_by_agent(failure: AuthFailure) -> bool:
    """Whether a key that does not sign ended the connection: paramiko cannot take back that it has begun."""
    return bool(failure.result) and isinstance(failure.result[-1].result, CannotSign)


def refused(machine: str, hop: Hop, failure: AuthFailure) -> AuthenticationFailed:
    """The error that names what was offered, and what the server printed before it refused.

    Raises what is no answer of a server, but a fault of ours.
    """
    tried: list[str] = []
    printed = b""
    cause = "none of the keys can be used"
    for source, result in failure.result:
        key = cast(_Key, source)
        printed = printed or key.printed
        if isinstance(key, _NoKey) and isinstance(result, Unusable):
            cause = str(result)
        elif isinstance(result, Unusable):
            tried.append(f"{key.words} ({result})")
        elif isinstance(result, paramiko.SSHException | EOFError | OSError):
            tried.append(key.words)
            cause = _cause(key, result, cause)
        elif isinstance(result, Exception):
            raise result
    return AuthenticationFailed(
        f"{hop.user}@{hop.host} does not let us in: {cause}",
        machine=machine,
        tried=", ".join(tried) or None,
        said=last_lines(printed) or None,
        hint="name the right user and key in the inventory (ssh: {user: …, key: …}) or ssh_config, or "
        "load the key into the agent: ssh-add",
    )


def _cause(key: _Key, result: Exception, before: str) -> str:
    if isinstance(result, PartialAuthentication):
        return f"it took {key.words}, and asks for more than hardway can give: {', '.join(result.allowed_types)}"
    if isinstance(result, paramiko.BadAuthenticationType):
        return f"it takes only {', '.join(result.allowed_types)}"
    if key.final:
        return f"it hung up ({result})"
    # a key that it took is the better half of the answer
    return before if "asks for more" in before else "it took none of the keys"


@dataclass(frozen=True)
class _Way:
    """A private key that may be used: its public half as far as that is known, its name, and how to get it."""

    public: bytes
    words: str
    get: Callable[[], paramiko.PKey]


class Keyring:
    """The keys of this operator; each file is read, and its passphrase asked, once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._loaded: dict[Path, paramiko.PKey | None] = {}
        self._loading = threading.Lock()
        self._cannot_sign: set[str] = set()

    def keys(self, hop: Hop, in_agent: Sequence[HeldKey]) -> Iterator[_Key]:
        """As ssh: certificates, named keys that the agent holds, other keys of the agent, then files.

        A key that the inventory names comes first, so that an agent with many keys does not use up the
        server's patience; files with a passphrase come last, so that none is asked for in vain.
        """
        named_files = [path for path in hop.identities if path != hop.key and path.is_file()]
        files = [*([hop.key] if hop.key else []), *named_files]
        certificates = _certificates(hop, files)
        ways = list(self._ways(hop, files, in_agent, set(certificates)))
        for certificate, path in certificates.items():
            if way := next((way for way in ways if way.public and way.public == certified(certificate)), None):
                yield self._key(hop, f"{path} with {way.words}", _certified_key(way, certificate))
        for way in ways:
            yield self._key(hop, way.words, way.get)

    def _ways(
        self, hop: Hop, files: Sequence[Path], in_agent: Sequence[HeldKey], certificates: set[bytes]
    ) -> Iterator[_Way]:
        agent = {key.blob: key for key in in_agent}
        rest = list(files)
        if hop.key and public_blob(hop.key) not in agent:
            yield self._file(hop.key)
            rest.remove(hop.key)
        for path in list(rest):
            if held := agent.pop(public_blob(path), None):
                rest.remove(path)
                yield _held(held)
        for blob, key in agent.items():
            if not hop.identities_only or blob in certificates:
                yield _held(key)
        yield from (self._file(path) for path in sorted(rest, key=self._has_passphrase))

    def _key(self, hop: Hop, words: str, get: Callable[[], paramiko.PKey]) -> _Key:
        return _Key(hop.user, words, get, self._cannot_sign)

    def _file(self, path: Path) -> _Way:
        return _Way(public_blob(path), str(path), lambda: self._open(path))

    def _has_passphrase(self, path: Path) -> bool:
        try:
            return self._load(path) is None
        except Unusable:
            return False

    def _open(self, path: Path) -> paramiko.PKey:
        """The key, decrypted by its passphrase where it has one. Raises Unusable."""
        key = self._load(path)
        if key is not None:
            return key
        passphrase = self._secrets.get(f"passphrase of {path}")
        if not passphrase:
            raise Unusable("it has a passphrase, and none was given")
        with self._loading:
            key = self._loaded[path] = load(path, passphrase)
        return key

    def _load(self, path: Path) -> paramiko.PKey | None:
        """The key, or None where it needs a passphrase. Raises Unusable."""
        with self._loading:
            if path not in self._loaded:
                try:
                    self._loaded[path] = load(path)
                except PassphraseNeeded:
                    self._loaded[path] = None
            return self._loaded[path]


def _held(key: HeldKey) -> _Way:
    return _Way(key.blob, key.words, lambda: key)


def _certified_key(way: _Way, certificate: bytes) -> Callable[[], paramiko.PKey]:
    return lambda: CertifiedKey(way.get(), certificate)


def _certificates(hop: Hop, files: Sequence[Path]) -> dict[bytes, Path]:
    """User certificates, those that ssh_config names before those that lie beside keys."""
    beside = [Path(f"{path.with_suffix('') if path.suffix == '.pub' else path}-cert.pub") for path in files]
    read = {public_line(path): path for path in reversed((*hop.certificates, *beside))}
    return {blob: read[blob] for blob in reversed(read) if certified(blob)}

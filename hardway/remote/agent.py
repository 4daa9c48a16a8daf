"""An ssh agent and its keys, of any kind (draft-ietf-sshm-ssh-agent)."""

import contextlib
import socket
from pathlib import Path

import paramiko

from hardway.remote.known_hosts import key_fingerprint

ANSWER_SECONDS = 120.0
"""An agent may ask its user first, or for a touch of a token."""

_LIST, _LISTED, _SIGN, _SIGNED = 11, 12, 13, 14
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}


class CannotSign(paramiko.SSHException):
    """The agent does not sign with a key: its user said no, or the token is not there."""


class Agent:
    """A connection to an agent. One that is not there, or does not answer, has no keys."""

    def __init__(self, path: Path | None) -> None:
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._line.settimeout(ANSWER_SECONDS)
        self.keys: tuple[HeldKey, ...] = ()
        if path is not None:
            with contextlib.suppress(OSError):
                self._line.connect(str(path))
                self.keys = self._list()

    def close(self) -> None:
        self._line.close()

    def sign(self, blob: bytes, data: bytes, algorithm: str) -> bytes:
        """The signature. Raises CannotSign."""
        request = paramiko.Message()
        request.add_string(blob)
        request.add_string(data)
        request.add_int(_FLAGS.get(algorithm.removesuffix("-cert-v01@openssh.com"), 0))
        try:
            answer = self._ask(_SIGN, request, _SIGNED)
        except OSError as error:
            raise CannotSign(f"the agent did not answer: {error}") from None
        if answer is None:
            raise CannotSign("the agent does not sign with it")
        return answer.get_binary()

    def _list(self) -> "tuple[HeldKey, ...]":
        answer = self._ask(_LIST, paramiko.Message(), _LISTED)
        if answer is None:
            return ()
        keys = []
        for _ in range(answer.get_int()):
            blob, comment = answer.get_binary(), answer.get_binary().decode(errors="replace")
            keys.append(HeldKey(self, blob, comment))
        return tuple(keys)

    def _ask(self, kind: int, request: paramiko.Message, wanted: int) -> paramiko.Message | None:
        """The answer behind its kind, or None where it is of another kind. Raises OSError."""
        body = bytes([kind]) + request.asbytes()
        self._line.sendall(len(body).to_bytes(4, "big") + body)
        answer = self._read(int.from_bytes(self._read(4), "big"))
        return paramiko.Message(answer[1:]) if answer[:1] == bytes([wanted]) else None

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            block = self._line.recv(size - len(data))
            if not block:
                raise ConnectionResetError("it hung up")
            data += block
        return data


class HeldKey(paramiko.PKey):
    """A key of an agent, offered as it stands there: a certificate is one, and no kind must be known here."""

    def __init__(self, agent: Agent, blob: bytes, comment: str) -> None:
        self.public_blob = None
        self.blob = blob
        self.words = f"agent key {comment or key_fingerprint(blob)}"
        self._agent = agent

    def get_name(self) -> str:
        return paramiko.Message(self.blob).get_binary().decode(errors="replace")

    def asbytes(self) -> bytes:
        return self.blob

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        return paramiko.Message(self._agent.sign(self.blob, data, algorithm or ""))

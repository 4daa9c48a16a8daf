"""A root shell whose machine does not keep to what was agreed."""

from collections.abc import Callable

import pytest

from hardway.errors import OutputTooLarge, ProtocolError
from hardway.remote import ConnectionLost, model
from hardway.remote.shell import RootShell

Speech = Callable[[bytes], bytes]
"""What comes on standard output, by the mark that a request has; ends of standard error are as they should be."""


class Forger:
    """A pipe (`hardway.remote.shell.Pipe`) whose other end says what it likes, as often as it is listened to."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._mark = b""
        self.closed = False

    def send(self, data: bytes) -> None:
        if self.closed:
            raise OSError("closed")
        self._mark = data.split()[1]

    def receive(self, seconds: float) -> tuple[bytes, bytes] | None:
        return self._speech(self._mark), self._mark + b"\n" + self._mark + b" 0\n"

    def close(self) -> None:
        self.closed = True


def ask(speech: Speech) -> tuple[RootShell, Forger]:
    pipe = Forger(speech)
    shell = RootShell(pipe, "m1")
    return shell, pipe


@pytest.mark.parametrize("status", ["", " ", " x", " -1", " 0 0", " " + "9" * 5000, " \u0663", "0"])
def test_an_answer_with_a_forged_end_is_told_and_not_used(status: str) -> None:
    shell, pipe = ask(lambda mark: mark + b"\nanswer" + mark + status.encode() + b"\n")
    with pytest.raises(ProtocolError) as caught:
        shell.run("true", timeout=5, what="look")
    assert (caught.value.machine, caught.value.tried, pipe.closed) == ("m1", "look", True)
    assert len(caught.value.said or "") <= 80
    with pytest.raises(ConnectionLost):
        shell.run("true", timeout=5, what="look again")


@pytest.mark.parametrize("begin", [b"noise", b"\n"])
def test_noise_before_an_answer_is_not_kept(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MOST_OUTPUT", 100_000)
    noise = [begin * 20_000] * 20

    def speech(mark: bytes) -> bytes:
        return noise.pop() if noise else mark + b"\nanswer" + mark + b" 0\n"

    shell, _ = ask(speech)
    assert shell.run("true", timeout=5, what="look").stdout == b"answer"


def test_an_answer_without_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "MOST_OUTPUT", 100_000)
    begins = [True]
    shell, pipe = ask(lambda mark: (mark + b"\n" if begins and begins.pop() else b"") + b"x" * 30_000)
    with pytest.raises(OutputTooLarge) as caught:
        shell.run("true", timeout=5, what="look")
    assert (caught.value.machine, caught.value.tried, pipe.closed) == ("m1", "look", True)
    assert len(caught.value.said or "") <= model.LAST_BYTES

"""Machines far away: what counts is how often one waits for an answer, not how much is said."""

from collections.abc import Iterator

import pytest
from conftest import Connect, Sshd
from fake.far import Far, far

ONE_WAY = 0.05
"""Seconds: a tenth of a second there and back, as between continents."""


@pytest.fixture
def line(sshd: Sshd) -> Iterator[Far]:
    with far("127.0.0.1", sshd.port, ONE_WAY) as line:
        yield line


def test_a_script_takes_one_turn_once_the_connection_stands(connect: Connect, line: Far) -> None:
    machine = connect(accept=True, port=line.port)
    assert line.turns <= 8, "versions, key exchange, authentication, channel, shell"
    for number in range(3):
        before = line.turns
        assert machine.run(f"echo {number}", timeout=10, what="a test").text == str(number)
        assert line.turns - before == 1


def test_a_stream_does_not_wait_for_an_answer_to_each_piece(connect: Connect, line: Far) -> None:
    machine = connect(accept=True, port=line.port)
    before = line.turns
    pieces = 64
    got = machine.stream([bytes(1 << 18)] * pieces, "wc -c", what="upload")
    assert got.text == str(pieces << 18)
    assert line.turns - before < pieces

"""What etcd's proofs ask, asked of servers of ours."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hardway.declare.phases.base import Proof
from hardway.declare.phases.etcd import plaintext_query


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """A port that says this once to whoever speaks, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def holds(port: int) -> bool:
    proof = Proof("c0", "plaintext", plaintext_query("127.0.0.1", port), "", "equals", "")
    done = subprocess.run(["sh", "-euc", proof.query], capture_output=True, text=True, check=False)
    return proof.holds(done.returncode, done.stdout)


def test_who_hangs_up_on_plaintext_refuses_it() -> None:
    with answering(b"") as port:
        assert holds(port)


def test_who_answers_in_plaintext_does_not() -> None:
    with answering(b'HTTP/1.0 200 OK\r\n\r\n{"etcdserver":"3.6.14"}') as port:
        assert not holds(port)


def test_a_port_on_which_nobody_listens_proves_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not holds(port)

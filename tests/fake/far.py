"""A line on which everything takes its time: a relay on loopback that hands on what it gets later."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

CHUNK = 1 << 16


@dataclass
class Far:
    """`turns`: how often a server's answer followed upon a client's word, on all lines together."""

    port: int
    turns: int = 0
    _spoke: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def speaks(self, who: str) -> None:
        with self._lock:
            self.turns += who == "server" and self._spoke == "client"
            self._spoke = who


@contextmanager
def far(host: str, port: int, seconds: float) -> Iterator[Far]:
    """A port that leads to another one; each byte arrives so much later, both ways, as many as there may be."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = Far(server.getsockname()[1])
        threading.Thread(target=_accept, args=(server, (host, port), seconds, line), daemon=True).start()
        yield line


def _accept(server: socket.socket, to: tuple[str, int], seconds: float, line: Far) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        there = socket.create_connection(to)
        for who, source, sink in (("client", client, there), ("server", there, client)):
            for end in (source, sink):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            on_its_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
            threading.Thread(target=_take, args=(source, on_its_way, seconds, line, who), daemon=True).start()
            threading.Thread(target=_hand_on, args=(on_its_way, sink), daemon=True).start()


def _take(source: socket.socket, on_its_way: "SimpleQueue[tuple[float, bytes]]", seconds: float, line: Far,
          who: str) -> None:  # fmt: skip
    data = b"."
    while data:
        try:
            data = source.recv(CHUNK)
        except OSError:
            data = b""
        line.speaks(who)
        on_its_way.put((time.monotonic() + seconds, data))


def _hand_on(on_its_way: "SimpleQueue[tuple[float, bytes]]", sink: socket.socket) -> None:
    while True:
        due, data = on_its_way.get()
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:
            return

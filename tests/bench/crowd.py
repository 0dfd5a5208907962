# SPDX-License-Identifier: MIT
"""Bad clients, so many of each kind: ``python -m tests.bench.crowd PORT EACH FILE``.

Each kind comes from an address of its own: one sends nothing, one a byte a second, one asks for as much as the daemon
takes and reads no answer. Who is shut out comes back a second later. The file says how many of each are connected.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.bench import load

SOURCES = {"idle": "127.0.0.2", "dribbling": "127.0.0.3", "deaf": "127.0.0.4"}
ASKED = load.http_get("/api/v1/pdus") * 8
DRIBBLE = b"GET /power/control/on?hostname=" + b"x" * 1000


@dataclass(eq=False)
class Client:
    """One of them; ``socket`` is None while it is shut out."""

    kind: str
    socket: socket.socket | None = None
    sent: int = 0


class Crowd:
    """All of them, in one loop."""

    def __init__(self, port: int, each: int) -> None:
        self._port = port
        self._clients = [Client(kind) for kind, _ in itertools.product(SOURCES, range(each))]
        self._open: dict[int, Client] = {}
        self._epoll = select.epoll()

    def run(self, file: Path) -> None:
        """Be a nuisance for ever, a turn a second."""
        while True:
            end = time.monotonic() + 1
            for client in self._clients:
                if client.socket is None:
                    self._connect(client)
                else:
                    self._act(client)
            while (left := end - time.monotonic()) > 0:
                for number, _ in self._epoll.poll(left):
                    self._shut_out(self._open[number])
            count = Counter(client.kind for client in self._open.values())
            file.write_text(", ".join(f"{kind} {count[kind]}" for kind in SOURCES))

    def _connect(self, client: Client) -> None:
        client.socket, client.sent = socket.socket(), 0
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.bind((SOURCES[client.kind], 0))
        client.socket.setblocking(False)
        client.socket.connect_ex(("127.0.0.1", self._port))
        self._open[client.socket.fileno()] = client
        self._epoll.register(client.socket, select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP)

    def _act(self, client: Client) -> None:
        assert client.socket is not None
        # Whether it has been shut out is what the loop hears of; a full socket is what the deaf want.
        with contextlib.suppress(OSError):
            if client.kind == "dribbling":
                client.sent += client.socket.send(DRIBBLE[client.sent : client.sent + 1])
            elif client.kind == "deaf":
                client.sent = (client.sent + client.socket.send(ASKED[client.sent :])) % len(ASKED)

    def _shut_out(self, client: Client) -> None:
        assert client.socket is not None
        del self._open[client.socket.fileno()]
        client.socket.close()
        client.socket = None


if __name__ == "__main__":
    Crowd(int(sys.argv[1]), int(sys.argv[2])).run(Path(sys.argv[3]))

# SPDX-License-Identifier: MIT
"""The clients: one process with an epoll loop, which costs a request some 30 µs, far less than any server here.

Each client has one request on its way at a time and sends the next one when the answer is whole, or when it is due.
"""

from __future__ import annotations

import contextlib
import heapq
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PATIENCE = 10.0  # seconds for what is still on its way when the time is over
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


def http_text(pdu: str, port: int = 1, action: str = "on") -> bytes:
    """Return a request with the headers that the `requests` library, hence labgrid, sends."""
    return http_get(f"/power/control/{action}?hostname={pdu}&port={port}")


def http_get(path: str) -> bytes:
    """Return a request for a path, with the same headers."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n"
        "Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n"
    ).encode()


def tcp_text(pdu: str) -> bytes:
    """Return a request for on as pduclient sends it, without a newline."""
    return f"{pdu} 1 on".encode()


def whole(answer: bytes) -> bool:
    """Whether an answer, HTTP or a line of text, is complete."""
    if not answer.startswith(b"HTTP/"):
        return answer.endswith(b"\n")
    head = answer.find(b"\r\n\r\n")
    length = _LENGTH.search(answer)
    return head >= 0 and length is not None and len(answer) >= head + 4 + int(length[1])


def accepted(answer: bytes) -> bool:
    """Whether an answer says yes."""
    return answer == b"ack\n" or answer.startswith(b"HTTP/1.1 200 ")


def ask(connection: socket.socket, text: bytes) -> bytes:
    """Send a text and wait for the whole answer. Raises: OSError."""
    connection.sendall(text)
    answer = b""
    while not whole(answer):
        more = connection.recv(65536)
        if not more:
            raise ConnectionError(f"closed after {answer!r}")
        answer += more
    return answer


@dataclass(eq=False)
class _Client:
    texts: Iterator[bytes]
    socket: socket.socket = field(default_factory=socket.socket)
    begun: float = 0.0
    answer: bytes = b""


class Press:
    """Many clients against one port, from one address. ``texts`` has, for each client, what it sends in turn.

    ``every``: kept connections alone, and each client asks once in so many seconds, or as often as it takes to make up
    for what came late. Its times count from when it should have asked, so that no stall is seen by few.

    ``times`` are those of all answers, in seconds from the opening of the connection or the sending; ``accepted``
    counts those that said yes in time, ``refused`` those that said no, ``lost`` the requests without a whole answer.
    """

    def __init__(
        self, port: int, texts: Sequence[Iterator[bytes]], *, keep: bool, source: str = "", every: float = 0.0
    ) -> None:
        self._port = port
        self._source = source
        self._every = every
        self._resting: list[tuple[float, int]] = []  # when who is due, by descriptor: a heap
        self._keep = keep
        self._clients = [_Client(each) for each in texts]
        self._open: dict[int, _Client] = {}
        self._epoll = select.epoll()
        self._end = 0.0
        self.times: list[float] = []
        self.accepted = self.refused = self.lost = 0
        self.cpu = 0.0  # part of one core that the clients themselves took

    def run(self, seconds: float) -> None:
        """Press for some seconds, then wait for the last answers."""
        cpu, begin = time.process_time(), time.monotonic()
        self._end = begin + seconds
        try:
            for client in self._clients:
                self._connect(client)
            while self._open and time.monotonic() < self._end + PATIENCE:
                pause = max(0.0, self._resting[0][0] - time.monotonic()) if self._resting else 0.1
                for number, event in self._epoll.poll(min(pause, 0.1)):
                    self._turn(self._open[number], event)
                self._wake(time.monotonic())
            self.cpu = (time.process_time() - cpu) / (time.monotonic() - begin)
            self.lost += len(self._open)
        finally:
            for client in self._clients:
                client.socket.close()
            self._epoll.close()

    def _connect(self, client: _Client) -> None:
        client.begun, client.answer = time.monotonic(), b""
        client.socket = socket.socket()
        client.socket.setblocking(False)
        if self._source:
            client.socket.bind((self._source, 0))
        client.socket.connect_ex(("127.0.0.1", self._port))
        self._epoll.register(client.socket, select.EPOLLOUT)
        self._open[client.socket.fileno()] = client

    def _turn(self, client: _Client, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                self._ask(client)
                self._epoll.modify(client.socket, select.EPOLLIN)
                return
            more = client.socket.recv(65536)
        except OSError:
            more = b""
        client.answer += more
        now = time.monotonic()
        if not more:
            self.lost += 1
        elif whole(client.answer):
            self.times.append(now - client.begun)
            yes = accepted(client.answer)
            self.refused += not yes
            self.accepted += yes and now < self._end
            if self._keep and now < self._end:
                client.begun, client.answer = client.begun + self._every if self._every else now, b""
                if client.begun > now:
                    heapq.heappush(self._resting, (client.begun, client.socket.fileno()))
                else:
                    self._ask(client)
                return
        else:
            return
        self._leave(client)
        if now < self._end:
            self._connect(client)

    def _ask(self, client: _Client) -> None:
        with contextlib.suppress(OSError):  # it has been closed, and the loop hears of that
            client.socket.send(next(client.texts))

    def _wake(self, now: float) -> None:
        """Have those ask who are due."""
        while self._resting and self._resting[0][0] <= now:
            due, number = heapq.heappop(self._resting)
            client = self._open.get(number)
            if client is None or client.begun != due:
                continue  # it was closed as it rested
            if now < self._end:
                self._ask(client)
            else:
                self._leave(client)

    def _leave(self, client: _Client) -> None:
        del self._open[client.socket.fileno()]
        client.socket.close()

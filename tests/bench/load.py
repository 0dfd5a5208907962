# SPDX-License-Identifier: MIT
"""The clients: one process with an epoll loop, which costs a request some 30 µs, far less than any server here.

Each client has one request on its way at a time and sends the next one when the answer is whole.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PATIENCE = 10.0  # seconds for what is still on its way when the time is over
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


def http_text(pdu: str, port: int = 1) -> bytes:
    """Return a request for on with the headers that the `requests` library, hence labgrid, sends."""
    return (
        f"GET /power/control/on?hostname={pdu}&port={port} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\n"
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
    """Many clients against one port. ``texts`` has, for each client, what it sends in turn.

    ``times`` are those of all answers, in seconds from the opening of the connection or the sending; ``accepted``
    counts those that said yes in time, ``refused`` those that said no, ``lost`` the requests without a whole answer.
    """

    def __init__(self, port: int, texts: Sequence[Iterator[bytes]], *, keep: bool) -> None:
        self._port = port
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
                for number, event in self._epoll.poll(0.1):
                    self._turn(self._open[number], event)
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
        client.socket.connect_ex(("127.0.0.1", self._port))
        self._epoll.register(client.socket, select.EPOLLOUT)
        self._open[client.socket.fileno()] = client

    def _turn(self, client: _Client, event: int) -> None:
        try:
            if event & select.EPOLLOUT:
                client.socket.send(next(client.texts))
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
                client.begun, client.answer = now, b""
                client.socket.send(next(client.texts))
                return
        else:
            return
        del self._open[client.socket.fileno()]
        client.socket.close()
        if now < self._end:
            self._connect(client)

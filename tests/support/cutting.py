# SPDX-License-Identifier: MIT
"""A TCP proxy that ends a connection in the middle of what is said on it, or lets it hang."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading

from tests.support.process import eventually

ORDERS = (b"POST /api/v1/requests", b"PATCH /", b"PUT /", b"DELETE / ", b"DELETE /?")


class Cutting:
    """A proxy to a port of loopback. What begins as one of ORDERS is counted, in both directions.

    ``up``: after so many bytes of an order have gone to the server, the connection ends, once; ``down``: after so many
    bytes of the answer to one have come back. None: never. ``refuses``: who
    connects is turned away; ``refuses_then``: from the next cut on. ``orders`` counts the orders that came by.
    """

    def __init__(self, port: int = 0) -> None:
        self.target = port
        self.up: int | None = None
        self.down: int | None = None
        self.flows = threading.Event()
        self.flows.set()
        self.refuses = self.refuses_then = False
        self.orders = 0
        self.cuts = 0
        self.sizes = {"up": 0, "down": 0}  # of the last order and its answer
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._server.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self) -> Cutting:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()  # who is about to accept would do so for whoever has the descriptor next
        self._server.close()
        self.flows.set()
        self.end()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hang(self) -> None:
        """Pass on nothing any more, and close nothing."""
        self.flows.clear()

    def flow(self) -> None:
        """Pass on everything again."""
        self.flows.set()

    def cut_since(self, cuts: int, way: str, count: int) -> None:
        """Wait until a connection has been cut, since there were so many cuts, unless less than ``count`` was said."""
        eventually(lambda: self.cuts > cuts or self.sizes[way] < count)
        if self.cuts == cuts:
            setattr(self, way, None)

    def end(self) -> None:
        """End all connections, rudely."""
        every, self._open = self._open, []
        for each in every:
            _reset(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self.refuses:
                _reset(client)
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(client)
                client.close()
                continue
            self._open += [client, server]
            link = _Link(self, client, server)
            threading.Thread(target=link.pump, args=("up", client, server), daemon=True).start()
            threading.Thread(target=link.pump, args=("down", server, client), daemon=True).start()


class _Link:
    """One connection; ``counts`` since an order has begun on it."""

    def __init__(self, proxy: Cutting, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.both = client, server
        self.counts: dict[str, int] | None = None

    def pump(self, way: str, source: socket.socket, target: socket.socket) -> None:
        with source:
            self._pass_on(way, source, target)
            for each in self.both:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _pass_on(self, way: str, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.proxy.flows.wait()
                if way == "up" and data.startswith(ORDERS):
                    self.proxy.orders += 1
                    self.counts = {"up": 0, "down": 0}
                    if self._cut("up", b"", target):
                        return
                if self.counts is not None:
                    if self._cut(way, data, target):
                        return
                    self.counts[way] += len(data)
                    self.proxy.sizes[way] = self.counts[way]
                target.sendall(data)

    def _cut(self, way: str, data: bytes, target: socket.socket) -> bool:
        """End the connection if it is time to, with what may still be passed on; return whether it was."""
        limit = getattr(self.proxy, way)
        if limit is None or self.counts is None:
            return False
        done = self.counts[way]
        if done + len(data) < limit or (not data and limit > 0):
            return False
        if left := data[: limit - done]:
            target.sendall(left)
        setattr(self.proxy, way, None)
        self.proxy.refuses = self.proxy.refuses_then
        self.proxy.cuts += 1
        for each in self.both:
            _reset(each)
        return True


def _reset(connection: socket.socket) -> None:
    """End a connection; its descriptor stays until who reads from it has ended, and is nobody else's before."""
    with contextlib.suppress(OSError), open(os.devnull, "rb") as nothing:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        os.dup2(nothing.fileno(), connection.fileno())

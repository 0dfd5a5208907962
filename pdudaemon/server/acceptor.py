# SPDX-License-Identifier: MIT
"""`Acceptor`: takes the new connections of all listeners, within the bounds for all of them and for each address.

A client may close a connection and open another while this thread is busy. So whoever finds no room is looked at again
a turn later, when it is known which of the others have been closed meanwhile.

Called by the selector's thread only (see `pdudaemon.server.connections`).
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import time
from collections import Counter
from collections.abc import Callable

from pdudaemon.config.options import DaemonOptions
from pdudaemon.server.client import Client
from pdudaemon.server.forwarded import is_proxy
from pdudaemon.server.listener import Listener

log = logging.getLogger("pdud.listener")

AT_ONCE = 64  # connections taken from one listener before others have their turn
PAUSE = 0.1  # seconds without accepting when the machine has no descriptor left
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


Begin = Callable[[Listener, socket.socket, Client], None]


class Acceptor:
    """``listeners`` by descriptor; ``at`` makes a call at a point in monotonic time; ``begin`` begins a connection.

    ``doubtful`` are the connections for which there was no room at the last turn.
    """

    def __init__(self, epoll: select.epoll, at: Callable[[float, Callable[[], None]], None], begin: Begin) -> None:
        self.doubtful: list[tuple[Listener, socket.socket, Client]] = []
        self._begin = begin
        self.listeners: dict[int, Listener] = {}
        self._epoll = epoll
        self._at = at
        self.open: Counter[str] = Counter()  # connections, by address
        self._every = 0

    def watch(self, listener: Listener) -> None:
        """Accept the connections of a listener from now on."""
        if listener.fileno() >= 0:  # it may have been closed meanwhile
            self.listeners[listener.fileno()] = listener
            self._epoll.register(listener, select.EPOLLIN)

    def forget(self, listener: Listener) -> None:
        """Accept nothing more of a listener."""
        if self.listeners.pop(listener.fileno(), None) is not None:
            self._epoll.unregister(listener)

    def decide(self, options: DaemonOptions) -> None:
        """Refuse those for whom there is still no room, now that this turn's events have been taken in."""
        doubtful, self.doubtful = self.doubtful, []
        for listener, sock, client in doubtful:
            if reason := self._no_room(client.address, options):
                log.warning("connection from %s refused: %s", client, reason)
                listener.shutdown_request(sock)
            else:
                self._take(listener, sock, client)

    def accept(self, listener: Listener, options: DaemonOptions) -> None:
        """Take the connections that have come. `decide` has been called in this turn."""
        for _ in range(AT_ONCE):
            try:
                sock, address = listener.get_request()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    log.error("cannot accept a connection: %s", error.strerror)
                    self.forget(listener)  # it stays pending: without a rest this would spin
                    self._at(time.monotonic() + PAUSE, lambda: self.watch(listener))
                    return
                continue  # the client has gone already
            client = Client(*address[:2])
            if self._no_room(client.address, options):
                self.doubtful.append((listener, sock, client))
            else:
                self._take(listener, sock, client)

    def _take(self, listener: Listener, sock: socket.socket, client: Client) -> None:
        sock.setblocking(False)
        self.open[client.address] += 1
        self._every += 1
        self._begin(listener, sock, client)

    def ended(self, client: Client) -> None:
        """Note that a connection has ended."""
        self._every -= 1
        self.open[client.address] -= 1
        if not self.open[client.address]:
            del self.open[client.address]

    def _no_room(self, address: str, options: DaemonOptions) -> str:
        if self._every >= options.max_connections:
            return f"{self._every} are open"
        most = options.max_connections_per_address or max(1, options.max_connections // 4)
        if self.open[address] >= most and not is_proxy(address, options.trusted_proxies):
            return f"{self.open[address]} from there are open"
        return ""

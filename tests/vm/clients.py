# SPDX-License-Identifier: MIT
"""Clients of the service who do not rest, for what must not be noticed by them: a restart, an upgrade."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter


class Clients:
    """Somebody who switches and asks all the time, each time by a new connection, by TCP ports and by files."""

    def __init__(self, *ways: str, token: str = "") -> None:
        self._headers = "Host: localhost\r\nConnection: close\r\n"
        if token:
            self._headers += f"Authorization: Bearer {token}\r\n"
        self.said: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(way, port)) for port, way in enumerate(ways, 1)]
        for thread in self._threads:
            thread.start()

    def end(self) -> Counter[str]:
        """Return what they were told, how often."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self.said

    def _ask(self, way: str, port: int) -> None:
        action = itertools.cycle(("on", "off"))
        while not self._over.is_set():
            family, where = (socket.AF_UNIX, way) if way.startswith("/") else (socket.AF_INET, ("127.0.0.1", int(way)))
            try:
                with socket.socket(family) as sock:
                    sock.settimeout(60)
                    sock.connect(where)
                    path = f"/power/control/{next(action)}?hostname=pdu&port={port}"
                    sock.sendall(f"GET {path} HTTP/1.1\r\n{self._headers}\r\n".encode())
                    self.said[sock.makefile().read().splitlines()[-1]] += 1
            except (OSError, IndexError) as error:
                self.said[repr(error)] += 1

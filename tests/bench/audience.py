# SPDX-License-Identifier: MIT
"""Many who watch: ``python -m tests.bench.audience PORT COUNT QUERY FILE``; ``{}`` in the query is a number for each.

A line of JSON is written to the file twice a second, as soon as all watch: how many are open, and what they have heard.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from pathlib import Path

HEAD = "GET /api/v1/events{} HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n"


def watch(port: int, count: int, query: str, file: Path) -> None:
    """Watch for ever."""
    epoll, open_, heard = select.epoll(), {}, 0
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(HEAD.format(query.format(number % 128)).encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        connection.setblocking(False)
        epoll.register(connection, select.EPOLLIN)
        open_[connection.fileno()] = connection
    with file.open("a", buffering=1) as told:
        due = 0.0
        while True:
            if time.monotonic() > due:
                due = time.monotonic() + 0.5
                told.write(json.dumps({"open": len(open_), "bytes": heard}) + "\n")
            for number, _ in epoll.poll(0.5):
                data = open_[number].recv(1 << 18)
                heard += len(data)
                if not data:
                    epoll.unregister(number)
                    open_.pop(number).close()


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))

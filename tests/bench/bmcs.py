# SPDX-License-Identifier: MIT
"""Many simulated BMCs in one process, each at an address of its own: ``python -m tests.bench.bmcs PORT COUNT DELAY``.

Every answer takes ``DELAY`` seconds. All machines are on. The process says ``ready`` when all of them listen.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.peers import Crashed
from tests.devices.ipmi import BMC
from tests.support.process import ROOT


def addresses(count: int) -> list[str]:
    """Return the addresses of so many BMCs, all on loopback."""
    return [f"127.16.{number // 250}.{number % 250 + 1}" for number in range(count)]


@contextmanager
def simulated(port: int, count: int, delay: float) -> Iterator[None]:
    """Run the process. Raises: Crashed."""
    command = [sys.executable, "-m", "tests.bench.bmcs", str(port), str(count), str(delay)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise Crashed("the simulated BMCs do not listen")
            yield
        finally:
            process.kill()


def serve(port: int, count: int, delay: float) -> None:
    """Serve until the process is ended."""
    poll = select.epoll()
    there: dict[int, tuple[socket.socket, BMC]] = {}
    for address in addresses(count):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, port))
        sock.setblocking(False)
        poll.register(sock, select.EPOLLIN)
        there[sock.fileno()] = (sock, BMC())
        there[sock.fileno()][1].outlets["1"] = "on"
    print("ready", flush=True)
    due: deque[tuple[float, socket.socket, bytes, tuple[str, int]]] = deque()
    while True:
        left = max(0.0, due[0][0] - time.monotonic()) if due else None
        for descriptor, _ in poll.poll(left):
            sock, bmc = there[descriptor]
            packet, client = sock.recvfrom(4096)
            due += [(time.monotonic() + delay, sock, answer, client) for answer in bmc.answers(packet)]
        while due and due[0][0] <= time.monotonic():
            _, sock, answer, client = due.popleft()
            sock.sendto(answer, client)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))

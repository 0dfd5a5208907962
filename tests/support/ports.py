# SPDX-License-Identifier: MIT
"""Free ports for servers that have to be told one."""

from __future__ import annotations

import random
import socket
from pathlib import Path

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int = 1, kind: socket.SocketKind = socket.SOCK_STREAM) -> list[int]:
    """Return ports of loopback that nobody has just now, and that the system hands out to nobody who asks for any."""
    below = int(EPHEMERAL.read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(below // 2, below), below // 4):
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody has it
        found.append(port)
        if len(found) == count:
            break
    return found

# SPDX-License-Identifier: MIT
"""Speaks with many BMCs as the driver ``ipmi`` does, in a process that does nothing else.

``python -m tests.bench.barebmcs PORT COUNT ACTION`` prints the seconds, and those of a processor, that it took. As many
threads as are of use have a conversation each at a time; all of these are carried on by one more, as in the daemon.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from pdudaemon.drivers.ipmi import IPMI
from pdudaemon.transports.deadline import Deadline
from tests.bench.bmcs import addresses
from tests.devices.ipmi import PASSWORD, USER

AT_ONCE = 512  # as the driver's own bound has it


def run(port: int, count: int, action: str) -> tuple[float, float]:
    """Ask or switch all of them."""

    def act(address: str) -> None:
        machine = IPMI("", {"driver": "ipmi", "ip": address, "port": port, "username": USER, "password": PASSWORD})
        machine.deadline = Deadline(100)
        machine.handle(action, 1)

    begin = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(act, addresses(count)))
    return time.monotonic() - begin, time.process_time()


if __name__ == "__main__":
    print(*run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))

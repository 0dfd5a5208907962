# SPDX-License-Identifier: MIT
"""A program that is run for a test as a server, and ends with it."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import eventually


@contextmanager
def listening(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server; yield when it listens (found out without connecting); end it by its own pid."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    drained = threading.Thread(target=process.stdout.read, daemon=True)
    drained.start()

    def listens() -> bool:
        assert process.poll() is None, f"{command[0]} ended at once"
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)

    try:
        eventually(listens, 60)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:  # it is busy with something else than its end
            process.kill()
            process.wait()
        drained.join(5)
        process.stdout.close()

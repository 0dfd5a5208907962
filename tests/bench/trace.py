# SPDX-License-Identifier: MIT
"""How far a reader has to go: the daemon's own code through one HTTP `on` of a dummy, on all threads.

The daemon is warm: the same was asked before. Counted are calls, different functions, files, and changes of file from
one call to the next; a comprehension is a call. `python -m tests.bench.trace` prints them all, in order.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from pdudaemon import cli
from tests.bench.report import Bench
from tests.support.ports import free_ports
from tests.support.process import ROOT, eventually

TARGETS = {"calls": 70, "functions": 50, "files": 12, "changes": 45}
EARLIER = 5  # requests before the one that is traced
AFTER = 0.3  # seconds for what follows an answer


def measure(bench: Bench) -> None:
    """Trace in a process of its own, whose threads are all seen."""
    command = [sys.executable, "-m", "tests.bench.trace"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout.split("\n")
    calls = [line for line in lines if line]
    files = [call.partition(" ")[0] for call in calls]
    changes = sum(one != other for one, other in itertools.pairwise(files))
    found = {"calls": len(calls), "functions": len({*calls}), "files": len({*files}), "changes": changes}
    for what, most in TARGETS.items():
        bench.judge(what, [found[what]], most=most)


def main() -> None:
    """Be the daemon, ask it, and print the calls that one request makes."""
    calls: list[str] = []
    counting = threading.Event()
    package = f"{ROOT / 'pdudaemon'}{os.sep}"
    (port,) = free_ports()

    def called(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(package) and counting.is_set():
            calls.append(f"{name.removeprefix(package)} {frame.f_code.co_qualname}")

    def ask() -> None:
        eventually(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), 30)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for number in range(EARLIER + 1):
            if number == EARLIER:
                counting.set()
            connection.request("GET", "/power/control/on?hostname=pdu&port=1")
            answer = connection.getresponse().read()
            assert answer == b"OK - accepted request\n", answer
            threading.Event().wait(AFTER)
        counting.clear()
        os.kill(os.getpid(), signal.SIGTERM)

    with tempfile.TemporaryDirectory(prefix="pdudaemon-trace-") as folder:
        conf = Path(folder) / "conf"
        section = {"port": port, "listener": "http", "dbname": str(Path(folder) / "store"), "logging_level": "ERROR"}
        conf.write_text(json.dumps({"daemon": section, "pdus": {"pdu": {"driver": "dummy"}}}))
        threading.Thread(target=ask, daemon=True).start()
        threading.setprofile(called)
        cli.main([f"--conf={conf}"])
    print(*calls, sep="\n")


if __name__ == "__main__":
    main()

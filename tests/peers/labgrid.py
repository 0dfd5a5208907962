# SPDX-License-Identifier: MIT
"""labgrid 26: its coordinator, exporter and client, in an environment of its own; ``LABGRID`` names its folder of programs."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.process import eventually

COORDINATOR_PORT = 20408


def labgrid() -> Path:
    """Return the folder of its programs, or skip the test."""
    folder = os.environ.get("LABGRID", "")
    if not Path(folder, "labgrid-coordinator").exists():
        pytest.skip("labgrid is not installed (LABGRID=.../bin)")
    return Path(folder)


class Units:
    """What the units ``labgrid-coordinator`` and ``labgrid-exporter`` start, on an address of a test's own."""

    def __init__(self, address: str, exported: Path, folder: Path, ends: ExitStack) -> None:
        self._address = address
        self._exported = exported
        self._folder = folder
        self._ends = ends
        self.orders: dict[str, Callable[[str], None]] = {
            "labgrid-coordinator": self._coordinator,
            "labgrid-exporter": self._exporter,
        }

    def _coordinator(self, verb: str) -> None:
        where = f"{self._address}:{COORDINATOR_PORT}"
        self._start("labgrid-coordinator", "--listen", where)
        eventually(self._listens, 60)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self._address, COORDINATOR_PORT)) == 0

    def _exporter(self, verb: str) -> None:
        where = f"{self._address}:{COORDINATOR_PORT}"
        self._start("labgrid-exporter", "--coordinator", where, "--name", "farm", str(self._exported))
        listing = [labgrid() / "labgrid-client", "--coordinator", where, "resources"]
        eventually(lambda: b"PDUDaemonPort" in subprocess.run(listing, capture_output=True, timeout=60).stdout, 60)

    def _start(self, program: str, *words: str) -> None:
        log = self._ends.enter_context((self._folder / f"{program}.log").open("wb"))
        process = subprocess.Popen([labgrid() / program, *words], cwd=self._folder, stdout=log, stderr=log)
        self._ends.callback(process.wait, 20)
        self._ends.callback(process.terminate)

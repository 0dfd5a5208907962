# SPDX-License-Identifier: MIT
"""`Meters`: a rack of PDUs that are read as a whole."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pdudaemon.drivers.driver import Identity, InletReading, Numbered, OutletReading, PDUDriver
from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import State
from tests.support.rack import Rack


class Meters(Rack):
    """A rack of PDUs that tell what is in ``tells``; those that ``refuse`` say why instead. ``reads`` counts.

    A reading of those in ``gates`` waits; ``reading`` says that it has begun.
    """

    def __init__(self, folder: Path, pdus: dict[str, dict[str, Any]], **daemon: Any) -> None:
        self.tells: dict[str, Any] = defaultdict(lambda: [OutletReading("1", "router", State.ON, 12.5)])
        self.refuse: dict[str, BaseException] = {}
        self.secretive: dict[str, BaseException] = {}
        self.reads: Counter[str] = Counter()
        self.identified: Counter[str] = Counter()
        self.gates: dict[str, threading.Event] = {}
        self.reading: dict[str, threading.Event] = defaultdict(threading.Event)
        self.most = 0
        self._now = 0
        self._counting = threading.Lock()
        super().__init__(folder, pdus, **daemon)

    def _driver(rack) -> type[PDUDriver]:
        class Metered(super()._driver()):  # type: ignore[misc]
            ports = Numbered(3)

            def read_outlets(self) -> Any:
                name = self.hostname
                with rack._counting:
                    rack.reads[name] += 1
                    rack._now += 1
                    rack.most = max(rack.most, rack._now)
                rack.reading[name].set()
                try:
                    while name in rack.gates and not rack.gates[name].is_set():
                        self.deadline.pause(0.01)
                finally:
                    with rack._counting:
                        rack._now -= 1
                if name in rack.refuse:
                    raise rack.refuse[name]
                return rack.tells[name]

            def read_inlets(self) -> list[InletReading]:
                return [InletReading("total", 20.0)]

            def identify(self) -> Identity:
                rack.identified[self.hostname] += 1
                if self.hostname in rack.secretive:
                    raise rack.secretive[self.hostname]
                return Identity("maker")

        return Metered

    def gate(self, name: str) -> None:
        """Have the next reading of a PDU wait."""
        self.reading[name].clear()
        self.gates[name] = threading.Event()

    def known(self, name: str) -> Any:
        return self.dispatcher.inventory.pdu(name)

    def ask(self, name: str) -> PDUDaemonError | None:
        """Have a PDU be read, and wait for it."""
        told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
        self.dispatcher.surveys.ask(name, told.put)
        return told.get(timeout=60)

    def look(self, *names: str) -> None:
        """Look at PDUs, and wait until none is being read."""
        self.dispatcher.surveys.look(names)
        until(lambda: not self.dispatcher.surveys._pending)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    for _ in range(6000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it does not come to hold")

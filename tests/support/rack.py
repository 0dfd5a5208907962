# SPDX-License-Identifier: MIT
"""A rack of PDUs in this process, whose outlets are looked at and whose moods a test changes while it runs.

With a dispatcher in front of it, that can be ended and made anew on the same store, and clocks that can be set.
"""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pdudaemon.config import reader
from pdudaemon.config.model import Config
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import PDUDaemonError, TransientError
from pdudaemon.power import Action, Outlet, Request, State, Submission, Target


def submitted(dispatcher: Dispatcher, action: Action, target: Target, delay: float = 0.0, client: str = "") -> Request:
    """Have one request accepted. Raises: why it was not."""
    (request,) = dispatcher.submit([Submission(action, target, delay, client)])
    if isinstance(request, PDUDaemonError):
        raise request
    return request


def awaited(dispatcher: Dispatcher, request: Request, seconds: float) -> bool:
    """Wait for what there is to tell of a request. Raises: that, unless it is done."""
    told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
    dispatcher.join(request, lambda _, trouble: told.put(trouble))
    try:
        trouble = told.get(timeout=seconds)
    except queue.Empty:
        trouble = dispatcher.so_far(request, seconds)
    if trouble is not None:
        raise trouble
    return True


class SetClock(Clock):
    """Clocks that run as the machine's do, but for what a test adds to them."""

    def __init__(self, boot: str = "first") -> None:
        self.boot = boot
        self._stood: tuple[float, float] | None = None
        self.wall_off = 0.0
        self.uptime_off = 0.0

    def wall(self) -> float:
        return (super().wall() if self._stood is None else self._stood[0]) + self.wall_off

    def uptime(self) -> float:
        return (super().uptime() if self._stood is None else self._stood[1]) + self.uptime_off

    def stand(self) -> None:
        """Have only that time pass, from now on, which a test lets pass by."""
        self._stood = super().wall(), super().uptime()

    def pass_by(self, seconds: float) -> None:
        """Let some time have passed, by all clocks."""
        self.wall_off += seconds
        self.uptime_off += seconds


class Rack:
    """``seen`` is a word for each outlet: ``f`` for off, ``o`` for on, in order.

    ``refusing`` holds (PDU, action) pairs that are refused. An action of a PDU in ``held`` begins, and waits for its
    event; ``begun`` says that it has.
    """

    sections: Mapping[str, Any] = {}  # of the configuration, beside those of the daemon and of PDUs

    def __init__(self, folder: Path, pdus: Mapping[str, Mapping[str, Any]], **daemon: Any) -> None:
        self.seen: dict[str, str] = defaultdict(str)
        self.refusing: set[tuple[str, str]] = set()
        self.held: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = defaultdict(threading.Event)
        self.clock = SetClock()
        self.store = folder / "store"
        self._folder = folder
        self.pdus = {name: {"driver": "dummy", "retries": 1, **settings} for name, settings in pdus.items()}
        self._daemon = daemon
        self.start()

    def start(self) -> None:
        """Make a dispatcher on the store that the last one left."""
        self.dispatcher = Dispatcher(self.config(), Store(str(self.store)), clock=self.clock)
        self.dispatcher.start()
        self._running = True

    def restart(self) -> None:
        """End the dispatcher, with nothing brought home, and make another."""
        self.stop()
        self.start()

    def stop(self) -> list[str]:
        """End the dispatcher, if it has not been; return what it says has yet to be switched on."""
        if not self._running:
            return []
        self._running = False
        return self.dispatcher.close(0)[1]

    def config(self) -> Config:
        """Return the configuration, as ``pdus`` has it now."""
        path = self._folder / "conf"
        path.write_text(json.dumps({"daemon": self._daemon, "pdus": self.pdus, **self.sections}))
        found = reader.load(str(path))
        driver = self._driver()
        usable = {name: pdu if pdu.driver is None else replace(pdu, driver=driver) for name, pdu in found.pdus.items()}
        return replace(found, pdus=usable)

    def target(self, *pdus: str) -> Target:
        """Return a node with port 1 of some PDUs."""
        return Target("+".join(pdus), tuple(Outlet(pdu, "1") for pdu in pdus))

    def hold(self, pdu: str, port: str = "1", *behind: Submission) -> list[Request]:
        """Have a PDU be busy with a request until it is let go; return what is accepted with it, to stand behind it."""
        self.held[pdu] = threading.Event()
        self.begun[pdu].clear()
        found = self.dispatcher.submit([Submission(Action.ON, self.dispatcher.config.target(pdu, port)), *behind])
        requests = [each for each in found if isinstance(each, Request)]
        assert len(requests) == len(found), found
        assert self.begun[pdu].wait(60)
        return requests[1:]

    def let_go(self, pdu: str) -> None:
        """Have a PDU go on."""
        self.held.pop(pdu).set()

    def state(self, number: int) -> str:
        """Return the state of a request."""
        return str(self.dispatcher.record(number)["state"])

    def _driver(rack) -> type[PDUDriver]:
        class Switch(PDUDriver):
            def port_interaction(self, command: str, port_number: Any) -> None:
                name = self.hostname
                rack.begun[name].set()
                if name in rack.held:
                    assert rack.held[name].wait(60)
                if (name, command) in rack.refusing:
                    raise TransientError("refused")
                rack.seen[name] += {"on": "o", "off": "f"}[command]

            def port_status(self, port_number: Any) -> State:
                if self.hostname in rack.held:
                    assert rack.held[self.hostname].wait(60)
                return {"o": State.ON, "f": State.OFF}.get(rack.seen[self.hostname][-1:], State.UNKNOWN)

        return Switch


def owing(rack: Rack, *pdus: str) -> Request:
    """Return a reboot whose off is done and whose on the first of its PDUs refuses."""
    rack.refusing.add((pdus[0], "on"))
    request = submitted(rack.dispatcher, Action.REBOOT, rack.target(*pdus), 0)
    try:
        awaited(rack.dispatcher, request, 30)
    except PDUDaemonError as error:
        assert "the port may be off, on is tried again" in str(error)
    assert request.debts
    return request

# SPDX-License-Identifier: MIT
"""A dispatcher whose results are written and told by a thread that serves others as well, and what it says at its end."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.queries import Answer, Look
from pdudaemon.errors import Busy, PDUDaemonError
from pdudaemon.power import Action, Outlet, Request
from pdudaemon.transports import command
from tests.support.process import eventually
from tests.support.rack import Rack, submitted


class Serving:
    """A thread that does what there is whenever it is woken, as the one that serves clients."""

    def __init__(self, rack: Rack) -> None:
        self._rack = rack
        self._woken = threading.Event()
        self._ends = False
        self.woken = 0
        self.thread = threading.Thread(target=self._run, name="serving", daemon=True)
        self.thread.start()
        rack.dispatcher.led_by(self)

    def wake(self) -> None:
        self.woken += 1
        self._woken.set()

    def succeed(self) -> threading.Thread | None:
        return None

    def at(self, when: float, call: Callable[[], None]) -> None:
        self._woken.wait(max(0.0, when - time.monotonic()))
        call()

    def _run(self) -> None:
        while not self._ends:
            self._woken.wait()
            self._woken.clear()
            while (instead := self._rack.dispatcher.work()) is not None:
                instead()

    def close(self) -> None:
        self._rack.dispatcher.led_by(None)
        self._ends = True
        self.wake()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Rack, Serving]]:
    rack = Rack(tmp_path, {name: {} for name in "abcdef"})
    serving = Serving(rack)
    yield rack, serving
    serving.close()
    for held in rack.held.values():
        held.set()
    rack.stop()


def test_what_came_of_many_is_told_by_who_serves(served: tuple[Rack, Serving]) -> None:
    rack, serving = served
    told: queue.SimpleQueue[tuple[str, PDUDaemonError | None]] = queue.SimpleQueue()

    def tell(_: Request, trouble: PDUDaemonError | None) -> None:
        told.put((threading.current_thread().name, trouble))

    rack.hold("f")
    submitted(rack.dispatcher, Action.ON, rack.target("f"))  # so that there are several all the while
    for name in "abcde":
        rack.held[name] = threading.Event()
    for _ in range(20):
        for name in "abcde":
            rack.dispatcher.join(submitted(rack.dispatcher, Action.ON, rack.target(name)), tell)
    for name in "abcde":
        rack.held.pop(name).set()
    found = [told.get(timeout=60) for _ in range(100)]
    assert [trouble for _, trouble in found] == [None] * 100 and serving.woken
    assert any(name == "serving" for name, _ in found), "or by the timetable, which may have the lock for something"
    assert [record["state"] for record in rack.dispatcher.records(100)] == ["done"] * 100
    rack.let_go("f")


def test_what_is_asked_when_the_daemon_stops_is_not_asked_of_the_device(tmp_path: Path) -> None:
    rack = Rack(tmp_path, {"a": {}})
    rack.hold("a")
    told: list[Answer] = []
    rack.dispatcher.ask([Look([Outlet("a", "1")], told.append)])
    asked: list[str] = []
    driver = rack.dispatcher.config.pdus["a"].driver
    assert driver is not None
    driver.port_status = lambda *_: asked.append("x")  # type: ignore[method-assign]
    rack.stop()
    eventually(lambda: told)
    assert isinstance(told[0], Busy) and str(told[0]) == "the daemon is stopping"
    rack.let_go("a")
    eventually(lambda: rack.seen["a"] == "o")
    assert asked == []


def test_commands_that_still_run_at_the_end_are_killed_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rack = Rack(tmp_path, {"a": {}})
    monkeypatch.setattr(command, "kill_all", lambda: 2)
    rack.stop()
    assert "2 commands were still running and have been killed" in caplog.messages
    caplog.clear()
    monkeypatch.setattr(command, "kill_all", lambda: 0)
    other = Rack(tmp_path, {"a": {}})
    other.stop()
    assert not [each for each in caplog.messages if "killed" in each]


class Idle:
    """A leader that has no time."""

    def wake(self) -> None: ...

    def succeed(self) -> threading.Thread | None:
        return None

    def at(self, when: float, call: Callable[[], None]) -> None: ...


class Recorded(Rack):
    """``open`` is what of the record had not ended when a device was switched, by the action and the phase: in order."""

    def start(self) -> None:
        self.open: list[list[tuple[str, str]]] = []
        super().start()

    def _driver(rack) -> type[PDUDriver]:
        class Switch(super()._driver()):  # type: ignore[misc]
            def port_interaction(self, command: str, port_number: Any) -> None:
                super().port_interaction(command, port_number)
                with closing(sqlite3.connect(rack.store)) as store:
                    query = "SELECT action, phase FROM request WHERE ended IS NULL AND target = ? ORDER BY id"
                    rack.open.append(store.execute(query, (self.hostname,)).fetchall())

        return Switch


def test_what_a_device_did_before_is_on_record_when_it_acts_again(tmp_path: Path) -> None:
    """Else a crash has it done once more behind what came later: off, on, off, on is no reboot."""
    rack = Recorded(tmp_path, {"a": {}, "other": {}})
    rack.hold("other")  # so that there is more than one to be written and told
    rack.dispatcher.led_by(Idle())
    for action in (Action.ON, Action.REBOOT, Action.OFF):
        submitted(rack.dispatcher, action, rack.target("a"), 0.0)
    eventually(lambda: len(rack.open) == 4)
    on, reboot, back, off = rack.open
    assert on[0] == ("on", "on")
    assert (reboot[0], back[0], off[0]) == (("reboot", "off"), ("reboot", "on"), ("off", "off"))
    rack.dispatcher.led_by(None)
    rack.let_go("other")
    assert rack.stop() == []

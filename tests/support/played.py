# SPDX-License-Identifier: MIT
"""A PDU's worker whose threads a test plays: it sees which would be begun, and does itself what each of them would do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine import device, jobs, threads
from pdudaemon.engine.carrier import Carrier
from pdudaemon.engine.device import Device
from pdudaemon.engine.pool import Pool
from pdudaemon.engine.runner import PDURunner
from pdudaemon.errors import DeviceError
from pdudaemon.power import Outlet, State
from pdudaemon.transports import datagrams


class Job:
    """Something to be switched, or asked."""

    def __init__(self, port: str, lengthy: bool = False, order: str = "on", crowd: str | None = None) -> None:
        self.outlet = Outlet("pdu", port)
        self.lengthy, self.order, self.crowd = lengthy, order, crowd


class Talk:
    """A conversation, which ends when the test has it end, or fails."""

    def __init__(self, lab: Bench, port: Any) -> None:
        self.lab, self.port = lab, port

    def begin(self, ended: Callable[[], None]) -> None:
        self.lab.talks.append(ended)

    def wait(self) -> None:
        self.lab.waited.append(self.port)

    def outcome(self) -> State:
        self.lab.acted(self.port)
        return State.ON


class Bench:
    """A worker and what is around it. ``begun`` are the names of threads that it wants, ``refuses`` whether it gets any.

    ``done`` is what was switched, in order, by ``drivers``, and ``told`` what was told of it. A driver ``raises``
    something, and so may who is asked whether a job is ``wanted``: a ``fault`` of ours. ``by`` says of each action the
    name of the thread that it was done by, whether that was the worker's own, and whether it was unaided.
    """

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        pool: Pool | None = None,
        converses: bool = False,
        **pdu: Any,
    ) -> None:
        self.now = 500.0  # by the clock of jobs and devices, which stands still
        clock = type("Clock", (), {"monotonic": lambda _: self.now})()
        monkeypatch.setattr(jobs, "time", clock)
        monkeypatch.setattr(device, "time", clock)
        self.begun: list[str] = []
        self.refuses = False
        self.done: list[str] = []
        self.told: list[tuple[str, State | None, str]] = []
        self.raises: BaseException | None = None
        self.fault: BaseException | None = None
        self.wanted = True
        self.drivers: list[PDUDriver] = []
        self.by: list[tuple[str, bool, bool]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.soon: list[Callable[[], object]] = []
        self.talks: list[Callable[[], None]] = []
        self.waited: list[Any] = []
        self.woken = 0
        self.carrier = Carrier(self, lambda: None)  # type: ignore[arg-type]
        self.carrier._watched = True  # nobody looks after the test's thread
        self.carrier.leader = self  # type: ignore[assignment]
        monkeypatch.setattr(threads, "started", self._started)
        monkeypatch.setattr(datagrams, "soon", self._soon)
        monkeypatch.setattr(threads, "PAUSE", 50.0)
        lab = self

        class Switch(PDUDriver):
            def handle(self, request: str, port_number: Any) -> Any:
                lab.drivers.append(self)
                lab.acted(port_number)
                return State.ON

            def read_outlets(self) -> Any:
                lab.drivers.append(self)
                lab.acted("all")
                return []

            def conversation(self, request: str, port_number: Any) -> Any:
                return Talk(lab, port_number)

        (folder / "conf").write_text(json.dumps({"pdus": {"pdu": {"driver": "dummy", **pdu}}}))
        found = replace(reader.load(str(folder / "conf")).pdus["pdu"], driver=Switch)
        traits = replace(found.traits, converses=converses, pool=None if pool is None else ("all", 1))
        self.file = folder / "lock"
        self.device = Device(self.file)
        self.runner = PDURunner(
            replace(found, traits=traits),
            self.device,
            pool,
            self._begin,
            self._end,
            self,  # type: ignore[arg-type]
            None,
            self.carrier,
        )

    def acted(self, port: Any) -> None:
        self.done.append(str(port))
        runner = self.runner
        self.by.append((threading.current_thread().name, runner._thread is threading.current_thread(), runner.unaided))
        if self.raises is not None:
            raise self.raises

    def wake(self) -> None:
        self.woken += 1

    def at(self, when: float, call: Callable[[], None]) -> None:
        self.later.append((when, call))

    def _started(self, call: Callable[[], object], name: str, whose: object) -> threading.Thread | None:
        if self.refuses:
            return None
        self.begun.append(name)
        return threading.Thread(target=call, name=name)

    def _soon(self, call: Callable[[], object]) -> bool:
        if not self.refuses:
            self.soon.append(call)
        return not self.refuses

    def _begin(self, *_: object) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.wanted

    def _end(self, runner: PDURunner, job: Job, state: State | None, error: DeviceError | None) -> None:
        self.told.append((job.outlet.port, state, "" if error is None else str(error)))

    def prompt(self) -> None:
        """Have the device be one that comes back at once."""
        while not self.runner._promptness.enough:
            self.runner._promptness.add(0.0)

    def put(self, *ports: str, **words: Any) -> None:
        for port in ports:
            self.runner.put(Job(port, **words))

    def serve(self) -> None:
        """Play the thread that has been begun, until there is nothing left for it to do."""
        me = threading.current_thread()
        name = me.name
        try:
            self.runner.serve()
        finally:
            me.name = name

    def call(self) -> None:
        """Play the thread of datagrams: make the one call that it is to make."""
        (call,) = self.soon
        self.soon.clear()
        call()

    def end_talk(self) -> None:
        (ended,) = self.talks
        self.talks.clear()
        ended()

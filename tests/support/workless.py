# SPDX-License-Identifier: MIT
"""A dispatcher without workers: a test is told what each would do, and says when it begins and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.engine import dispatcher
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.queries import Look, Query
from pdudaemon.engine.storage.store import MEMORY, Store
from pdudaemon.engine.survey import Survey
from pdudaemon.errors import DeviceError
from pdudaemon.power import Action, Outlet, Request, State, Submission
from pdudaemon.transports import datagrams

A, A2, B = Outlet("a", "1"), Outlet("a", "2"), Outlet("b", "1")


class Lab(Clock):
    """A dispatcher whose workers put what they are given into ``jobs``. Somebody serves the clients: ``woken``."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, stored: bool = False, daemon: Any = None, **pdu: Any
    ) -> None:
        self.boot = "boot"
        self.now = 500.0
        path = folder / "conf"
        pdus = {"a": {"driver": "dummy", "timeout": 7, **pdu}, "b": {"driver": "dummy", "timeout": 9}}
        path.write_text(json.dumps({"daemon": daemon or {}, "pdus": pdus}))
        self.config = reader.load(str(path))
        self.store = Store(str(folder / "store") if stored else MEMORY)
        self.dispatcher = Dispatcher(self.config, self.store, clock=self)
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.jobs: list[Any] = []
        self.soon: list[Callable[[], object]] = []
        self.woken = 0
        self.refuses = False
        self.told: list[object] = []
        monkeypatch.setattr(dispatcher, "time", type("Time", (), {"monotonic": lambda: self.now}))
        monkeypatch.setattr(self.dispatcher._timetable, "at", self._at)
        monkeypatch.setattr(datagrams, "soon", self._soon)
        self.runners = self.dispatcher._fleet.runners
        for runner in self.runners.values():
            monkeypatch.setattr(runner, "put", self.jobs.append)

    def wall(self) -> float:
        return 1_000_000.0 + self.now

    def uptime(self) -> float:
        return self.now

    def wake(self) -> None:
        self.woken += 1

    def _at(self, when: float, call: Callable[[], None]) -> Any:
        self.later.append((when, call))
        return type("Entry", (), {"cancel": lambda _: None})()

    def _soon(self, call: Callable[[], object]) -> bool:
        if not self.refuses:
            self.soon.append(call)
        return not self.refuses

    def ask(self, action: str, *outlets: Outlet, **more: Any) -> Request:
        """Have a request accepted, whose step is the last of the ``jobs`` then."""
        target = self.dispatcher.config.target((outlets or (A,))[0].pdu, (outlets or (A,))[0].port)
        target = replace(target, outlets=outlets or (A,))
        waiter = lambda request, error: self.told.append(error)  # noqa: E731
        (request,) = self.dispatcher.submit([Submission(Action(action), target, 0.0, "me", waiter=waiter, **more)])
        assert isinstance(request, Request), request
        return request

    def look(self, outlet: Outlet = A) -> Query:
        self.dispatcher.ask([Look([outlet], self.told.append)])
        query = self.jobs[-1]
        assert isinstance(query, Query)
        return query

    def survey(self, name: str = "a") -> Survey:
        with self.dispatcher._lock:
            self.dispatcher.surveys._put(name, self.dispatcher.inventory.pdu(name))  # type: ignore[arg-type]
        survey = self.jobs[-1]
        assert isinstance(survey, Survey)
        return survey

    def begin(self, job: Any = None) -> bool:
        job = job or self.jobs[-1]
        return self.dispatcher._begin(self.runners[job.outlet.pdu], job)

    def end(self, job: Any = None, state: State | None = None, error: DeviceError | None = None) -> None:
        job = job or self.jobs[-1]
        self.dispatcher._end(self.runners[job.outlet.pdu], job, state, error)

    def acting(self, name: str = "a") -> bool:
        return self.runners[name].device in self.dispatcher._acting


@contextmanager
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Lab]]:
    """Yield what makes labs, of which none may be left with a lock that is held."""
    made: list[Lab] = []

    def lab(**more: Any) -> Lab:
        made.append(Lab(tmp_path, monkeypatch, **more))
        return made[-1]

    yield lab
    for each in made:
        assert not each.dispatcher._lock.locked() and not each.dispatcher._acceptance.entering.locked()
        each.store.close()

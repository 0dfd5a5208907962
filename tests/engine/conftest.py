# SPDX-License-Identifier: MIT
"""A rack for each test that wants one, or several, ended after it; and no test passes over a fault of ours in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.meters import Meters
from tests.support.rack import Rack


class _Faults(logging.Handler):
    """Notes what is logged with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


@pytest.fixture(autouse=True)
def faults() -> Iterator[list[str]]:
    """Fail a test in which something was caught that nobody should have raised, unless it is ``meant``."""
    handler = _Faults()
    loggers = [logging.getLogger(name) for name in ("pdud", "asyncio")]
    for each in loggers:
        each.addHandler(handler)
    yield handler.found
    for each in loggers:
        each.removeHandler(handler)
    assert not handler.found


@pytest.fixture
def meant(faults: list[str]) -> Iterator[None]:
    """For tests of what follows a fault of ours."""
    yield
    faults.clear()


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Callable[..., Rack]]:
    """Return a function that makes a rack of some PDUs: ``rack("a", "b", **daemon_settings)``."""
    made: list[Rack] = []

    def make(*names: str, settings: Mapping[str, Any] | None = None, **daemon: Any) -> Rack:
        made.append(Rack(tmp_path, dict.fromkeys(names, settings or {}), **daemon))
        return made[-1]

    yield make
    for each in made:
        for event in each.held.values():
            event.set()
        each.stop()


@pytest.fixture
def racks(tmp_path: Path) -> Iterator[Callable[..., Meters]]:
    """Return a function that makes a rack of PDUs that are read, by their settings: ``racks(a={}, b={})``."""
    made: list[Meters] = []

    def make(**pdus: dict[str, Any]) -> Meters:
        made.append(Meters(tmp_path, pdus))
        return made[-1]

    yield make
    for rack in made:
        for event in (*rack.gates.values(), *rack.held.values()):
            event.set()
        rack.stop()

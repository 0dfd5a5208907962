# SPDX-License-Identifier: MIT
"""Requests for a store that no dispatcher stands in front of, and what is left in its files."""

from __future__ import annotations

import functools
import logging
import tempfile
from pathlib import Path

import pytest

from pdudaemon.engine.storage.store import Store
from pdudaemon.power import Action, Outcome, Outlet, Phase, Request, State, Target

ACCEPTED = 1000.0  # seconds since the epoch


def asked(action: str, *outlets: Outlet, **fields: object) -> Request:
    """Return a request for some outlets, one of the PDU ``a`` if none, which is on no record yet."""
    outlets = outlets or (Outlet("a", "1"),)
    target = Target(" and ".join(map(str, outlets)), outlets)
    phase = Phase.OFF if action == "reboot" else Phase(action)
    request = Request(Action(action), target, 0.0, "a client", ACCEPTED, phase, remaining=[*outlets])
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def end(request: Request, when: float = ACCEPTED + 1) -> Request:
    """Let a request be done, and its outlets be what it asked for."""
    state = State.OFF if request.action is Action.OFF else State.ON
    request.switched.update(dict.fromkeys(request.remaining, (state, when)))
    request.ended, request.outcome, request.remaining = when, Outcome.DONE, []
    request.debts.clear()
    return request


def reboot(port: int) -> Request:
    """Return a reboot that waits for its turn."""
    return asked("reboot", Outlet("pdu", str(port)), delay=5.0)


def begun(store: Store, port: int) -> Request:
    """Accept a reboot, and begin it."""
    request = reboot(port)
    store.add_all([request])
    request.started, request.debts = 1001.0, {*request.remaining}
    store.note(request)
    store.flush()
    return request


def ports(path: Path) -> list[int]:
    """Open a store as the daemon does, and return the ports of the requests that go on."""
    store = Store(str(path))
    found = sorted(int(request.remaining[0].port) for request in store.live())
    store.close()
    return found


def wal(path: Path) -> Path:
    """Return the log of a store."""
    return Path(f"{path}-wal")


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Return what has been logged as critical since the last time."""
    text = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL)
    caplog.clear()
    return text


def spoil(path: Path, *offsets: int) -> None:
    """Change bytes of a file."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 0x15]))


def kept(path: Path) -> list[Path]:
    """Return what was kept of a damaged store."""
    return sorted(each for each in path.parent.iterdir() if ".damaged-" in each.name)


def closed(folder: Path, number: int = 400) -> Path:
    """Return a store of so many reboots, all of them in the database itself."""
    path = folder / "store"
    path.write_bytes(_closed(number))
    return path


@functools.cache
def _closed(number: int) -> bytes:
    """Make such a store, once for each process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store"
        store = Store(str(path))
        for port in range(number):
            begun(store, port)
        store.close()
        assert not wal(path).exists()
        return path.read_bytes()

# SPDX-License-Identifier: MIT
"""`Pulse`: whether the daemon is well, for the watchdog and whoever asks.

It is well if the lock can be had, the timetable turns, no worker has died, and the store takes what it is given. A
worker that is busy, or stuck, is well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import NamedTuple

from pdudaemon.engine.carrier import Carrier
from pdudaemon.engine.runner import PDURunner
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.timetable import Timetable
from pdudaemon.engine.waiting import Waiting
from pdudaemon.errors import StoreError, StoreFull


class Pulse(NamedTuple):
    """What ails the daemon, empty if it is well: ``hangs`` until it is started anew, or the ``store`` takes nothing.

    ``full``: because there is no room for what it is given.
    """

    hangs: str = ""
    store: str = ""
    full: bool = False


def felt(
    lock: Waiting,
    timetable: Timetable,
    store: Store,
    carrier: Carrier,
    runners: Collection[PDURunner],
    seconds: float,
    thoroughly: bool = False,
) -> Pulse:
    """Return what is not well, within some seconds whatever it is.

    ``thoroughly``: the store is written to, which whoever asks by himself must not do for ever on an idle machine.
    """
    until = time.monotonic() + seconds
    turned = threading.Event()
    refused: list[StoreError] = []

    def turn() -> None:
        try:
            store.probe(thoroughly)
        except StoreError as error:
            refused.append(error)
        turned.set()

    if not timetable.turning:
        return Pulse("the timetable has stopped")
    if not lock.acquire(timeout=seconds):
        return Pulse("the dispatcher does not turn")
    try:
        workers: list[Carrier | PDURunner] = [carrier, *runners]
        dead = [str(worker) for worker in workers if worker.dead]
        timetable.at(time.monotonic(), turn)  # where it holds up nobody who asks how we are
    finally:
        lock.release()
    if not turned.wait(max(0.0, until - time.monotonic())):
        return Pulse("the timetable does not turn")
    full = any(isinstance(error, StoreFull) for error in refused)
    return Pulse(f"{', '.join(dead)} has died" if dead else "", "".join(map(str, refused)), full)

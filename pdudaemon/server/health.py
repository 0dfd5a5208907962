# SPDX-License-Identifier: MIT
"""``/livez``, ``/healthz``, ``/readyz``, for what watches the daemon: they need no token, and without one say no more.

A dead PDU makes none of them fail: a new start would not help it. Nor would it help where the disk is full, but this
daemon still knows what is owed: that is nothing for ``/livez``, by which daemons are started anew.
"""

from __future__ import annotations

import threading
import time

from pdudaemon.engine.pulse import Pulse
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer

PULSE = 3.0  # seconds within which a daemon that is well says so
FRESH = 1.0  # seconds for which strangers are told the same: what they ask writes to the store


class Health:
    """How the daemon is, felt anew for each who may ask, and once in a while for strangers. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._felt: tuple[float, object, Pulse] = (float("-inf"), None, Pulse())

    def alive(self, exchange: HTTPExchange, _: str) -> Answer:
        """``/livez``: whether it is no use to start it anew."""
        pulse = self._pulse(exchange)
        return _told(exchange, pulse.hangs or ("" if pulse.full else pulse.store))

    def healthy(self, exchange: HTTPExchange, _: str) -> Answer:
        """``/healthz``: whether the daemon turns and its store takes requests."""
        return _told(exchange, self._ailing(exchange))

    def ready(self, exchange: HTTPExchange, _: str) -> Answer:
        """``/readyz``: whether it takes requests: it is well, and does not stop."""
        stopping = "the daemon is stopping" if exchange.dispatcher.stopping else ""
        return _told(exchange, stopping or self._ailing(exchange))

    def _ailing(self, exchange: HTTPExchange) -> str:
        pulse = self._pulse(exchange)
        return "; ".join(filter(None, (pulse.hangs, pulse.store)))

    def _pulse(self, exchange: HTTPExchange) -> Pulse:
        with self._lock:
            when, dispatcher, pulse = self._felt
            if exchange.stranger and dispatcher is exchange.dispatcher and time.monotonic() - when < FRESH:
                return pulse
        pulse = exchange.dispatcher.pulse(PULSE, thoroughly=True)
        with self._lock:
            self._felt = (time.monotonic(), exchange.dispatcher, pulse)
        return pulse


def _told(exchange: HTTPExchange, ailing: str) -> Answer:
    if not ailing:
        return Answer(200, "ok")
    return Answer(503, "not well" if exchange.stranger else ailing)

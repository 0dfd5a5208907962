# SPDX-License-Identifier: MIT
"""``/healthz`` and ``/readyz``, for whatever watches the daemon: they need no token, and without one say nothing else.

A dead PDU makes neither of them fail: a new start would not help it.
"""

from __future__ import annotations

import threading
import time

from pdudaemon.server.http import HTTPExchange, plain
from pdudaemon.server.messages import Answer

PULSE = 3.0  # seconds within which a daemon that is well says so
FRESH = 1.0  # seconds for which strangers are told the same: what they ask writes to the store


class Health:
    """How the daemon is, felt anew for each who may ask, and once in a while for strangers. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._felt: tuple[float, object, str] = (float("-inf"), None, "")

    def healthy(self, exchange: HTTPExchange, _: str) -> Answer:
        """``/healthz``: whether the daemon turns and its store takes requests."""
        return _told(exchange, self._ailing(exchange))

    def ready(self, exchange: HTTPExchange, _: str) -> Answer:
        """``/readyz``: whether it takes requests: it is well, and does not stop."""
        stopping = "the daemon is stopping" if exchange.dispatcher.stopping else ""
        return _told(exchange, stopping or self._ailing(exchange))

    def _ailing(self, exchange: HTTPExchange) -> str:
        with self._lock:
            when, dispatcher, ailing = self._felt
            if exchange.stranger and dispatcher is exchange.dispatcher and time.monotonic() - when < FRESH:
                return ailing
        ailing = "; ".join(filter(None, exchange.dispatcher.pulse(PULSE, thoroughly=True)))
        with self._lock:
            self._felt = (time.monotonic(), exchange.dispatcher, ailing)
        return ailing


def _told(exchange: HTTPExchange, ailing: str) -> Answer:
    if not ailing:
        return plain(200, "ok")
    return plain(503, "not well" if exchange.stranger else ailing)

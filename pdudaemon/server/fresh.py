# SPDX-License-Identifier: MIT
"""Answers about devices: at once by what is known, or with ``fresh=1`` when the devices have told it anew.

An answer that waits costs no thread: whoever hears the last device has the pool make it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from pdudaemon.config.front import SitePDU
from pdudaemon.engine.queries import Look
from pdudaemon.engine.survey import surveyable
from pdudaemon.errors import DeviceTimeout, PDUDaemonError, both
from pdudaemon.power import Outlet, Reading
from pdudaemon.server import siteviews
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected

if TYPE_CHECKING:
    from pdudaemon.engine.front.site import Site

GRACE = 1.0  # seconds beyond a PDU's ``timeout``, so that what came of it is told rather than that it takes too long


def looked(exchange: HTTPExchange, every: Iterable[Outlet], made: Callable[[], Answer]) -> Answer | None:
    """Return the answer, or have it given when the PDUs of some outlets have been read, or else the outlets."""
    fresh = exchange.words.get("fresh", "0")
    if fresh not in ("0", "1"):
        raise Misdirected(400, f"fresh: {fresh[:20]!r} is neither 0 nor 1")
    configured = exchange.dispatcher.config.pdus
    whole: set[str] = set()
    there: dict[str, Site] = {}
    single: list[Outlet] = []
    for outlet in every:
        pdu = configured.get(outlet.pdu)
        if isinstance(pdu, SitePDU):
            if (site := exchange.dispatcher.sites.named(pdu.site)) is not None:
                there[pdu.name] = site
        elif pdu is not None and surveyable(pdu):
            whole.add(outlet.pdu)
        elif pdu is not None and pdu.readable:
            single.append(outlet)
    if fresh == "0":
        exchange.dispatcher.surveys.look(whole)
        exchange.dispatcher.sites.look(there)
        return made()
    _Fresh(exchange, made).ask(whole, single, there)
    return None


class _Fresh:
    """An answer that waits for devices: it is made when all have answered, or is why one of them did not."""

    def __init__(self, exchange: HTTPExchange, made: Callable[[], Answer]) -> None:
        self._exchange = exchange
        self._made = made
        self._lock = threading.Lock()
        self._left: int  # of those that are asked
        self._error: PDUDaemonError | None = None

    def ask(self, whole: Collection[str], single: Collection[Outlet], there: Mapping[str, Site]) -> None:
        """Ask all of them; ``there`` are PDUs at sites."""
        dispatcher = self._exchange.dispatcher
        self._left = len(whole) + len(single) + len(there) + 1
        names = {*whole, *(outlet.pdu for outlet in single)}
        seconds = max((dispatcher.config.pdus[name].options.timeout for name in names), default=0.0) + GRACE
        if there:
            seconds = max(seconds, siteviews.FRESH + GRACE)
        names |= {*there}
        self._exchange.within(seconds, functools.partial(self._late, names, seconds - GRACE))
        for name, site in there.items():
            siteviews.read(site, name, self._told, fresh=True)
        for name in whole:
            try:
                dispatcher.surveys.ask(name, self._told)
            except PDUDaemonError as error:
                self._told(error)
        if single:
            dispatcher.ask([Look([outlet], self._heard) for outlet in single])
        self._told(None)

    def _heard(self, said: Reading | PDUDaemonError) -> None:
        self._told(said if isinstance(said, PDUDaemonError) else None)

    def _told(self, error: PDUDaemonError | None) -> None:
        with self._lock:
            self._left -= 1
            if error is not None:
                self._error = error if self._error is None else both(self._error, error)
            if self._left:
                return
        self._exchange.connection.connections.later(functools.partial(self._exchange.give, self._answer))

    def _answer(self) -> Answer:
        if self._error is not None:
            raise self._error
        return self._made()

    def _late(self, names: Iterable[str], seconds: float) -> None:
        busy = ", ".join(sorted(names))
        error = DeviceTimeout(f"{busy}: not read within {seconds:g} s: busy, or it does not answer")
        self._exchange.settle(self._exchange.refuse, error)

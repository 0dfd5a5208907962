# SPDX-License-Identifier: MIT
"""Outlets that are named as their device calls them (``name:router``): the names are read first, if need be.

They are as good as new for `pdudaemon.engine.inventory.NAMES_LAST`; beyond that nobody may be switched off because of
what an outlet was once called. A client waits for that as for a device: it costs no thread. When the names have been
read, or cannot be, its request goes on, and is accepted, or refused in words.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.inventory import NamesUnknown
from pdudaemon.errors import PDUDaemonError, RequestError
from pdudaemon.power import Target
from pdudaemon.server.connections import Exchange
from pdudaemon.server.rights import Rights

log = logging.getLogger("pdud.listener")

GRACE = 1.0  # seconds beyond a PDU's ``timeout``


def resolved(dispatcher: Dispatcher, target: Target, rights: Rights, *, switching: bool) -> Target:
    """Return a target by its ports, and not by names on the device. Raises: RequestError.

    Why there is none, which may name the other outlets, is for who may see all of the PDU.
    """
    try:
        return dispatcher.surveys.resolved(target, dispatcher.config, switching=switching)
    except NamesUnknown:
        raise
    except RequestError as error:
        if all(map(rights.sees_whole, target.pdus)):
            raise
        raise type(error)(f"{target.name}: there is no such outlet") from None


def read_first(
    dispatcher: Dispatcher, exchange: Exchange, targets: Iterable[Target], go_on: Callable[[], None]
) -> bool:
    """Return whether names of some targets have to be read first: then ``go_on`` is called when that is over.

    It is called by the selector's thread, and may raise `PDUDaemonError`, by which the client is refused.
    """
    unread = dispatcher.surveys.unread(targets)
    if not unread:
        return False
    seconds = max(dispatcher.config.pdus[name].options.timeout for name in unread) + GRACE
    reading = _Reading(exchange, len(unread), go_on)
    exchange.within(seconds, reading.over)
    for name in unread:
        try:
            dispatcher.surveys.ask(name, reading.told)
        except PDUDaemonError as error:
            reading.told(error)
    return True


class _Reading:
    def __init__(self, exchange: Exchange, left: int, go_on: Callable[[], None]) -> None:
        self._exchange = exchange
        self._left = left
        self._go_on = go_on
        self._lock = threading.Lock()
        self._over = False  # of the selector's thread

    def told(self, error: PDUDaemonError | None) -> None:
        """Take in that a PDU has been read, or not: whoever resolves the names says why. Any thread."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._exchange.connection.connections.call(self.over)

    def over(self) -> None:
        """Go on, once."""
        if self._over:
            return
        self._over = True
        try:
            self._go_on()
        except PDUDaemonError as error:
            self._exchange.settle(self._exchange.refuse, error)
        except Exception:  # a fault of ours with one request: its client must not wait for ever
            log.exception("a request could not be handed over")
            fault = PDUDaemonError("internal error: see the log of the daemon")
            self._exchange.settle(self._exchange.refuse, fault)

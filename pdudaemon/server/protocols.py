# SPDX-License-Identifier: MIT
"""Which protocol is spoken on a connection: what its listener says, or where that speaks both, the first bytes."""

from __future__ import annotations

import re
import time

from pdudaemon.server import routes
from pdudaemon.server.connections import Connection, Speech
from pdudaemon.server.http import HTTPSpeech
from pdudaemon.server.orders import Orders
from pdudaemon.server.text import FRAGMENT_PATIENCE, TextSpeech

_HTTP = re.compile(rb"[A-Z]{1,20} (?:[/*]|(?i:https?://))")
_HTTP_BEGINNING = re.compile(rb"[A-Z]{0,20}(?: (?:h?t?t?p?s?|https?:/?))?")


def speech(orders: Orders, connection: Connection) -> Speech:
    """Return what speaks the protocol of a connection."""
    protocol = connection.listener.options.protocol
    if protocol == "http":
        return HTTPSpeech(connection, orders, routes.find)
    return TextSpeech(connection, orders) if protocol == "tcp" else EitherSpeech(connection, orders)


class EitherSpeech:
    """Tells by the first bytes: HTTP begins with a method, a blank, then ``/``, ``*`` or ``http://``."""

    def __init__(self, connection: Connection, orders: Orders) -> None:
        self._connection = connection
        self._orders = orders

    def take(self) -> bool:
        connection = self._connection
        if not connection.ended and _HTTP_BEGINNING.fullmatch(connection.received):
            if connection.received:
                connection.deadline = min(connection.deadline, time.monotonic() + FRAGMENT_PATIENCE)
            return False
        return self._decided().take()

    def expired(self) -> bool:
        return self._decided().expired()

    def _decided(self) -> Speech:
        connection = self._connection
        if _HTTP.match(connection.received):
            connection.speech = HTTPSpeech(connection, self._orders, routes.find)
        else:
            connection.speech = TextSpeech(connection, self._orders)
        return connection.speech

# SPDX-License-Identifier: MIT
"""The legacy text protocol: ``hostname port command [delay]``, answered by ``ack`` or ``nack: reason``.

An alias takes the place of hostname and port (``board7 reboot``); ``delay=SECONDS``, ``wait=SECONDS`` and ``key=KEY``
may follow. ``status`` is answered by ``on``, ``off`` or ``unknown``.

Old clients send no newline. With one, the text is taken line by line; without one, a text that is a whole request is
taken at once, the beginning of one is given time to go on, and what cannot become one is refused at once. After the
last answer the connection is closed, as it always was; and after the first text that has not the form of a request:
what comes then might be the body of a POST, which any web page can have a browser send here.

Where tokens are asked for, a first line ``token TOKEN``, over TLS, counts for the lines after it.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from pdudaemon.engine.queries import Answer
from pdudaemon.errors import Denied, PDUDaemonError, RequestError
from pdudaemon.power import Action, Reading, Request
from pdudaemon.server.access import UNIX
from pdudaemon.server.connections import Connection, Exchange
from pdudaemon.server.orders import ACTIONS, Orders, order
from pdudaemon.server.tls import TLSSocket, certified
from pdudaemon.settings import parse_seconds

log = logging.getLogger("pdud.tcp")

LONGEST = 1024
LONGEST_TOKEN = 16384
FRAGMENT_PATIENCE = 2.0  # seconds to wait for the rest of what may be the beginning of a request
FORM = "not a request: hostname port command [delay]"
_TOKEN = re.compile(r"token +(\S+)")
_NAMED = re.compile("(wait|delay|key)=(.*)")
_LAST_WORD = re.compile(
    r"[0-9]*\.?[0-9]*"
    r"|w(a(i(t(=[0-9]*\.?[0-9]*)?)?)?)?"
    r"|d(e(l(a(y(=[0-9]*\.?[0-9]*)?)?)?)?)?"
    r"|k(e(y(=\S*)?)?)?"
)


@dataclass(slots=True, eq=False)
class TextExchange(Exchange):
    """A text that has come, and the line that answers it. With ``last``, no further text is taken."""

    last: bool

    def answer(self, text: str) -> None:
        """Send the answer. Called by `settle`."""
        self.connection.write(f"{text}\n".encode(), last=True, close=self.last or not self.connection.received.strip())

    def told(self, request: Request, trouble: PDUDaemonError | None) -> None:
        """Say what became of a request. Called by `settle`."""
        if trouble is None:
            self.answer("ack")
        else:
            self.refuse(trouble)

    def seen(self, answer: Answer) -> None:
        """Say what state something is in. Called by `settle`."""
        if isinstance(answer, Reading):
            self.answer(str(answer.state))
        else:
            self.refuse(answer)

    def refuse(self, error: PDUDaemonError) -> None:
        """Say no. Called by `settle`."""
        log.warning("nack to %s: %s", self.connection.client, error)
        self.answer(f"nack: {error.told}")

    def deny(self, error: Denied, tried: bool) -> None:
        """Say no to who may not ask, later if he has ``tried`` that before. Called by the selector's thread."""
        client = self.connection.client
        pause = self.connection.listener.refusals.note(client.address, f"nack to {client}: {error}")
        self.last = self.last or tried

        def answer() -> None:
            self.answer(f"nack: {error.told}")

        if tried and pause:
            self.connection.connections.at(time.monotonic() + pause, answer)
        else:
            answer()


class TextSpeech:
    """Takes the texts of one connection."""

    def __init__(self, connection: Connection, orders: Orders) -> None:
        self._connection = connection
        self._orders = orders
        self._over = False  # nothing more is to come of what has been received
        self._first = True
        self._token: str | None = None

    def take(self) -> bool:
        text = self._next()
        if text is None:
            return False
        given = _TOKEN.fullmatch(text.strip()) if self._first else None
        self._first = False
        if given is not None and given[1] not in ACTIONS:
            self._hand_in(given[1])
        else:
            self._connection.exchange = exchange = TextExchange(self._connection, last=not _has_form(text))
            self._serve(exchange, text)
        return True

    def _serve(self, exchange: TextExchange, text: str) -> None:
        client, listener, orders = exchange.connection.client, exchange.connection.listener, self._orders
        try:
            if not listener.open:
                client = listener.permit(client, self._token, certified(exchange.connection.socket))
                exchange.rights = orders.rights(client)
            asked = order(orders.dispatcher.config, *_words(text), exchange.rights, numbers=True)
            if asked.action is Action.STATUS:
                orders.look(asked, exchange, exchange.seen)
            else:
                orders.carry_out(asked, client, exchange, exchange.told)
        except Denied as error:
            exchange.deny(error, tried=self._token is not None)
        except PDUDaemonError as error:
            exchange.settle(exchange.refuse, error)

    def _hand_in(self, token: str) -> None:
        """Have a token count for the texts that follow; it is answered only if it is not good."""
        connection = self._connection
        try:
            if connection.client.address != UNIX and not isinstance(connection.socket, TLSSocket):
                raise Denied(403, "a token is taken over TLS only")
            self._token = f"Bearer {token}"
            connection.listener.permit(connection.client, self._token)
        except Denied as error:
            connection.exchange = exchange = TextExchange(connection, last=True)
            exchange.deny(error, tried=True)

    def expired(self) -> bool:
        self._over = True
        return bool(self._connection.received.strip())

    def _next(self) -> str | None:
        """Take the next text that is to be answered off what has been received."""
        received = self._connection.received
        while (end := received.find(b"\n")) >= 0:
            line = received[:end].decode(errors="replace")
            del received[: end + 1]
            if line.strip() or self._first:
                return line
        if not received:
            return None
        text = received.decode(errors="replace")
        whole = _has_form(text) and not text.endswith("=")
        longer = self._first and text.startswith("token ") and len(text) <= LONGEST_TOKEN
        if whole or self._over or self._connection.ended or not (longer or _may_go_on(text)):
            received.clear()
            return text if text.strip() or self._first else None
        self._connection.deadline = min(self._connection.deadline, time.monotonic() + FRAGMENT_PATIENCE)
        return None


@functools.lru_cache(1024)  # clients ask for the same again and again
def _words(text: str) -> tuple[str, Mapping[str, str]]:
    """Return the action and the other words of a text. Raises: RequestError if it is not of the form."""
    given = text.split()
    if not _readable(text, given):
        raise RequestError(FORM)
    words: dict[str, str] = {}
    while given and (named := _NAMED.fullmatch(given[-1])) and named[1] not in words:
        words[named[1]] = named[2]
        given.pop()
    if len(given) in (3, 4) and (given[2] in ACTIONS or given[1] not in ACTIONS):
        words["hostname"], words["port"] = given[:2]
        action, *delay = given[2:]
    elif len(given) in (2, 3) and given[1] in ACTIONS:
        words["alias"] = given[0]
        action, *delay = given[1:]
    else:
        raise RequestError(FORM)
    if delay:
        if words.get("delay"):
            raise RequestError("two delays are given")
        words["delay"] = delay[0]
    return action, words


def _readable(text: str, words: list[str]) -> bool:
    return len(text) <= LONGEST and all(word.isprintable() for word in words)


def _has_form(text: str) -> bool:
    """Whether a text has the form of a request."""
    try:
        action, words = _words(text)
        for word in ("delay", "wait"):
            parse_seconds(words.get(word) or "0")
    except (RequestError, ValueError):
        return False
    return action in ACTIONS


def _may_go_on(text: str) -> bool:
    """Whether a text that is not complete can become a request by more text."""
    given = text.split()
    if not _readable(text, given):
        return False
    if len(given) < 3:
        return True
    if len(given) == 3 and not text[-1].isspace():
        return given[1] in ACTIONS or any(action.startswith(given[2]) for action in ACTIONS)
    if given[2] not in ACTIONS and given[1] not in ACTIONS:
        return False
    return len(given) <= 7 and bool(_LAST_WORD.fullmatch(given[-1]))

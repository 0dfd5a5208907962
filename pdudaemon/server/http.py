# SPDX-License-Identifier: MIT
"""HTTP as it is spoken on a connection: `HTTPSpeech` takes requests, `HTTPExchange` answers one.

Errors are plain text on the legacy routes unless the client accepts JSON; everywhere else they are problem documents
(RFC 9457). The type of an error decides the status.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pdudaemon.config.model import Config
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.errors import Busy, Denied, PDUDaemonError
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Connection, Exchange
from pdudaemon.server.messages import LAST_CHUNK, Answer, Head, Misdirected, Reader, Unreadable, chunk, rendered
from pdudaemon.server.orders import Orders

log = logging.getLogger("pdud.http")

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True, eq=False)
class HTTPExchange(Exchange):
    """A request as a route sees it.

    ``client`` is who asks, with the name in the token; a ``stranger`` has no good one where one is asked for, and asks
    for what is open to him; ``prefix`` is the path below which a proxy has us. ``words`` are those of its query (and
    form), ``body`` what else there is. The answer is given by `settle`, in any thread: by `answer`, or by
    `begin_lines`, any number of `line`, and `end_lines`.
    """

    head: Head
    orders: Orders
    dispatcher: Dispatcher
    client: Client
    stranger: bool = field(default=False, init=False)
    prefix: str = field(default="", init=False)
    words: Mapping[str, str] = field(default_factory=dict, init=False)
    body: bytes = field(default=b"", init=False)
    _sending: threading.Lock = field(default_factory=threading.Lock, init=False)  # keeps the lines of a stream whole

    @property
    def path(self) -> str:
        return self.head.path

    @property
    def config(self) -> Config:
        """What the client may see of the configuration: names are looked up in this."""
        config = self.dispatcher.config
        return config if self.rights.everything else self.rights.view(config)

    def accepts_lines(self, content_type: str) -> bool:
        """Whether the client would have line after line of some type, and can be sent such."""
        streams = self.head.version != "HTTP/1.0" and self.head.method != "HEAD"
        return streams and content_type in self.head.headers.get("accept", "")

    def answer(self, answer: Answer) -> None:
        """Send the answer."""
        if self.prefix:
            self._add_prefix(answer.headers)
        alive = self.head.keeps_alive
        self.connection.write(rendered(answer, self.head.method, alive), last=True, close=not alive)

    def give(self, made: Callable[[], Answer | None]) -> None:
        """Give the answer that a call makes, or why it makes none; None: it sees to it. Any thread."""
        try:
            answer = made()
        except PDUDaemonError as error:
            self.settle(self.refuse, error)
            return
        except Exception:  # a fault of ours with one request: its client must not wait for ever
            log.exception("%s %s from %s", self.head.method, self.path, self.client)
            self.settle(self.refuse, PDUDaemonError("internal error: see the log of the daemon"))
            return
        if answer is not None:
            self.settle(self.answer, answer)

    def refuse(
        self, error: PDUDaemonError, headers: Mapping[str, str] | None = None, more: Mapping[str, Any] | None = None
    ) -> None:
        """Answer by an error; ``more`` goes into its document. A refusal for want of a token is one in any case."""
        if more is None:
            log.warning("%s %s from %s: %s", self.head.method, self.path, self.client, error)
        self.answer(problem(error, self.head.wants_json or isinstance(error, Denied), headers or {}, more or {}))

    def begin_lines(self, headers: Mapping[str, str], content_type: str) -> None:
        """Begin an answer of lines."""
        head = Answer(200, b"", dict(headers), content_type, stream=True)
        if self.prefix:
            self._add_prefix(head.headers)
        self.connection.write(rendered(head, self.head.method, self.head.keeps_alive))

    def line(self, content: Mapping[str, Any]) -> None:
        """Send a line."""
        data = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            self.connection.write(chunk(data))

    def _add_prefix(self, headers: dict[str, str]) -> None:
        """Let paths that are told lead through the proxy."""
        for name, before in (("Location", ""), ("Link", "<")):
            if headers.get(name, "").startswith(f"{before}/"):
                headers[name] = f"{before}{self.prefix}{headers[name].removeprefix(before)}"

    def end_lines(self) -> None:
        """End an answer of lines."""
        with self._sending:
            self.connection.write(LAST_CHUNK, last=True, close=not self.head.keeps_alive)


class HTTPSpeech:
    """Takes the requests of one connection and has each served: ``serve(exchange, body)``."""

    def __init__(self, connection: Connection, orders: Orders, serve: Callable[[HTTPExchange, bytes], None]) -> None:
        self._connection = connection
        self._orders = orders
        self._serve = serve
        self._reader = Reader()
        self._asked_for_body = False

    def take(self) -> bool:
        connection = self._connection
        try:
            body = self._reader.take(connection.received, connection.ended)
        except Unreadable as error:
            log.warning("from %s: %s", connection.client, error)
            connection.received.clear()
            answer = problem(error, error.head.wants_json, {}, {})
            connection.write(rendered(answer, error.head.method, alive=False), last=True, close=True)
            return True
        if body is None:
            if self._reader.awaits_body and self._reader.head.expects_continue and not self._asked_for_body:
                self._asked_for_body = True
                connection.write(_CONTINUE)
            return False
        self._asked_for_body = False
        orders = self._orders
        connection.exchange = exchange = HTTPExchange(
            connection, self._reader.head, orders, orders.dispatcher, connection.client
        )
        self._serve(exchange, body)
        return True

    def expired(self) -> bool:
        return False


def plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer of plain text."""
    return Answer(status, text, dict(headers or {}), "text/plain; charset=utf-8")


def problem(error: PDUDaemonError, as_json: bool, headers: Mapping[str, str], more: Mapping[str, Any]) -> Answer:
    """Return the answer that an error makes: its type decides the status; ``more`` goes into its document."""
    headers = dict(headers)
    if isinstance(error, Denied) and error.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, Busy):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, Misdirected):
        headers.update(error.headers)
        more = more if error.field is None else {"field": error.field, **more}
    if not as_json:
        return plain(error.http_status, error.told, headers)
    document = {
        "type": f"urn:pdudaemon:{error.kind}",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": error.told,
        **more,
    }
    return Answer(error.http_status, document, headers, "application/problem+json")

# SPDX-License-Identifier: MIT
"""HTTP as it is spoken on a connection: `HTTPSpeech` takes requests, finds out who asks, and has each served by its
`Route`; an `HTTPExchange` answers one.

Errors are plain text on the legacy routes unless the client accepts JSON; everywhere else they are problem documents
(RFC 9457). The type of an error decides the status.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any

from pdudaemon import __version__
from pdudaemon.config.model import Config
from pdudaemon.config.options import DaemonOptions
from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.errors import Busy, Denied, PDUDaemonError
from pdudaemon.server import browsers, forwarded, tls
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Connection, Exchange
from pdudaemon.server.messages import (
    LAST_CHUNK,
    LONGEST_KNOWN,
    Answer,
    Head,
    Misdirected,
    Unreadable,
    check_beginning,
    chunk,
    known,
    parsed,
    words,
)
from pdudaemon.server.orders import Orders

log = logging.getLogger("pdud.http")

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_date = functools.lru_cache(4)(partial(formatdate, usegmt=True))
_END_OF_HEAD = re.compile(rb"\n\r?\n")


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
        """Send the answer; of a stream, its beginning."""
        head, body, content_type = self.head, answer.body, answer.content_type
        if not isinstance(body, bytes):
            content_type = content_type or (TEXT if isinstance(body, str) else JSON)
            body = f"{body if isinstance(body, str) else json.dumps(body)}\n".encode()
        lines = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nServer: pdudaemon/{__version__}\r\n"
        lines += f"Date: {_date(int(time.time()))}\r\n"
        for name, value in answer.headers.items():
            if name in ("Location", "Link") and value.startswith(("/", "</")):
                value = value.replace("/", f"{self.prefix}/", 1)  # a path that is told leads through the proxy
            lines += f"{name}: {value}\r\n"
        if not answer.stream:
            lines += f"Content-Length: {len(body)}\r\n"
        elif answer.chunked:
            lines += "Transfer-Encoding: chunked\r\n"
        lines += f"Content-Type: {content_type or JSON}\r\nCache-Control: no-store\r\n"
        if not head.keeps_alive:
            lines += "Connection: close\r\n"
        data = f"{lines}\r\n".encode("latin-1", "replace")
        last = not answer.stream
        if head.method == "HEAD":
            body, last = b"", True
        self.connection.write(data + body, last, close=not head.keeps_alive)

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
        self.answer(Answer(200, b"", dict(headers), content_type, stream=True))

    def line(self, content: Mapping[str, Any]) -> None:
        """Send a line."""
        data = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        with self._sending:
            self.connection.write(chunk(data))

    def end_lines(self) -> None:
        """End an answer of lines."""
        with self._sending:
            self.connection.write(LAST_CHUNK, last=True, close=not self.head.keeps_alive)


Serve = Callable[[HTTPExchange, str], Answer | None]
"""Returns the answer, or None and sees to it that there is one later. The text is what of the path is not fixed."""


def everybody(client: Client, daemon: DaemonOptions) -> bool:
    """Let whoever asks do so without a token."""
    return True


def _nobody(client: Client, daemon: DaemonOptions) -> bool:
    return False


def _forbidden(error: Denied, authorization: str) -> Answer:
    return problem(error, True, {}, {})


@dataclass(frozen=True)
class Route:
    """What serves a method of a path.

    One that ``switches`` nothing must say so: pages of strangers may ask for it. One that is ``slow`` may take more
    than a millisecond, and is called by a thread of the pool instead of the selector's. ``takes``: the parameters that
    there are, of which nobody shall be mistaken; None: it sees to them itself. Of a parameter that is there twice, the
    first counts, or the ``last_counts``. One that is ``json`` reads the body. ``open_to`` says who is served although
    he shows no good token; ``forbidden`` makes the answer to who is not.
    """

    serve: Serve
    switches: bool = True
    slow: bool = False
    takes: tuple[str, ...] | None = None
    last_counts: bool = False
    json: bool = False
    open_to: Callable[[Client, DaemonOptions], bool] = _nobody
    forbidden: Callable[[Denied, str], Answer] = _forbidden


_NOWHERE = Route(lambda *_: None)

Find = Callable[[Head], tuple[Route, str]]
"""Returns what serves a request, and what of its path is not fixed. Raises: Misdirected."""


class Reader:
    """Takes one request after the other from what has been received. ``head`` is that of the request under way."""

    def __init__(self) -> None:
        self.head = Head()
        self.awaits_body = False  # the head has come
        self._length = 0  # of the body
        self._searched = 0

    def take(self, received: bytearray, ended: bool) -> bytes | None:
        """Take the next request off the beginning of ``received``; return its body, None if it has not come whole.

        ``ended`` says that nothing more will come. Raises: Unreadable.
        """
        if not self.awaits_body:
            while received.startswith((b"\r", b"\n")):  # empty lines before a request are passed over: RFC 9112, 2.2
                del received[:1]
            end = _END_OF_HEAD.search(received, max(0, self._searched - 3))
            if end is None:
                self._searched = len(received)
                check_beginning(received)
                if ended and received:
                    raise Unreadable(400, "the request is not whole")
                return None
            text = bytes(received[: end.start()])
            del received[: end.end()]
            self._searched = 0
            self.head = known(text) if len(text) <= LONGEST_KNOWN else parsed(text)
            self._length = self.head.length
            self.awaits_body = True
        if len(received) < self._length:
            if ended:
                raise Unreadable(400, "the body is shorter than its Content-Length", self.head)
            return None
        body = bytes(received[: self._length])
        del received[: self._length]
        self.awaits_body = False
        return body


class HTTPSpeech:
    """Takes the requests of one connection, and has each served by the route that ``find`` returns."""

    def __init__(self, connection: Connection, orders: Orders, find: Find) -> None:
        self._connection = connection
        self._orders = orders
        self._find = find
        self._reader = Reader()
        self._asked_for_body = False

    def take(self) -> bool:
        connection, orders = self._connection, self._orders
        try:
            body = self._reader.take(connection.received, connection.ended)
        except Unreadable as error:
            log.warning("from %s: %s", connection.client, error)
            connection.received.clear()
            exchange = HTTPExchange(connection, error.head, orders, orders.dispatcher, connection.client)
            exchange.answer(problem(error, error.head.wants_json, {}, {}))
            return True
        head = self._reader.head
        if body is None:
            if self._reader.awaits_body and head.expects_continue and not self._asked_for_body:
                self._asked_for_body = True
                connection.write(_CONTINUE)
            return False
        self._asked_for_body = False
        exchange = HTTPExchange(connection, head, orders, orders.dispatcher, connection.client)
        connection.exchange = exchange
        exchange.give(partial(self._serve, exchange, body))
        return True

    def expired(self) -> bool:
        return False

    def _serve(self, exchange: HTTPExchange, body: bytes) -> Answer | None:
        """Find out who asks, and have him served by the thread that it is for. Raises: PDUDaemonError."""
        connection, head = exchange.connection, exchange.head
        if proxies := exchange.dispatcher.config.daemon.trusted_proxies:
            exchange.prefix = forwarded.prefix_of(connection.client, head.headers, proxies)
            exchange.client = forwarded.client_of(connection.client, head.headers, proxies)
        if not connection.listener.open and not self._admit(exchange):
            return None
        route, word = head.found or self._find(head)
        form = b"" if route.json else body
        exchange.words = (not form and head.words) or words(head, form, route.takes, route.last_counts)
        exchange.body = body
        serve = partial(route.serve, exchange, word)
        if head.of_browser:
            # It may have to ask the name service.
            connection.connections.later(partial(exchange.give, partial(_check_source, exchange, route, serve)))
        elif route.slow:
            connection.connections.later(partial(exchange.give, serve))
        else:
            return serve()
        return None

    def _admit(self, exchange: HTTPExchange) -> bool:
        """Find out by what he shows who asks; return whether he is served. If not he is told, perhaps later."""
        connection, head = exchange.connection, exchange.head
        listener, authorization = connection.listener, head.headers.get("authorization", "")
        try:
            exchange.client = listener.permit(exchange.client, authorization, tls.certified(connection.socket))
            exchange.rights = exchange.orders.rights(exchange.client)
            return True
        except Denied as error:
            denied = error
        try:
            route, _ = head.found or self._find(head)
        except Misdirected:
            route = _NOWHERE
        # Nothing is open to who is in no network that is allowed.
        shows_nothing = denied.http_status == 401 or (listener.options.client_ca and not listener.access.by_token)
        if shows_nothing and route.open_to(exchange.client, exchange.dispatcher.config.daemon):
            exchange.stranger = True
            return True
        text = f"{head.method} {exchange.path} from {exchange.client}: {denied}"
        pause = listener.refusals.note(exchange.client.address, text)
        answer = route.forbidden(denied, authorization)
        if authorization and pause:  # he has tried before
            connection.connections.at(time.monotonic() + pause, partial(exchange.settle, exchange.answer, answer))
        else:
            exchange.settle(exchange.answer, answer)
        return False


def _check_source(exchange: HTTPExchange, route: Route, serve: Callable[[], Answer | None]) -> Answer | None:
    """Have a browser served, unless a page of strangers made it ask. Called by a thread of the pool. Raises: CrossSite.

    See `pdudaemon.server.browsers`.
    """
    connection, headers = exchange.connection, exchange.head.headers
    daemon, listener = exchange.dispatcher.config.daemon, connection.listener
    name = None if listener.access.by_token else listener.options.hostname
    by_proxy = forwarded.is_secure(connection.client, headers, daemon.trusted_proxies)
    secure = by_proxy or isinstance(connection.socket, tls.TLSSocket)
    browsers.check(exchange.head, route.switches, daemon.origins, name, secure)
    if route.slow:
        return serve()
    connection.connections.call(partial(exchange.give, serve))
    return None


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
        return Answer(error.http_status, error.told, headers)
    document = {
        "type": f"urn:pdudaemon:{error.kind}",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": error.told,
        **more,
    }
    return Answer(error.http_status, document, headers, "application/problem+json")

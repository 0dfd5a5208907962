# SPDX-License-Identifier: MIT
"""HTTP: the legacy routes, answered in plain text, and a small JSON API. `ROUTES` is all there is.

A request for ``on``, ``off`` or ``reboot`` is answered 200 when it was accepted (and, within ``wait``, done), 503 with
the reason when it was not accepted, 502 or 504 with the reason when the device failed. Errors are plain text on the
legacy routes unless the client accepts JSON; everywhere else they are problem documents (RFC 9457).
"""

from __future__ import annotations

import io
import json
import logging
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from pdudaemon import __version__
from pdudaemon.errors import Busy, PDUDaemonError, RequestError
from pdudaemon.listener import Intake, Listener, order

log = logging.getLogger("pdud.http")

LONGEST_BODY = 65536
MOST_RECORDS = 1000


@dataclass(frozen=True)
class Exchange:
    """A request as a route sees it: the words of its query (and form), and whether the client accepts JSON."""

    listener: Listener
    client: str
    words: Mapping[str, str]
    json: bool


@dataclass
class Answer:
    """What goes back: a text, or an object that becomes JSON."""

    status: int
    body: str | dict[str, Any] | list[Any]
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Route = Callable[[Exchange, str], Answer]


def control(exchange: Exchange, action: str) -> Answer:
    """``/power/control/ACTION``: hostname and port, or alias; delay, wait."""
    dispatcher = exchange.listener.dispatcher
    asked = order(dispatcher.config, action, exchange.words)
    request = dispatcher.submit(asked.action, asked.target, asked.delay, exchange.client)
    headers = {"X-Request-Id": str(request.id), "Location": f"/api/v1/requests/{request.id}"}
    try:
        dispatcher.wait(request, dispatcher.config.daemon.wait if asked.wait is None else asked.wait)
        if exchange.json:
            return Answer(200, dispatcher.record(request.id), headers)
        return _plain(200, "OK - accepted request", headers)
    except PDUDaemonError as error:
        return _problem(error, exchange.json, headers)


def status(exchange: Exchange, _: str) -> Answer:
    """``/power/control/status``: the state, and for a client that accepts JSON where it comes from."""
    asked = order(exchange.listener.dispatcher.config, "status", exchange.words)
    outlet = asked.target.outlets[0]
    reading = exchange.listener.dispatcher.status(outlet, asked.wait)
    if not exchange.json:
        return _plain(200, reading.state.value)
    found = {"state": reading.state.value, "source": reading.source, "time": reading.time}
    return Answer(200, {"pdu": outlet.pdu, "port": outlet.port, **found})


def pdus(exchange: Exchange, _: str) -> Answer:
    """``/api/v1/pdus``: every configured PDU."""
    return Answer(200, exchange.listener.dispatcher.snapshot())


def requests(exchange: Exchange, _: str) -> Answer:
    """``/api/v1/requests``: the newest requests, ``limit`` of them at most."""
    limit = exchange.words.get("limit", "100")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit) <= MOST_RECORDS):
        raise _Misdirected(400, f"limit: {limit!r} is not within 1 and {MOST_RECORDS}")
    return Answer(200, exchange.listener.dispatcher.records(int(limit)))


def one_request(exchange: Exchange, number: str) -> Answer:
    """``/api/v1/requests/ID``: what became of a request."""
    return Answer(200, exchange.listener.dispatcher.record(int(number)))


def cancel(exchange: Exchange, number: str) -> Answer:
    """``DELETE /api/v1/requests/ID``: end what has not started; ``half=on`` for the on half of a reboot."""
    if exchange.words.get("half", "on") != "on":
        raise _Misdirected(400, f"half: {exchange.words['half']!r} is not on")
    exchange.listener.dispatcher.cancel(int(number), exchange.words.get("half", ""))
    return Answer(200, exchange.listener.dispatcher.record(int(number)))


def health(exchange: Exchange, _: str) -> Answer:
    """``/healthz``: whether the daemon turns. A dead PDU is no illness of the daemon's."""
    turning = exchange.listener.dispatcher.turning
    return _plain(200, "ok") if turning else _plain(503, "the timetable has stopped")


ROUTES: tuple[tuple[re.Pattern[str], Mapping[str, Route]], ...] = tuple(
    (re.compile(path), methods)
    for path, methods in (
        (r"/power/control/(on|off|reboot)", {"GET": control, "POST": control}),
        (r"/power/control/(?:get-)?(status)", {"GET": status}),
        (r"/api/v1/(pdus)", {"GET": pdus}),
        (r"/api/v1/(requests)", {"GET": requests}),
        (r"/api/v1/requests/([0-9]{1,18})", {"GET": one_request, "DELETE": cancel}),
        (r"/(healthz)", {"GET": health}),
    )
)


def speak(listener: Listener, connection: socket.socket, intake: Intake, client: str) -> None:
    """Serve one connection, request after request."""
    _Handler(listener, connection, intake, client)


class _Misdirected(RequestError):
    """Not a request of this API: no such path, method or parameter."""

    kind = "misdirected"

    def __init__(self, http_status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.http_status = http_status
        self.headers = headers or {}


class _Handler(BaseHTTPRequestHandler):
    """The standard library's parser, between an `Intake` and a buffer that is sent in one piece."""

    protocol_version = "HTTP/1.1"
    error_message_format = "%(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, listener: Listener, connection: socket.socket, intake: Intake, client: str) -> None:
        self._listener = listener
        self._intake = intake
        self._client = client
        self._patience = listener.dispatcher.config.daemon.client_timeout
        super().__init__(connection, (client, 0), listener)

    def setup(self) -> None:
        self.connection = self.request
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rfile = io.BufferedReader(self._intake)
        self.wfile = cast(io.BufferedIOBase, self.connection.makefile("wb"))

    def handle_one_request(self) -> None:
        self._intake.begin()
        super().handle_one_request()

    def _serve(self) -> None:
        with self._listener.crowd.answering():
            self._send(self._answered())

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def _answered(self) -> Answer:
        url = urlsplit(self.path)
        accepts_json = url.path.startswith("/api/") or "json" in self.headers.get("Accept", "")
        try:
            return self._routed(url.path, url.query, accepts_json)
        except PDUDaemonError as error:
            log.warning("%s %s from %s: %s", self.command, repr(url.path)[1:-1], self._client, error)
            return _problem(error, accepts_json, {})

    def _routed(self, path: str, query: str, accepts_json: bool) -> Answer:
        body = self._body()
        for pattern, methods in ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if self.command not in methods:
                allow = {"Allow": ", ".join(methods)}
                raise _Misdirected(405, f"{self.command} is not for this path: nothing was done", allow)
            exchange = Exchange(self._listener, self._client, self._words(query, body), accepts_json)
            return methods[self.command](exchange, match[1])
        raise _Misdirected(404, f"there is nothing at {path!r}")

    def _body(self) -> bytes:
        """Read the body, whatever the method, so that the next request of the connection begins where it should."""
        length = self.headers.get("Content-Length", "0")
        usable = length.isascii() and length.isdecimal() and int(length) <= LONGEST_BODY
        if not usable or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise _Misdirected(413, f"a body must have a Content-Length of at most {LONGEST_BODY}")
        body = self.rfile.read(int(length)) if length != "0" else b""
        if len(body) < int(length):
            self.close_connection = True
            raise _Misdirected(400, "the body is shorter than its Content-Length")
        return body

    def _words(self, query: str, body: bytes) -> dict[str, str]:
        pairs = parse_qsl(query, keep_blank_values=True)
        if self.command == "POST" and body:
            if self.headers.get_content_type() != "application/x-www-form-urlencoded":
                raise RequestError("a body must be application/x-www-form-urlencoded")
            pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        words = dict(pairs)
        if len(words) < len(pairs):
            raise RequestError("a parameter is given more than once")
        return words

    def _send(self, answer: Answer) -> None:
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        body = f"{text}\n".encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.connection.settimeout(self._patience)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def version_string(self) -> str:
        return f"pdudaemon/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s", self._client, (format % args).encode("unicode_escape").decode())


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, text, headers or {}, "text/plain; charset=utf-8")


def _problem(error: PDUDaemonError, as_json: bool, headers: dict[str, str]) -> Answer:
    """Return the answer that an error makes: its type decides the status."""
    if isinstance(error, Busy):
        headers = {**headers, "Retry-After": str(error.retry_after)}
    elif isinstance(error, _Misdirected):
        headers = {**headers, **error.headers}
    if not as_json:
        return _plain(error.http_status, str(error), headers)
    document = {
        "type": f"urn:pdudaemon:{error.kind}",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": str(error),
    }
    return Answer(error.http_status, document, headers, "application/problem+json")

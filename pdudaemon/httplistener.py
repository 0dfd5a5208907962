# SPDX-License-Identifier: MIT
"""HTTP: the legacy routes, answered in plain text, and a small JSON API. `ROUTES` is all there is.

A request for ``on``, ``off`` or ``reboot`` is answered 200 when it was accepted (and, within ``wait``, done), 503 with
the reason when it was not accepted, 502 or 504 with the reason when the device failed. Errors are plain text on the
legacy routes unless the client accepts JSON; everywhere else they are problem documents (RFC 9457).
"""

from __future__ import annotations

import io
import logging
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl

from pdudaemon.errors import Busy, PDUDaemonError, RequestError
from pdudaemon.httpmessage import Answer, Head, Misdirected, Unreadable, read_body, read_head, rendered
from pdudaemon.intake import Intake
from pdudaemon.listener import Listener, order

log = logging.getLogger("pdud.http")

FORM = "application/x-www-form-urlencoded"
MOST_RECORDS = 1000


@dataclass(frozen=True)
class Exchange:
    """A request as a route sees it: the words of its query (and form), and whether the client accepts JSON."""

    listener: Listener
    client: str
    words: Mapping[str, str]
    json: bool


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
        raise Misdirected(400, f"limit: {limit!r} is not within 1 and {MOST_RECORDS}")
    return Answer(200, exchange.listener.dispatcher.records(int(limit)))


def one_request(exchange: Exchange, number: str) -> Answer:
    """``/api/v1/requests/ID``: what became of a request."""
    return Answer(200, exchange.listener.dispatcher.record(int(number)))


def cancel(exchange: Exchange, number: str) -> Answer:
    """``DELETE /api/v1/requests/ID``: end what has not started; ``half=on`` for the on half of a reboot."""
    if exchange.words.get("half", "on") != "on":
        raise Misdirected(400, f"half: {exchange.words['half']!r} is not on")
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
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = io.BufferedReader(intake)
    while True:
        head = Head()
        intake.begin()
        try:
            if not read_head(stream, head):
                return
            if head.headers.get("expect", "").lower() == "100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = read_body(stream, head)
        except Unreadable as error:
            log.warning("from %s: %s", client, error)
            connection.sendall(rendered(_problem(error, head.accepts_json, {}), head.method, alive=False))
            return
        with listener.crowd.answering():
            answer = _answered(listener, client, head, body)
            connection.sendall(rendered(answer, head.method, head.keeps_alive))
        if not head.keeps_alive:
            return


def _answered(listener: Listener, client: str, head: Head, body: bytes) -> Answer:
    path, _, query = head.target.partition("?")
    try:
        return _routed(listener, client, head, path, _words(head, query, body))
    except PDUDaemonError as error:
        log.warning("%s %s from %s: %s", head.method, repr(path)[1:-1], client, error)
        return _problem(error, head.accepts_json, {})


def _routed(listener: Listener, client: str, head: Head, path: str, words: Mapping[str, str]) -> Answer:
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if head.method not in methods:
            allow = {"Allow": ", ".join(methods)}
            raise Misdirected(405, f"{head.method} is not for this path: nothing was done", allow)
        return methods[head.method](Exchange(listener, client, words, head.accepts_json), match[1])
    raise Misdirected(404, f"there is nothing at {path!r}")


def _words(head: Head, query: str, body: bytes) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    if head.method == "POST" and body:
        if head.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise RequestError(f"a body must be {FORM}")
        pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    words = dict(pairs)
    if len(words) < len(pairs):
        raise RequestError("a parameter is given more than once")
    return words


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, text, headers or {}, "text/plain; charset=utf-8")


def _problem(error: PDUDaemonError, as_json: bool, headers: dict[str, str]) -> Answer:
    """Return the answer that an error makes: its type decides the status."""
    if isinstance(error, Busy):
        headers = {**headers, "Retry-After": str(error.retry_after)}
    elif isinstance(error, Misdirected):
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

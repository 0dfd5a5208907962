# SPDX-License-Identifier: MIT
"""HTTP: the legacy routes, answered in plain text, and a small JSON API. `ROUTES` is all there is.

A request for ``on``, ``off`` or ``reboot`` is answered 200 when it is done (with ``wait=0``, when it is accepted), 503
with the reason when it was not accepted, 502 or 504 with the reason when the device failed, and 504 also when it is
not done within ``wait``. Errors are plain text on the legacy routes unless the client accepts JSON; everywhere else
they are problem documents (RFC 9457).
"""

from __future__ import annotations

import io
import logging
import re
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.errors import (
    Busy,
    Denied,
    NoSuchRequest,
    PDUDaemonError,
    RequestError,
    StoreError,
)
from pdudaemon.power import Outcome, Outlet, Reading, Request, State
from pdudaemon.server import browsers, openflight
from pdudaemon.server.httpmessage import (
    Answer,
    Exchange,
    Head,
    Misdirected,
    Route,
    Unreadable,
    chunks,
    read_body,
    read_head,
    rendered,
)
from pdudaemon.server.intake import Intake
from pdudaemon.server.listener import Listener, carry_out, order
from pdudaemon.settings import near

log = logging.getLogger("pdud.http")

FORM = "application/x-www-form-urlencoded"
MOST_RECORDS = 1000
API_WORDS = ("limit", "half")
ALSO = {"/power/control/restart": "/power/control/reboot"}
"""Other names of paths."""
PULSE = 3.0  # seconds within which a daemon that is well says so


def control(exchange: Exchange, action: str) -> Answer:
    """``/power/control/ACTION``: hostname and port, or alias; delay, wait. Other words are ignored."""
    dispatcher = exchange.listener.dispatcher
    asked = order(dispatcher.config, action, exchange.words)
    request, trouble = carry_out(dispatcher, asked, exchange.client)
    headers = {"X-Request-Id": str(request.id), "Location": f"/api/v1/requests/{request.id}"}
    if trouble is not None:
        return _problem(trouble, exchange.json, headers, {"request": request.id, **_feeds(request)})
    if exchange.json:
        return Answer(200, {**_record(dispatcher, request.id, request.outcome), **_feeds(request)}, headers)
    return _plain(200, "OK - accepted request", headers)


def _record(dispatcher: Dispatcher, number: int, outcome: Outcome | None) -> dict[str, Any]:
    """Return the record of a request of which all is well, whether or not it can be read just now."""
    try:
        return dispatcher.record(number)
    except (NoSuchRequest, StoreError):  # forgotten already, or the disk fails: neither makes it undone
        return {"id": number, "state": outcome or "accepted"}


def _feeds(request: Request) -> dict[str, Any]:
    """Return what became of each feed so far, if there are several."""
    if len(request.target.outlets) == 1:
        return {}
    feeds = []
    for outlet in request.target.outlets:
        error = request.results.get(outlet)
        done = error is None and outlet in request.results and outlet not in request.outlets
        feeds.append({**outlet._asdict(), "done": done, "reason": error and error.told})
    return {"feeds": feeds}


def status(exchange: Exchange, _: str) -> Answer:
    """``/power/control/status``: the state, and for a client that accepts JSON where it comes from."""
    asked = order(exchange.listener.dispatcher.config, "status", exchange.words)
    outlet = asked.target.outlets[0]
    reading = exchange.listener.dispatcher.look(asked.target, asked.wait)
    if not exchange.json:
        return _plain(200, reading.state.value)
    if not reading.feeds:
        return Answer(200, _described(outlet, reading))
    feeds = [_described(*feed) for feed in reading.feeds]
    found = {"state": reading.state.value, "source": reading.source, "time": reading.time}
    return Answer(200, {**found, "mixed": bool(reading.mixed), "feeds": feeds})


def _described(outlet: Outlet, found: Reading | PDUDaemonError) -> dict[str, Any]:
    place = {"pdu": outlet.pdu, "port": outlet.port}
    if isinstance(found, PDUDaemonError):
        return {**place, "state": State.UNKNOWN.value, "reason": found.told}
    return {**place, "state": found.state.value, "source": found.source, "time": found.time}


def pdus(exchange: Exchange, _: str) -> Answer:
    """``/api/v1/pdus``: every configured PDU."""
    return Answer(200, exchange.listener.dispatcher.snapshot())


def requests(exchange: Exchange, _: str) -> Answer:
    """``/api/v1/requests``: the newest requests, ``limit`` of them at most."""
    limit = exchange.words.get("limit") or "100"
    if not (re.fullmatch("[0-9]{1,4}", limit) and 1 <= int(limit) <= MOST_RECORDS):
        raise Misdirected(400, f"limit: {limit[:20]!r} is not within 1 and {MOST_RECORDS}")
    return Answer(200, exchange.listener.dispatcher.records(int(limit)))


def one_request(exchange: Exchange, number: str) -> Answer:
    """``/api/v1/requests/ID``: what became of a request."""
    return Answer(200, exchange.listener.dispatcher.record(int(number)))


def cancel(exchange: Exchange, number: str) -> Answer:
    """``DELETE /api/v1/requests/ID``: end what has not started; ``half=on`` for the on half of a reboot."""
    half = exchange.words.get("half", "")
    if half not in ("", "on"):
        raise Misdirected(400, f"half: {half!r} is not on")
    exchange.listener.dispatcher.cancel(int(number), half)
    return Answer(200, _record(exchange.listener.dispatcher, int(number), Outcome.CANCELLED))


def health(exchange: Exchange, _: str) -> Answer:
    """``/healthz``: whether the daemon turns and its store takes requests. A dead PDU is no illness of its."""
    ailing = "; ".join(filter(None, exchange.listener.dispatcher.pulse(PULSE, thoroughly=True)))
    return _plain(503, ailing) if ailing else _plain(200, "ok")


def _reading(answer: Callable[[Exchange, str], Answer], *methods: str) -> dict[str, Route]:
    return dict.fromkeys(("GET", "HEAD", *methods), Route(answer, switches=False))


ROUTES: tuple[tuple[re.Pattern[str], Mapping[str, Route]], ...] = tuple(
    (re.compile(path), methods)
    for path, methods in (
        (r"/power/control/(on|off|reboot)", dict.fromkeys(("GET", "POST"), Route(control))),
        (r"/power/control/(?:get-)?(status)", _reading(status, "POST")),
        (r"/api/v1/(pdus)", _reading(pdus)),
        (r"/api/v1/(requests)", _reading(requests)),
        (r"/api/v1/requests/([0-9]{1,18})", {**_reading(one_request), "DELETE": Route(cancel)}),
        (r"/(healthz)", _reading(health)),
        (r"/()", openflight.COMMANDS),
        (r"/(nodes)", _reading(openflight.nodes)),
        (r"/(groups)", _reading(openflight.groups)),
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
            for piece in chunks(answer.stream) if answer.stream else ():
                connection.sendall(piece)
        if not head.keeps_alive:
            return


def _answered(listener: Listener, client: str, head: Head, body: bytes) -> Answer:
    path, _, query = head.target.partition("?")
    path = ALSO.get(path, path)
    try:
        try:
            client = listener.permit(client, head.headers.get("authorization", ""))
            return _routed(listener, client, head, path, query, body)
        except PDUDaemonError as error:
            log.warning("%s %s from %s: %s", head.method, repr(path)[1:-1], client, error)
            raise
    except Denied as error:
        if path in openflight.PATHS:
            return openflight.forbidden(error, head.headers.get("authorization", ""))
        return _problem(error, True, {})
    except PDUDaemonError as error:
        return _problem(error, head.accepts_json, {})


def _routed(listener: Listener, client: str, head: Head, path: str, query: str, body: bytes) -> Answer:
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if head.method not in methods and path in openflight.PATHS:
            log.warning("%s %s from %s: nothing was done", head.method, path, client)
            return openflight.NOT_FOUND
        if head.method not in methods:
            allow = {"Allow": ", ".join(methods)}
            raise Misdirected(405, f"{head.method} is not for this path: nothing was done", allow)
        route = methods[head.method]
        name = None if listener.access.by_token else listener.options.hostname
        browsers.check(head.headers, route.switches, listener.dispatcher.config.daemon.origins, name)
        words = _words(head, query, body, path)
        streams = head.version != "HTTP/1.0" and head.method != "HEAD"
        accept = head.headers.get("accept", "") if streams else ""
        return route.answer(Exchange(listener, client, words, accept, head.accepts_json), match[1])
    raise Misdirected(404, f"there is nothing at {path!r}")


def _words(head: Head, query: str, body: bytes, path: str) -> dict[str, str]:
    """Return the words of a query and a form.

    Of OpenFlight's, from any method, and the last counts. Of the legacy routes, as the existing daemon takes them: the
    first that is not blank. A POST, which that one has not, and the API take no word twice, and the API none that it
    does not know.
    """
    openflights = path in openflight.PATHS
    pairs = parse_qsl(query, keep_blank_values=True)
    if body and (head.method in ("POST", "PATCH", "PUT") or openflights):
        if head.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
            pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        elif not openflights:
            raise RequestError(f"a body must be {FORM}")
    if openflights:
        return dict(pairs)
    pairs = [(word, value) for word, value in pairs if value.strip()]
    words = dict(reversed(pairs))
    api = path.startswith("/api/")
    if len(words) < len(pairs) and (api or head.method == "POST"):
        raise RequestError("a parameter is given more than once")
    for word in words if api else ():
        if word not in API_WORDS:
            raise Misdirected(400, f"nothing is known of {word!r}{near(word, API_WORDS)}")
    return words


def _plain(status: int, text: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, text, headers or {}, "text/plain; charset=utf-8")


def _problem(
    error: PDUDaemonError, as_json: bool, headers: dict[str, str], more: Mapping[str, Any] | None = None
) -> Answer:
    """Return the answer that an error makes: its type decides the status; ``more`` goes into its document."""
    if isinstance(error, Denied) and error.http_status == 401:
        headers = {**headers, "WWW-Authenticate": "Bearer"}
    elif isinstance(error, Busy):
        headers = {**headers, "Retry-After": str(error.retry_after)}
    elif isinstance(error, Misdirected):
        headers = {**headers, **error.headers}
    if not as_json:
        return _plain(error.http_status, error.told, headers)
    document = {
        "type": f"urn:pdudaemon:{error.kind}",
        "title": HTTPStatus(error.http_status).phrase,
        "status": error.http_status,
        "detail": error.told,
        **(more or {}),
    }
    return Answer(error.http_status, document, headers, "application/problem+json")

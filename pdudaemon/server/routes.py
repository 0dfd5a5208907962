# SPDX-License-Identifier: MIT
"""Which function serves which path and method: `ROUTES` is all there is."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from pdudaemon.errors import Denied, PDUDaemonError, RequestError
from pdudaemon.power import Action
from pdudaemon.server import (
    browsers,
    commands,
    control,
    devices,
    events,
    forwarded,
    metrics,
    newrequests,
    openflight,
    pages,
    requests,
    siteviews,
    tls,
)
from pdudaemon.server.access import within
from pdudaemon.server.health import Health
from pdudaemon.server.http import HTTPExchange, problem
from pdudaemon.server.messages import Answer, Head, Misdirected
from pdudaemon.settings import Proxies, near

log = logging.getLogger("pdud.http")

OPEN = ("/livez", "/healthz", "/readyz")
METRICS = "/metrics"
FORM = "application/x-www-form-urlencoded"
ALSO = {"/power/control/restart": "/power/control/reboot"}
"""Other names of paths."""

Serve = Callable[[HTTPExchange, str], Answer | None]
"""Returns the answer, or None and sees to it that there is one later. The text is what of the path is not fixed."""


@dataclass(frozen=True)
class Route:
    """What serves a method of a path.

    One that ``switches`` nothing must say so: pages of strangers may ask for it. One that is ``slow`` may take more
    than a millisecond, and is called by a thread of the pool instead of the selector's. ``takes``: the parameters that
    there are, of which nobody shall be mistaken; None: it sees to them itself. One that is ``json`` reads the body.
    """

    serve: Serve
    switches: bool = True
    slow: bool = False
    takes: tuple[str, ...] | None = None
    json: bool = False


def _reading(serve: Serve, *methods: str, slow: bool = False, takes: tuple[str, ...] | None = None) -> dict[str, Route]:
    return dict.fromkeys(("GET", "HEAD", *methods), Route(serve, switches=False, slow=slow, takes=takes))


_COMMANDS = {
    **_reading(openflight.command(Action.STATUS), slow=True),
    "PATCH": Route(openflight.command(Action.ON), slow=True),
    "DELETE": Route(openflight.command(Action.OFF), slow=True),
    "PUT": Route(openflight.command(Action.REBOOT), slow=True),
}

_HEALTH = Health()
_PAGE = Route(pages.file, switches=False)

ROUTES: tuple[tuple[re.Pattern[str], Mapping[str, Route]], ...] = tuple(
    (re.compile(path), methods)
    for path, methods in (
        (r"/power/control/(on|off|reboot)", dict.fromkeys(("GET", "POST"), Route(control.control))),
        (r"/power/control/(?:get-)?(status)", _reading(control.status, "POST")),
        (r"/api/v1/(pdus)", _reading(devices.pdus, slow=True, takes=("after", "limit"))),
        (r"/api/v1/pdus/([^/]+)", _reading(devices.one_pdu, slow=True, takes=("fresh",))),
        (r"/api/v1/pdus/([^/]+)/watts", _reading(devices.watts, slow=True, takes=())),
        (r"/api/v1/pdus/([^/]+/outlets/[^/]+)", _reading(devices.one_outlet, slow=True, takes=("fresh",))),
        (r"/api/v1/(outlets)", _reading(devices.every_outlet, slow=True, takes=("after", "limit"))),
        (r"/api/v1/(nodes)", _reading(devices.nodes, slow=True, takes=("names", "groups", "after", "limit"))),
        (r"/api/v1/nodes/([^/]+)", _reading(devices.one_node, slow=True, takes=("fresh",))),
        (r"/api/v1/(groups)", _reading(devices.groups, slow=True, takes=())),
        (r"/api/v1/(events)", _reading(events.stream, slow=True, takes=events.WORDS)),
        (
            r"/api/v1/(requests)",
            {
                **_reading(requests.show, slow=True, takes=requests.WORDS),
                "POST": Route(newrequests.create, takes=(), json=True),
            },
        ),
        (
            r"/api/v1/requests/([\w./-]*[0-9]{1,18})",
            {
                **_reading(requests.one, slow=True, takes=()),
                "DELETE": Route(requests.cancel, slow=True, takes=("half",)),
            },
        ),
        (
            r"/api/v1/commands/([\w./,-]*[0-9]{1,18})",
            {
                **_reading(commands.show, slow=True, takes=()),
                "DELETE": Route(commands.cancel, slow=True, takes=("half",)),
            },
        ),
        (r"/api/v1/(sites)", _reading(siteviews.sites, slow=True, takes=())),
        (r"/(metrics)", _reading(metrics.metrics, slow=True, takes=())),
        (r"/(livez)", _reading(_HEALTH.alive, slow=True)),
        (r"/(healthz)", _reading(_HEALTH.healthy, slow=True)),
        (r"/(readyz)", _reading(_HEALTH.ready, slow=True)),
        (r"/ui/([a-z.]*)", dict.fromkeys(("GET", "HEAD"), _PAGE)),
        (r"/()", _COMMANDS),
        (r"/(nodes)", _reading(openflight.nodes, slow=True)),
        (r"/(groups)", _reading(openflight.groups, slow=True)),
    )
)


def serve(exchange: HTTPExchange, body: bytes) -> None:
    """Have a request served. Called by the selector's thread."""
    head = exchange.head
    listener = exchange.connection.listener
    if proxies := exchange.dispatcher.config.daemon.trusted_proxies:
        try:
            _take_proxys_word(exchange, proxies)
        except PDUDaemonError as error:
            _refuse(exchange, error)
            return
    if not listener.open:
        authorization = head.headers.get("authorization", "")
        try:
            exchange.client = listener.permit(exchange.client, authorization, tls.certified(exchange.connection.socket))
            exchange.rights = exchange.orders.rights(exchange.client)
        except Denied as error:
            if not _is_open(exchange, error):
                _deny(exchange, error, bool(authorization))
                return
            exchange.stranger = True
    try:
        route, word = head.found or _found(head)
    except PDUDaemonError as error:
        _refuse(exchange, error)
        return
    run = functools.partial(_run, exchange, route, word, body)
    if head.of_browser:
        name = None if listener.access.by_token else listener.options.hostname
        # It may have to ask the name service.
        exchange.connection.connections.later(functools.partial(_checked, exchange, route, name, run))
    elif route.slow:
        exchange.connection.connections.later(run)
    else:
        run()


def _checked(exchange: HTTPExchange, route: Route, name: str | None, run: Callable[[], None]) -> None:
    try:
        daemon, connection = exchange.dispatcher.config.daemon, exchange.connection
        secure = isinstance(connection.socket, tls.TLSSocket) or forwarded.is_secure(
            connection.client, exchange.head.headers, daemon.trusted_proxies
        )
        browsers.check(exchange.head, route.switches, daemon.origins, name, secure)
    except PDUDaemonError as error:
        _refuse(exchange, error)
        return
    if route.slow:
        run()
    else:
        exchange.connection.connections.call(run)


def _run(exchange: HTTPExchange, route: Route, word: str, body: bytes) -> None:
    try:
        if body and not route.json:
            exchange.words = _words(exchange.head, body, route.takes)
        else:
            exchange.words = exchange.head.words or _words(exchange.head, b"", route.takes)
        exchange.body = body
        answer = route.serve(exchange, word)
    except PDUDaemonError as error:
        _refuse(exchange, error)
        return
    except Exception:  # a fault of ours with one request: its client must not wait for ever
        log.exception("%s %s from %s", exchange.head.method, exchange.path, exchange.client)
        _refuse(exchange, PDUDaemonError("internal error: see the log of the daemon"))
        return
    if answer is not None:
        exchange.settle(exchange.answer, answer)


def _take_proxys_word(exchange: HTTPExchange, proxies: Proxies) -> None:
    """Let who asks be who a trusted proxy says. Raises: RequestError."""
    peer, headers = exchange.client, exchange.head.headers
    exchange.prefix = forwarded.prefix_of(peer, headers, proxies)
    exchange.client = forwarded.client_of(peer, headers, proxies)


def _is_open(exchange: HTTPExchange, error: Denied) -> bool:
    """Whether a path is for who has no good token or certificate, too; not for who is in no network that is allowed."""
    listener = exchange.connection.listener
    by_certificate = listener.options.client_ca and not listener.access.by_token
    if not (error.http_status == 401 or by_certificate) or exchange.head.method not in ("GET", "HEAD"):
        return False
    networks = exchange.dispatcher.config.daemon.metrics_allow if exchange.path == METRICS else ()
    is_open = exchange.path in OPEN or pages.concerned(exchange.head)  # the page asks for a token itself
    return is_open or within(exchange.client.address, networks)


def _deny(exchange: HTTPExchange, error: Denied, tried: bool) -> None:
    """Refuse who may not ask, later if he has ``tried`` that before."""
    text = f"{exchange.head.method} {exchange.path} from {exchange.client}: {error}"
    connections = exchange.connection.connections
    pause = exchange.connection.listener.refusals.note(exchange.client.address, text)
    if exchange.path in openflight.PATHS:
        answer = openflight.forbidden(error, exchange.head.headers.get("authorization", ""))
    else:
        answer = problem(error, True, {}, {})
    if tried and pause:
        connections.at(time.monotonic() + pause, lambda: exchange.answer(answer))
    else:
        exchange.answer(answer)


def _refuse(exchange: HTTPExchange, error: PDUDaemonError) -> None:
    exchange.settle(exchange.refuse, error)


def _found(head: Head) -> tuple[Route, str]:
    if head.path == "/" and pages.concerned(head):
        return _PAGE, ""
    path = ALSO.get(head.path, head.path)
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if head.method in methods:
            head.found = methods[head.method], match[1]
            return head.found
        if path in openflight.PATHS:
            return Route(openflight.not_found, switches=False), ""
        raise Misdirected(405, f"{head.method} is not for this path: nothing was done", {"Allow": ", ".join(methods)})
    raise Misdirected(404, f"there is nothing at {path!r}")


def _words(head: Head, body: bytes, takes: tuple[str, ...] | None) -> Mapping[str, str]:
    """Return the words of a query and a form.

    Of OpenFlight's, from any method, and the last counts. Of the legacy routes, as the existing daemon takes them: the
    first that is not blank. A POST, which that one has not, and the API take no word twice, and what says what it
    ``takes`` no other word.
    """
    path = head.path
    openflights = path in openflight.PATHS
    pairs = parse_qsl(head.target.partition("?")[2], keep_blank_values=True)
    if body and (head.method in ("POST", "PATCH", "PUT") or openflights):
        if head.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
            pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
        elif not openflights:
            raise RequestError(f"a body must be {FORM}")
    if key := head.headers.get("idempotency-key", "").strip().strip('"'):  # draft-ietf-httpapi-idempotency-key-header
        if any(word == "key" and value.strip() not in ("", key) for word, value in pairs):
            differs = "key: differs from the header Idempotency-Key"
            raise (Misdirected(400, differs) if openflights or takes is not None else RequestError(differs))
        pairs = [pair for pair in pairs if pair[0] != "key"]
        pairs.append(("key", key))
    if openflights:
        return dict(pairs)
    given = 0
    words: dict[str, str] = {}
    for word, value in pairs:
        if value.strip():
            given += 1
            words.setdefault(word, value)
    api_path = path.startswith("/api/")
    if len(words) < given and (api_path or head.method == "POST"):
        twice = "a parameter is given more than once"
        raise RequestError(twice) if takes is None else Misdirected(400, twice)
    if takes is not None:
        words.pop("key", None)  # it may come with whatever a client asks for
        for word in words:
            if word not in takes:
                raise Misdirected(400, f"unknown parameter {word[:50]!r}{near(word, takes)}")
    if not body:
        head.words = words
    return words

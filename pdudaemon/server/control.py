# SPDX-License-Identifier: MIT
"""``/power/control/…``: the routes of the existing daemon, and what goes with them for clients that accept JSON.

A request for ``on``, ``off`` or ``reboot`` is answered 200 when it is done (with ``wait=0``, when it is accepted), 503
with the reason when it was not accepted, 502 or 504 with the reason when the device failed, and 504 also when it is
not done within ``wait``.
"""

from __future__ import annotations

from typing import Any

from pdudaemon.engine.front.siteorders import SiteRequest
from pdudaemon.errors import NoSuchRequest, PDUDaemonError, StoreError
from pdudaemon.power import Outcome, Outlet, Reading, Request, State
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer
from pdudaemon.server.orders import order


def control(exchange: HTTPExchange, action: str) -> None:
    """``/power/control/ACTION``: hostname and port, or alias; delay, wait. Other words are ignored."""
    asked = order(exchange.dispatcher.config, action, exchange.words, exchange.rights)

    def told(request: Request, trouble: PDUDaemonError | None) -> None:
        number = request.number
        headers = {"X-Request-Id": str(number), "Location": f"/api/v1/requests/{number}"}
        if trouble is not None:
            exchange.refuse(trouble, headers, {"request": number, **feeds(request)})
        elif exchange.head.wants_json:
            exchange.answer(Answer(200, {**became(exchange, request), **feeds(request)}, headers))
        else:
            exchange.answer(Answer(200, "OK - accepted request", headers))

    exchange.orders.carry_out(asked, exchange.client, exchange, told)


def became(exchange: HTTPExchange, request: Request) -> dict[str, Any]:
    """Return the record of a request of which all is well."""
    if isinstance(request, SiteRequest):
        return exchange.rights.shown(request.record) if "outlets" in request.record else request.record
    return record(exchange, request.id, request.outcome)


def record(exchange: HTTPExchange, number: int, outcome: Outcome | None) -> dict[str, Any]:
    """Return the record of a request of which all is well, whether or not it can be read just now."""
    try:
        return exchange.rights.shown(exchange.dispatcher.record(number))
    except (NoSuchRequest, StoreError):  # forgotten already, or the disk fails: neither makes it undone
        return {"id": number, "state": outcome or "accepted"}


def feeds(request: Request) -> dict[str, Any]:
    """Return what became of each feed so far, if there are several."""
    if isinstance(request, SiteRequest):
        return {word: told for word, told in request.record.items() if word == "feeds"}
    if len(request.target.outlets) == 1:
        return {}
    told = []
    for outlet in request.target.outlets:
        error = request.results.get(outlet)
        done = error is None and outlet in request.results and outlet not in request.remaining
        told.append({**outlet._asdict(), "done": done, "reason": error and error.told})
    return {"feeds": told}


def status(exchange: HTTPExchange, _: str) -> None:
    """``/power/control/status``: the state, and for a client that accepts JSON where it comes from."""
    asked = order(exchange.dispatcher.config, "status", exchange.words, exchange.rights)

    def told(answer: Reading | PDUDaemonError) -> None:
        if isinstance(answer, PDUDaemonError):
            exchange.refuse(answer)
        elif not exchange.head.wants_json:
            exchange.answer(Answer(200, answer.state.value))
        elif not answer.feeds:
            exchange.answer(Answer(200, _described(asked.target.outlets[0], answer)))
        else:
            each = [_described(*feed) for feed in answer.feeds]
            found = {"state": answer.state.value, "source": answer.source, "time": answer.time}
            exchange.answer(Answer(200, {**found, "mixed": bool(answer.mixed), "feeds": each}))

    exchange.orders.look(asked, exchange, told)


def _described(outlet: Outlet, found: Reading | PDUDaemonError) -> dict[str, Any]:
    place = {"pdu": outlet.pdu, "port": outlet.port}
    if isinstance(found, PDUDaemonError):
        return {**place, "state": State.UNKNOWN.value, "reason": found.told}
    return {**place, "state": found.state.value, "source": found.source, "time": found.time}

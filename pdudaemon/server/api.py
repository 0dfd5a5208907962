# SPDX-License-Identifier: MIT
"""``/api/v1/…`` and ``/healthz``: what there is and what became of requests, in JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pdudaemon.errors import Forbidden, NoSuchRequest
from pdudaemon.power import Action, Outcome, Outlet
from pdudaemon.server import control
from pdudaemon.server.http import HTTPExchange, plain
from pdudaemon.server.messages import Answer, Misdirected

MOST_RECORDS = 1000
PULSE = 3.0  # seconds within which a daemon that is well says so


def pdus(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/pdus``: the configured PDUs in their order, ``limit`` of them at most, from the one ``after`` on."""
    rights, most = exchange.rights, _limit(exchange, MOST_RECORDS)
    records = exchange.dispatcher.snapshot(exchange.words.get("after", ""), most, rights.sees_pdu)
    for record in records:
        if not rights.sees_whole(record["name"]):
            record["requests"] = None  # others' are among them
    headers = {}
    if len(records) == most:
        headers["Link"] = f'</api/v1/pdus?after={quote(records[-1]["name"], safe="")}>; rel="next"'
    return Answer(200, records, headers)


def requests(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/requests``: the newest requests, ``limit`` of them at most."""
    most = _limit(exchange, 100)
    records = exchange.dispatcher.records(most if exchange.rights.everything else MOST_RECORDS)
    return Answer(200, [record for record in records if exchange.rights.sees_record(record)][:most])


def _limit(exchange: HTTPExchange, usual: int) -> int:
    limit = exchange.words.get("limit") or str(usual)
    if not (re.fullmatch("[0-9]{1,4}", limit) and 1 <= int(limit) <= MOST_RECORDS):
        raise Misdirected(400, f"limit: {limit[:20]!r} is not within 1 and {MOST_RECORDS}")
    return int(limit)


def one_request(exchange: HTTPExchange, number: str) -> Answer:
    """``/api/v1/requests/ID``: what became of a request."""
    return Answer(200, _seen(exchange, int(number)))


def _seen(exchange: HTTPExchange, number: int) -> dict[str, Any]:
    """Return a record. Raises: NoSuchRequest, also if it may not be seen."""
    record = exchange.dispatcher.record(number)
    if not exchange.rights.sees_record(record):
        raise NoSuchRequest(f"there is no request {number}")
    return record


def cancel(exchange: HTTPExchange, number: str) -> Answer:
    """``DELETE /api/v1/requests/ID``: end what has not started; ``half=on`` for the on half of a reboot."""
    half = exchange.words.get("half", "")
    if half not in ("", "on"):
        raise Misdirected(400, f"half: {half!r} is not on")
    record = _seen(exchange, int(number))
    check_may_cancel(exchange, record, half)
    exchange.dispatcher.cancel(int(number), half)
    return Answer(200, control.record(exchange, int(number), Outcome.CANCELLED))


def check_may_cancel(exchange: HTTPExchange, record: Mapping[str, Any], half: str) -> None:
    """Raises: Forbidden if who asks may not cancel a request; for the on half, he must be allowed to switch off."""
    outlets = [Outlet(outlet["pdu"], outlet["port"]) for outlet in record["outlets"]]
    actions = {record["action"], *([Action.OFF] if half else [])}
    for reason in (exchange.rights.may(action, outlets) for action in actions):
        if reason:
            raise Forbidden(reason)


def health(exchange: HTTPExchange, _: str) -> Answer:
    """``/healthz``: whether the daemon turns and its store takes requests. A dead PDU does not make this fail."""
    ailing = "; ".join(filter(None, exchange.dispatcher.pulse(PULSE, thoroughly=True)))
    return plain(503, ailing) if ailing else plain(200, "ok")

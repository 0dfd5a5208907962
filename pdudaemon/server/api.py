# SPDX-License-Identifier: MIT
"""``/api/v1/…`` and ``/healthz``: what there is and what became of requests, in JSON."""

from __future__ import annotations

import re
from urllib.parse import quote

from pdudaemon.power import Outcome
from pdudaemon.server import control
from pdudaemon.server.http import HTTPExchange, plain
from pdudaemon.server.messages import Answer, Misdirected

MOST_RECORDS = 1000
PULSE = 3.0  # seconds within which a daemon that is well says so


def pdus(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/pdus``: the configured PDUs in their order, ``limit`` of them at most, from the one ``after`` on."""
    records = exchange.dispatcher.snapshot(exchange.words.get("after", ""), _limit(exchange, MOST_RECORDS))
    headers = {}
    if len(records) == _limit(exchange, MOST_RECORDS):
        headers["Link"] = f'</api/v1/pdus?after={quote(records[-1]["name"], safe="")}>; rel="next"'
    return Answer(200, records, headers)


def requests(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/requests``: the newest requests, ``limit`` of them at most."""
    return Answer(200, exchange.dispatcher.records(_limit(exchange, 100)))


def _limit(exchange: HTTPExchange, usual: int) -> int:
    limit = exchange.words.get("limit") or str(usual)
    if not (re.fullmatch("[0-9]{1,4}", limit) and 1 <= int(limit) <= MOST_RECORDS):
        raise Misdirected(400, f"limit: {limit[:20]!r} is not within 1 and {MOST_RECORDS}")
    return int(limit)


def one_request(exchange: HTTPExchange, number: str) -> Answer:
    """``/api/v1/requests/ID``: what became of a request."""
    return Answer(200, exchange.dispatcher.record(int(number)))


def cancel(exchange: HTTPExchange, number: str) -> Answer:
    """``DELETE /api/v1/requests/ID``: end what has not started; ``half=on`` for the on half of a reboot."""
    half = exchange.words.get("half", "")
    if half not in ("", "on"):
        raise Misdirected(400, f"half: {half!r} is not on")
    exchange.dispatcher.cancel(int(number), half)
    return Answer(200, control.record(exchange, int(number), Outcome.CANCELLED))


def health(exchange: HTTPExchange, _: str) -> Answer:
    """``/healthz``: whether the daemon turns and its store takes requests. A dead PDU does not make this fail."""
    ailing = "; ".join(filter(None, exchange.dispatcher.pulse(PULSE, thoroughly=True)))
    return plain(503, ailing) if ailing else plain(200, "ok")

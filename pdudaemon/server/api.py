# SPDX-License-Identifier: MIT
"""``/api/v1/pdus`` and ``/healthz``: what there is, in JSON."""

from __future__ import annotations

import re
from urllib.parse import quote

from pdudaemon.server.http import HTTPExchange, plain
from pdudaemon.server.messages import Answer, Misdirected

MOST_RECORDS = 1000
PULSE = 3.0  # seconds within which a daemon that is well says so


def pdus(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/pdus``: the configured PDUs in their order, ``limit`` of them at most, from the one ``after`` on."""
    rights, most = exchange.rights, limit(exchange, MOST_RECORDS)
    records = exchange.dispatcher.snapshot(exchange.words.get("after", ""), most, rights.sees_pdu)
    for record in records:
        if not rights.sees_whole(record["name"]):
            record["requests"] = None  # others' are among them
    headers = {}
    if len(records) == most:
        headers["Link"] = f'</api/v1/pdus?after={quote(records[-1]["name"], safe="")}>; rel="next"'
    return Answer(200, records, headers)


def limit(exchange: HTTPExchange, usual: int) -> int:
    """Return how many records are asked for at most. Raises: Misdirected."""
    most = exchange.words.get("limit") or str(usual)
    if not (re.fullmatch("[0-9]{1,4}", most) and 1 <= int(most) <= MOST_RECORDS):
        raise Misdirected(400, f"limit: {most[:20]!r} is not within 1 and {MOST_RECORDS}")
    return int(most)


def health(exchange: HTTPExchange, _: str) -> Answer:
    """``/healthz``: whether the daemon turns and its store takes requests. A dead PDU does not make this fail."""
    ailing = "; ".join(filter(None, exchange.dispatcher.pulse(PULSE, thoroughly=True)))
    return plain(503, ailing) if ailing else plain(200, "ok")

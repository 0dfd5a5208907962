# SPDX-License-Identifier: MIT
"""What the routes of ``/api/v1`` have in common, which is pages of records."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected

MOST_RECORDS = 1000


def limit(exchange: HTTPExchange, usual: int = MOST_RECORDS) -> int:
    """Return how many records are asked for at most. Raises: Misdirected."""
    most = exchange.words.get("limit") or str(usual)
    if not (re.fullmatch("[0-9]{1,4}", most) and 1 <= int(most) <= MOST_RECORDS):
        raise Misdirected(400, f"limit: {most[:20]!r} is not within 1 and {MOST_RECORDS}")
    return int(most)


def linked(exchange: HTTPExchange, path: str, records: list[dict[str, Any]], most: int) -> Answer:
    """Return an answer of records with names, and a link to the next ones if there may be any."""
    headers = {}
    if len(records) == most:
        words = urlencode({**exchange.words, "after": records[-1]["name"]}, quote_via=quote, safe="")
        headers["Link"] = f'<{path}?{words}>; rel="next"'
    lines = [json.dumps(record) for record in exchange.orders.pace.sliced(records)]
    return Answer(200, f"[{', '.join(lines)}]\n".encode(), headers)

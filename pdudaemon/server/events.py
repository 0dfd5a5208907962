# SPDX-License-Identifier: MIT
"""``/api/v1/events``: what happens, as it happens, as Server-Sent Events or lines of JSON.

``Last-Event-ID`` (or ``after``) goes on where a lost connection ended. What cannot be told any more, as it is too long
ago or of an earlier run of the daemon, is told to be missing, by an event of the kind ``gap``; the last one, of the
kind ``end``, says why the stream ends.
"""

from __future__ import annotations

import re
from functools import partial

from pdudaemon.errors import Busy
from pdudaemon.server import tls
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.server.requests import listed, named_nodes, named_pdus
from pdudaemon.server.watcher import Form, Wanted, Watcher

WORDS = ("node", "pdu", "kind", "after")
KINDS = ("accepted", "waiting", "begun", "tried", "ended", "outlet", "pdu", "reload")
LINES = "application/x-ndjson"
SSE = "text/event-stream"

_NUMBER = re.compile(r"[0-9]{1,18}")
_HEADERS = {"X-Accel-Buffering": "no"}  # a proxy shall not gather them


def stream(exchange: HTTPExchange, _: str) -> Answer | None:
    """``GET``: events of some nodes, PDUs and kinds, or of all."""
    words, head = exchange.words, exchange.head
    wanted = Wanted(
        frozenset(named_nodes(exchange)) if "node" in words else None,
        frozenset(named_pdus(exchange)) if "pdu" in words else None,
        frozenset(listed(words, "kind", KINDS)) or None,
    )
    given = words.get("after", "")
    if given and not _NUMBER.fullmatch(given):
        raise Misdirected(400, f"after: {given[:20]!r} is not the number of an event")
    last = head.headers.get("last-event-id", "").strip() or given
    position = int(last) if _NUMBER.fullmatch(last) else -1 if last else exchange.dispatcher.events.last
    sse = LINES not in head.headers.get("accept", "")
    form = Form(sse, head.version != "HTTP/1.0")
    begin = Answer(200, b"", _HEADERS, SSE if sse else LINES, stream=True, chunked=form.chunked)
    if head.method == "HEAD":
        return begin
    connection, client = exchange.connection, exchange.client
    shown = tls.certified(connection.socket)
    permitted = partial(connection.listener.permit, client, head.headers.get("authorization", ""), shown)
    watcher = Watcher(connection, client, form, wanted, position, permitted)
    first = form.piece(b"retry: 3000\nid: %d\n\n" % position) if sse and position >= 0 else b""

    def go_on() -> None:
        connection.deadline = float("inf")
        exchange.answer(begin)
        connection.write(first)
        try:
            exchange.orders.watchers.add(watcher)
        except Busy as error:
            watcher.end(error.told)

    exchange.settle(go_on)
    return None

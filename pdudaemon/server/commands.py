# SPDX-License-Identifier: MIT
"""``/api/v1/commands/ID``: what became of a command over several nodes, and taking back what has not begun of it."""

from __future__ import annotations

from typing import Any

from pdudaemon.errors import Conflict, NoSuchRequest, PDUDaemonError
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected


def show(exchange: HTTPExchange, number: str) -> Answer:
    """``GET``: the command, with an entry for each node."""
    return Answer(200, exchange.dispatcher.command(int(number)))


def cancel(exchange: HTTPExchange, number: str) -> Answer:
    """``DELETE``: end the requests of a command that have not begun; ``half=on`` also the on halves that are owed.

    200 with the command as it is then; the entry of a node that goes on has ``kept``, which says why.
    """
    half = exchange.words.get("half", "")
    if half not in ("", "on"):
        raise Misdirected(400, f"half: {half!r} is not on")
    kept: dict[int, PDUDaemonError] = {}
    for node in exchange.dispatcher.command(int(number))["nodes"]:
        if node["request"] not in kept and node["ended"] is None:
            try:
                exchange.dispatcher.cancel(node["request"], half)
            except (Conflict, NoSuchRequest) as error:
                kept[node["request"]] = error
    command: dict[str, Any] = exchange.dispatcher.command(int(number))
    for node in command["nodes"]:
        if node["request"] in kept and node["ended"] is None:
            node["kept"] = kept[node["request"]].told
    return Answer(200, command)

# SPDX-License-Identifier: MIT
"""``/api/v1/commands/ID``: what became of a command over several nodes, and taking back what has not begun of it."""

from __future__ import annotations

from functools import partial
from typing import Any

from pdudaemon.errors import Conflict, Forbidden, NoSuchRequest, PDUDaemonError
from pdudaemon.server import sitehistory, siteviews
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.server.requests import check_may_cancel


def show(exchange: HTTPExchange, number: str) -> Answer | None:
    """``GET``: the command, with an entry for each node."""
    if siteviews.is_elsewhere(number):
        sitehistory.command(exchange, number, partial(_seen, exchange))
        return None
    return Answer(200, _seen(exchange, int(number)))


def _seen(exchange: HTTPExchange, number: int) -> dict[str, Any]:
    """Return what of a command may be seen. Raises: NoSuchRequest, also if none of its nodes may."""
    command: dict[str, Any] = exchange.dispatcher.command(number)
    nodes = [node for node in command["nodes"] if exchange.rights.sees_node(node["name"])]
    if len(nodes) < len(command["nodes"]):
        command["nodes"] = nodes
        command["state"] = "running" if any(node["ended"] is None for node in nodes) else "ended"
    if not nodes and not exchange.rights.everything:
        raise NoSuchRequest(f"there is no command {number}")
    return command


def cancel(exchange: HTTPExchange, number: str) -> Answer | None:
    """``DELETE``: end the requests of a command that have not begun; ``half=on`` also the on halves that are owed.

    200 with the command as it is then; the entry of a node that goes on has ``kept``, which says why.
    """
    half = exchange.words.get("half", "")
    if half not in ("", "on"):
        raise Misdirected(400, f"half: {half!r} is not on")
    if siteviews.is_elsewhere(number):
        sitehistory.command(exchange, number, partial(_cancelled, exchange, half=half), half)
        return None
    return Answer(200, _cancelled(exchange, int(number), half))


def _cancelled(exchange: HTTPExchange, number: int, half: str) -> dict[str, Any]:
    """Take back what has not begun of a command; return it as it is then."""
    kept: dict[int, PDUDaemonError] = {}
    for node in _seen(exchange, number)["nodes"]:
        if node["ended"] is None:
            try:
                check_may_cancel(exchange, exchange.dispatcher.record(node["request"]), half)
                exchange.dispatcher.cancel(node["request"], half)
            except (Conflict, Forbidden, NoSuchRequest) as error:
                kept[node["request"]] = error
    command = _seen(exchange, number)
    for node in command["nodes"]:
        if node["request"] in kept and node["ended"] is None:
            node["kept"] = kept[node["request"]].told
    return command

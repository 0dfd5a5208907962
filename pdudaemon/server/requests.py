# SPDX-License-Identifier: MIT
"""``/api/v1/requests``: what was asked for and what became of it, by PDU, node, client, state and time.

The newest come first, in pages. Whoever may not see all outlets of a request does not see it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from pdudaemon import ranges
from pdudaemon.engine.storage import storesearch
from pdudaemon.engine.storage.storesearch import Search
from pdudaemon.errors import Forbidden, NoSuchRequest
from pdudaemon.power import Action, Outcome, Outlet
from pdudaemon.server import control, sitehistory, siteviews
from pdudaemon.server.api import limit
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.settings import near

WORDS = ("pdu", "node", "action", "state", "client", "since", "until", "after", "limit")
USUAL = 100
UNENDED = ("accepted", "queued", "waiting", "running")
STATES = (*UNENDED, *Outcome)
ACTIONS = (Action.ON, Action.OFF, Action.REBOOT)
MOST_WORDS = 1000
"""Most PDUs, or nodes with their outlets, that one question may name."""

_EPOCH = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+ -][0-9]{2}:[0-9]{2})"
)


def show(exchange: HTTPExchange, _: str) -> Answer | None:
    """``GET``: the newest requests that are asked for, ``limit`` of them at most, behind the one ``after``."""
    words = exchange.words
    number = words.get("after", "")
    if exchange.dispatcher.sites:
        places = sitehistory.places(number)
        number = places.get("", "0" if places else "")
    if number and not re.fullmatch("[0-9]{1,18}", number):
        raise Misdirected(400, f"after: {number[:20]!r} is not the number of a request")
    search = Search(
        tuple(filter(None, (_pdus(exchange), _nodes(exchange), _actions(words), _clients(words)))),
        _states(words),
        _time(words, "since"),
        _time(words, "until"),
        int(number) if number else None,
    )
    most = limit(exchange, USUAL)
    rights = exchange.rights
    records = exchange.dispatcher.records(most, search, None if rights.everything else rights.sees_record)
    if exchange.dispatcher.sites:
        nodes = named_nodes(exchange) if "node" in words else None
        pdus = named_pdus(exchange) if "pdu" in words else None
        sitehistory.show(exchange, [*map(rights.shown, records)], most, places, nodes, pdus)
        return None
    headers = {}
    if len(records) == most:
        more = urlencode({**words, "after": records[-1]["id"]})
        headers["Link"] = f'</api/v1/requests?{more}>; rel="next"'
    return Answer(200, [*map(rights.shown, records)], headers)


def named_pdus(exchange: HTTPExchange) -> list[str]:
    """Return the PDUs that the word ``pdu`` names. Raises: Misdirected."""
    text = exchange.words.get("pdu", "")
    return [text] if text in exchange.config.pdus else _names("pdu", text)


def named_nodes(exchange: HTTPExchange) -> list[str]:
    """Return the nodes that the word ``node`` names, also such as are not there any more. Raises: Misdirected.

    For who may not see everything, they are those that he may see: what others call his outlets is not for him.
    """
    config, text = exchange.config, exchange.words.get("node", "")
    try:
        names, missing = ([text], []) if text in config.nodes else config.named(text)
    except ValueError as error:
        raise Misdirected(400, f"node: {error}") from None
    if missing:
        raise Misdirected(400, f"node: there is no group {missing[0][:50]!r}")
    if text.strip() and not names:
        raise Misdirected(400, f"node: {text[:50]!r} stands for no node")
    return names if exchange.rights.everything else [name for name in names if exchange.rights.sees_node(name)]


def _pdus(exchange: HTTPExchange) -> tuple[str, ...]:
    here = [name for name in named_pdus(exchange) if not sitehistory.is_at_site(exchange, name)]
    if not here and exchange.words.get("pdu", "").strip():
        return (storesearch.pdu(""),)  # which finds nothing
    return _some("pdu", map(storesearch.pdu, here))


def _nodes(exchange: HTTPExchange) -> tuple[str, ...]:
    """Return words for requests that named a node, or switched an outlet that feeds it today."""
    nodes = exchange.config.nodes
    names = [name for name in named_nodes(exchange) if not sitehistory.is_at_site(exchange, name)]
    if not names and exchange.words.get("node", "").strip():
        return (storesearch.node(""),)  # which finds nothing
    place, config = exchange.dispatcher.inventory.place, exchange.dispatcher.config
    feeds = {place(feed, config) for name in names if name in nodes for feed in nodes[name].feeds}
    return _some("node", [*map(storesearch.node, names), *(storesearch.outlet(*feed) for feed in feeds)])


def _names(word: str, text: str) -> list[str]:
    try:
        return ranges.expanded(text, sites=True)
    except ValueError as error:
        raise Misdirected(400, f"{word}: {error}") from None


def _some(word: str, words: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(words))
    if len(found) > MOST_WORDS:
        raise Misdirected(400, f"{word}: stands for more than {MOST_WORDS}")
    return found


def _actions(words: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(map(storesearch.action, listed(words, "action", ACTIONS)))


def _states(words: Mapping[str, str]) -> frozenset[str] | None:
    return frozenset(listed(words, "state", STATES)) or None


def listed(words: Mapping[str, str], word: str, all_of_them: Iterable[str]) -> list[str]:
    """Return the words of a list that has commas; a hyphen is as good as a blank. Raises: Misdirected."""
    known = {each.replace(" ", "-"): str(each) for each in all_of_them}
    found = []
    for each in filter(None, (part.strip() for part in words.get(word, "").split(","))):
        if each.replace(" ", "-") not in known:
            raise Misdirected(400, f"{word}: {each[:20]!r} is none of {', '.join(known)}{near(each, known)}")
        found.append(known[each.replace(" ", "-")])
    return found


def _clients(words: Mapping[str, str]) -> tuple[str, ...]:
    given = (each.strip() for each in words.get("client", "").split(","))
    return _some("client", map(storesearch.client, filter(None, given)))


def _time(words: Mapping[str, str], word: str) -> float | None:
    given = words.get(word, "").strip()
    try:
        return moment(given) if given else None
    except ValueError as error:
        raise Misdirected(400, f"{word}: {error}") from None


def moment(text: str) -> float:
    """Return the seconds since the epoch that a text spells: as such, or as RFC 3339 does, with its offset.

    A blank is as good as the plus that it was before somebody forgot to escape that. Raises: ValueError.
    """
    if _EPOCH.fullmatch(text):
        return float(text)
    if _RFC_3339.fullmatch(text):
        try:
            when = datetime.fromisoformat(text[:10] + "T" + text[11:].replace(" ", "+").upper()).timestamp()
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is no time that there is") from None
        if math.isfinite(when):
            return when
    raise ValueError(f"{text[:40]!r} is neither seconds since the epoch nor a time such as 2026-11-30T08:00:00Z")


def one(exchange: HTTPExchange, number: str) -> Answer | None:
    """``/api/v1/requests/ID``: what became of a request."""
    if siteviews.is_elsewhere(number):
        siteviews.one_request(exchange, number)
        return None
    return Answer(200, exchange.rights.shown(_seen(exchange, int(number))))


def _seen(exchange: HTTPExchange, number: int) -> dict[str, Any]:
    """Return a record. Raises: NoSuchRequest, also if it may not be seen."""
    record = exchange.dispatcher.record(number)
    if not exchange.rights.sees_record(record):
        raise NoSuchRequest(f"there is no request {number}")
    return record


def cancel(exchange: HTTPExchange, number: str) -> Answer | None:
    """``DELETE /api/v1/requests/ID``: end what has not started; ``half=on`` for the on half of a reboot."""
    half = exchange.words.get("half", "")
    if half not in ("", "on"):
        raise Misdirected(400, f"half: {half!r} is not on")
    if siteviews.is_elsewhere(number):
        check = partial(check_may_cancel, exchange, half=half)
        siteviews.cancel_request(exchange, number, half, check)
        return None
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

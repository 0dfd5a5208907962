# SPDX-License-Identifier: MIT
"""``/api/v1/`` of ``pdus``, ``outlets``, ``nodes`` and ``groups``: what is known of them, with its age.

Whoever looks is answered at once; what is older than ``refresh`` is read behind the answer. With ``fresh=1`` the answer
waits until the device has been read, or is the reason why it could not be; of what no device can tell, it is what was
commanded, as a status is. All of it is made by threads of the pool.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from pdudaemon.config.nodes import Node
from pdudaemon.drivers.readings import Identity
from pdudaemon.engine import outlets
from pdudaemon.engine.inventory import NamesUnknown
from pdudaemon.engine.outlets import KnownPDU, age
from pdudaemon.engine.survey import surveyable
from pdudaemon.errors import PDUDaemonError, RequestError, StoreError
from pdudaemon.power import Action, Outlet, Reading, Target, together
from pdudaemon.server import siteviews
from pdudaemon.server.api import limit, linked
from pdudaemon.server.fresh import looked
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer, Misdirected
from pdudaemon.settings import near

if TYPE_CHECKING:
    from pdudaemon.engine.front.site import Site

log = logging.getLogger("pdud.http")

NEWEST = 1000  # requests among which the last one of a node is looked for

Record = dict[str, Any]


def pdus(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/pdus``: the configured PDUs in their order, ``limit`` of them at most, from the one ``after`` on."""
    most = limit(exchange)
    found = exchange.dispatcher.every_pdu(exchange.words.get("after", ""), most, exchange.rights.sees_pdu)
    now = time.time()
    records = []
    for record in exchange.orders.pace.sliced(found):
        exchange.dispatcher.surveys.look([record["name"]])
        exchange.dispatcher.sites.look([record["name"]])
        record.update(_summary(exchange, record, now))
        records.append(record)
    return linked(exchange, "/api/v1/pdus", records, most)


def one_pdu(exchange: HTTPExchange, word: str) -> Answer | None:
    """``/api/v1/pdus/NAME``: one PDU with all that is known of it."""
    name = _pdu_name(exchange, unquote(word))
    site = _site(exchange, name)
    if site is not None and not site.trouble and exchange.words.get("fresh", "0") == "0":
        siteviews.behind(exchange, site, name, functools.partial(_one_pdu, exchange, name))
        return None
    every = [Outlet(name, "")] if site is not None or surveyable(exchange.config.pdus[name]) else []
    return looked(exchange, every, functools.partial(_one_pdu, exchange, name))


def _site(exchange: HTTPExchange, pdu: str) -> Site | None:
    """Return the site of a PDU, None for here."""
    return exchange.dispatcher.sites.of(Target("", (Outlet(pdu, ""),)), exchange.dispatcher.config)


def watts(exchange: HTTPExchange, word: str) -> Answer | None:
    """``/api/v1/pdus/NAME/watts``: what it and its outlets drew within the last hour: [time, watts] for each minute."""
    name = _pdu_name(exchange, unquote(word))
    site = _site(exchange, name)
    if site is not None and not site.trouble:
        siteviews.watts(exchange, site, name)
        return None
    known = exchange.dispatcher.inventory.pdu(name)
    trails = {} if known is None else {**known.trails}
    now = time.time()
    whole = trails.pop("", None)
    return Answer(
        200,
        {
            "pdu": whole.points(now) if whole is not None and exchange.rights.sees_whole(name) else [],
            "outlets": {
                port: trail.points(now) for port, trail in trails.items() if exchange.rights.sees(Outlet(name, port))
            },
        },
    )


def one_outlet(exchange: HTTPExchange, word: str) -> Answer | None:
    """``/api/v1/pdus/NAME/outlets/PORT``: one outlet; the port as in a request."""
    name, _, port = map(unquote, word.partition("/outlets/"))
    pdu = exchange.config.pdus[_pdu_name(exchange, name)]
    nothing = Misdirected(404, f"{name}: there is no port {port[:50]!r}")
    try:
        target = exchange.config.target(name, port)
        outlet = exchange.dispatcher.surveys.resolved(target, exchange.dispatcher.config, switching=False).outlets[0]
    except NamesUnknown:
        raise  # for now
    except RequestError as error:
        if pdu.called(port) and not exchange.rights.sees_whole(name):
            raise nothing from None  # why not would tell what other outlets are called
        raise Misdirected(503 if pdu.driver is None or error.http_status != 503 else 404, str(error)) from None
    if not exchange.rights.sees(outlet):
        raise nothing
    return looked(exchange, [outlet], lambda: Answer(200, _outlet(exchange, outlet, time.time())))


def every_outlet(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/outlets``: the outlets of all PDUs in their order, ``limit`` of them or as many as the last one has."""
    most, now = limit(exchange), time.time()
    names = [*exchange.config.pdus]
    if (after := exchange.words.get("after", "")) in exchange.config.pdus:
        names = names[names.index(after) + 1 :]
    records: list[Record] = []
    looked: list[str] = []
    for name in names:
        looked.append(name)
        known = exchange.dispatcher.inventory.pdu(name)
        ports = [Outlet(name, port) for port in (known.outlets if known is not None else ())]
        records += [_outlet(exchange, outlet, now) for outlet in ports if exchange.rights.sees(outlet)]
        if len(records) >= most:
            break
    exchange.dispatcher.surveys.look(looked)
    exchange.dispatcher.sites.look(looked)
    last = looked[-1] if len(records) >= most else ""
    headers = {"Link": f'</api/v1/outlets?after={quote(last, safe="")}&limit={most}>; rel="next"'} if last else {}
    return Answer(200, records, headers)


def nodes(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/nodes``: the nodes and aliases in their order, or those of ``names`` and ``groups``, in pages."""
    config, words = exchange.config, exchange.words
    names = [*config.nodes]
    if words.get("names", "").strip() or words.get("groups", "").strip():
        names = _named(exchange, words.get("names", ""), words.get("groups", ""))
    if (after := words.get("after", "")) in names:
        names = names[names.index(after) + 1 :]
    most = limit(exchange)
    found = [config.nodes[name] for name in names[:most]]
    fed = {feed.pdu for node in found for feed in node.feeds}
    exchange.dispatcher.surveys.look(fed)
    exchange.dispatcher.sites.look(fed)
    last = _last_requests(exchange, found)
    now = time.time()
    paced = exchange.orders.pace.sliced(found)
    records = [_node(exchange, node, last.get(node.name), now) for node in paced]
    return linked(exchange, "/api/v1/nodes", records, most)


def one_node(exchange: HTTPExchange, word: str) -> Answer | None:
    """``/api/v1/nodes/NAME``: one node or alias."""
    (name,) = _named(exchange, unquote(word), "", plain=True)
    node = exchange.config.nodes[name]

    def made() -> Answer:
        last = _last_requests(exchange, [node])
        return Answer(200, _node(exchange, node, last.get(name), time.time()))

    return looked(exchange, node.feeds, made)


def groups(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/groups``: the nodes in each group."""
    return Answer(200, {name: [*members] for name, members in exchange.config.groups.items()})


def _pdu_name(exchange: HTTPExchange, name: str) -> str:
    if name not in exchange.config.pdus:
        raise Misdirected(404, f"there is no PDU {name[:100]!r}{near(name, exchange.config.pdus)}")
    return name


def _named(exchange: HTTPExchange, names: str, groups: str, plain: bool = False) -> list[str]:
    """Return the nodes that are named; ``plain``: by one name. Raises: Misdirected."""
    config = exchange.config
    try:
        found, missing = ([names], []) if plain else config.named(names, groups)
    except ValueError as error:
        raise Misdirected(400, str(error)) from None
    if missing:
        raise Misdirected(404, f"there is no group {missing[0][:100]!r}{near(missing[0], config.groups)}")
    for name in found:
        if name not in config.nodes:
            raise Misdirected(404, f"there is no alias or node {name[:100]!r}{near(name, config.nodes)}")
    return found


def _one_pdu(exchange: HTTPExchange, name: str) -> Answer:
    record = next(exchange.dispatcher.every_pdu("", 1, lambda other: other == name), {})
    if not record:
        raise Misdirected(404, f"{name} is not configured any more")
    known, now = exchange.dispatcher.inventory.pdu(name) or KnownPDU({}), time.time()
    whole = exchange.rights.sees_whole(name)
    ports = [Outlet(name, port) for port in [*known.outlets]]
    identity = known.identity
    record.update(_summary(exchange, record, now))
    record["identity"] = None if identity is None or identity == Identity() or not whole else asdict(identity)
    record["outlets"] = [_outlet(exchange, outlet, now) for outlet in ports if exchange.rights.sees(outlet)]
    return Answer(200, record)


def _inlet(told: Record) -> Record:
    return {word: told[word] for word in ("name", "kind", "watts", "volts", "amps", "watt_hours")}


def _summary(exchange: HTTPExchange, record: Record, now: float) -> Record:
    """Return what is known of a PDU as a whole: what is counted of it only for who may see all of it."""
    known = exchange.dispatcher.inventory.pdu(record["name"]) or KnownPDU({})
    whole = exchange.rights.sees_whole(record["name"])
    return {
        "reason": record["reason"] or (known.trouble if whole else "") or None,
        "requests": record["requests"] if whole else None,
        "reachable": known.reachable,
        "outlets": len(known.outlets) or None if whole else None,
        "watts": known.watts if whole else None,
        "age": age(known.read, now),
        "inlets": [_inlet(asdict(inlet)) for inlet in known.inlets] if whole else [],
    }


def _outlet(exchange: HTTPExchange, outlet: Outlet, now: float) -> Record:
    """Return what is known of an outlet, with those of its nodes that may be seen."""
    config, inventory = exchange.dispatcher.config, exchange.dispatcher.inventory
    outlet = inventory.place(outlet, config)
    record = outlets.record(outlet, inventory.outlet(outlet), config, now)
    record["nodes"] = [name for name in record["nodes"] if exchange.rights.sees_node(name)]
    if not exchange.rights.everything:
        record["may"] = _may(exchange, [outlet])
    return record


def _may(exchange: HTTPExchange, every: Sequence[Outlet]) -> list[str]:
    """Return what a client with roles may do with outlets."""
    return [action.value for action in Action if not exchange.rights.may(action, every)]


def _node(exchange: HTTPExchange, node: Node, last: Record | None, now: float) -> Record:
    config, inventory = exchange.dispatcher.config, exchange.dispatcher.inventory
    feeds = [_outlet(exchange, feed, now) for feed in node.feeds]
    readings: list[tuple[Outlet, Reading | PDUDaemonError]] = []
    for feed in node.feeds:
        known = inventory.outlet(inventory.place(feed, config))
        readings.append((feed, Reading(known.state, known.source, known.time)))
    whole = together(readings) if readings else None
    locks = [feed["reason"] for feed in feeds if feed["locked"]]
    may = {} if exchange.rights.everything else {"may": _may(exchange, node.feeds)}
    return {
        **may,
        "name": node.name,
        "groups": exchange.config.groups_of.get(node.name, []),
        "feeds": feeds,
        "state": whole.state.value if isinstance(whole, Reading) else "unknown",
        "source": whole.source if isinstance(whole, Reading) else "none",
        "time": whole.time if isinstance(whole, Reading) else None,
        "age": age(whole.time, now) if isinstance(whole, Reading) else None,
        "locked": bool(locks),
        "reason": node.fault or next(iter(locks), None),
        "last_request": last,
    }


def _last_requests(exchange: HTTPExchange, found: Sequence[Node]) -> dict[str, Record]:
    """Return the last request of each node, for those that had one lately."""
    config, inventory, rights = exchange.dispatcher.config, exchange.dispatcher.inventory, exchange.rights
    try:
        records = exchange.dispatcher.records(NEWEST)
    except StoreError as error:
        log.warning("the last requests of nodes cannot be told: %s", error)
        return {}
    by_outlet: dict[Outlet, Record] = {}
    for record in records:
        for outlet in record["outlets"]:
            by_outlet.setdefault(Outlet(outlet["pdu"], outlet["port"]), record)
    last: dict[str, Record] = {}
    for node in found:
        of_feeds = [by_outlet.get(inventory.place(feed, config)) for feed in node.feeds]
        newest = max((each for each in of_feeds if each is not None), key=lambda each: each["id"], default=None)
        newest = newest or exchange.dispatcher.sites.last(node.name)
        if newest is not None and rights.sees_record(newest):
            last[node.name] = rights.shown(newest)
    return last

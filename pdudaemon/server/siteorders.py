# SPDX-License-Identifier: MIT
"""Orders for what is at a site: passed on to it, whichever way they came in, and its answers passed back.

The site says whether it accepts something, and what became of it. What a client may do here has been seen to by then;
what this front may do there is for the site to say.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pdudaemon.engine.dispatcher import Dispatcher
from pdudaemon.engine.front.siteorders import SiteRequest, Wanted
from pdudaemon.engine.queries import Answer
from pdudaemon.errors import PDUDaemonError, RequestError, Unanswered, of_kind
from pdudaemon.power import Action, Outlet, Reading, Request, State, Target
from pdudaemon.server.access import UNIX
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Exchange
from pdudaemon.server.jsonbody import BadField

if TYPE_CHECKING:
    from pdudaemon.engine.front.site import Site

log = logging.getLogger("pdud.sites")

LATE = 3.0  # seconds beyond the time of whoever asks, after which he is told that something is wrong here
LOOKING = 60.0  # seconds for a status, if whoever asks does not say

Told = Callable[[Request, PDUDaemonError | None], None]


@dataclass(frozen=True)
class Passed(Reading):
    """The state of a node as a site tells it to OpenFlight's clients."""

    attributes: Mapping[str, Any] = field(default_factory=dict)


def wanted(
    client: Client,
    action: str,
    place: Mapping[str, str],
    key: str,
    wait: float,
    seconds: float,
    delay: float,
    soft: float | None,
    hard: bool,
) -> Wanted:
    """Return what a site is to be asked for: see `Wanted`."""
    body: dict[str, Any] = {"action": action, **place, "delay": delay}
    if soft is not None:
        body |= {"soft": soft, "hard": hard}
    headers = {} if client.address in ("", UNIX) else {"X-Forwarded-For": client.address}
    return Wanted(body, key or str(uuid.uuid4()), seconds if wait else 0.0, wait, not (delay or soft), headers)


def place(site: Site, target: Target) -> dict[str, str]:
    """Return the words by which a site knows a target."""
    theirs = site.translation.theirs
    if len(target.words) == 1:
        return {"alias": theirs(str(target.words[0]))}
    outlet = target.outlets[0]
    return {"hostname": theirs(outlet.pdu), "port": outlet.port}


def carry_out(site: Site, asked: Any, wait: float, client: Client, exchange: Exchange, told: Told) -> None:
    """Have an order carried out at a site; 0: accepted is enough. Raises: SiteUnreachable.

    Called by the selector's thread.
    """
    action, target = asked.action, asked.target
    seconds = wait + asked.postponed if wait else 0.0
    where = place(site, target)
    order = wanted(client, action.value, where, asked.key, wait, seconds, asked.delay, asked.soft, asked.hard)

    def tell(request: SiteRequest | None, error: PDUDaemonError | None) -> None:
        note(client.text, action, target.name, request, error)
        if request is not None:
            exchange.settle(told, request, error)
        elif error is not None:
            exchange.settle(exchange.refuse, _understood(exchange, target, error))

    site.switch(order, action, target, tell)
    _give(exchange, seconds or LOOKING, site)


def submit(
    dispatcher: Dispatcher,
    action: Action,
    target: Target,
    delay: float,
    name: str,
    told: Callable[[Request | None, PDUDaemonError | None], None],
) -> bool:
    """Have a target switched by its site, for who is called by a ``name``; return whether it is at one.

    Raises: SiteUnreachable.
    """
    site = dispatcher.sites.of(target, dispatcher.config)
    if site is None:
        return False
    wait = dispatcher.config.daemon.wait or LOOKING
    order = wanted(Client("", 0, name), action.value, place(site, target), "", wait, wait + delay, delay, None, True)

    def tell(request: SiteRequest | None, error: PDUDaemonError | None) -> None:
        note(name, action, target.name, request, error)
        told(request, error)

    site.switch(order, action, target, tell)
    return True


def note(client: str, action: Action, name: str, request: SiteRequest | None, error: PDUDaemonError | None) -> None:
    """Write into the log what became of something that a site was asked for; refusals are told elsewhere."""
    if request is not None:
        became = f"failed: {error}" if error is not None else "done" if request.ended is not None else "accepted"
        log.info("request %s: %s %s for %s %s", request.number, action, name, client, became)


def _understood(exchange: Exchange, target: Target, error: PDUDaemonError) -> PDUDaemonError:
    """Return a refusal as whoever asks by JSON is told it: what there is not is no fault of the daemon's."""
    if type(error) is not RequestError or not getattr(exchange, "path", "").startswith("/api/"):
        return error
    return BadField("alias" if len(target.words) == 1 else "port", str(error), 422)


def _give(exchange: Exchange, seconds: float, site: Site) -> None:
    """Give a client some time, beyond that which the site's thread sees to."""

    def late() -> None:
        exchange.settle(exchange.refuse, Unanswered(f"{site.name}: there is no answer from its thread"))

    exchange.late = late
    exchange.connection.connections.give(exchange.connection, seconds + LATE)


def look(site: Site, asked: Any, exchange: Exchange, told: Callable[[Answer], None]) -> None:
    """Have a site asked for a state. Called by the selector's thread."""
    seconds = LOOKING if asked.wait is None else asked.wait

    def heard(said: Any, error: PDUDaemonError | None) -> None:
        exchange.settle(told, error or _reading(site, said))

    words = {**place(site, asked.target), **({} if asked.wait is None else {"wait": str(asked.wait)})}
    _give(exchange, seconds, site)
    site.ask("GET", f"/power/control/status?{urlencode(words)}", seconds, heard, LATE / 2)


def _reading(site: Site, said: Mapping[str, Any]) -> Reading:
    feeds: list[tuple[Outlet, Reading | PDUDaemonError]] = []
    for each in said.get("feeds") or ():
        outlet = site.translation.outlet(each)
        if each.get("reason"):
            feeds.append((outlet, of_kind("device-failed", f"{site.name}: {each['reason']}")))
        else:
            feeds.append((outlet, _one(site, each)))
    return Reading(*_state(site, said), tuple(feeds))


def _one(site: Site, said: Mapping[str, Any]) -> Reading:
    return Reading(*_state(site, said))


def _state(site: Site, said: Mapping[str, Any]) -> tuple[State, str, float | None]:
    return (State(said["state"]), str(said.get("source") or "none"), site.translation.time(said.get("time")))

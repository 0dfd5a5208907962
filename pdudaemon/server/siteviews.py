# SPDX-License-Identifier: MIT
"""What is looked at, and taken back, at a site: asked of the site as it is, for nothing of that is kept here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pdudaemon.errors import NoSuchRequest, PDUDaemonError, Unanswered
from pdudaemon.power import Outlet
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer

if TYPE_CHECKING:  # a daemon without sites does without what asks them
    from pdudaemon.engine.front.site import Site

Record = dict[str, Any]

ANSWER = 5.0  # seconds for a site to tell what it knows
FRESH = 61.0  # seconds for it to read a device
LATE = 2.0


def sites(exchange: HTTPExchange, _: str) -> Answer:
    """``/api/v1/sites``: the sites of this front, and whether they can be asked.

    For a front of this one: which ``daemons`` it leads to, itself first, and a text that is another whenever ``names``
    are, those of nodes, groups and PDUs.
    """
    every = [*exchange.dispatcher.sites]
    behind = {daemon for site in every for daemon in site.daemons}
    told = []
    for site in every if exchange.rights.everything else ():
        faults = exchange.dispatcher.sites.faults(site.name)
        told.append(
            {
                "name": site.name,
                "reachable": not site.trouble,
                "reason": site.trouble or "; ".join(faults[:20]) or None,
                "prefix": site.options.prefix,
                "pdus": len(site.mirror.pdus),
                "nodes": len(site.mirror.nodes),
            }
        )
    own = exchange.dispatcher.sites
    names = f"{own.daemon}-{own.names}"
    return Answer(200, {"daemons": [own.daemon, *sorted(behind)], "names": names, "sites": told})


def give(
    exchange: HTTPExchange, site: Site, method: str, target: str, seconds: float, made: Callable[[Any], Answer | None]
) -> None:
    """Give the answer that a call makes of what a site says, or why there is none. A thread of the pool makes it.

    It returns None if it sees to that itself.
    """

    def heard(found: Any, error: PDUDaemonError | None) -> None:
        def make() -> Answer | None:
            if error is not None:
                raise error
            try:
                return made(found)
            except (LookupError, TypeError, ValueError, AttributeError):
                raise Unanswered(f"{site.name}: what it says is not understood") from None

        exchange.connection.connections.later(partial(exchange.give, make))

    def late() -> None:
        exchange.settle(exchange.refuse, Unanswered(f"{site.name}: there is no answer from its thread"))

    exchange.within(seconds + LATE, late)
    site.ask(method, target, seconds, heard)


def read(site: Site, name: str, told: Callable[[PDUDaemonError | None], None], fresh: bool) -> None:
    """Have what a site knows of a PDU taken in, with ``fresh`` what its device says now; tell when that is done."""
    path = f"/api/v1/pdus/{quote(site.translation.theirs(name), safe='')}{'?fresh=1' if fresh else ''}"

    def heard(found: Any, error: PDUDaemonError | None) -> None:
        if error is None:
            site.mirror.pdu(found, time.time())
        told(error)

    site.ask("GET", path, FRESH if fresh else ANSWER, heard)


def behind(exchange: HTTPExchange, site: Site, name: str, made: Callable[[], Answer]) -> None:
    """Give an answer about a PDU by what its site knows of it now, or else by what it is known to have said."""

    def told(_: PDUDaemonError | None) -> None:
        exchange.connection.connections.later(partial(exchange.give, made))

    exchange.within(ANSWER + LATE, partial(exchange.give, made))
    read(site, name, told, fresh=False)


def watts(exchange: HTTPExchange, site: Site, name: str) -> None:
    """Tell what a PDU of a site and its outlets drew within the last hour."""

    def made(found: Record) -> Answer:
        rights, time = exchange.rights, site.translation.time
        shown = {"": found["pdu"] if rights.sees_whole(name) else []}
        shown |= {port: points for port, points in found["outlets"].items() if rights.sees(Outlet(name, port))}
        ours = {port: [[time(when), drawn] for when, drawn in points] for port, points in shown.items()}
        return Answer(200, {"pdu": ours.pop(""), "outlets": ours})

    path = f"/api/v1/pdus/{quote(site.translation.theirs(name), safe='')}/watts"
    give(exchange, site, "GET", path, ANSWER, made)


class Several:
    """Asks several sites, and has the answer made when all have answered, or have not in time."""

    def __init__(
        self,
        exchange: HTTPExchange,
        understood: Callable[[str, Any], Any],
        made: Callable[[dict[str, Any], dict[str, PDUDaemonError]], Answer],
    ) -> None:
        """``understood`` returns what is made of what one of them said, or raises that it makes no sense; its thread
        calls it. ``made`` gets all of that, by a name, and why others said nothing. A thread of the pool calls it.
        """
        self._exchange = exchange
        self._understood = understood
        self._made = made
        self._found: dict[str, Any] = {}
        self._errors: dict[str, PDUDaemonError] = {}
        self._left: int  # of those that have been asked, and of who asks them
        self._lock = threading.Lock()

    def ask(self, questions: Mapping[str, tuple[Site, str, str]], seconds: float = ANSWER) -> None:
        """Ask: the site, the method and the target, by a name."""
        self._left = len(questions) + 1

        def late() -> None:
            error = Unanswered("there is no answer from the threads of some sites")
            self._exchange.settle(self._exchange.refuse, error)

        self._exchange.within(seconds + LATE, late)
        for name, (site, method, target) in questions.items():
            site.ask(method, target, seconds, partial(self._heard, name))
        self._heard("", None, None)

    def _heard(self, name: str, found: Any, error: PDUDaemonError | None) -> None:
        if name and error is None:
            found = self._understood(name, found)  # if it raises, this is called again, with an error
        with self._lock:
            self._left -= 1
            if error is not None:
                self._errors[name] = error
            elif name:
                self._found[name] = found
            if self._left:
                return
        make = partial(self._made, self._found, self._errors)
        self._exchange.connection.connections.later(partial(self._exchange.give, make))


def is_elsewhere(number: str) -> bool:
    """Whether a number is that of a request, or of a part of a command, at a site."""
    return not (number.isascii() and number.isdigit())


def one_request(exchange: HTTPExchange, number: str) -> None:
    """Show a request of a site."""
    site, theirs = exchange.dispatcher.sites.numbered(number)
    path = f"/api/v1/requests/{quote(theirs)}"
    give(
        exchange,
        site,
        "GET",
        path,
        ANSWER,
        lambda found: Answer(200, exchange.rights.shown(seen(exchange, site, found))),
    )


def seen(exchange: HTTPExchange, site: Site, found: Record) -> Record:
    """Return the record of a request. Raises: NoSuchRequest, also if it may not be seen; others, if it is none."""
    record = site.translation.request(found)
    if not record["outlets"] or record["id"] is None:
        raise ValueError("it is not the record of a request")
    if not exchange.rights.sees_record(record):
        raise NoSuchRequest(f"there is no request {record['id']}")
    return record


def cancel_request(exchange: HTTPExchange, number: str, half: str, check: Callable[[Record], None]) -> None:
    """Take back a request of a site, if ``check`` does not raise of its record."""
    site, theirs = exchange.dispatcher.sites.numbered(number)
    path = f"/api/v1/requests/{quote(theirs)}"

    def gone(found: Record) -> Answer:
        return Answer(200, exchange.rights.shown(seen(exchange, site, found)))

    def checked(found: Record) -> None:
        check(seen(exchange, site, found))
        give(exchange, site, "DELETE", path + (f"?half={half}" if half else ""), ANSWER, gone)

    give(exchange, site, "GET", path, ANSWER, checked)

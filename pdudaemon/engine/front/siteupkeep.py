# SPDX-License-Identifier: MIT
"""`Upkeep`: what is known of a site, as its `Mirror`: loaded whole, kept by what happens there, asked for anew.

What happens there is published here as well, by the names that things go by here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.front import sitereading
from pdudaemon.engine.front.sitemirror import SKEW, Mirror, Record, Translation, ahead
from pdudaemon.engine.front.siteorders import NONSENSE
from pdudaemon.engine.outlets import is_news
from pdudaemon.errors import PDUDaemonError, SiteUnreachable, printable
from pdudaemon.power import Outlet, State
from pdudaemon.transports.asking import Asker, Lost, Unsent

log = logging.getLogger("pdud.sites")

LOADING = 120.0  # seconds for all that a site has
REFRESH = 30.0  # seconds after which a look has states and readings asked for anew, behind the look
SOON = 3.0  # seconds after which the site has read what was too old when all was loaded


class Upkeep:
    """That of one site. By the thread of the site, but that anybody may look at the ``mirror`` and at ``daemons``.

    ``own`` is the id of this daemon, which none of those may be that the site leads to. ``heard`` takes in an event of
    a request, and returns it in our words. ``stale``: all must be loaded anew.
    """

    def __init__(
        self, translation: Translation, own: str, events: Events, clock: Clock, heard: Callable[[Record], Record]
    ) -> None:
        self.mirror = Mirror(translation)
        self.daemons: list[str] = []  # those that the site leads to, itself first
        self.stale = True
        self.loaded: float  # when it was loaded, or asked for anew, in monotonic seconds
        self._names = ""
        self._translation = translation
        self._own = own
        self._events = events
        self._clock = clock
        self._heard = heard

    def set_clock(self, date: str) -> None:
        """Find out how far the site's clock is ahead of ours."""
        found = ahead(date, self._clock.wall())
        if found and abs(found - self._translation.ahead) > SKEW:
            log.warning("%s: its clock is %+.0f s off ours", self._translation.site, found)
        self._translation.ahead = found

    async def load(self, asker: Asker) -> None:
        """Take in all that the site has; of names only what is known, if that is what there is. Raises: many errors."""
        self.daemons, names = await sitereading.described(asker)
        if self._own in self.daemons:
            raise SiteUnreachable("it leads back to this daemon: one of its sites, or of theirs, is this one")
        self.mirror.ahead.clear()
        if names and names == self._names:
            await self._take_states(asker)
        else:
            self.mirror = await sitereading.mirror(asker, self.mirror, self._clock.wall())
        self.stale, self._names = False, names
        self.loaded = time.monotonic() - REFRESH + SOON

    def is_due(self) -> bool:
        """Return whether what is known is too old for somebody who looks, once."""
        if time.monotonic() - self.loaded <= REFRESH:
            return False
        self.loaded = time.monotonic()
        return True

    async def refresh(self, asker: Asker) -> None:
        """Ask anew for states and readings."""
        try:
            async with asyncio.timeout(LOADING):
                await self._take_states(asker)
        except (Unsent, Lost, PDUDaemonError, TimeoutError, *NONSENSE) as error:
            log.debug("%s: not read anew: %s", self._translation.site, error)

    async def _take_states(self, asker: Asker) -> None:
        now = self._clock.wall()
        async for told in sitereading.pages(asker, "/api/v1/pdus"):
            self.mirror.pdu(told, now)
        async for told in sitereading.pages(asker, "/api/v1/outlets"):
            self._outlet(told)

    def take(self, event: Record) -> None:
        """Take in what has happened at the site, and publish it. Raises: many errors, if that makes no sense."""
        kind = event["kind"]
        if kind == "outlet":
            self._outlet(event["outlet"])
        elif kind == "pdu":
            name, reachable = (self._translation.name(event["pdu"]), event.get("reachable"))
            reachable = reachable if isinstance(reachable, bool) else None
            state, reason = str(event.get("state"))[:100], printable(str(event.get("reason") or ""))
            if name in self.mirror.pdus:
                known = self.mirror.pdus[name]
                known.reachable, known.trouble = (reachable, reason if reachable is False else "")
                self.mirror.records[name] |= {"state": state, "reason": reason or None}
            self._events.pdu(name, state, reason, reachable)
        elif event.get("request") is not None:
            self._request(self._heard(event))

    def switched(self, number: str, outlets: Iterable[Outlet], state: State) -> None:
        """A request is done, of which nothing has been heard yet: what is heard until then of its outlets is older."""
        name = self._translation.number(number)
        for outlet in outlets:
            known = self.mirror.switched(str(name), outlet, state, self._clock.wall())
            if known is not None:
                self._events.outlet(outlet, known)

    def _outlet(self, told: Record) -> None:
        outlet = self._translation.outlet(told)
        pdu = self.mirror.pdus.get(outlet.pdu)
        before = pdu.outlets.get(outlet.port) if pdu is not None else None
        found = self.mirror.outlet(told, self._clock.wall())
        if found is not None and (before is None or is_news(before._replace(shown=before.watts), found[1])):
            self._events.outlet(*found)

    def _request(self, event: Record) -> None:
        """Take in what happened to a request, in our words."""
        kind, pdus = event["kind"], {outlet.pdu for outlet in event["outlets"]}
        for pdu in pdus & self.mirror.records.keys():
            record = self.mirror.records[pdu]
            record["requests"] = max(0, record["requests"] + {"accepted": 1, "ended": -1}.get(kind, 0))
        if kind == "ended":
            self.mirror.caught_up(event["request"])
        self.mirror.asked(event, self._clock.wall())
        if pdus <= self.mirror.records.keys():  # else it is of one that has been taken out of the configuration there
            self._events.at_site(**event)

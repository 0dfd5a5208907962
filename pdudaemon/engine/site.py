# SPDX-License-Identifier: MIT
"""`Site`: another daemon, as a front knows it. It has a thread with a loop of its own, so that it holds up nobody else.

It follows the site's events for as long as there is a connection, keeps a `Mirror` by them, and says when the site
cannot be asked, and when it can again. Whoever wants something of the site has it done by that thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from pdudaemon.config.sites import SiteOptions
from pdudaemon.engine import sitereading
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.outlets import is_news
from pdudaemon.engine.sitemirror import SKEW, Mirror, Record, Translation
from pdudaemon.engine.siterequests import SiteRequests
from pdudaemon.errors import PDUDaemonError, SiteUnreachable
from pdudaemon.transports.asking import Asker, Lost, Reply, Unsent
from pdudaemon.transports.http import tls

log = logging.getLogger("pdud.sites")

ANSWER = 10.0  # seconds for a site to begin an answer that it need not wait for
LOADING = 120.0  # seconds for all that a site has
SILENCE = 25.0  # seconds without a line of events, heartbeats included, after which a connection counts as dead
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between two tries to reach a site
REFRESH = 30.0  # seconds after which a look has states and readings asked for anew, behind the look
PROMPT = "/ui/icon.svg"  # what the thread of a daemon that serves its clients answers itself
PROBE = 3.0  # seconds for that
SOON = 3.0  # seconds after which the site has read what was too old when all was loaded


class Site:
    """One site. ``changed`` is called when what it has, or whether it can be asked, is not what it was.

    ``trouble`` is why it cannot be asked, empty if it can be. ``daemons`` are those that it leads to, itself first.
    """

    def __init__(
        self, name: str, options: SiteOptions, own: str, events: Events, clock: Clock, changed: Callable[[str], None]
    ) -> None:
        self.name = name
        self.options = options
        self.translation = Translation(name, options.prefix)
        self.mirror = Mirror(self.translation)
        self.trouble = "it has not been reached yet"
        self.daemons: list[str] = []
        self.asker = Asker(options.url.host, options.url.port, options.url.path)
        self._bound: asyncio.Timeout | None = None  # of the connection by which it is followed
        self._doubted = False
        self._own = own
        self._events = events
        self._clock = clock
        self._changed = changed
        self._last: int | None = None  # the number of the last event
        self._loaded = 0.0
        self._names = ""
        self._stale = True  # whether it must be loaded anew
        self.requests = SiteRequests(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._hurry = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"site {name}", daemon=True)

    def __str__(self) -> str:
        return f"the thread of site {self.name}"

    # Called by any thread.

    def start(self) -> None:
        """Begin to follow the site."""
        self._thread.start()

    def take_over(self, before: Site) -> None:
        """Begin with what is known of the site already: its names, and no states until it says so itself."""
        self.mirror = before.mirror

    def stop(self) -> None:
        """Let go of the site. Whoever waits for it is told so."""
        self._call(lambda: self._main.cancel() if self._main is not None else None)

    def ended(self, seconds: float) -> bool:
        """Return whether the thread has ended, within some seconds."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def have(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the thread do something, which must tell itself what came of it. Raises: SiteUnreachable."""
        if self.trouble:
            self._call(self._hurry.set)
            raise SiteUnreachable(f"{self.name} cannot be asked: {self.trouble}")
        if not self._call(lambda: self._begin(work())):
            raise SiteUnreachable(f"{self.name} cannot be asked: this daemon has let go of it")

    def look(self) -> None:
        """Somebody looks at what is known of the site: have it be asked for anew, if that is too old."""
        if not self.trouble and time.monotonic() - self._loaded > REFRESH:
            self._loaded = time.monotonic()
            self._call(lambda: self._begin(self._refresh()))

    def _call(self, what: Callable[[], object]) -> bool:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # it is closed
            return False
        return True

    # By the thread.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._follow())
            except asyncio.CancelledError:
                pass
            except Exception:
                log.exception("%s: following it has ended", self.name)
                self._lose("internal error: see the log of the daemon")

    def doubt(self) -> None:
        """There was no answer to something: find out soon whether there is none to anything. By the thread."""
        if not (self._doubted or self.trouble):
            self._doubted = True
            self._begin(self._probe())

    async def _probe(self) -> None:
        bound = self._bound
        try:
            async with asyncio.timeout(PROBE):
                async with self.asker.stream("GET", PROMPT):
                    pass
        except (Unsent, Lost, TimeoutError):
            if bound is not None and bound is self._bound and not self.trouble:
                bound.reschedule(self._loop.time())
        finally:
            self._doubted = False

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        self._main = asyncio.current_task()
        options, failures = self.options, 0
        while True:
            try:
                secure = None
                if options.url.secure:
                    secure = tls(check=not options.insecure, ca_file=options.ca_file, fingerprint=options.fingerprint)
                url = options.url
                self.asker = Asker(url.host, url.port, url.path, token=options.token, secure=secure)
                await self._session()
                why = "the connection was closed"
            except (Unsent, Lost, PDUDaemonError) as error:
                why = str(error)
            except TimeoutError:
                why = f"{options.url.host}:{options.url.port} does not answer"
            except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
                log.debug("%s: %r", self.name, error, exc_info=True)
                why = "what it says is not understood"
            self.asker.close()
            failures = 0 if not self.trouble else failures + 1
            self._lose(why)
            self._hurry.clear()
            pause = PAUSES[min(failures, len(PAUSES) - 1)] * random.uniform(0.8, 1.2)
            try:
                async with asyncio.timeout(pause):
                    await self._hurry.wait()
                await asyncio.sleep(min(pause, PAUSES[0]))
            except TimeoutError:
                pass

    async def _session(self) -> None:
        """Follow the site's events until they end. Raises: many errors."""
        headers = {"Accept": "text/event-stream"}  # which says at once where it begins
        if self._last is not None:
            headers["Last-Event-ID"] = str(self._last)
        async with asyncio.timeout(ANSWER) as bound:
            self._bound = bound
            async with self.asker.stream("GET", "/api/v1/events", headers=headers) as (status, told, lines):
                if status != 200:
                    await sitereading.told(self.asker, "/api/v1/events")  # says why
                    raise Lost(f"it does not tell what happens ({status})")
                bound.reschedule(asyncio.get_running_loop().time() + LOADING)
                self._skew(told.get("date", ""))
                if self._stale:
                    await self._load()
                self._find()
                await self._hear(lines, bound)

    async def _hear(self, lines: AsyncIterator[bytes], bound: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        bound.reschedule(loop.time() + SILENCE)
        async for line in lines:
            bound.reschedule(loop.time() + LOADING)
            event = self._parsed(line)
            if event is not None:
                if event["kind"] == "end":
                    raise Lost(str(event.get("reason") or "it has ended the connection"))
                if isinstance(event.get("id"), int):
                    self._last = event["id"]
                if event["kind"] in ("reload", "gap"):
                    self._stale = True  # also for the next connection, if this one is lost meanwhile
                    await self._load()
                    usual = "its configuration was reloaded" if event["kind"] == "reload" else "events were missed"
                    self._changed(f"site {self.name}: {event.get('reason') or usual}")
                    if event["kind"] == "gap":
                        self._begin(self.requests.look_after())
                else:
                    self._take(event)
            bound.reschedule(loop.time() + SILENCE)

    def _parsed(self, line: bytes) -> Record | None:
        word, _, rest = line.partition(b": ")
        if word == b"id" and self._last is None:
            self._last = int(rest)
        if word != b"data":
            return None
        event = Reply(200, {}, rest).json()
        if not isinstance(event, dict) or not isinstance(event.get("kind"), str):
            raise Lost("what it says is not understood")
        return event

    def _skew(self, date: str) -> None:
        """Find out how far the site's clock is ahead of ours."""
        ahead = sitereading.ahead(date, self._clock.wall())
        if ahead and abs(ahead - self.translation.ahead) > SKEW:
            log.warning("%s: its clock is %+.0f s off ours", self.name, ahead)
        self.translation.ahead = ahead

    async def _load(self) -> None:
        """Take in all that the site has; of names only what is known, if that is what there is."""
        self.daemons, names = await sitereading.described(self.asker)
        if self._own in self.daemons:
            raise SiteUnreachable("it leads back to this daemon: one of its sites, or of theirs, is this one")
        if names and names == self._names:
            await self._take_states()
        else:
            self.mirror = await sitereading.mirror(self.asker, self.mirror, self._clock.wall())
        self._stale, self._names = False, names
        self._loaded = time.monotonic() - REFRESH + SOON

    async def _refresh(self) -> None:
        """Ask anew for states and readings."""
        try:
            async with asyncio.timeout(LOADING):
                await self._take_states()
        except (Unsent, Lost, PDUDaemonError, TimeoutError, LookupError, TypeError) as error:
            log.debug("%s: not read anew: %s", self.name, error)

    async def _take_states(self) -> None:
        now = self._clock.wall()
        for told in await sitereading.pages(self.asker, "/api/v1/pdus"):
            self.mirror.pdu(told, now)
        for told in await sitereading.pages(self.asker, "/api/v1/outlets"):
            self._outlet(told)

    def _find(self) -> None:
        if self.trouble:
            if self._loaded:
                log.info(
                    "%s: it can be asked: %d PDUs, %d nodes", self.name, len(self.mirror.pdus), len(self.mirror.nodes)
                )
            self.trouble = ""
            self._changed(f"site {self.name} can be asked")
            self._begin(self.requests.look_after())

    def _lose(self, why: str) -> None:
        if self.trouble != why:
            log.warning("%s cannot be asked: %s", self.name, why)
            self.trouble = why
            self._changed(f"site {self.name} cannot be asked: {why}")

    # What happens at the site.

    def _outlet(self, told: Record) -> None:
        outlet = self.translation.outlet(told)
        pdu = self.mirror.pdus.get(outlet.pdu)
        before = pdu.outlets.get(outlet.port) if pdu is not None else None
        found = self.mirror.outlet(told, self._clock.wall())
        if found is not None and (before is None or is_news(before._replace(shown=before.watts), found[1])):
            self._events.outlet(*found)

    def _take(self, event: Record) -> None:
        kind = event["kind"]
        if kind == "outlet":
            self._outlet(event["outlet"])
        elif kind == "pdu":
            name, reachable = (self.translation.name(event["pdu"]), event.get("reachable"))
            state, reason = str(event.get("state")), str(event.get("reason") or "")
            if name in self.mirror.pdus:
                known = self.mirror.pdus[name]
                known.reachable, known.trouble = (reachable, reason if reachable is False else "")
                self.mirror.records[name] |= {"state": state, "reason": event.get("reason")}
            self._events.pdu(name, state, reason, reachable)
        elif event.get("request") is not None:
            self._request(self.requests.heard(event))

    def _request(self, event: Record) -> None:
        """Take in what happened to a request, in our words."""
        kind, pdus = event["kind"], {outlet.pdu for outlet in event["outlets"]}
        for pdu in pdus & self.mirror.records.keys():
            record = self.mirror.records[pdu]
            record["requests"] = max(0, record["requests"] + {"accepted": 1, "ended": -1}.get(kind, 0))
        self.mirror.asked(event, self._clock.wall())
        self._events.at_site(**event)

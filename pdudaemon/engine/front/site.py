# SPDX-License-Identifier: MIT
"""`Site`: another daemon, as a front knows it. It has a thread with a loop of its own, so that it holds up nobody else.

It follows the site's events for as long as there is a connection, keeps what is known by them (`Upkeep`), and says when
the site cannot be asked, and when it can again. Whoever wants something of the site has it done by that thread.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from pdudaemon.config.sites import SiteOptions
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.engine.front import sitequestions, sitereading
from pdudaemon.engine.front.sitecommands import Began, SiteCommand, Told
from pdudaemon.engine.front.sitemirror import Mirror, Record, Translation
from pdudaemon.engine.front.siteorders import NONSENSE, SiteRequest, Wanted
from pdudaemon.engine.front.sitequestions import Heard, StateTold
from pdudaemon.engine.front.siterequests import SiteRequests
from pdudaemon.engine.front.siteupkeep import LOADING, Upkeep
from pdudaemon.errors import PDUDaemonError, SiteUnreachable
from pdudaemon.power import Action, State, Target
from pdudaemon.transports.asking import Asker, Lost, Reply, Unsent
from pdudaemon.transports.http import tls

log = logging.getLogger("pdud.sites")

ANSWER = 10.0  # seconds for a site to begin an answer that it need not wait for
SILENCE = 25.0  # seconds without a line of events, heartbeats included, after which a connection counts as dead
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds between two tries to reach a site
STEADY = 10.0  # seconds after which a connection counts as one that lasts
RELOADS = 1.0  # seconds between two times that all is loaded
LONGEST_REFUSAL = 65536  # bytes of why a site does not tell what happens
PROMPT = "/ui/icon.svg"  # what the thread of a daemon that serves its clients answers itself
PROBE = 3.0  # seconds for that


class Site:
    """One site. ``changed`` is called when what it has, or whether it can be asked, is not what it was.

    ``trouble`` is why it cannot be asked, empty if it can be.
    """

    def __init__(
        self, name: str, options: SiteOptions, own: str, events: Events, clock: Clock, changed: Callable[[str], None]
    ) -> None:
        self.name = name
        self.options = options
        self.translation = Translation(name, options.prefix)
        self.trouble = "it has not been reached yet"
        self.asker: Asker  # as soon as it has been reached
        self._requests = SiteRequests(self)
        self._upkeep = Upkeep(self.translation, own, events, clock, self._requests.heard)
        self._bound: asyncio.Timeout | None = None  # of the connection by which it is followed
        self._doubted = False
        self._changed = changed
        self._last: int | None = None  # the number of the last event
        self._reloaded = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._hurry = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"site {name}", daemon=True)

    def __str__(self) -> str:
        return f"the thread of site {self.name}"

    # Called by any thread.

    @property
    def mirror(self) -> Mirror:
        """What is known of the site."""
        return self._upkeep.mirror

    @property
    def daemons(self) -> list[str]:
        """The daemons that the site leads to, itself first."""
        return self._upkeep.daemons

    def start(self) -> None:
        """Begin to follow the site."""
        self._thread.start()

    def take_over(self, before: Site) -> None:
        """Begin with what is known of the site already: its names, and no states until it says so itself."""
        self._upkeep.mirror = before.mirror

    def stop(self) -> None:
        """Let go of the site. Whoever waits for it is told so."""
        self._call(lambda: self._main.cancel() if self._main is not None else None)

    def ended(self, seconds: float) -> bool:
        """Return whether the thread has ended, within some seconds."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def switch(
        self,
        wanted: Wanted,
        action: Action,
        target: Target,
        told: Callable[[SiteRequest | None, PDUDaemonError | None], None],
    ) -> None:
        """Have something switched: see `SiteRequests.switch`. Raises: SiteUnreachable."""
        self._have(lambda: self._requests.switch(wanted, action, target, told))

    def switch_nodes(
        self,
        wanted: Wanted,
        action: Action,
        names: str,
        targets: Mapping[str, Target],
        lines: bool,
        began: Began,
        told: Told,
    ) -> None:
        """Have nodes switched by one command: see `SiteCommand`. Raises: SiteUnreachable."""
        self._have(SiteCommand(self, wanted, action, names, targets, lines, began, told).carry_out)

    def ask(self, method: str, target: str, seconds: float, heard: Heard, late: float = 0.0) -> None:
        """Have a question put: see `sitequestions.ask`."""
        try:
            self._have(partial(sitequestions.ask, self, method, target, seconds, late, heard))
        except SiteUnreachable as error:
            heard(None, error)

    def ask_states(self, names: list[str], wait: float, told: StateTold, late: float) -> None:
        """Have the states of nodes asked for: see `sitequestions.states`."""
        try:
            self._have(partial(sitequestions.states, self, names, wait, late, told))
        except SiteUnreachable as error:
            for name in names:
                told(name, error)

    def look(self) -> None:
        """Somebody looks at what is known of the site: have it be asked for anew, if that is too old."""
        if not self.trouble and self._upkeep.is_due():
            self._call(lambda: self._begin(self._upkeep.refresh(self.asker)))

    def _have(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have the thread do something, which must tell itself what came of it. Raises: SiteUnreachable."""
        if self.trouble:
            self._call(self._hurry.set)
            raise SiteUnreachable(f"{self.name} cannot be asked: {self.trouble}")
        if not self._call(lambda: self._begin(work())):
            raise SiteUnreachable(f"{self.name} cannot be asked: this daemon has let go of it")

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

    def switched(self, number: str, target: Target, action: Action) -> None:
        """A request is answered as done: know so before its events have come. By the thread."""
        if not self._requests.has_ended(number):
            self._upkeep.switched(number, target.outlets, State.OFF if action is Action.OFF else State.ON)

    def doubt(self) -> None:
        """There was no answer to something: find out soon whether there is none to anything. By the thread."""
        if not (self._doubted or self.trouble):
            self._doubted = True
            self._begin(self._probe())

    async def _probe(self) -> None:
        bound = self._bound
        assert bound is not None, "it has been reached"
        try:
            async with asyncio.timeout(PROBE):
                async with self.asker.stream("GET", PROMPT):
                    pass
        except (Unsent, Lost, TimeoutError):
            if bound is self._bound and not self.trouble:
                bound.reschedule(self._loop.time())
        finally:
            self._doubted = False

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        self._main = asyncio.current_task()
        options, failures = self.options, -1
        while True:
            begun = self._loop.time()
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
            except NONSENSE as error:
                log.debug("%s: %r", self.name, error, exc_info=True)
                why = "what it says is not understood"
            self.asker.close()
            failures = 0 if not self.trouble and self._loop.time() - begun > STEADY else failures + 1
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
                    said = b""
                    async for line in lines:
                        said += line + b"\n"
                        if len(said) > LONGEST_REFUSAL:
                            break
                    sitereading.check(Reply(status, told, said))
                    raise Lost(f"it does not tell what happens ({status})")
                bound.reschedule(asyncio.get_running_loop().time() + LOADING)
                self._upkeep.set_clock(told.get("date", ""))
                if self._upkeep.stale:
                    await self._upkeep.load(self.asker)
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
                    self._upkeep.stale = True  # also for the next connection, if this one is lost meanwhile
                    await asyncio.sleep(self._reloaded + RELOADS - loop.time())  # each has others look anew at all
                    self._reloaded = loop.time()
                    await self._upkeep.load(self.asker)
                    usual = "its configuration was reloaded" if event["kind"] == "reload" else "events were missed"
                    self._changed(f"site {self.name}: {event.get('reason') or usual}")
                    if event["kind"] == "gap":
                        self._begin(self._requests.look_after())
                else:
                    self._upkeep.take(event)
            bound.reschedule(loop.time() + SILENCE)

    def _parsed(self, line: bytes) -> Record | None:
        word, _, rest = line.partition(b": ")
        if word == b"id" and self._last is None:
            self._last = int(rest)
        if word != b"data":
            return None
        event: Record = Reply(200, {}, rest).json()
        if not isinstance(event["kind"], str):
            raise Lost("what it says is not understood")
        return event

    def _find(self) -> None:
        if self.trouble:
            log.info("%s: it can be asked: %d PDUs, %d nodes", self.name, len(self.mirror.pdus), len(self.mirror.nodes))
            self.trouble = ""
            self._changed(f"site {self.name} can be asked")
            self._begin(self._requests.look_after())

    def _lose(self, why: str) -> None:
        if self.trouble != why:
            log.warning("%s cannot be asked: %s", self.name, why)
            self.trouble = why
            self._changed(f"site {self.name} cannot be asked: {why}")

# SPDX-License-Identifier: MIT
"""`SiteRequests`: what a site is asked to switch, and what becomes of that.

Nothing is kept here but who waits: a request is accepted when the site has said so. One whose answer was lost is asked
for again, with the same idempotency key, until it is answered or the time of whoever asked is over. Then it is waited
for, while it lasts no longer than `MOMENT`, on the connection; and after that by the site's events, so that those who
wait for slow devices take no connections from others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from pdudaemon.drivers.readings import label, quantity
from pdudaemon.engine.front.sitemirror import LONGEST_NUMBER
from pdudaemon.engine.front.siteorders import NONSENSE, SiteRequest, Wanted
from pdudaemon.engine.front.sitequestions import Asked, failure, refusal
from pdudaemon.errors import NotDone, PDUDaemonError, SiteUnreachable, Stopping, Unanswered, of_kind, printable
from pdudaemon.power import Action, Outcome, Phase, Target
from pdudaemon.transports.asking import Lost, Reply, Unsent

log = logging.getLogger("pdud.sites")

Record = dict[str, Any]

PATH = "/api/v1/requests"
ANSWER = 10.0  # seconds for an answer beyond what a site was told to wait, until it is asked again
MOMENT = 2.0  # seconds for which a site may wait for a device, on a connection of ours
LAST_WORDS = 0.5  # seconds of those for a request by which a site is to answer before they are over
MANY = 32  # questions under way from which on it waits for none
RECORD = 2.0  # seconds for the record of what has ended
PAUSES = (0.0, 0.1, 0.3, 1.0, 2.0)  # seconds before asking again
MOST_OUTLETS = 10_000  # of one request
REMEMBERED = 10_000  # requests of which it is remembered that they have ended


class SiteRequests:
    """Those of one site. All of it is called by the site's thread."""

    def __init__(self, site: Asked) -> None:
        self._site = site
        self._waiting: dict[str, asyncio.Future[Record]] = {}  # by number: those that somebody waits for
        self._ended: OrderedDict[str, tuple[float, Record]] = OrderedDict()  # with when that was heard

    async def switch(
        self,
        wanted: Wanted,
        action: Action,
        target: Target,
        told: Callable[[SiteRequest | None, PDUDaemonError | None], None],
    ) -> None:
        """Have one request accepted, and tell what becomes of it; no request: none was accepted, for all we know."""
        began = asyncio.get_running_loop().time()
        until = began + (wanted.seconds or ANSWER)
        number = error = None
        record: Record = {}
        try:
            reply, new = await self.accepted(wanted, until)
            document = reply.json()
            if reply.status >= 300:
                error, number = refusal(self._site.name, reply), document.get("request")
                if number is None:
                    raise error
                record = {"id": number, "state": "failed"}
                if "feeds" in document:
                    record["feeds"] = document["feeds"]
            else:
                record, number = document, document["id"]
            if wanted.seconds and (isinstance(error, NotDone) or (error is None and record.get("ended") is None)):
                error, record = await self._became(number, began, until, wanted.seconds)
            elif record.get("ended") is not None and record["state"] != Outcome.DONE:
                error = self._failure(record)
            if new and error is None and record.get("state") == Outcome.DONE and wanted.body.get("hard", True):
                self._site.switched(str(number), target, action)
            told(self._request(action, target, record, new), error)
        except PDUDaemonError as refused:
            told(None, refused)
        except asyncio.CancelledError:
            gone = self.let_go(number)
            told(None if number is None else self._request(action, target, {"id": number, **record}, True), gone)
            raise
        except (Lost, *NONSENSE) as error:
            log.debug("%s: %r", self._site.name, error, exc_info=True)
            why = f"it is not known what became of this at {self._site.name}: what it says is not understood"
            told(None, Unanswered(f"{why}; asked for again with the key {wanted.key}, it is not done twice"))
        except Exception:
            log.exception("%s: a request was lost", self._site.name)
            told(None, Unanswered(f"internal error with {self._site.name}: see the log of the daemon"))

    def let_go(self, number: object) -> PDUDaemonError:
        """Return what those are told who wait when nobody asks the site any more."""
        name = self._site.name
        if number is None:
            return Unanswered(
                f"it is not known whether {name} has accepted this: this daemon stops, or has let go of it"
            )
        told = self._site.translation.number(number)
        return Stopping(f"accepted as request {told}; this daemon stops, or has let go of {name}, where it goes on")

    async def accepted(self, wanted: Wanted, until: float) -> tuple[Reply, bool]:
        """Return what a site answers, and whether that was not accepted before we asked.

        Raises: SiteUnreachable: it has got nothing; Unanswered.
        """
        site, loop = self._site, asyncio.get_running_loop()
        sent: list[bool] = []
        for tries in range(1_000_000):
            left = until - loop.time()
            patience = 0.0
            if wanted.moments and wanted.seconds and site.asker.asked < MANY:
                patience = min(MOMENT, left - min(LAST_WORDS, left / 4))
            try:
                async with asyncio.timeout(min(left, patience + ANSWER)):
                    body = {**wanted.body, "wait": max(0.0, round(patience, 3))}
                    headers = {**wanted.headers, "Idempotency-Key": wanted.key}
                    reply = await site.asker.ask("POST", PATH, body, headers, lambda: sent.append(True))
                    if reply.status < 500 or "problem" in reply.headers.get("content-type", ""):
                        return reply, reply.status != 200 or len(sent) > 1
                    why = f"it answers {reply.status}"  # a proxy between us
            except Unsent as error:
                why = str(error)
            except Lost as error:
                why = str(error)
            except TimeoutError:
                why = "it does not answer" if sent else f"{site.asker.asked} questions are before this one"
                site.doubt()
            if not sent:
                raise SiteUnreachable(f"{site.name} cannot be asked: {why}")
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            if until - loop.time() <= pause:
                break
            await asyncio.sleep(pause)
        raise Unanswered(
            f"it is not known whether {site.name} has accepted this: {why}; "
            f"asked for again with the key {wanted.key}, it is not done twice"
        )

    async def _became(
        self, number: object, began: float, until: float, seconds: float
    ) -> tuple[PDUDaemonError | None, Record]:
        """Return what became of an accepted request, and its record, as soon as that is known, or time is over.

        What was heard before it was asked for (``began``) is of another one: the site has begun a new store.
        """
        site, name, loop = self._site, str(number), asyncio.get_running_loop()
        heard, event = self._ended.get(name, (0.0, None))
        if event is None or heard < began:
            event, future = None, self._waiting.setdefault(name, loop.create_future())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    event = await asyncio.shield(future)
        record = await self._record(name)
        known: Record = record or {"id": number, "state": "accepted"}
        if event is not None and record is None:
            known |= {
                "state": event["state"],
                "ended": event.get("ended", event.get("time")),
                "reason": event.get("reason"),
            }
        if event is not None:
            return (None if event["state"] == Outcome.DONE else self._failure(event)), known
        if known.get("ended") is not None:
            return (None if known["state"] == Outcome.DONE else self._failure(known)), known
        reason = f"{site.name} cannot be asked: {site.trouble}" if site.trouble else known.get("reason")
        text = f"accepted as request {site.translation.number(number)}, not done after {seconds:g} s"
        return NotDone(f"{text}{f': {reason}' if reason else ''}; it goes on"), known

    async def _record(self, number: str) -> Record | None:
        """Return the record of a request, if it can be had soon."""
        try:
            async with asyncio.timeout(RECORD):
                reply = await self._site.asker.ask("GET", f"{PATH}/{number}")
                return dict(reply.json()) if reply.status == 200 else None
        except (Unsent, Lost, TimeoutError, TypeError, ValueError):
            return None

    def _failure(self, said: Record) -> PDUDaemonError:
        """Return the error of a request by its record, or the event of its end."""
        reason = said.get("reason") or f"request {self._site.translation.number(said.get('id'))} is {said['state']}"
        kind = said.get("error") or ("device-failed" if said["state"] == Outcome.FAILED else "ended")
        return failure(kind, f"{self._site.name}: {printable(str(reason))}")

    def _request(self, action: Action, target: Target, record: Record, new: bool) -> SiteRequest:
        told = self._site.translation.request({"action": action.value, "target": target.name, **record})
        if "outlets" not in record:
            told["target"] = target.name
        state = told.get("state")
        outcome = Outcome(state) if state in tuple(Outcome) else None
        accepted, ended = time.time() if new else 0.0, told.get("ended")
        return SiteRequest(action, target, 0.0, "", accepted, Phase.ON, ended=ended, outcome=outcome, record=told)

    def has_ended(self, number: str) -> bool:
        """Return whether it was heard that a request has ended, not long ago."""
        return number in self._ended

    # What is heard.

    def heard(self, event: Record) -> Record:
        """Take in an event of a request; return it in our words, as `Events.at_site` takes it."""
        translation, number = self._site.translation, str(event["request"])[:LONGEST_NUMBER]
        reason, state = event.get("reason"), label(event.get("state")) or ""
        reason = None if reason is None else printable(str(reason))
        if event["kind"] == "ended":
            ended = {"id": number, "state": state, "reason": reason, "error": label(event.get("error"))}
            self._end(number, {**ended, "ended": quantity(event.get("ended", event.get("time")))})
        outlets = [_place(each) for each in (event.get("outlets") or ())[:MOST_OUTLETS]]
        fine = "error" in event and event["error"] is None  # it tells how something was done, or is
        return {
            "kind": event["kind"],
            "request": translation.number(number),
            "action": label(event.get("action")) or "",
            "target": translation.target(str(event.get("target")), {each["pdu"] for each in outlets}),
            "outlets": tuple(map(translation.outlet, outlets)),
            "names": tuple(map(translation.name, (event.get("nodes") or ())[:MOST_OUTLETS])),
            "client": label(event.get("client")) or "",
            "command": translation.number(event.get("command")),
            "state": state,
            "error": None if reason is None or fine else of_kind(event.get("error"), reason),
            "reason": reason or "" if fine else "",
            "due": translation.time(event.get("due")),
            "owed": tuple(translation.outlet(_place(each)) for each in (event.get("owed") or ())[:MOST_OUTLETS]),
        }

    def _end(self, number: str, event: Record) -> None:
        self._ended[number] = asyncio.get_running_loop().time(), event
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        future = self._waiting.pop(number, None)
        if future is not None:
            future.set_result(event)

    async def look_after(self) -> None:
        """See what became, while nothing was heard, of the requests that somebody waits for."""
        for number in [*self._waiting]:
            record = await self._record(number)
            if record is not None and record.get("ended") is not None:
                self._end(number, record)


def _place(told: str) -> dict[str, str]:
    pdu, _, port = str(told).rpartition(":")
    return {"pdu": pdu, "port": port}

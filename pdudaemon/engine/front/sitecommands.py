# SPDX-License-Identifier: MIT
"""`SiteCommand`: nodes of a site that are switched by one command, and what the site says of each.

The answer comes on a connection of its own, which stays open for as long as whoever asked waits: a line for each node
as soon as it is known where he is told so, or else all at the end, with the kind of each error. A connection that is
lost is no reason to do anything twice: the site is asked again with the same key, and tells of the same command.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from pdudaemon.engine.front.siteorders import NONSENSE, SiteRequest, Wanted
from pdudaemon.engine.front.sitequestions import Asked, failure, refusal
from pdudaemon.engine.front.siterequests import ANSWER, PATH, PAUSES
from pdudaemon.errors import (
    NotDone,
    PDUDaemonError,
    RequestError,
    SiteUnreachable,
    Stopping,
    Unanswered,
    of_kind,
    printable,
)
from pdudaemon.power import Action, Outcome, Phase, Target
from pdudaemon.transports.asking import Lost, Reply, Unsent

log = logging.getLogger("pdud.sites")

Record = dict[str, Any]
Began = Callable[[str | None], None]
Told = Callable[[str, PDUDaemonError | None, SiteRequest | None], None]

METHODS = {Action.ON: "PATCH", Action.OFF: "DELETE", Action.REBOOT: "PUT"}
LINES = "application/x-ndjson"
LATE = 1.0  # seconds that a site has for its last words

_ACCEPTED = re.compile(r"accepted as request (?=[0-9\w.-])")


class SiteCommand:
    """One command. ``targets`` are by the site's names, as what is ``told`` of each, once; ``began`` is told the number
    of the command as soon as there is one, or None. ``lines``: each node is told of as soon as it is known.
    """

    def __init__(
        self,
        site: Asked,
        wanted: Wanted,
        action: Action,
        names: str,
        targets: Mapping[str, Target],
        lines: bool,
        began: Began,
        told: Told,
    ) -> None:
        self._site = site
        self._wanted = wanted
        self._action = action
        self._names = names
        self._left = dict(targets)
        self._lines = lines
        self._began: Began | None = began
        self._told = told
        self._number: str | None = None
        self._sent = 0
        self._new = True

    async def carry_out(self) -> None:
        """Have it accepted, and tell what becomes of each node. By the site's thread."""
        try:
            error = await self._carried_out()
        except PDUDaemonError as refused:
            error = refused
        except asyncio.CancelledError:
            name = self._site.name
            if self._number is None:
                unknown = f"it is not known whether {name} has accepted this: this daemon stops, or has let go of it"
                self._end(Unanswered(unknown))
            known = f"accepted as command {self._number}; this daemon stops, or has let go of {name}, where it goes on"
            self._end(Stopping(known))
            raise
        except Exception:
            log.exception("%s: a command was lost", self._site.name)
            error = Unanswered(f"internal error with {self._site.name}: see the log of the daemon")
        self._end(error)

    async def _carried_out(self) -> PDUDaemonError:
        """Return what is to be told of those of whom nothing has been told. Raises: PDUDaemonError: of all."""
        site, loop = self._site, asyncio.get_running_loop()
        until = loop.time() + (self._wanted.seconds + LATE if self._wanted.seconds else ANSWER)
        why = ""
        for tries in range(1_000_000):
            try:
                async with asyncio.timeout(until - loop.time()):
                    await (self._by_lines(until) if self._lines else self._at_once(until))
                why = "the site says nothing of it"
            except Unsent as error:
                why = str(error)
            except Lost as error:
                why = str(error)
            except TimeoutError:
                why = "it does not answer"
                site.doubt()
            except NONSENSE:
                why = "what it says is not understood"
            if not self._left:
                break
            if not self._sent:
                return SiteUnreachable(f"{site.name} cannot be asked: {why}")
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            if until - loop.time() <= pause:
                break
            await asyncio.sleep(pause)
        if self._number is not None:
            return NotDone(f"accepted as command {self._number}, and it is not known what became of it: {why}")
        key = self._wanted.key
        known = f"it is not known whether {site.name} has accepted this: {why}"
        return Unanswered(f"{known}; asked for again with the key {key}, it is not done twice")

    def _wait(self, until: float) -> str:
        """Return for how long the site is to wait: until whoever asks has waited long enough."""
        spent = self._wanted.seconds + LATE - (until - asyncio.get_running_loop().time())
        return f"{max(0.01, self._wanted.wait - spent) if self._wanted.wait else 0:.3f}"

    async def _by_lines(self, until: float) -> None:
        body = self._wanted.body
        form = {"nodes": self._names, "wait": self._wait(until)}
        form |= {word: str(body[word]).lower() for word in ("soft", "hard") if word in body}
        headers = {**self._wanted.headers, "Idempotency-Key": self._wanted.key, "Accept": LINES}
        self._sent += 1
        stream = self._site.asker.stream(METHODS[self._action], "/", form, headers, form=True)
        try:
            async with stream as (status, head, lines):
                if status != 200 or LINES not in head.get("content-type", ""):
                    raise refusal(self._site.name, Reply(status, head, b"\n".join([line async for line in lines])))
                await self._take_lines(lines)
        except Unsent:
            self._sent -= 1
            raise

    async def _take_lines(self, lines: AsyncIterator[bytes]) -> None:
        async for line in lines:
            said = Reply(200, {}, line).json()
            if "meta" in said:
                number = said["meta"].get("command")
                self._begin(None if number is None else str(number))
                continue
            attributes = said["attributes"]
            error: PDUDaemonError | None = None
            if attributes.get("success") is not True:
                text = printable(str(attributes.get("error")))
                if attributes.get("pending"):
                    error = NotDone(_ACCEPTED.sub(rf"\g<0>{self._site.name}/", text))
                elif attributes.get("request") is not None:
                    error = of_kind("device-failed", f"{self._site.name}: {text}")
                else:
                    error = RequestError(f"{self._site.name}: {text}")
            state = "accepted" if attributes.get("pending") else Outcome.DONE.value if error is None else "failed"
            self._tell(str(said["id"]), error, attributes.get("request"), state)

    async def _at_once(self, until: float) -> None:
        body = {**self._wanted.body, "nodes": self._names, "wait": float(self._wait(until))}
        headers = {**self._wanted.headers, "Idempotency-Key": self._wanted.key, "Accept": "application/json"}
        self._sent += 1
        try:
            async with self._site.asker.stream("POST", PATH, body, headers) as (status, head, lines):
                reply = Reply(status, head, b"\n".join([line async for line in lines]))
        except Unsent:
            self._sent -= 1
            raise
        document = reply.json()
        if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
            raise refusal(self._site.name, reply)
        number = document.get("command")
        self._new = status != 200 or self._sent > 1
        self._begin(None if number is None else str(number))
        kind = str(document.get("type", "")).removeprefix("urn:pdudaemon:")
        for entry in document["nodes"]:
            self._entry(entry, kind)

    def _entry(self, entry: Record, kind: str) -> None:
        state, text = str(entry["state"]), f"{self._site.name}: {printable(str(entry.get('reason')))}"
        error: PDUDaemonError | None = None
        if entry.get("request") is None:
            error = failure(kind, text) if kind not in ("", "bad-field") else RequestError(text)
        elif entry.get("ended") is None and self._wanted.wait:
            error = NotDone(text)
        elif state not in (Outcome.DONE, "accepted") and entry.get("ended") is not None:
            error = failure(kind if kind and kind != "not-done" else "device-failed", text)
        self._tell(str(entry["name"]), error, entry.get("request"), state, entry.get("ended"))

    def _begin(self, number: str | None) -> None:
        self._number = self._number or self._site.translation.number(number)
        began, self._began = self._began, None
        if began is not None:
            began(number)

    def _tell(
        self, name: str, error: PDUDaemonError | None, number: object, state: str, ended: float | None = None
    ) -> None:
        target = self._left.pop(name, None)
        if target is None:
            return
        if number is None:
            self._told(name, error or RequestError("the site says nothing of it"), None)
            return
        translation, outcome = self._site.translation, Outcome(state) if state in tuple(Outcome) else None
        if ended is None and outcome is not None:
            ended = time.time()
        record = {"id": translation.number(number), "state": state, "ended": translation.time(ended)}
        if self._new and error is None and outcome is Outcome.DONE and self._wanted.body.get("hard", True):
            self._site.switched(str(number), target, self._action)
        accepted = time.time() if self._new else 0.0
        request = SiteRequest(
            self._action, target, 0.0, "", accepted, Phase.ON, ended=ended, outcome=outcome, record=record
        )
        self._told(name, error, request)

    def _end(self, error: PDUDaemonError) -> None:
        """Tell of all of whom nothing has been told."""
        for name in [*self._left]:
            self._tell(name, error, None, "accepted")
        self._begin(None)

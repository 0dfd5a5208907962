# SPDX-License-Identifier: MIT
"""A site that says what a test wants, event by event, and the thread that follows it."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pdudaemon.config.sites import SiteOptions
from pdudaemon.engine.events import Event, Events
from pdudaemon.engine.front import site
from pdudaemon.engine.front.site import Site
from tests.support.lyingsite import LyingSite, reply
from tests.support.process import eventually
from tests.support.rack import SetClock

HEAD = reply(b"", content_type="text/event-stream", Content_Length="")
CUT = object()


class Lab:
    """A site that says what is ``say``-ed, and who follows it. ``changes`` are those that others are told of."""

    def __init__(self, lying: LyingSite, **options: Any) -> None:
        self.lying = lying
        self.changes: list[str] = []
        self._said: queue.Queue[Any] = queue.Queue()
        lying.lies.setdefault("GET /api/v1/events", self._stream)
        self.clock = SetClock()
        self.events = Events(self.clock)
        self._seen = self.events.last
        chosen = SiteOptions({"url": lying.url, **options})
        self.site = Site("berlin", chosen, "me", self.events, self.clock, self.changes.append)

    def _stream(self) -> Iterable[bytes]:
        yield HEAD + b"id: 41\n\n"
        while (said := self._said.get()) is not CUT:
            yield said if isinstance(said, bytes) else f"id: {said.get('id', 1)}\ndata: {json.dumps(said)}\n\n".encode()
        raise ConnectionError

    def say(self, *said: Any) -> None:
        for each in said:
            self._said.put(each)

    def reached(self) -> Site:
        eventually(lambda: not self.site.trouble)
        return self.site

    def published(self) -> list[Event]:
        found, _ = self.events.since(self._seen)
        self._seen = self.events.last
        return found

    def outlet(self) -> Any:
        return self.site.mirror.pdus["berlin/p1"].outlets["1"]

    def asked(self, path: str) -> int:
        return sum(each.split()[1].split("?")[0] == path for each in self.lying.asked)

    def close(self) -> None:
        self.site.stop()
        self.say(CUT)
        assert self.site.ended(30)


@contextmanager
def following(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Yield a site and who follows it, as soon as he is told to, and who does not rest for long."""
    monkeypatch.setattr(site, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(site, "RELOADS", 0.05)
    with LyingSite() as lying:
        made = Lab(lying, token="a-token")
        yield made
        made.close()

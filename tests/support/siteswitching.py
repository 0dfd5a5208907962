# SPDX-License-Identifier: MIT
"""Who asks a site for one request, as the thread of the site does, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from pdudaemon.engine.front import siterequests
from pdudaemon.engine.front.siteorders import SiteRequest, Wanted
from pdudaemon.engine.front.siterequests import SiteRequests
from pdudaemon.errors import PDUDaemonError
from pdudaemon.power import Action, Outlet, Target
from tests.support.lyingsite import Known, LyingSite

B1 = Target("berlin/b1", (Outlet("berlin/p1", "1"),))
DONE = {"id": 7, "state": "done", "ended": 5.0, "target": "b1 (p1 port 1)", "outlets": [{"pdu": "p1", "port": "1"}]}
GOES_ON = {**DONE, "state": "running", "ended": None, "reason": "it waits"}


class Lab:
    """A site, and who asks it; what was ``told`` of a request."""

    def __init__(self, site: LyingSite) -> None:
        self.site = site
        self.known = Known(site.url)
        self.requests = SiteRequests(self.known)
        self.runner = asyncio.Runner()
        self.told: tuple[SiteRequest | None, PDUDaemonError | None] | None = None

    async def switch(
        self,
        seconds: float = 20.0,
        moments: bool = True,
        action: Action = Action.ON,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        def told(request: SiteRequest | None, error: PDUDaemonError | None) -> None:
            assert self.told is None, "it is told twice"
            self.told = request, error

        self.told = None
        wanted = Wanted(body or {"action": action.value}, "a-key", seconds, seconds, moments, {"X-Request": "7"})
        await self.requests.switch(wanted, action, B1, told)

    def switched(self, **words: Any) -> tuple[SiteRequest | None, PDUDaemonError | None]:
        self.runner.run(self.switch(**words))
        assert self.told is not None and self.known.asker.asked == 0
        return self.told

    def request(self, **words: Any) -> SiteRequest:
        request, error = self.switched(**words)
        assert request is not None and error is None
        return request

    def error(self, **words: Any) -> tuple[PDUDaemonError, SiteRequest | None]:
        request, error = self.switched(**words)
        assert error is not None
        return error, request


@contextmanager
def switching(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Yield a site and who asks it, in a loop of its own, and does not rest for long."""
    monkeypatch.setattr(siterequests, "PAUSES", (0.0, 0.02))
    with LyingSite() as asked:
        made = Lab(asked)
        with made.runner:
            yield made

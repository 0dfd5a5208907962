# SPDX-License-Identifier: MIT
"""What is known of a site is loaded whole, kept by what happens there, and published here in our words."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from pdudaemon.engine.events import Event, Events
from pdudaemon.engine.front import siteupkeep
from pdudaemon.engine.front.siterequests import SiteRequests
from pdudaemon.engine.front.siteupkeep import Upkeep
from pdudaemon.errors import SiteUnreachable
from pdudaemon.power import Outlet, State
from tests.support.lyingsite import HAS, OUTLET, PDU, Known, LyingSite, reply
from tests.support.rack import SetClock

PLACE = Outlet("berlin/p1", "1")


class Lab:
    """A site, what is known of it, and what is published."""

    def __init__(self, site: LyingSite) -> None:
        self.site = site
        self.clock = SetClock()
        self.events = Events(self.clock)
        self.known = Known(site.url)
        requests = SiteRequests(self.known)
        self.upkeep = Upkeep(self.known.translation, "me", self.events, self.clock, requests.heard)
        self._seen = self.events.last
        self.runner = asyncio.Runner()

    def load(self) -> None:
        self.runner.run(self.upkeep.load(self.known.asker))

    def take(self, event: dict[str, Any]) -> None:
        async def take() -> None:
            self.upkeep.take(event)

        self.runner.run(take())

    def published(self) -> list[Event]:
        """Return what was published since the last time."""
        found, _ = self.events.since(self._seen)
        self._seen = self.events.last
        return found

    def outlet(self) -> Any:
        return self.upkeep.mirror.pdus["berlin/p1"].outlets["1"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with LyingSite() as site:
        made = Lab(site)
        with made.runner:
            yield made


@pytest.fixture
def loaded(lab: Lab) -> Lab:
    lab.load()
    lab.published()
    return lab


def test_all_of_a_site_is_loaded_once_its_names_are_known_only_its_states(lab: Lab) -> None:
    assert lab.upkeep.stale
    lab.load()
    mirror = lab.upkeep.mirror
    assert lab.upkeep.daemons == ["a-site"] and not lab.upkeep.stale
    assert ([*mirror.pdus], [*mirror.nodes]) == (["berlin/p1"], ["berlin/board1"])
    assert mirror.groups == {"berlin/rack1": ("berlin/board1",)} and lab.outlet().state is State.ON
    assert lab.published() == [], "nothing has happened"
    lab.site.asked.clear()
    off = [{**OUTLET, "state": "off"}]
    lab.site.lies = {
        "GET /api/v1/outlets": lambda: reply(off),
        "GET /api/v1/pdus": lambda: reply([{**PDU, "watts": 7}]),
    }
    lab.load()
    assert lab.upkeep.mirror is mirror and lab.outlet().state is State.OFF and mirror.pdus["berlin/p1"].watts == 7.0
    assert not [each for each in lab.site.asked if "nodes" in each or "groups" in each]
    (event,) = lab.published()
    assert (event.kind, event.outlets) == ("outlet", (PLACE,)) and event.known is lab.outlet()
    lab.site.lies["GET /api/v1/sites"] = lambda: reply({"daemons": ["a-site"], "names": "a-site-2", "sites": []})
    lab.load()
    assert lab.upkeep.mirror is not mirror and "GET /api/v1/nodes?limit=1000" in lab.site.asked


def test_a_site_that_does_not_say_whether_its_names_are_others_is_loaded_whole(lab: Lab) -> None:
    lab.site.lies = {"GET /api/v1/sites": lambda: reply({"daemons": [], "sites": []})}
    lab.load()
    mirror = lab.upkeep.mirror
    lab.load()
    assert lab.upkeep.mirror is not mirror and [*lab.upkeep.mirror.nodes] == ["berlin/board1"]


def test_a_site_that_leads_back_here_is_none(lab: Lab) -> None:
    lab.site.lies = {"GET /api/v1/sites": lambda: reply({"daemons": ["a-site", "me"], "names": "1", "sites": []})}
    with pytest.raises(SiteUnreachable, match="it leads back to this daemon"):
        lab.load()
    assert lab.upkeep.stale and lab.upkeep.mirror.pdus == {}


@pytest.mark.parametrize(("off", "told"), [(3600, True), (-3600, True), (0, False)])
def test_a_clock_that_is_off_is_told_once(lab: Lab, caplog: pytest.LogCaptureFixture, off: int, told: bool) -> None:
    for _ in range(2):
        lab.upkeep.set_clock(formatdate(lab.clock.wall() + off, usegmt=True))
    assert abs(lab.known.translation.ahead - off) < 2
    lab.upkeep.set_clock(formatdate(lab.clock.wall(), usegmt=True))
    assert lab.known.translation.ahead == 0.0
    warned = [record.getMessage()[:22] for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ([f"berlin: its clock is {'+' if off > 0 else '-'}"] if told else [])


def test_a_look_asks_anew_for_what_is_old(loaded: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siteupkeep, "REFRESH", 0.0)
    loaded.upkeep.loaded = 0.0
    assert loaded.upkeep.is_due()
    monkeypatch.setattr(siteupkeep, "REFRESH", 1000.0)
    assert not loaded.upkeep.is_due(), "somebody has just looked"
    loaded.upkeep.loaded -= 1001.0
    assert loaded.upkeep.is_due() and not loaded.upkeep.is_due()


def test_soon_after_all_was_loaded_it_is_asked_for_what_the_site_has_read_since(loaded: Lab) -> None:
    assert not loaded.upkeep.is_due()
    loaded.upkeep.loaded -= siteupkeep.SOON
    assert loaded.upkeep.is_due()


def test_what_is_asked_anew_is_published_and_what_goes_wrong_is_nobodys(loaded: Lab) -> None:
    loaded.site.lies = {"GET /api/v1/outlets": lambda: reply([{**OUTLET, "watts": 50.0, "readings_age": 0.0}])}
    loaded.runner.run(loaded.upkeep.refresh(loaded.known.asker))
    (event,) = loaded.published()
    assert event.known is not None and event.known.watts == 50.0
    loaded.runner.run(loaded.upkeep.refresh(loaded.known.asker))
    assert loaded.published() == []
    for lie in (reply({"detail": "no"}, 500), reply(5), b"x\r\n\r\n"):
        loaded.site.lies = {"GET /api/v1/": lambda lie=lie: lie}
        loaded.runner.run(loaded.upkeep.refresh(loaded.known.asker))
    assert loaded.outlet().watts == 50.0 and loaded.published() == []


def test_what_an_outlet_is_is_heard(loaded: Lab) -> None:
    loaded.take({"kind": "outlet", "outlet": {**OUTLET, "state": "off"}})
    (event,) = loaded.published()
    assert (event.kind, event.outlets, event.known) == ("outlet", (PLACE,), loaded.outlet())
    assert loaded.outlet().state is State.OFF
    loaded.take({"kind": "outlet", "outlet": {**OUTLET, "state": "off"}})
    loaded.take({"kind": "outlet", "outlet": {**OUTLET, "pdu": "p7"}})
    assert loaded.published() == []
    loaded.take({"kind": "outlet", "outlet": {**OUTLET, "port": "2"}})
    assert [event.outlets for event in loaded.published()] == [(Outlet("berlin/p1", "2"),)]


def test_how_a_pdu_is_is_heard(loaded: Lab) -> None:
    loaded.take({"kind": "pdu", "pdu": "p1", "state": "stuck", "reason": "no\x1banswer", "reachable": False})
    (event,) = loaded.published()
    assert (event.pdu, event.state, event.reason, event.reachable) == ("berlin/p1", "stuck", "no\\x1banswer", False)
    pdu, record = loaded.upkeep.mirror.pdus["berlin/p1"], loaded.upkeep.mirror.records["berlin/p1"]
    assert (pdu.reachable, pdu.trouble) == (False, "no\\x1banswer")
    assert (record["state"], record["reason"]) == ("stuck", "no\\x1banswer")
    loaded.take({"kind": "pdu", "pdu": "p1", "state": "ready" * 100, "reason": "it is slow", "reachable": True})
    assert (pdu.reachable, pdu.trouble, record["reason"], len(record["state"])) == (True, "", "it is slow", 100)
    loaded.take({"kind": "pdu", "pdu": "p1", "state": "ready", "reason": None, "reachable": "odd"})
    assert (pdu.reachable, record["reason"]) == (None, None)
    loaded.published()
    loaded.take({"kind": "pdu", "pdu": "p7", "state": "ready"})
    (event,) = loaded.published()
    assert (event.pdu, event.reason, event.reachable) == ("berlin/p7", "", None)
    assert "berlin/p7" not in loaded.upkeep.mirror.pdus


def request(kind: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": kind, "request": 7, "action": "on", "target": "board1 (p1 port 1)"}
    found |= {"outlets": ["p1:1"], "nodes": ["board1"], "client": "ann", "state": "queued", "reason": None}
    return {**found, "error": None, "command": None, "owed": [], **more}


def test_what_happens_to_requests_is_heard_and_counted(loaded: Lab) -> None:
    records = loaded.upkeep.mirror.records
    loaded.take(request("accepted"))
    loaded.take(request("begun"))
    assert records["berlin/p1"]["requests"] == 1 and loaded.upkeep.mirror.last["berlin/board1"]["id"] == "berlin/7"
    first, _ = loaded.published()
    assert (first.kind, first.request, first.outlets) == ("accepted", "berlin/7", (PLACE,))
    loaded.take(request("accepted", request=8))
    loaded.take(request("ended", state="done"))
    assert records["berlin/p1"]["requests"] == 1
    loaded.take(request("ended", request=8, state="done"))
    loaded.take(request("ended", request=9, state="done"))
    assert records["berlin/p1"]["requests"] == 0
    assert [event.kind for event in loaded.published()] == ["accepted", "ended", "ended", "ended"]
    assert loaded.events.figures.requests["berlin/p1", "on", "done"] == 3
    loaded.take(request("ended", state="done", outlets=["p1:1", "p7:1"]))
    assert loaded.published() == [], "it is of one that has been taken out of the configuration there"
    loaded.take({"kind": "something", "new": 1})
    assert loaded.published() == []


def test_what_is_known_by_an_answer_is_published_before_it_is_heard(loaded: Lab) -> None:
    loaded.upkeep.switched("7", [PLACE, Outlet("berlin/p1", "9")], State.OFF)
    (event,) = loaded.published()
    assert (event.kind, event.outlets, event.known) == ("outlet", (PLACE,), loaded.outlet())
    assert (loaded.outlet().state, loaded.outlet().source) == (State.OFF, "commanded")
    loaded.upkeep.switched("7", [PLACE], State.OFF)
    loaded.take({"kind": "outlet", "outlet": OUTLET})  # older, by which it was on
    assert loaded.published() == [] and loaded.outlet().state is State.OFF
    loaded.take(request("ended", state="done"))
    loaded.take({"kind": "outlet", "outlet": OUTLET})
    assert loaded.outlet().state is State.ON


def test_when_all_is_loaded_what_answers_said_is_older(loaded: Lab) -> None:
    loaded.upkeep.switched("7", [PLACE], State.OFF)
    loaded.load()
    assert loaded.outlet().state is State.ON


@pytest.mark.parametrize("event", [{"kind": "outlet"}, {"kind": "pdu", "pdu": ""}, request("ended", outlets=5)])
def test_what_makes_no_sense_is_an_error_of_who_follows(loaded: Lab, event: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        loaded.take(event)
    assert HAS["/api/v1/pdus"] == [PDU] and loaded.published() == []

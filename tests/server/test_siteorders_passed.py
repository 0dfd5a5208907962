# SPDX-License-Identifier: MIT
"""What an order becomes that is passed on to a site, how long its answer is waited for, and what is made of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from pdudaemon.engine.front.sitemirror import Translation
from pdudaemon.engine.front.siteorders import SiteRequest
from pdudaemon.errors import DeviceError, DeviceTimeout, Locked, PDUDaemonError, RequestError
from pdudaemon.power import Action, Outlet, Phase, Reading, State, Target
from pdudaemon.server import siteorders
from pdudaemon.server.client import Client
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.orders import Order
from pdudaemon.server.siteorders import LATE, LOOKING, place, wanted
from tests.support.pair import Pair, asked, unanswered

NODE = Target("berlin/n1 (berlin/p1 port 1)", (Outlet("berlin/p1", "1"),), words=("berlin/n1",))
PORT = Target("berlin/p1 port 1", (Outlet("berlin/p1", "1"),), words=("berlin/p1", 1))
ANN = Client("192.0.2.1", 7, "ann")


class Site:
    """A site whose thread says nothing but what a test has it say. What it is given is in ``given``."""

    def __init__(self) -> None:
        self.name = "berlin"
        self.translation = Translation("berlin", prefix=True)
        self.given: list[tuple[Any, ...]] = []

    def switch(self, *given: Any) -> None:
        self.given.append(given)

    def ask(self, *given: Any) -> None:
        self.given.append(given)


class Lab:
    """A client, and what he is told."""

    def __init__(self, pair: Pair, exchange: HTTPExchange) -> None:
        self.pair, self.exchange = pair, exchange
        self.site: Any = Site()
        self.told: list[Any] = []

    def carry_out(self, target: Target = NODE, wait: float = 7.0, **more: Any) -> tuple[Any, Callable[..., None]]:
        """Return what the site is asked for, and what it is told by."""
        rest = {"postponed": 0.0, "key": "", "soft": None, "hard": True, **more}
        asked = Order(Action.OFF, target, rest.pop("delay", 0.0), wait, **rest)
        siteorders.carry_out(self.site, asked, wait, ANN, self.exchange, lambda *became: self.told.append(became))
        ((order, action, passed, tell),) = self.site.given
        assert (action, passed) == (Action.OFF, target)
        return order, tell

    def look(self, wait: float | None = None, target: Target = NODE) -> Callable[..., None]:
        asked = Order(Action.STATUS, target, 0.0, wait, 0.0, "", None, True)
        siteorders.look(self.site, asked, self.exchange, self.told.append)
        ((*_, heard, _),) = self.site.given
        return heard  # type: ignore[no-any-return]

    def hears(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.pair.client.recv(10_000).partition(b"\r\n\r\n")[2])
        return told


@pytest.fixture(params=["/api/v1/requests"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    orders: Any = SimpleNamespace(dispatcher=SimpleNamespace(config=None))
    with asked(orders, f"GET {request.param} HTTP/1.1", "Accept: application/json") as (pair, exchange):
        yield Lab(pair, exchange)


def request(outcome: bool = True) -> SiteRequest:
    made = SiteRequest(Action.OFF, NODE, 0.0, "", 0.0, Phase.OFF, record={"id": "berlin/7"})
    made.ended = 5.0 if outcome else None
    return made


def test_the_words_by_which_a_site_knows_a_target() -> None:
    site: Any = Site()
    assert place(site, NODE) == {"alias": "n1"} and place(site, PORT) == {"hostname": "p1", "port": "1"}


@pytest.mark.parametrize(
    ("client", "headers"),
    [(ANN, {"X-Forwarded-For": "192.0.2.1"}), (Client("unix", 0), {}), (Client("", 0, "mqtt"), {})],
)
def test_what_a_site_is_asked_for(client: Client, headers: dict[str, str]) -> None:
    order = wanted(client, "off", {"alias": "n1"}, "k", 7.0, 9.0, 2.0, 30.0, False)
    body = {"action": "off", "alias": "n1", "delay": 2.0, "soft": 30.0, "hard": False}
    assert (order.body, order.key, order.headers) == (body, "k", headers)
    assert (order.seconds, order.wait, order.moments) == (9.0, 7.0, False)
    at_once = wanted(client, "on", {"alias": "n1"}, "", 0.0, 9.0, 0.0, None, True)
    assert at_once.body == {"action": "on", "alias": "n1", "delay": 0.0}
    assert (at_once.seconds, at_once.wait, at_once.moments) == (0.0, 0.0, True)
    other = wanted(client, "on", {"alias": "n1"}, "", 7.0, 9.0, 0.0, 5.0, True)
    assert other.key and at_once.key and other.key != at_once.key and not other.moments
    assert not wanted(client, "on", {}, "", 7.0, 9.0, 1.0, None, True).moments


@pytest.mark.parametrize(
    ("words", "seconds"),
    [({"wait": 7.0}, 7.0), ({"wait": 7.0, "delay": 2.0, "postponed": 2.0}, 9.0), ({"wait": 0.0}, LOOKING)],
)
def test_a_sites_thread_is_waited_for_a_little_longer_than_the_site(
    lab: Lab, words: dict[str, Any], seconds: float
) -> None:
    order, tell = lab.carry_out(**words)
    assert order.seconds == (seconds if words["wait"] else 0.0) and order.body["alias"] == "n1"
    assert lab.pair.has(seconds + LATE)
    assert lab.exchange.late is not None
    lab.exchange.late()
    told = lab.hears()
    assert (told["status"], told["detail"]) == (504, "berlin: there is no answer from its thread")
    tell(request(), None)
    assert not lab.told


def test_what_became_of_it_is_told_and_logged(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    done, error = request(), DeviceError("p1: refused")
    _, tell = lab.carry_out(key="k", soft=3.0, hard=False)
    assert lab.site.given[0][0].key == "k" and lab.site.given[0][0].body["hard"] is False
    tell(done, error)
    assert lab.told == [(done, error)] and not unanswered(lab.exchange)
    for became, trouble in ((done, None), (request(outcome=False), None), (None, error)):
        siteorders.note("ann", Action.ON, "berlin/n1", became, trouble)
    assert caplog.messages == [
        f"request berlin/7: off {NODE.name} for 192.0.2.1:7 (ann) failed: p1: refused",
        "request berlin/7: on berlin/n1 for ann done",
        "request berlin/7: on berlin/n1 for ann accepted",
    ]


@pytest.mark.parametrize(
    ("target", "error", "status", "field"),
    [
        (NODE, RequestError("there is no such"), 422, "alias"),
        (PORT, RequestError("'9' is not a port"), 422, "port"),
        (NODE, Locked("it is locked"), 403, None),
        (NODE, DeviceError("it fails"), 502, None),
    ],
)
def test_a_refusal_is_told_as_the_api_has_it(
    lab: Lab, target: Target, error: PDUDaemonError, status: int, field: str | None
) -> None:
    _, tell = lab.carry_out(target)
    tell(None, error)
    told = lab.hears()
    assert (told["status"], told.get("field")) == (status, field) and str(error) in told["detail"] and not lab.told


@pytest.mark.parametrize("lab", ["/power/control/off"], indirect=True)
def test_a_refusal_is_told_as_the_existing_daemon_has_it(lab: Lab) -> None:
    _, tell = lab.carry_out()
    tell(None, RequestError("there is no such"))
    assert lab.hears()["status"] == 503


def test_who_is_no_client_has_it_switched_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    site: Any = Site()
    told: list[Any] = []
    for configured, wait in ((50.0, 50.0), (0.0, LOOKING)):
        config = SimpleNamespace(daemon=SimpleNamespace(wait=configured))
        dispatcher: Any = SimpleNamespace(config=config, sites=SimpleNamespace(of=lambda target, _: target and site))
        assert siteorders.submit(dispatcher, Action.REBOOT, NODE, 5.0, "mqtt x", lambda *each: told.append(each))
        order, action, target, tell = site.given.pop()
        assert (order.body, action, target) == ({"action": "reboot", "alias": "n1", "delay": 5.0}, Action.REBOOT, NODE)
        assert (order.wait, order.seconds, order.headers) == (wait, wait + 5.0, {}) and order.key
        done = request()
        tell(done, None)
        assert told.pop() == (done, None)
        assert caplog.messages.pop() == f"request berlin/7: reboot {NODE.name} for mqtt x done"
    dispatcher.sites.of = lambda *_: None
    assert siteorders.submit(dispatcher, Action.ON, NODE, 0.0, "x", lambda *_: None) is False and not site.given


def test_a_state_is_asked_of_the_site(lab: Lab) -> None:
    for wait, seconds, words in ((None, LOOKING, {}), (7.0, 7.0, {"wait": ["7.0"]})):
        lab.look(wait)
        assert lab.pair.has(seconds + LATE)
        ((method, target, patience, _, late),) = lab.site.given
        path, _, query = target.partition("?")
        assert (method, path, patience, late) == ("GET", "/power/control/status", seconds, LATE / 2)
        assert parse_qs(query) == {"alias": ["n1"], **words}
        lab.site.given.clear()
    heard = lab.look(target=PORT)
    assert "hostname=p1&port=1" in lab.site.given[0][1]
    heard({"state": "on", "source": "device", "time": 5.0}, None)
    assert lab.told == [Reading(State.ON, "device", 5.0)]
    heard({"state": "off"}, None)
    assert len(lab.told) == 1


def test_the_states_of_feeds_are_those_of_the_site(lab: Lab) -> None:
    heard = lab.look()
    feeds = [
        {"pdu": "p1", "port": "1", "state": "on", "source": "commanded", "time": 5.0},
        {"pdu": "p2", "port": "2", "state": "unknown", "reason": "no answer"},
    ]
    heard({"state": "on", "source": "device", "time": 4.0, "mixed": True, "feeds": feeds}, None)
    (reading,) = lab.told
    assert (reading.state, reading.source, reading.time) == (State.ON, "device", 4.0)
    (one, first), (other, second) = reading.feeds
    assert (one, first) == (Outlet("berlin/p1", "1"), Reading(State.ON, "commanded", 5.0))
    assert other == Outlet("berlin/p2", "2") and str(second) == "berlin: no answer"
    assert isinstance(second, DeviceError) and second.kind == "device-failed"


def test_what_a_site_says_of_no_source_is_of_none(lab: Lab) -> None:
    lab.look()({"state": "unknown", "source": None, "time": None, "feeds": None}, None)
    assert lab.told == [Reading(State.UNKNOWN, "none", None)]


def test_why_there_is_no_state_is_told(lab: Lab) -> None:
    error = DeviceTimeout("berlin: no answer")
    lab.look()(None, error)
    assert lab.told == [error] and not unanswered(lab.exchange)

# SPDX-License-Identifier: MIT
"""``fresh=1`` over a pair of sockets: who is asked, how long that is waited for, and what is told if some say nothing.

With devices it is tried in `test_fresh`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config.front import SitePDU
from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.front.sitemirror import Translation
from pdudaemon.errors import Busy, DeviceTimeout, PDUDaemonError, TransientError
from pdudaemon.power import Outlet, Reading, State
from pdudaemon.server.fresh import GRACE, _Fresh, looked
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.messages import Answer
from pdudaemon.server.siteviews import FRESH
from tests.support.pair import Pair, asked, unanswered

Told = Callable[[PDUDaemonError | None], None]


class Devices:
    """What is asked of PDUs, and answered when a test says so: ``whole`` by name, ``single`` by port, ``there`` at sites."""

    def __init__(self) -> None:
        self.whole: dict[str, Told] = {}
        self.single: list[Any] = []
        self.there: list[tuple[Any, ...]] = []
        self.refusing: dict[str, PDUDaemonError] = {}
        self.name = "berlin"
        self.translation = Translation("berlin", prefix=True)

    def ask(self, *asked: Any) -> None:
        if len(asked) == 4:
            self.there.append(asked)
        elif asked[0] in self.refusing:
            raise self.refusing[asked[0]]
        else:
            self.whole[asked[0]] = asked[1]


class Lab:
    def __init__(self, pair: Pair, exchange: HTTPExchange, devices: Devices) -> None:
        self.pair, self.exchange, self.devices = pair, exchange, devices
        self.made = 0

    def ask(self, whole: set[str] = frozenset(), single: tuple[Outlet, ...] = (), there: tuple[str, ...] = ()) -> None:  # type: ignore[assignment]
        sites: Any = dict.fromkeys(there, self.devices)
        _Fresh(self.exchange, self._make).ask(whole, [*single], sites)

    def _make(self) -> Any:
        self.made += 1
        return Answer(200, '{"made": true}')

    def pending(self) -> bool:
        return not self.pair.thread.done_later

    def hears(self) -> dict[str, Any]:
        """Have the pool do what it has to do, and return what the client is told."""
        self.pair.thread.done_later.pop()()
        told: dict[str, Any] = json.loads(self.pair.client.recv(10_000).partition(b"\r\n\r\n")[2])
        return told


@pytest.fixture
def lab() -> Iterator[Lab]:
    devices = Devices()
    options = {
        name: SimpleNamespace(options=SimpleNamespace(timeout=seconds)) for name, seconds in (("a", 5), ("b", 9))
    }
    dispatcher = SimpleNamespace(config=SimpleNamespace(pdus=options), surveys=devices, ask=devices.single.extend)
    orders: Any = SimpleNamespace(dispatcher=dispatcher)
    with asked(orders, "GET /api/v1/x HTTP/1.1") as (pair, exchange):
        yield Lab(pair, exchange, devices)


def test_the_answer_is_made_when_all_have_told(lab: Lab) -> None:
    lab.ask({"a", "b"}, (Outlet("a", "1"), Outlet("b", "2")), ("berlin/p1",))
    devices = lab.devices
    assert [[*look.outlets] for look in devices.single] == [[Outlet("a", "1")], [Outlet("b", "2")]]
    assert [asked[:3] for asked in devices.there] == [("GET", "/api/v1/pdus/p1?fresh=1", FRESH)]
    for told in devices.whole.values():
        told(None)
    lab.devices.there[0][3]({"name": "p1"}, Busy("the site is stopping"))
    devices.single[0].heard(Outlet("a", "1"), Reading(State.ON, "device", 5.0))
    assert lab.pending()
    devices.single[1].heard(Outlet("b", "2"), Reading(State.ON, "device", 5.0))
    assert lab.hears()["detail"] == "the site is stopping" and not lab.made


def test_nothing_to_ask_is_answered_at_once(lab: Lab) -> None:
    lab.ask()
    assert lab.pair.has(GRACE)
    assert lab.hears() == {"made": True} and lab.made == 1


@pytest.mark.parametrize(
    ("whole", "single", "there", "seconds", "names"),
    [
        ({"a"}, (), (), 5.0, "a"),
        ({"a", "b"}, (), (), 9.0, "a, b"),
        (set(), (Outlet("b", "1"),), (), 9.0, "b"),
        ({"a"}, (), ("berlin/p1",), FRESH, "a, berlin/p1"),
    ],
)
def test_they_have_as_long_as_the_slowest_may_take(
    lab: Lab, whole: set[str], single: tuple[Outlet, ...], there: tuple[str, ...], seconds: float, names: str
) -> None:
    lab.ask(whole, single, there)
    assert lab.pair.has(seconds + GRACE) and lab.pending()
    assert lab.exchange.late is not None
    lab.exchange.late()
    told = lab.hears()
    assert (told["status"], told["type"]) == (504, "urn:pdudaemon:device-timeout")
    assert told["detail"] == f"{names}: not read within {seconds:g} s: busy, or it does not answer"
    assert not unanswered(lab.exchange) and not lab.made


def test_what_cannot_be_asked_is_told_when_the_others_have(lab: Lab) -> None:
    lab.devices.refusing["b"] = Busy("b is stuck")
    lab.ask({"a", "b"})
    assert lab.pending()
    lab.devices.whole["a"](None)
    told = lab.hears()
    assert (told["status"], told["detail"]) == (503, "b is stuck") and not lab.made


def test_every_reason_is_told(lab: Lab) -> None:
    lab.ask({"a", "b"}, (Outlet("a", "1"),))
    lab.devices.whole["a"](TransientError("a: the line is cut"))
    lab.devices.whole["b"](None)
    lab.devices.single[0].heard(Outlet("a", "1"), DeviceTimeout("a: no answer"))
    told = lab.hears()
    assert "a: the line is cut" in told["detail"] and "a: no answer" in told["detail"]


@pytest.mark.parametrize(
    ("feeds", "whole", "single"),
    [
        (("read", "one"), ["read"], ["one"]),
        (("read", "blind"), ["read"], []),
        (("blind", "gone"), [], []),
    ],
)
def test_only_those_are_asked_that_can_tell(
    lab: Lab, feeds: tuple[str, ...], whole: list[str], single: list[str]
) -> None:
    """And what there is not any more is not asked."""
    pdus = lab.exchange.dispatcher.config.pdus
    for name, reads, readable in (("read", True, True), ("one", False, True), ("blind", False, False)):
        traits = SimpleNamespace(reads_outlets=reads, legacy=False)
        pdus[name] = SimpleNamespace(  # type: ignore[index]
            name=name, options=SimpleNamespace(timeout=5), readable=readable, driver=PDUDriver, traits=traits
        )
    lab.exchange.words = {"fresh": "1"}
    assert looked(lab.exchange, [Outlet(name, "1") for name in feeds], lab._make) is None
    assert [*lab.devices.whole] == whole
    assert [outlet.pdu for look in lab.devices.single for outlet in look.outlets] == single


@pytest.mark.parametrize("known", [True, False])
def test_what_is_old_is_read_behind_the_answer(lab: Lab, known: bool) -> None:
    """Here, and at sites that there are."""
    dispatcher: Any = lab.exchange.dispatcher
    looked_at: list[tuple[str, list[str]]] = []
    dispatcher.surveys = SimpleNamespace(look=lambda names: looked_at.append(("here", [*names])))
    dispatcher.sites = SimpleNamespace(
        look=lambda names: looked_at.append(("there", [*names])), named=lambda name: lab.devices if known else None
    )
    traits = SimpleNamespace(reads_outlets=True, legacy=False)
    dispatcher.config.pdus["read"] = SimpleNamespace(
        name="read", options=SimpleNamespace(timeout=5), readable=True, driver=PDUDriver, traits=traits
    )
    options: Any = SimpleNamespace(timeout=5)
    dispatcher.config.pdus["berlin/p1"] = SitePDU("berlin/p1", {}, options, None, site="berlin")
    answer = looked(lab.exchange, [Outlet("read", "1"), Outlet("berlin/p1", "1")], lab._make)
    assert answer is not None and answer.status == 200 and lab.made == 1
    assert looked_at == [("here", ["read"]), ("there", ["berlin/p1"] if known else [])]

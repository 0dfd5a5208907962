# SPDX-License-Identifier: MIT
"""`Orders` with a rack of PDUs: what clients ask for is handed over in one go, and each is told once what became of it."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.errors import Forbidden, PDUDaemonError
from pdudaemon.power import Action, Reading, Request, State
from pdudaemon.server import siteorders
from pdudaemon.server.client import Client
from pdudaemon.server.connections import Exchange
from pdudaemon.server.orders import Orders, check_may, order
from pdudaemon.server.rights import EVERYTHING, Rights, RoleRights
from tests.support.pair import Pair, connected, unanswered
from tests.support.rack import Rack

Answer = Reading | PDUDaemonError


class Asking(Exchange):
    """What one client has asked for; ``told`` is what he is told."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.connection)
        self.pair = pair
        self.thread = pair.thread
        self.told: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def refuse(self, error: PDUDaemonError) -> None:
        self.told.put(("refused", str(error)))

    def became(self, request: Request, trouble: PDUDaemonError | None) -> None:
        self.told.put((request.id, None if trouble is None else str(trouble)))

    def said(self, answer: Answer) -> None:
        self.told.put(answer.state if isinstance(answer, Reading) else str(answer))

    def hears(self) -> Any:
        """Return what he is told first."""
        return self.told.get(timeout=60)


class Lab:
    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.rack = Rack(folder, {"a": {"retries": 1}, "b": {"timeout": 30}, "c": {}}, wait=50, max_queue=2)
        self.orders = Orders(self.rack.dispatcher)
        self._stack = stack

    def ask(self, action: str, pdu: str = "a", rights: Rights = EVERYTHING, **words: str) -> Asking:
        """Have a client ask for something of port 1 of a PDU."""
        speech: Any = None
        exchange = Asking(self._stack.enter_context(connected(lambda _: speech)))
        exchange.rights = rights
        asked = order(self.rack.dispatcher.config, action, {"hostname": pdu, "port": "1", **words})
        if action == "status":
            self.orders.look(asked, exchange, exchange.said)
        else:
            self.orders.carry_out(asked, Client("192.0.2.1", 7, "ann"), exchange, exchange.became)
        return exchange


def test_what_is_at_a_site_is_left_to_that(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[tuple[Any, ...]] = []
    dispatcher, site = lab.rack.dispatcher, object()
    monkeypatch.setattr(siteorders, "carry_out", lambda *words: passed.append(words))
    monkeypatch.setattr(siteorders, "look", lambda *words: passed.append(words))
    monkeypatch.setattr(dispatcher.sites, "of", lambda target, config: site if target.outlets[0].pdu == "a" else None)
    dispatcher.config = replace(dispatcher.config, sites={"berlin": site})  # type: ignore[misc, arg-type]
    for wait, words in ((50.0, {}), (3.0, {"wait": "3"})):
        exchange = lab.ask("on", **words)
        where, asked, seconds, client, who, told = passed.pop()
        assert (where, asked.action, seconds, client.name, who) == (site, Action.ON, wait, "ann", exchange)
        assert told == exchange.became
    exchange = lab.ask("status")
    where, asked, who, told = passed.pop()
    assert (where, asked.action, who, told) == (site, Action.STATUS, exchange, exchange.said)
    assert not lab.orders.hand_over()
    here, looking = lab.ask("on", "c"), lab.ask("status", "c")
    assert lab.orders.hand_over() and not passed
    assert here.hears() == (1, None) and isinstance(looking.hears(), State)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        made = Lab(tmp_path, stack)
        yield made
        for name in [*made.rack.held]:
            made.rack.let_go(name)
        made.rack.stop()


def test_all_that_is_asked_for_is_handed_over_in_one_go(lab: Lab) -> None:
    first, second, look = lab.ask("on"), lab.ask("off", "b"), lab.ask("status", "c")
    assert first.told.empty() and lab.rack.dispatcher.records(9) == [] and lab.orders.pace.served == float("-inf")
    before = time.monotonic()
    assert lab.orders.hand_over() is True
    assert before <= lab.orders.pace.served <= time.monotonic()
    assert first.hears() == (1, None) and second.hears() == (2, None) and look.hears() is State.UNKNOWN
    assert lab.orders.hand_over() is False
    assert (lab.rack.seen["a"], lab.rack.seen["b"]) == ("o", "f") and len(lab.rack.dispatcher.records(9)) == 2
    assert {each["client"] for each in lab.rack.dispatcher.records(9)} == {"192.0.2.1:7 (ann)"}


@pytest.mark.parametrize(
    ("action", "words", "seconds"),
    [
        ("on", {}, 50.0),
        ("on", {"wait": "7"}, 7.0),
        ("reboot", {"wait": "7"}, 7.0),
        ("reboot", {"wait": "7", "delay": "3"}, 10.0),
        ("status", {"wait": "7"}, 7.0),
    ],
)
def test_each_has_the_time_that_he_asks_for(lab: Lab, action: str, words: dict[str, str], seconds: float) -> None:
    lab.rack.hold("a")
    exchange = lab.ask(action, **words)
    assert exchange.pair.has(seconds) and exchange.late is not None
    lab.orders.hand_over()
    exchange.late()
    told = exchange.hears()
    if action == "status":
        assert told == f"a: no answer within {seconds:g} s"
    else:
        assert told[0] == 2 and told[1].startswith(f"accepted as request 2, not done after {seconds:g} s: ")
    exchange.late()
    lab.rack.let_go("a")
    lab.rack.stop()
    assert exchange.told.empty()


def test_a_look_has_the_time_of_its_device_if_nobody_says(lab: Lab) -> None:
    patience = lab.rack.dispatcher.patience(lab.rack.dispatcher.config.target("b", "1"))
    exchange = lab.ask("status", "b")
    assert patience >= 30 and exchange.pair.has(patience)
    lab.orders.hand_over()
    assert exchange.hears() is State.UNKNOWN


@pytest.mark.parametrize("action", ["on", "status"])
def test_what_outlets_are_called_is_read_first_and_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """Though a device does not say it even then."""
    surveys, asked = lab.rack.dispatcher.surveys, list[Any]()
    monkeypatch.setattr(surveys, "unread", lambda _: ["a"])
    monkeypatch.setattr(surveys, "ask", lambda name, told: asked.append(told))
    one = lab.ask(action, port="name:router")
    assert len(asked) == 1 and lab.orders.hand_over() is False
    asked[0](None)
    assert len(asked) == 1 and lab.orders.hand_over() is True
    assert "the names of its outlets have not been read" in str(one.hears())
    assert lab.ask(action) and len(asked) == 1, "a port needs no name"


def test_accepted_is_enough_for_who_does_not_wait(lab: Lab) -> None:
    lab.rack.hold("a")
    exchange = lab.ask("on", wait="0")
    assert exchange.late is None and exchange.connection.deadline == 0.0 and exchange.told.empty()
    lab.orders.hand_over()
    assert exchange.hears() == (2, None)
    lab.rack.let_go("a")
    assert exchange.told.empty()


def test_before_it_is_handed_over_nothing_is_told_of_it(lab: Lab) -> None:
    exchange = lab.ask("on", wait="7")
    assert exchange.late is not None
    exchange.connection.deadline = float("inf")
    exchange.late()
    assert exchange.told.empty() and exchange.pair.has(7)
    lab.orders.hand_over()
    assert exchange.hears() == (1, None)


def test_who_is_refused_is_told_and_the_others_go_on(lab: Lab) -> None:
    lab.rack.hold("a")
    asked = [lab.ask("on", wait="0") for _ in range(3)]
    other = lab.ask("on", "b")
    lab.orders.hand_over()
    told = [each.hears() for each in asked]
    assert told[0] == (2, None) and told[1][0] == "refused" == told[2][0] and "queue is full" in told[1][1]
    assert other.hears() == (3, None)


def test_what_fails_is_told(lab: Lab) -> None:
    lab.rack.refusing.add(("a", "on"))
    exchange = lab.ask("on")
    lab.orders.hand_over()
    assert exchange.hears() == (1, "a: refused")


def test_the_same_key_is_the_same_request(lab: Lab) -> None:
    first, again = lab.ask("on", key="k"), lab.ask("on", key="k")
    lab.orders.hand_over()
    assert first.hears() == again.hears() == (1, None) and lab.rack.seen["a"] == "o"


def test_a_fault_of_ours_leaves_nobody_waiting(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("x")

    with monkeypatch.context() as patched:
        patched.setattr(lab.rack.dispatcher, "ask", fail)
        asked = [lab.ask("on"), lab.ask("status"), lab.ask("status", "b")]
        answered = lab.ask("on", "c")
        assert unanswered(answered)
        assert lab.orders.hand_over() is True
    assert [each.hears() for each in asked] == [("refused", "internal error: see the log of the daemon")] * 3
    assert answered.told.empty()
    assert [each.message for each in caplog.records if each.exc_info] == [
        "2 requests and 2 questions could not be handed over"
    ]
    well = lab.ask("on")
    lab.orders.hand_over()
    assert well.hears() == (1, None)


def test_who_may_not_is_refused_before_anything_is_done(lab: Lab) -> None:
    rights = RoleRights(lab.rack.dispatcher.config, ())
    for action in ("on", "status"):
        with pytest.raises(Forbidden, match="a token without a role that there is may not") as refused:
            lab.ask(action, rights=rights)
        assert refused.value.http_status == 403
    assert lab.orders.hand_over() is False
    exchange = lab.ask("on")
    check_may(exchange, Action.ON, lab.rack.target("a"))
    exchange.rights = rights
    with pytest.raises(Forbidden):
        check_may(exchange, Action.ON, lab.rack.target("a"))


def test_rights_are_those_of_the_roles(lab: Lab) -> None:
    assert lab.orders.rights(Client("a", 1)) is EVERYTHING
    none = lab.orders.rights(Client("a", 1, "", ("gone",)))
    assert not none.everything and not none.sees_pdu("a")
    assert lab.orders.rights(Client("b", 2, "", ("gone",))) is none

# SPDX-License-Identifier: MIT
"""What is asked of a site is asked by its thread, while it can be; and it is found out that it cannot be any more."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pdudaemon.engine.front import site as engine_site
from pdudaemon.engine.front.siteorders import SiteRequest, Wanted
from pdudaemon.errors import PDUDaemonError, SiteUnreachable
from pdudaemon.power import Action, Outlet, State, Target
from tests.support.lyingsite import OUTLET, lines, reply
from tests.support.process import eventually
from tests.support.sitefollowing import CUT, Lab, following

BOARD = Target("berlin/board1", (Outlet("berlin/p1", "1"),))


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with following(monkeypatch) as made:
        yield made


def test_who_asks_a_site_that_is_away_has_it_tried_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 3600.0))
    lab.lying.lies["GET /api/v1/pdus"] = lambda: reply(b"oops", 500, "text/html")
    lab.site.start()
    eventually(lambda: lab.asked("/api/v1/pdus") == 2)
    eventually(lambda: lab.site.trouble == "it answers 500")
    del lab.lying.lies["GET /api/v1/pdus"]
    heard: list[Any] = []
    time.sleep(0.1)
    lab.site.ask("GET", "/api/v1/pdus", 20.0, lambda *told: heard.append(told))
    assert heard[0][0] is None and str(heard[0][1]) == "berlin cannot be asked: it answers 500"
    lab.reached()


def wanted(seconds: float = 20.0) -> Wanted:
    return Wanted({"action": "on"}, "key", seconds, seconds, True, {})


def test_all_is_asked_by_the_thread_of_the_site(lab: Lab) -> None:
    told: queue.Queue[Any] = queue.Queue()
    by: list[str] = []

    def tell(*said: Any) -> None:
        by.append(threading.current_thread().name)
        told.put(said)

    lab.site.start()
    site = lab.reached()
    done = {"id": 7, "state": "done", "ended": 5.0}
    lab.lying.lies["POST "] = lambda: reply(done, 201)
    site.switch(wanted(), Action.OFF, BOARD, tell)
    request, error = told.get(timeout=30)
    assert error is None and isinstance(request, SiteRequest) and request.number == "berlin/7"
    assert lab.outlet().state is State.OFF, "by its answer, before it is heard"
    entry = {"name": "board1", "state": "done", "reason": None, "request": 8, "ended": 5.0}
    lab.lying.lies["POST "] = lambda: reply({"command": 3, "nodes": [entry]}, 201)
    site.switch_nodes(wanted(), Action.ON, "board1", {"board1": BOARD}, False, tell, tell)
    assert told.get(timeout=30) == ("3",)
    name, error, request = told.get(timeout=30)
    assert (name, error, request.number) == ("board1", None, "berlin/8") and lab.outlet().state is State.ON
    site.ask("GET", "/api/v1/groups", 20.0, tell)
    assert told.get(timeout=30) == ({"rack1": ["board1"]}, None)
    lab.lying.lies["GET /?"] = lambda: lines({"id": "board1", "attributes": {"state": "on"}})
    site.ask_states(["board1"], 20.0, tell, 1.0)
    assert told.get(timeout=30) == ("board1", {"state": "on"}) and {*by} == {"site berlin"}
    eventually(lambda: not site._tasks)


def test_what_was_heard_to_have_ended_is_not_known_by_its_answer(lab: Lab) -> None:
    """It has been switched by somebody else since, perhaps."""
    lab.site.start()
    site = lab.reached()
    ended = {"kind": "ended", "request": 7, "action": "off", "target": "board1", "outlets": ["p1:1"], "state": "done"}
    lab.say({**ended, "id": 42}, {"id": 43, "kind": "outlet", "outlet": {**OUTLET, "watts": 50.0}})
    eventually(lambda: lab.outlet().watts == 50.0)
    told: queue.Queue[Any] = queue.Queue()
    lab.lying.lies["POST "] = lambda: reply({"id": 7, "state": "done", "ended": 5.0}, 201)
    site.switch(wanted(), Action.OFF, BOARD, lambda *said: told.put(said))
    assert told.get(timeout=30)[1] is None and lab.outlet().state is State.ON


def ended_unheard(lab: Lab) -> queue.Queue[Any]:
    """Have a request accepted that is done there though no event says so; return where is put what is told of it."""
    lab.site.start()
    site = lab.reached()
    told: queue.Queue[Any] = queue.Queue()
    lab.lying.lies["POST "] = lambda: reply({"id": 7, "state": "running", "ended": None}, 202)
    site.switch(wanted(60.0), Action.OFF, BOARD, lambda *said: told.put(said))
    eventually(lambda: site._requests._waiting)
    lab.lying.lies["GET /api/v1/requests/7"] = lambda: reply({"id": 7, "state": "done", "ended": 5.0})
    return told


def test_what_ended_while_nothing_was_heard_is_asked_for(lab: Lab) -> None:
    told = ended_unheard(lab)
    lab.say(CUT)
    request, error = told.get(timeout=60)
    assert error is None and request.number == "berlin/7" and request.ended


def test_what_ended_while_events_were_missed_is_asked_for(lab: Lab) -> None:
    """And not for what a reload changes, which tells of what ends."""
    told = ended_unheard(lab)
    lab.say({"kind": "reload", "id": 42})
    eventually(lambda: lab.changes[1:] == ["site berlin: its configuration was reloaded"])
    lab.site.ask("GET", "/api/v1/odd", 20.0, lambda *_: told.put("asked"))
    assert told.get(timeout=30) == "asked" and not lab.asked("/api/v1/requests/7")
    lab.say({"kind": "gap", "id": 43})
    request, error = told.get(timeout=30)
    assert error is None and request.number == "berlin/7" and request.ended


@pytest.mark.parametrize("before", [True, False])
def test_a_site_that_was_let_go_or_was_not_reached_is_asked_nothing(lab: Lab, before: bool) -> None:
    site, told = lab.site, list[Any]()
    why = "it has not been reached yet" if before else "this daemon has let go of it"
    if not before:
        site.start()
        lab.reached()
        site.stop()
        lab.say(CUT)
        assert site.ended(30)
    with pytest.raises(SiteUnreachable, match=why):
        site.switch(wanted(), Action.ON, BOARD, lambda *said: told.append(said))
    with pytest.raises(SiteUnreachable, match=why):
        site.switch_nodes(wanted(), Action.ON, "b", {}, True, lambda _: None, lambda *said: told.append(said))
    assert told == []
    site.ask_states(["b1", "b2"], 1.0, lambda *said: told.append(said), 0.0)
    assert [name for name, _ in told] == ["b1", "b2"] and all(why in str(error) for _, error in told)
    site.look()


def test_who_waits_when_a_site_is_let_go_is_told(lab: Lab) -> None:
    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait(60)
        yield b""

    lab.lying.lies["POST "] = silent
    lab.site.start()
    site = lab.reached()
    told: queue.Queue[tuple[SiteRequest | None, PDUDaemonError | None]] = queue.Queue()
    site.switch(wanted(), Action.ON, BOARD, lambda *said: told.put(said))
    eventually(lambda: lab.asked("/api/v1/requests"))
    site.stop()
    _, error = told.get(timeout=30)
    assert error is not None and "this daemon stops, or has let go of it" in str(error)
    over.set()


def test_that_it_answers_nothing_any_more_is_found_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "SILENCE", 3600.0)
    monkeypatch.setattr(engine_site, "PROBE", 30.0)
    lab.site.start()
    site = lab.reached()
    site._loop.call_soon_threadsafe(site.doubt)
    eventually(lambda: lab.asked("/ui/icon.svg") == 1)
    eventually(lambda: not site._doubted)
    assert not site.trouble, "it has answered"

    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait(60)
        yield b""

    monkeypatch.setattr(engine_site, "PROBE", 3.0)
    lab.lying.lies["GET /ui/icon.svg"] = silent
    site._loop.call_soon_threadsafe(site.doubt)
    eventually(lambda: lab.asked("/ui/icon.svg") == 2)
    lab.site._bound, bound = asyncio.Timeout(None), lab.site._bound  # it has been connected to anew meanwhile
    eventually(lambda: not site._doubted)
    lab.site._bound = bound
    monkeypatch.setattr(engine_site, "PROBE", 0.2)
    site.ask("GET", "/api/v1/groups", 20.0, lambda *_: lab.changes.append("asked"))
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes.pop() == "asked" and not site.trouble
    for _ in range(3):
        site._loop.call_soon_threadsafe(site.doubt)
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes[1].endswith(" does not answer") and lab.asked("/ui/icon.svg") == 3
    eventually(lambda: not site._doubted)
    doubted: list[bool] = []

    def doubt() -> None:
        site.trouble = "it is away"  # before it is connected to anew
        site.doubt()
        doubted.append(site._doubted)

    site._loop.call_soon_threadsafe(doubt)
    eventually(lambda: doubted)
    assert doubted == [False], "that is known"
    over.set()


def test_a_connection_that_has_ended_while_it_was_doubted_is_not_ended_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_site, "PROBE", 0.2)
    monkeypatch.setattr(engine_site, "PAUSES", (3600.0,))
    go_on = threading.Event()

    def silent() -> Iterator[bytes]:
        go_on.wait(60)
        yield b""

    lab.lying.lies["GET /ui/icon.svg"] = silent
    lab.site.start()
    site = lab.reached()
    faults: list[Exception] = []

    async def probed() -> None:
        try:
            await site._probe()
        except Exception as error:
            faults.append(error)

    lab.say(CUT)
    eventually(lambda: site.trouble)
    site._doubted = True
    site._loop.call_soon_threadsafe(lambda: site._begin(probed()))
    eventually(lambda: not site._doubted)
    go_on.set()
    assert not faults and site.trouble == "the connection was closed"


def test_a_look_asks_for_what_is_old_once(lab: Lab) -> None:
    lab.site.start()
    site = lab.reached()
    asked = lab.asked("/api/v1/outlets")
    site.look()
    site._upkeep.loaded -= 60.0
    for _ in range(5):
        site.look()
    eventually(lambda: lab.asked("/api/v1/outlets") == asked + 1)
    site.ask("GET", "/api/v1/groups", 20.0, lambda *_: None)
    eventually(lambda: lab.asked("/api/v1/groups") == 2)
    assert lab.asked("/api/v1/outlets") == asked + 1

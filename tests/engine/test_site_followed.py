# SPDX-License-Identifier: MIT
"""A site is followed by its events: what it says is taken in, a connection that ends is made anew, and why is told."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from pdudaemon.config.sites import SiteOptions
from pdudaemon.engine import site as engine_site
from pdudaemon.engine.events import Event, Events
from pdudaemon.engine.site import Site
from pdudaemon.engine.siteorders import SiteRequest, Wanted
from pdudaemon.errors import PDUDaemonError, SiteUnreachable
from pdudaemon.power import Action, Outlet, State, Target
from tests.support.lyingsite import OUTLET, LyingSite, events, lines, problem, reply
from tests.support.process import eventually
from tests.support.rack import SetClock

HEAD = reply(b"", content_type="text/event-stream", Content_Length="")
BOARD = Target("berlin/board1", (Outlet("berlin/p1", "1"),))
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


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(engine_site, "RELOADS", 0.05)
    with LyingSite() as lying:
        made = Lab(lying, token="a-token")
        yield made
        made.close()


def test_a_site_is_reached_loaded_and_followed(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert lab.site.trouble == "it has not been reached yet" and str(lab.site) == "the thread of site berlin"
    lab.site.start()
    site = lab.reached()
    (question,) = [each for each in lab.lying.questions if each.asked == "GET /api/v1/events"]
    assert question.headers["accept"] == "text/event-stream" and "last-event-id" not in question.headers
    assert {each.headers["authorization"] for each in lab.lying.questions} == {"Bearer a-token"}
    eventually(lambda: lab.changes == ["site berlin can be asked"])
    assert "berlin: it can be asked: 1 PDUs, 1 nodes" in caplog.text and site.daemons == ["a-site"]
    thread = next(each for each in threading.enumerate() if each.name == "site berlin")
    assert thread.daemon
    lab.say({"id": 42, "kind": "outlet", "outlet": {**OUTLET, "state": "off"}}, b": heartbeat\n\n")
    eventually(lambda: lab.outlet().state is State.OFF)
    assert [event.kind for event in lab.published()] == ["outlet"]


def test_a_connection_that_ends_is_made_anew_where_it_ended(lab: Lab) -> None:
    lab.site.start()
    lab.reached()
    lab.say({"id": 57, "kind": "outlet", "outlet": {**OUTLET, "state": "off"}}, CUT)
    eventually(lambda: len(lab.changes) == 3)
    first, lost, again = lab.changes
    assert (first, again) == ("site berlin can be asked",) * 2
    assert lost == "site berlin cannot be asked: the connection was closed"
    found = [each.headers.get("last-event-id") for each in lab.lying.questions if each.asked == "GET /api/v1/events"]
    assert found == [None, "57"]
    assert lab.asked("/api/v1/nodes") == 1 and lab.outlet().state is State.OFF, "nothing was missed"


def test_without_an_event_it_goes_on_from_where_it_began(lab: Lab) -> None:
    lab.site.start()
    lab.reached()
    lab.say({"id": "odd", "kind": "new"}, CUT)
    eventually(lambda: len(lab.changes) == 3)
    found = [each.headers.get("last-event-id") for each in lab.lying.questions if each.asked == "GET /api/v1/events"]
    assert found == [None, "41"]


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"kind": "reload"}, "site berlin: its configuration was reloaded"),
        ({"kind": "reload", "reason": "site paris can be asked"}, "site berlin: site paris can be asked"),
        ({"kind": "gap"}, "site berlin: events were missed"),
    ],
)
def test_what_is_another_is_loaded_anew_and_told(lab: Lab, event: dict[str, Any], told: str) -> None:
    lab.site.start()
    lab.reached()
    lab.lying.lies["GET /api/v1/sites"] = lambda: reply({"daemons": ["other"], "names": "2", "sites": []})
    lab.say({**event, "id": 42})
    eventually(lambda: lab.changes[1:] == [told])
    assert lab.asked("/api/v1/nodes") == 2 and lab.site.daemons == ["other"]
    lab.say(CUT)
    eventually(lambda: len(lab.changes) == 4)
    assert lab.asked("/api/v1/nodes") == 2, "it was loaded"


def test_what_could_not_be_loaded_anew_is_by_the_next_connection(lab: Lab) -> None:
    lab.site.start()
    lab.reached()
    whole = lambda: reply({"daemons": ["other"], "names": "2", "sites": []})  # noqa: E731
    lab.lying.lies["GET /api/v1/sites"] = lambda: reply(b"oops")
    lab.say({"id": 42, "kind": "reload"})
    eventually(lambda: lab.changes[-1] == "site berlin cannot be asked: the answer (200) is not JSON")
    lab.lying.lies["GET /api/v1/sites"] = whole
    eventually(lambda: lab.changes[-1] == "site berlin can be asked")
    assert lab.site.daemons == ["other"] and lab.asked("/api/v1/nodes") == 2


def test_many_reloads_are_apart(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "RELOADS", 0.3)
    lab.site.start()
    lab.reached()
    begun = time.monotonic()
    lab.say(*({"id": number, "kind": "reload"} for number in range(50, 53)))
    eventually(lambda: len(lab.changes) == 4)
    assert time.monotonic() - begun > 0.59


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"kind": "end", "reason": "it stops"}, "it stops"),
        ({"kind": "end"}, "it has ended the connection"),
        (b"data: {}\n\n", "what it says is not understood"),
        (b"data: []\n\n", "what it says is not understood"),
        (b'data: {"kind": 5}\n\n', "what it says is not understood"),
        (b'data: {"kind": "outlet", "outlet": 5}\n\n', "what it says is not understood"),
        (b"data: {\n\n", "the answer (200) is not JSON"),
    ],
)
def test_why_it_cannot_be_asked_is_told(lab: Lab, said: Any, why: str, caplog: pytest.LogCaptureFixture) -> None:
    lab.site.start()
    lab.reached()
    lab.say(said)
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes[1] == f"site berlin cannot be asked: {why}" and f"berlin cannot be asked: {why}" in caplog.text
    lab.say(CUT)  # of the former connection
    eventually(lambda: "site berlin can be asked" in lab.changes[2:])


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        (problem("denied", "no token", 401), "it refuses the token of this front: no token"),
        (reply({}, 204), "it does not tell what happens (204)"),
        (reply(b"oops", 500, "text/html"), "it answers 500"),
    ],
)
def test_one_that_tells_nothing_is_none(lab: Lab, lie: bytes, why: str) -> None:
    lab.lying.lies["GET /api/v1/events"] = lambda: lie
    lab.site.start()
    eventually(lambda: lab.changes)
    assert lab.changes[0] == f"site berlin cannot be asked: {why}"
    eventually(lambda: lab.asked("/api/v1/events") > 5)
    assert len(lab.changes) == 1, "it is told once"


def test_one_that_is_silent_is_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "SILENCE", 0.3)
    lab.site.start()
    lab.reached()
    for _ in range(5):
        lab.say(b": heartbeat\n\n")
        time.sleep(0.1)
    assert not lab.site.trouble
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes[1].endswith(" does not answer")


def test_one_that_does_not_answer_is_told_after_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "ANSWER", 0.2)

    def silent() -> Iterator[bytes]:
        time.sleep(1)
        yield b""

    lab.lying.lies["GET /api/v1/events"] = silent
    lab.site.start()
    eventually(lambda: lab.changes)
    assert lab.changes[0].endswith(f"{lab.lying.url.removeprefix('http://')} does not answer")


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
    def silent() -> Iterator[bytes]:
        time.sleep(1)
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


def test_that_it_answers_nothing_any_more_is_found_out(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "PROBE", 0.2)
    lab.site.start()
    site = lab.reached()
    site._loop.call_soon_threadsafe(site.doubt)
    eventually(lambda: lab.asked("/ui/icon.svg") == 1)
    eventually(lambda: not site._doubted)
    assert not site.trouble, "it has answered"

    def silent() -> Iterator[bytes]:
        time.sleep(1)
        yield b""

    lab.lying.lies["GET /ui/icon.svg"] = silent
    lab.site._bound, bound = None, lab.site._bound
    site._loop.call_soon_threadsafe(site.doubt)  # while it is connected to anew, say
    eventually(lambda: lab.asked("/ui/icon.svg") == 2 and not site._doubted)
    lab.site._bound = bound
    assert not site.trouble
    for _ in range(3):
        site._loop.call_soon_threadsafe(site.doubt)
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes[1].endswith(" does not answer") and lab.asked("/ui/icon.svg") == 3
    lab.site.trouble = "it is away"
    site._loop.call_soon_threadsafe(site.doubt)
    site._loop.call_soon_threadsafe(lab.changes.append, "seen")
    eventually(lambda: "seen" in lab.changes)
    assert not site._doubted, "that is known"


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


def test_a_fault_of_ours_ends_it_loudly(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.lying.lies["GET /api/v1/events"] = lambda: events()

    def changed(_: str) -> None:
        lab.changes.append("x")
        if len(lab.changes) == 1:
            raise RuntimeError("odd")

    lab.site._changed = changed
    lab.site.start()
    eventually(lambda: lab.site.trouble == "internal error: see the log of the daemon")
    assert "berlin: following it has ended" in caplog.text and "RuntimeError: odd" in caplog.text


def test_names_are_known_of_one_whose_token_is_another(lab: Lab) -> None:
    lab.site.start()
    lab.reached()
    other = Lab(lab.lying, token="another")
    other.site.take_over(lab.site)
    assert other.site.mirror is lab.site.mirror and other.site.trouble
    other.site.stop()


def test_a_connection_that_lasted_is_made_anew_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 3600.0))
    monkeypatch.setattr(engine_site, "STEADY", 0.05)
    lab.site.start()
    for number in range(1, 4):
        eventually(lambda number=number: lab.changes.count("site berlin can be asked") == number)
        time.sleep(0.1)
        lab.say(CUT)
    eventually(lambda: lab.changes.count("site berlin can be asked") == 4)


def test_one_that_is_lost_again_and_again_is_tried_less_often(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 3600.0))
    monkeypatch.setattr(engine_site, "STEADY", 3600.0)
    lab.site.start()
    for number in range(1, 3):
        eventually(lambda number=number: lab.changes.count("site berlin can be asked") == number)
        lab.say(CUT)
    eventually(lambda: len(lab.changes) == 4)
    time.sleep(0.3)
    assert lab.asked("/api/v1/events") == 2 and lab.site.trouble


def test_where_what_it_says_is_not_understood_is_for_who_mends_it(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "pdud.sites")
    lab.site.start()
    lab.reached()
    lab.say(b'data: {"kind": "outlet", "outlet": 5}\n\n')
    eventually(lambda: len(lab.changes) >= 2)
    assert "Traceback" in caplog.text
    lab.say(CUT)

# SPDX-License-Identifier: MIT
"""A site is followed by its events: what it says is taken in, a connection that ends is made anew, and why is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from pdudaemon.engine.front import site as engine_site
from pdudaemon.engine.front.siteupkeep import LOADING
from pdudaemon.power import State
from tests.support.lyingsite import OUTLET, events, problem, reply
from tests.support.process import eventually
from tests.support.sitefollowing import CUT, HEAD, Lab, following


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with following(monkeypatch) as made:
        yield made


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


def test_one_that_refuses_and_then_tells_is_followed_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why it refused is in its answer: who asked once more would have the events, which do not end."""
    monkeypatch.setattr(engine_site, "ANSWER", 3600.0)
    true, refused = lab.lying.lies.pop("GET /api/v1/events"), iter(["it is busy"])

    def busy_once() -> Any:
        said = next(refused, None)
        return true() if said is None else problem("unavailable", said, 503)

    lab.lying.lies["GET /api/v1/events"] = busy_once
    lab.site.start()
    lab.reached()
    assert lab.asked("/api/v1/events") == 2
    assert lab.changes == ["site berlin cannot be asked: it is busy", "site berlin can be asked"]


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
    assert lab.changes[1] == "site berlin cannot be asked: the connection was closed"
    found = [each.headers.get("last-event-id") for each in lab.lying.questions if each.asked == "GET /api/v1/events"]
    assert found == [None, "41"]


def test_what_it_says_before_it_says_where_it_begins_is_passed_over(lab: Lab) -> None:
    def stream() -> Iterator[bytes]:
        yield HEAD + b": hello\nretry: 3000\n\nid: 41\n\n"
        yield from lab._stream()

    lab.lying.lies["GET /api/v1/events"] = stream
    lab.site.start()
    lab.reached()
    eventually(lambda: lab.site._last == 41)
    assert lab.changes == ["site berlin can be asked"]
    lab.say(CUT)


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
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes[1].endswith(" does not answer")


def test_each_line_gives_it_time_anew_and_what_has_to_be_loaded_more_of_it(lab: Lab) -> None:
    class Bound:
        """Of a connection: ``left`` are the seconds that it has."""

        left = 0.0

        def reschedule(self, when: float) -> None:
            self.left = when - asyncio.get_running_loop().time()

    bound, found = Bound(), list[tuple[str, float]]()

    async def lines() -> AsyncIterator[bytes]:
        for line in (b": heartbeat", b'data: {"kind": "outlet"}', b"id: 5"):
            found.append(("waits", bound.left))
            bound.left = 0.0
            yield line
        found.append(("waits", bound.left))

    async def hear() -> None:
        lab.site._upkeep.take = lambda _: found.append(("takes", bound.left))  # type: ignore[method-assign]
        await lab.site._hear(lines(), bound)  # type: ignore[arg-type]

    asyncio.run(hear())
    assert [kind for kind, _ in found] == ["waits", "waits", "takes", "waits", "waits"]
    assert all(100 < left <= LOADING if kind == "takes" else 20 < left <= 25 for kind, left in found)


def test_one_that_is_silent_from_the_start_is_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def silent() -> Iterator[bytes]:
        yield HEAD
        over.wait(60)
        raise ConnectionError

    lab.lying.lies["GET /api/v1/events"] = silent
    monkeypatch.setattr(engine_site, "SILENCE", 0.1)
    lab.site.start()
    eventually(lambda: len(lab.changes) >= 2)
    assert lab.changes[1].endswith(" does not answer")
    over.set()


def test_one_that_does_not_answer_is_told_after_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "ANSWER", 0.2)

    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait(60)
        yield b""

    lab.lying.lies["GET /api/v1/events"] = silent
    lab.site.start()
    eventually(lambda: lab.changes)
    assert lab.changes[0].endswith(f"{lab.lying.url.removeprefix('http://')} does not answer")
    over.set()


@pytest.mark.usefixtures("meant")
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


def test_one_that_takes_its_time_to_refuse_is_tried_less_often_as_well(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection by which nothing was heard did not last, however long it took."""
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 3600.0))
    monkeypatch.setattr(engine_site, "STEADY", 0.0)
    statuses = iter(range(500, 600))
    lab.lying.lies["GET /api/v1/events"] = lambda: reply(b"oops", next(statuses), "text/html")
    lab.site.start()
    eventually(lambda: len(lab.changes) == 2)
    time.sleep(0.3)
    assert lab.changes == [f"site berlin cannot be asked: it answers {status}" for status in (500, 501)]


def test_who_is_in_a_hurry_has_it_tried_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "PAUSES", (0.01, 3600.0))
    statuses = iter(range(500, 600))
    lab.lying.lies["GET /api/v1/events"] = lambda: reply(b"oops", next(statuses), "text/html")
    lab.site.start()
    for tries in (2, 3):
        eventually(lambda tries=tries: len(lab.changes) == tries)
        time.sleep(0.2)
        assert lab.changes[-1] == f"site berlin cannot be asked: it answers {499 + tries}"
        lab.site.ask("GET", "/api/v1/groups", 1.0, lambda *_: None)
    eventually(lambda: len(lab.changes) == 4)


def test_who_is_in_a_hurry_does_not_have_it_tried_before_the_least_pause_is_over(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_site, "PAUSES", (3600.0,))
    lab.lying.lies["GET /api/v1/events"] = lambda: reply(b"oops", 500, "text/html")
    lab.site.start()
    eventually(lambda: lab.changes)
    for _ in range(3):
        lab.site.ask("GET", "/api/v1/groups", 1.0, lambda *_: None)
        time.sleep(0.1)
    assert lab.asked("/api/v1/events") == 1


def test_a_refusal_without_an_end_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "LONGEST_REFUSAL", 100)

    def endless() -> Iterator[bytes]:
        yield reply(b"", 500, "text/plain", Content_Length="") + b"it is too much\n"
        while True:
            yield b"and more\n"
            time.sleep(0.001)

    lab.lying.lies["GET /api/v1/events"] = endless
    lab.site.start()
    eventually(lambda: lab.changes)
    assert lab.changes[0] == "site berlin cannot be asked: it answers 500: it is too much"


def test_a_refusal_of_several_lines_is_told(lab: Lab) -> None:
    said = b'{\n"type": "urn:pdudaemon:unavailable",\n"detail": "it is busy"\n}'
    lab.lying.lies["GET /api/v1/events"] = lambda: reply(said, 503, "application/problem+json")
    lab.site.start()
    eventually(lambda: lab.changes)
    assert lab.changes[0] == "site berlin cannot be asked: it is busy"


def test_what_takes_longer_to_load_than_to_answer_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_site, "ANSWER", 0.4)

    def slow() -> Iterator[bytes]:
        time.sleep(0.6)
        yield reply({"rack1": ["board1"]})

    lab.lying.lies["GET /api/v1/groups"] = slow
    lab.site.start()
    eventually(lambda: not lab.site.trouble, 60)


def test_how_far_its_clock_is_ahead_is_found_out(lab: Lab) -> None:
    lab.lying.lies["GET /api/v1/events"] = lambda: events(ahead=3600.0)
    lab.site.start()
    eventually(lambda: 3500 < lab.site.translation.ahead < 3700)


def test_what_was_left_open_when_it_was_lost_is_closed(lab: Lab) -> None:
    lab.site.start()
    before = lab.reached().asker
    lab.say(CUT)
    eventually(lambda: len(lab.changes) == 3)
    assert lab.site.asker is not before and before._closed and not before._idle and not lab.site.asker._closed

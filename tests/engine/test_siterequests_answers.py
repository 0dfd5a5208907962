# SPDX-License-Identifier: MIT
"""One request at a site: what it is asked for, what is told by its answers, its record and what is heard of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from pdudaemon.engine import siterequests
from pdudaemon.engine.siteorders import SiteRequest, Wanted
from pdudaemon.engine.siterequests import SiteRequests
from pdudaemon.errors import (
    DeviceError,
    NotDone,
    PDUDaemonError,
    RequestEnded,
    RequestError,
    SiteUnreachable,
    Stopping,
    TransientError,
    Unanswered,
)
from pdudaemon.power import Action, Outcome, Outlet, Target
from tests.support.lyingsite import Known, LyingSite, cut, in_turn, problem, reply, slowly

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


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(siterequests, "PAUSES", (0.0, 0.02))
    with LyingSite() as site:
        lab = Lab(site)
        with lab.runner:
            yield lab


def test_what_is_done_at_once(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply(DONE, 201)}
    request = lab.request(body={"action": "on", "alias": "b1"})
    (question,) = lab.site.questions
    assert question.asked == "POST /api/v1/requests"
    assert question.json() == {"action": "on", "alias": "b1", "wait": siterequests.MOMENT}
    assert (question.headers["idempotency-key"], question.headers["x-request"]) == ("a-key", "7")
    assert lab.known.done == [("7", B1, Action.ON)]
    assert (request.outcome, request.ended, request.number) == (Outcome.DONE, 5.0, "berlin/7")
    assert (request.action, request.target, request.accepted > 0) == (Action.ON, B1, True)
    assert request.record["target"] == "berlin/b1 (berlin/p1 port 1)"
    assert request.record["outlets"] == [{"pdu": "berlin/p1", "port": "1"}]


def test_what_was_accepted_before_we_asked_is_nothing_new(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply(DONE, 200)}
    assert lab.request().accepted == 0.0 and lab.known.done == []


def test_a_machine_that_is_left_on_is_not_known_to_be_off(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply(DONE, 201)}
    lab.request(action=Action.OFF, body={"action": "off", "soft": 5, "hard": False})
    assert lab.known.done == []
    lab.request(action=Action.OFF, body={"action": "off", "soft": 5, "hard": True})
    assert lab.known.done == [("7", B1, Action.OFF)]


@pytest.mark.parametrize(
    ("seconds", "moments", "asked", "wait"),
    [(20.0, True, 0, 2.0), (20.0, True, 31, 2.0), (20.0, True, 32, 0.0), (20.0, False, 0, 0.0), (0.0, True, 0, 0.0)],
)
def test_how_long_the_site_is_to_wait(lab: Lab, seconds: float, moments: bool, asked: int, wait: float) -> None:
    """Not while many questions are under way, nor for what takes long."""
    lab.site.lies = {"POST ": lambda: reply(DONE, 201)}
    lab.known.asker.asked = asked
    lab.runner.run(lab.switch(seconds=seconds, moments=moments))
    assert lab.site.questions[0].json()["wait"] == wait


@pytest.mark.parametrize(("seconds", "least", "most"), [(2.0, 1.4, 1.5), (0.8, 0.5, 0.6)])
def test_the_site_answers_before_the_time_is_over(lab: Lab, seconds: float, least: float, most: float) -> None:
    lab.site.lies = {"POST ": lambda: reply(DONE, 201)}
    lab.request(seconds=seconds)
    wait = lab.site.questions[0].json()["wait"]
    assert least < wait <= most and wait == round(wait, 3)


def test_who_does_not_wait_hears_that_it_is_accepted(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply({"id": 7, "state": "queued", "ended": None}, 202)}
    request = lab.request(seconds=0.0)
    assert (request.outcome, request.ended, request.record["target"]) == (None, None, "berlin/b1")
    assert lab.site.asked == ["POST /api/v1/requests"] and lab.known.done == []


def test_what_has_ended_otherwise_is_an_error(lab: Lab) -> None:
    failed = {**DONE, "state": "failed", "reason": "no\x1banswer", "error": "device-failed"}
    lab.site.lies = {"POST ": lambda: reply(failed, 200)}
    error, request = lab.error()
    assert type(error) is TransientError and str(error) == "berlin: no\\x1banswer"
    assert request is not None and request.outcome is Outcome.FAILED
    slow = {**failed, "error": "device-timeout"}
    lab.site.lies = {"POST ": lambda: reply(slow, 200)}
    assert lab.error()[0].kind == "device-timeout"
    cancelled = {**DONE, "state": "cancelled", "reason": None}
    lab.site.lies = {"POST ": lambda: reply(cancelled, 200)}
    error, _ = lab.error()
    assert type(error) is RequestEnded and str(error) == "berlin: request berlin/7 is cancelled"


@pytest.mark.parametrize("feeds", [None, [{"pdu": "p1", "port": "1", "state": "off"}]])
def test_what_failed_after_it_was_accepted(lab: Lab, feeds: list[dict[str, str]] | None) -> None:
    more = {} if feeds is None else {"feeds": feeds}
    lab.site.lies = {"POST ": lambda: problem("device-timeout", "no answer", 504, request=7, **more)}
    error, request = lab.error()
    assert error.kind == "device-timeout" and str(error) == "berlin: no answer"
    assert request is not None and request.number == "berlin/7" and request.outcome is Outcome.FAILED
    assert request.record.get("feeds") == (feeds and [{**feeds[0], "pdu": "berlin/p1"}])
    assert lab.site.asked == ["POST /api/v1/requests"]


def test_what_the_site_refuses(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: problem("bad-field", "alias: no such node", 422, field="alias")}
    error, request = lab.error()
    assert type(error) is RequestError and str(error) == "berlin: no such node" and request is None


def test_a_site_that_leads_elsewhere_is_no_site(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply(DONE, 300)}
    error, request = lab.error()
    assert str(error) == "berlin cannot be asked: it answers 300" and request is None


def heard(lab: Lab, state: str = "done", reason: str | None = None, error: str | None = None) -> None:
    """Have the site tell that request 7 has ended."""
    event = {"kind": "ended", "request": 7, "action": "on", "target": "b1 (p1 port 1)", "outlets": ["p1:1"]}
    lab.requests.heard({**event, "state": state, "reason": reason, "error": error, "time": 9.0, "client": "c"})


async def _heard_soon(lab: Lab, **words: Any) -> None:
    """Wait for a request, that ends once it is waited for."""
    task = asyncio.create_task(lab.switch(**words))
    while not lab.requests._waiting:
        await asyncio.sleep(0.005)
    heard(lab)
    await task


NOT_DONE = problem("not-done", "accepted as request 7", 504, request=7)


@pytest.mark.parametrize("first", [reply(GOES_ON, 201), NOT_DONE])
def test_what_takes_long_is_told_when_it_is_heard(lab: Lab, first: bytes) -> None:
    lab.site.lies = {"POST ": lambda: first, "GET /api/v1/requests/7": lambda: reply(DONE)}
    lab.runner.run(_heard_soon(lab))
    assert lab.told is not None and lab.site.asked[1:] == ["GET /api/v1/requests/7"]
    request, error = lab.told
    assert error is None and request is not None and (request.outcome, request.ended) == (Outcome.DONE, 5.0)
    assert lab.known.done == [("7", B1, Action.ON)] and lab.requests.has_ended("7")
    assert not lab.requests.has_ended("8")


@pytest.mark.parametrize("record", [reply({"detail": "gone"}, 404), reply(b"oops"), reply([1])])
def test_without_a_record_it_is_told_by_what_was_heard(lab: Lab, record: bytes) -> None:
    """The site keeps no history, say."""
    lab.site.lies = {"POST ": lambda: reply(GOES_ON, 201), "GET /api/v1/requests/7": lambda: record}
    lab.runner.run(_heard_soon(lab))
    assert lab.told is not None
    request, error = lab.told
    assert error is None and request is not None and (request.outcome, request.ended) == (Outcome.DONE, 9.0)
    assert request.record["id"] == "berlin/7" and request.record["target"] == "berlin/b1"


def test_what_was_heard_before_the_answer_counts_and_older_news_do_not(lab: Lab) -> None:
    """The number is of another request then: the site has begun a new store."""
    lab.site.lies = {"GET /api/v1/requests/7": lambda: reply(GOES_ON)}

    def answer() -> bytes:
        loop.call_soon_threadsafe(heard, lab, "failed", "no answer", "device-failed")
        time.sleep(0.1)
        return reply(GOES_ON, 201)

    async def asked() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        heard(lab)  # of the other
        lab.site.lies["POST "] = lambda: reply(GOES_ON, 201)
        await lab.switch(seconds=0.2)
        assert lab.told is not None and type(lab.told[1]) is NotDone, "by what was heard of another"
        lab.site.lies["POST "] = answer
        await lab.switch()

    loop: asyncio.AbstractEventLoop
    lab.runner.run(asked())
    assert lab.told is not None
    assert type(lab.told[1]) is TransientError and str(lab.told[1]) == "berlin: no answer"


@pytest.mark.parametrize(
    ("record", "why"),
    [(reply(GOES_ON), ": it waits"), (reply({**GOES_ON, "reason": None}), ""), (reply({"detail": "?"}, 404), "")],
)
def test_what_is_not_done_in_time_goes_on(lab: Lab, record: bytes, why: str) -> None:
    lab.site.lies = {"POST ": lambda: reply(GOES_ON, 201), "GET /api/v1/requests/7": lambda: record}
    error, request = lab.error(seconds=0.3)
    assert type(error) is NotDone
    assert str(error) == f"accepted as request berlin/7, not done after 0.3 s{why}; it goes on"
    assert request is not None and request.number == "berlin/7" and request.outcome is None and lab.known.done == []


def test_that_the_site_is_away_is_why(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply(GOES_ON, 201), "GET /api/v1/requests/7": lambda: reply(GOES_ON)}
    lab.known.trouble = "connection refused"
    error, _ = lab.error(seconds=0.3)
    assert "not done after 0.3 s: berlin cannot be asked: connection refused; it goes on" in str(error)


@pytest.mark.parametrize(
    ("state", "kind"), [("done", None), ("failed", DeviceError), ("expired", RequestEnded), ("given up", RequestEnded)]
)
def test_what_was_not_heard_is_in_the_record(lab: Lab, state: str, kind: type[PDUDaemonError] | None) -> None:
    lab.site.lies = {
        "POST ": lambda: reply(GOES_ON, 201),
        "GET /api/v1/requests/7": lambda: reply({**DONE, "state": state, "error": None}),
    }
    request, error = lab.switched(seconds=0.2)
    assert request is not None and request.outcome is Outcome(state)
    assert error is None if kind is None else isinstance(error, kind)
    assert len(lab.known.done) == (1 if state == "done" else 0)


@pytest.mark.parametrize("record", [DONE, GOES_ON, None])
def test_after_events_were_missed_it_is_looked_what_became_of_what_is_waited_for(
    lab: Lab, record: dict[str, Any] | None
) -> None:
    ended = record is DONE
    lab.site.lies = {
        "POST ": lambda: reply(GOES_ON, 201),
        "GET /api/v1/requests/7": lambda: reply(record, 200 if record else 404),
    }

    async def missed() -> None:
        task = asyncio.create_task(lab.switch(seconds=20.0 if ended else 0.5))
        while not lab.requests._waiting:
            await asyncio.sleep(0.005)
        await lab.requests.look_after()
        await task

    lab.runner.run(missed())
    assert lab.told is not None and lab.requests.has_ended("7") == ended
    assert (lab.told[1] is None) == ended


def test_an_answer_that_was_cut_is_asked_for_again_by_its_key(lab: Lab) -> None:
    answers = (*(cut(reply(DONE, 201)) for _ in range(3)), reply(b"oops", 500, "text/html"), reply(DONE, 200))
    lab.site.lies = {"POST ": in_turn(*answers)}
    request = lab.request()
    assert [question.headers["idempotency-key"] for question in lab.site.questions] == ["a-key"] * 5
    assert request.accepted > 0 and len(lab.known.done) == 1, "that it was asked for twice makes it no older"


def test_what_was_accepted_the_second_time_is_new(lab: Lab) -> None:
    lab.site.lies = {"POST ": in_turn(cut(reply(DONE, 201)), reply(DONE, 200))}
    assert lab.request().accepted > 0 and len(lab.known.done) == 1


def test_a_site_that_ails_is_given_a_pause(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siterequests, "PAUSES", (0.0, 0.2))
    asked: list[float] = []

    def answer() -> bytes:
        asked.append(time.monotonic())
        return reply(b"oops", 502, "text/html") if len(asked) < 3 else reply(DONE)

    lab.site.lies = {"POST ": answer}
    lab.request()
    assert len(asked) == 3 and asked[2] - asked[1] > 0.19


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: cut(reply(DONE, 201)), "the connection was closed before the answer was whole"),
        (lambda: reply(b"oops", 502, "text/html"), "it answers 502"),
        (lambda: slowly(reply(DONE, 201), 0.1), "it does not answer"),
    ],
)
def test_whether_it_was_accepted_is_not_made_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any], why: str
) -> None:
    hangs = why == "it does not answer"
    monkeypatch.setattr(siterequests, "PAUSES", (0.0, 0.01, 60.0))  # for which there is no time
    lab.site.lies = {"POST ": answer}
    error, request = lab.error(seconds=0.3 if hangs else 30.0)
    assert type(error) is Unanswered and request is None
    assert str(error).startswith(
        f"it is not known whether berlin has accepted this: {why}; asked for again with the key a-key"
    )
    assert lab.known.doubts == (1 if hangs else 0) and len(lab.site.questions) == (1 if hangs else 3)


def test_a_site_that_cannot_be_reached_has_got_nothing(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"http://127.0.0.1:{server.getsockname()[1]}"
    lab.known.asker = Known(nobody).asker
    error, request = lab.error()
    assert type(error) is SiteUnreachable and request is None and lab.known.doubts == 0
    assert str(error).startswith("berlin cannot be asked: no connection to ")


def test_a_question_that_finds_no_place_has_not_been_put(lab: Lab) -> None:
    async def full() -> None:
        places = lab.known.asker._places
        while not places.locked():
            await places.acquire()
        await lab.switch(seconds=0.2)

    lab.runner.run(full())
    assert lab.told is not None and type(lab.told[1]) is SiteUnreachable and lab.site.questions == []
    assert str(lab.told[1]) == "berlin cannot be asked: 0 questions are before this one" and lab.known.doubts == 1


@pytest.mark.parametrize(
    "answer", [reply([]), reply({"state": "done"}), reply({"id": 7, "outlets": 5, "state": "done"})]
)
def test_what_makes_no_sense_is_not_known(lab: Lab, answer: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lab.site.lies = {"POST ": lambda: answer}
    error, request = lab.error(seconds=0.0)
    assert type(error) is Unanswered and request is None
    assert str(error) == (
        "it is not known what became of this at berlin: what it says is not understood;"
        " asked for again with the key a-key, it is not done twice"
    )
    assert "berlin: " in caplog.text and "Traceback" in caplog.text, "whoever mends it wants to know where"


@pytest.mark.parametrize(
    ("first", "kind", "text"),
    [
        (None, Unanswered, "it is not known whether berlin has accepted this: this daemon stops, or has let go of it"),
        (
            reply(GOES_ON, 201),
            Stopping,
            "accepted as request berlin/7; this daemon stops, or has let go of berlin, where it goes on",
        ),
    ],
)
def test_when_the_daemon_stops_who_waits_hears_so(
    lab: Lab, first: bytes | None, kind: type[PDUDaemonError], text: str
) -> None:
    lab.site.lies = {"POST ": lambda: first if first is not None else slowly(reply(DONE), 0.1)}

    async def stopped() -> None:
        task = asyncio.create_task(lab.switch())
        while not (lab.requests._waiting if first is not None else lab.site.questions):
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    lab.runner.run(stopped())
    assert lab.told is not None
    request, error = lab.told
    assert type(error) is kind and str(error) == text
    assert (request is None) == (first is None)
    assert request is None or (request.number == "berlin/7" and request.accepted > 0)


def test_what_goes_wrong_here_is_told(
    lab: Lab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def switched(*_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(lab.known, "switched", switched)
    lab.site.lies = {"POST ": lambda: reply(DONE, 201)}
    error, _ = lab.error()
    assert str(error) == "internal error with berlin: see the log of the daemon"
    assert "berlin: a request was lost" in caplog.text and "RuntimeError: odd" in caplog.text


def test_what_is_heard_is_in_our_words(lab: Lab) -> None:
    event = {"kind": "tried", "request": 7, "action": "off", "target": "b1 (p1 port 1)", "outlets": ["p1:1", "a:b:2"]}
    event |= {"nodes": ["b1"], "client": "ann", "command": 3, "state": "running", "owed": ["p1:1"], "due": 50.0}
    lab.known.translation.ahead = 10.0
    failed = lab.requests.heard({**event, "reason": "no\x1banswer", "error": "device-timeout"})
    assert (failed["kind"], failed["request"], failed["command"]) == ("tried", "berlin/7", "berlin/3")
    assert failed["outlets"] == (Outlet("berlin/p1", "1"), Outlet("berlin/a:b", "2"))
    assert (failed["owed"], failed["names"]) == ((Outlet("berlin/p1", "1"),), ("berlin/b1",))
    assert (failed["target"], failed["client"], failed["action"]) == ("berlin/b1 (berlin/p1 port 1)", "ann", "off")
    assert (failed["state"], failed["due"], failed["reason"]) == ("running", 40.0, "")
    assert failed["error"].kind == "device-timeout" and str(failed["error"]) == "no\\x1banswer"
    fine = lab.requests.heard({**event, "reason": "shut down by itself", "error": None})
    assert (fine["error"], fine["reason"]) == (None, "shut down by itself")
    older = lab.requests.heard({**event, "reason": "no answer"})  # of a release that tells no kinds
    assert str(older["error"]) == "no answer" and older["reason"] == ""
    plain = lab.requests.heard({"kind": "begun", "request": 7, "reason": None, "error": None, "target": "b1"})
    assert (plain["error"], plain["reason"], plain["outlets"], plain["owed"]) == (None, "", (), ())
    assert (
        plain["action"] == "" and lab.requests.heard({"kind": "begun", "request": 7, "target": "b1"})["error"] is None
    )
    assert (plain["names"], plain["state"], plain["client"], plain["due"]) == ((), "", "", None)


def test_it_is_not_remembered_for_ever_what_has_ended(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siterequests, "REMEMBERED", 3)

    async def hear() -> None:
        for number in range(1, 6):
            lab.requests.heard({"kind": "ended", "request": number, "target": "x", "state": "done"})

    lab.runner.run(hear())
    assert [number for number in range(1, 6) if lab.requests.has_ended(str(number))] == [3, 4, 5]

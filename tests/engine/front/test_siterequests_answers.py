# SPDX-License-Identifier: MIT
"""One request at a site: what it is asked for, and what is told by its answer, whatever that is."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pdudaemon.engine.front import siterequests
from pdudaemon.errors import (
    PDUDaemonError,
    RequestEnded,
    RequestError,
    SiteUnreachable,
    Stopping,
    TransientError,
    Unanswered,
)
from pdudaemon.power import Action, Outcome
from tests.support.lyingsite import Known, cut, in_turn, problem, reply, slowly
from tests.support.siteswitching import B1, DONE, GOES_ON, Lab, switching


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with switching(monkeypatch) as made:
        yield made


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
    error, request = lab.error(seconds=2.0 if hangs else 30.0)
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


@pytest.mark.usefixtures("meant")
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

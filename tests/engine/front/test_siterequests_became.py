# SPDX-License-Identifier: MIT
"""What became of a request at a site is told by what is heard of it, and by its record."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pdudaemon.engine.front import siterequests
from pdudaemon.errors import (
    DeviceError,
    NotDone,
    PDUDaemonError,
    RequestEnded,
    TransientError,
)
from pdudaemon.power import Action, Outcome, Outlet
from tests.support.lyingsite import problem, reply
from tests.support.siteswitching import B1, DONE, GOES_ON, Lab, switching


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with switching(monkeypatch) as made:
        yield made


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
        await lab.switch(seconds=2.0)
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
    error, request = lab.error(seconds=2.0)
    assert type(error) is NotDone
    assert str(error) == f"accepted as request berlin/7, not done after 2 s{why}; it goes on"
    assert request is not None and request.number == "berlin/7" and request.outcome is None and lab.known.done == []


def test_that_the_site_is_away_is_why(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply(GOES_ON, 201), "GET /api/v1/requests/7": lambda: reply(GOES_ON)}
    lab.known.trouble = "connection refused"
    error, _ = lab.error(seconds=2.0)
    assert "not done after 2 s: berlin cannot be asked: connection refused; it goes on" in str(error)


@pytest.mark.parametrize(
    ("state", "kind"), [("done", None), ("failed", DeviceError), ("expired", RequestEnded), ("given up", RequestEnded)]
)
def test_what_was_not_heard_is_in_the_record(lab: Lab, state: str, kind: type[PDUDaemonError] | None) -> None:
    lab.site.lies = {
        "POST ": lambda: reply(GOES_ON, 201),
        "GET /api/v1/requests/7": lambda: reply({**DONE, "state": state, "error": None}),
    }
    request, error = lab.switched(seconds=2.0)
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
        task = asyncio.create_task(lab.switch(seconds=20.0 if ended else 2.0))
        while not lab.requests._waiting:
            await asyncio.sleep(0.005)
        await lab.requests.look_after()
        await task

    lab.runner.run(missed())
    assert lab.told is not None and lab.requests.has_ended("7") == ended
    assert (lab.told[1] is None) == ended


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

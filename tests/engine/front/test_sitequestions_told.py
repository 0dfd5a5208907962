# SPDX-License-Identifier: MIT
"""Questions to a site: what is told is what it says, or why there is nothing, once."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest

from pdudaemon.engine.front.sitequestions import ask, failure, refusal, states
from pdudaemon.errors import (
    Busy,
    DeviceError,
    DeviceTimeout,
    Locked,
    PDUDaemonError,
    RequestError,
    SiteUnreachable,
    StoreError,
    TransientError,
    Unanswered,
)
from pdudaemon.transports.asking import Reply
from tests.support.lyingsite import Known, LyingSite, cut, lines, problem, reply, slowly


@pytest.fixture
def site() -> Iterator[LyingSite]:
    with LyingSite() as made:
        yield made


def asked(known: Known, seconds: float = 20.0, late: float = 0.0) -> tuple[Any, PDUDaemonError | None]:
    """Put a question and return what is told."""
    told: list[tuple[Any, PDUDaemonError | None]] = []
    asyncio.run(ask(known, "GET", "/api/v1/x", seconds, late, lambda found, error: told.append((found, error))))
    (only,) = told
    return only


def test_what_the_site_says_is_told(site: LyingSite) -> None:
    site.lies = {"GET /api/v1/x": lambda: reply({"watts": 5})}
    assert asked(Known(site.url)) == ({"watts": 5}, None)
    site.lies = {"GET /api/v1/x": lambda: reply([1, 2], Link="<?after=2>")}
    found, error = asked(Known(site.url))
    assert (found, error, found.headers["link"]) == ([1, 2], None, "<?after=2>")


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (lambda: problem("locked", "it is locked", 409), Locked, "berlin: it is locked"),
        (lambda: reply({}, 300), SiteUnreachable, "berlin cannot be asked: it answers 300"),
        (lambda: cut(reply({})), Unanswered, "berlin: the connection was closed before the answer was whole"),
        (lambda: reply(b"oops"), Unanswered, "berlin: the answer (200) is not JSON"),
        (lambda: slowly(reply({}), 0.2), DeviceTimeout, "berlin: no answer within 0.1 s"),
    ],
)
def test_why_there_is_nothing_is_told(
    site: LyingSite, answer: Callable[[], Any], kind: type[PDUDaemonError], text: str
) -> None:
    site.lies = {"GET /api/v1/x": answer}
    known = Known(site.url)
    found, error = asked(known, 0.1 if kind is DeviceTimeout else 20.0)
    assert found is None and type(error) is kind and str(error) == text
    assert known.doubts == (1 if kind is DeviceTimeout else 0)


def late(answer: bytes, seconds: float) -> Iterator[bytes]:
    time.sleep(seconds)
    yield answer


def test_the_site_has_some_more_time_than_was_asked_for(site: LyingSite) -> None:
    site.lies = {"GET /api/v1/x": lambda: late(reply(1), 0.3)}
    assert asked(Known(site.url), 0.1, 20.0) == (1, None)


def nobody() -> Known:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Known(f"http://127.0.0.1:{server.getsockname()[1]}")


def test_a_site_that_is_not_there() -> None:
    found, error = asked(nobody())
    assert found is None and type(error) is SiteUnreachable and str(error).startswith("berlin cannot be asked: no conn")


def test_when_the_daemon_stops_who_asks_hears_so(site: LyingSite) -> None:
    site.lies = {"GET ": lambda: slowly(reply({}), 0.2)}
    told: list[Any] = []

    async def stopped() -> None:
        known = Known(site.url)
        tasks = [
            asyncio.create_task(ask(known, "GET", "/api/v1/x", 20.0, 0.0, lambda _, error: told.append(error))),
            asyncio.create_task(states(known, ["b1"], 20.0, 0.0, lambda _, said: told.append(said))),
        ]
        while len(site.questions) < 2:
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(stopped())
    assert [str(error) for error in told] == ["berlin: the daemon is stopping, or has let go of it"] * 2
    assert [type(error) for error in told] == [Busy, Busy]


def looked(known: Known, wait: float = 20.0, late: float = 0.0) -> dict[str, Mapping[str, Any] | PDUDaemonError]:
    """Ask for the states of two nodes and return what is told of each."""
    told: dict[str, Mapping[str, Any] | PDUDaemonError] = {}

    def tell(name: str, said: Mapping[str, Any] | PDUDaemonError) -> None:
        assert name not in told, "it is told twice"
        told[name] = said

    asyncio.run(states(known, ["b1", "b2"], wait, late, tell))
    assert told.keys() == {"b1", "b2"}
    return told


def test_states_are_told_one_by_one(site: LyingSite) -> None:
    said = [{"id": name, "attributes": {"state": "on"}} for name in ("b2", "x", "b2", "b1")]
    site.lies = {"GET /?": lambda: lines({"meta": {}}, *said)}
    assert looked(Known(site.url), 2.5) == {"b1": {"state": "on"}, "b2": {"state": "on"}}
    (question,) = site.questions
    assert parse_qs(question.asked.partition("?")[2]) == {"nodes": ["b[1-2]"], "wait": ["2.5"]}
    assert question.headers["accept"] == "application/x-ndjson"


ONE = {"id": "b1", "attributes": {"state": "on"}}


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (lambda: lines(ONE), Unanswered, "berlin: it says nothing of it"),
        (
            lambda: cut(lines(ONE, {"x": 1}), -9),
            Unanswered,
            "berlin: the connection was closed before the answer was whole",
        ),
        (lambda: lines(ONE, []), Unanswered, "berlin: what it says is not understood"),
        (
            lambda: reply(b'{"id": "b1", "attributes": {"state": "on"}}\n{\n'),
            Unanswered,
            "berlin: the answer (200) is not JSON",
        ),
    ],
)
def test_what_was_told_stays_told(
    site: LyingSite, answer: Callable[[], Any], kind: type[PDUDaemonError], text: str
) -> None:
    site.lies = {"GET /?": answer}
    told = looked(Known(site.url))
    error = told["b2"]
    assert told["b1"] == {"state": "on"} and type(error) is kind and str(error) == text


def test_states_that_do_not_come(site: LyingSite) -> None:
    site.lies = {"GET /?": lambda: problem("busy", "it stops", 503)}
    assert {str(error) for error in looked(Known(site.url)).values()} == {"berlin: it stops"}
    site.lies = {"GET /?": lambda: slowly(lines(ONE), 0.2)}
    known = Known(site.url)
    assert {str(error) for error in looked(known, 0.1).values()} == {"berlin: no answer within 0.1 s"}
    assert known.doubts == 1
    site.lies = {"GET /?": lambda: late(lines(ONE, {**ONE, "id": "b2"}), 0.3)}
    assert looked(Known(site.url), 0.1, 20.0)["b2"] == {"state": "on"}
    assert {type(error) for error in looked(nobody()).values()} == {SiteUnreachable}


@pytest.mark.parametrize(
    ("status", "said", "kind", "text"),
    [
        (409, {"type": "urn:pdudaemon:locked", "detail": "no\x1b"}, Locked, "berlin: no\\x1b"),
        (
            403,
            {"type": "urn:pdudaemon:denied", "detail": "no"},
            SiteUnreachable,
            "berlin cannot be asked: it refuses the token of this front: no",
        ),
        (422, {"type": "urn:pdudaemon:bad-field", "detail": "wait: no", "field": "wait"}, RequestError, "berlin: no"),
        (422, {"type": "urn:pdudaemon:bad-field", "detail": "wait: no"}, RequestError, "berlin: wait: no"),
        (421, {"type": "urn:pdudaemon:misdirected", "detail": "not here"}, RequestError, "berlin: not here"),
        (507, {"type": "urn:pdudaemon:store", "detail": "full"}, StoreError, "berlin: full"),
        (499, {"type": "about:blank", "detail": "odd"}, RequestError, "berlin: odd"),
        (500, {"type": "about:blank", "detail": "odd"}, Unanswered, "berlin: odd"),
        (404, {"type": "about:blank"}, SiteUnreachable, "berlin cannot be asked: it answers 404"),
        (404, [], SiteUnreachable, "berlin cannot be asked: it answers 404"),
    ],
)
def test_what_a_site_says_instead(status: int, said: Any, kind: type[PDUDaemonError], text: str) -> None:
    found = refusal("berlin", Reply(status, {}, reply(said).partition(b"\r\n\r\n")[2]))
    assert (type(found), str(found)) == (kind, text)


def test_how_a_request_failed() -> None:
    assert type(failure("device-failed", "x")) is TransientError
    assert type(failure("moon", "x")) is type(failure(None, "x")) is DeviceError

# SPDX-License-Identifier: MIT
"""A command at a site: what the site is asked for, and what is told of each node, once, whatever it says."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from pdudaemon.engine.front import sitecommands
from pdudaemon.engine.front.sitecommands import SiteCommand
from pdudaemon.engine.front.siteorders import SiteRequest, Wanted
from pdudaemon.errors import (
    Busy,
    DeviceError,
    NotDone,
    PDUDaemonError,
    RequestError,
    SiteUnreachable,
    Stopping,
    TransientError,
    Unanswered,
)
from pdudaemon.power import Action, Outcome, Outlet, Target
from tests.support.lyingsite import Known, LyingSite, cut, in_turn, lines, problem, reply, slowly

TARGETS = {name: Target(f"berlin/{name}", (Outlet("berlin/p1", name[-1]),)) for name in ("b1", "b2")}


def attributes(name: str, **said: Any) -> dict[str, Any]:
    return {"id": name, "attributes": {"success": True, "request": int(name[-1]), **said}}


def entry(name: str, **said: Any) -> dict[str, Any]:
    return {"name": name, "state": "done", "reason": None, "request": int(name[-1]), "ended": 5.0, **said}


class Told(NamedTuple):
    """What is told of one command: its numbers, and of each node the error and the request."""

    began: list[str | None]
    nodes: dict[str, tuple[PDUDaemonError | None, SiteRequest | None]]

    def error(self, name: str) -> PDUDaemonError:
        found = self.nodes[name][0]
        assert found is not None
        return found

    def record(self, name: str) -> dict[str, Any]:
        request = self.nodes[name][1]
        assert request is not None and request.target is TARGETS[name]
        return request.record


class Lab:
    """A site, and who asks it."""

    def __init__(self, site: LyingSite) -> None:
        self.site = site
        self.known = Known(site.url)

    def command(
        self,
        action: Action = Action.ON,
        lines: bool = True,
        seconds: float = 20.0,
        wait: float = 10.0,
        body: Mapping[str, Any] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> tuple[SiteCommand, Told]:
        wanted = Wanted(body or {"action": action.value}, "a-key", seconds, wait, False, {"X-Request": "7"})
        heard = Told([], {})

        def told(name: str, error: PDUDaemonError | None, request: SiteRequest | None) -> None:
            assert name not in heard.nodes, "it is told twice"
            heard.nodes[name] = error, request
            tell(name)

        began = heard.began.append
        return SiteCommand(self.known, wanted, action, "b[1-2]", TARGETS, lines, began, told), heard

    def told(self, **words: Any) -> Told:
        command, heard = self.command(**words)
        asyncio.run(command.carry_out())
        assert heard.nodes.keys() == TARGETS.keys() and len(heard.began) == 1
        return heard


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(sitecommands, "PAUSES", (0.0, 0.02))
    monkeypatch.setattr(sitecommands, "LATE", 0.2)
    with LyingSite() as site:
        yield Lab(site)


@pytest.mark.parametrize(
    ("action", "method", "words"),
    [
        (Action.ON, "PATCH", {}),
        (Action.OFF, "DELETE", {"soft": 60, "hard": False}),
        (Action.REBOOT, "PUT", {"soft": 0.5}),
    ],
)
def test_by_lines_it_is_asked_for_in_a_form(lab: Lab, action: Action, method: str, words: dict[str, Any]) -> None:
    lab.site.lies = {method: lambda: lines({"meta": {"command": 9}}, attributes("b1"), attributes("b2"))}
    told = lab.told(action=action, body={"action": action.value, **words})
    (question,) = lab.site.questions
    sent = dict(pair.split("=") for pair in question.body.decode().split("&"))
    assert question.asked == f"{method} /" and sent.pop("nodes") == "b%5B1-2%5D"
    assert 0 < float(sent.pop("wait")) <= 10.0
    assert sent == {word: str(value).lower() for word, value in words.items()}
    headers = question.headers
    assert (headers["idempotency-key"], headers["x-request"]) == ("a-key", "7")
    assert headers["accept"] == "application/x-ndjson" and "form" in headers["content-type"]
    assert told.began == ["9"] and told.nodes["b1"][0] is None
    assert told.record("b1")["id"] == "berlin/1" and told.record("b2")["state"] == "done"
    done = [(str(number), TARGETS[f"b{number}"], action) for number in (1, 2)]
    assert lab.known.done == (done if words.get("hard", True) else [])
    request = told.nodes["b2"][1]
    assert request is not None and request.outcome is Outcome.DONE and request.ended and request.action is action
    assert request.accepted > 0


def test_at_once_it_is_asked_for_in_json(lab: Lab) -> None:
    lab.site.lies = {"POST ": lambda: reply({"command": 9, "nodes": [entry("b1"), entry("b2")]}, 201)}
    told = lab.told(lines=False, body={"action": "on", "soft": 3})
    (question,) = lab.site.questions
    body = question.json()
    assert question.asked == "POST /api/v1/requests" and 0 < body.pop("wait") <= 10.0
    assert body == {"action": "on", "soft": 3, "nodes": "b[1-2]"}
    assert (question.headers["idempotency-key"], question.headers["x-request"]) == ("a-key", "7")
    assert question.headers["accept"] == "application/json"
    assert told.began == ["9"] and told.record("b1") == {"id": "berlin/1", "state": "done", "ended": 5.0}
    assert [number for number, *_ in lab.known.done] == ["1", "2"]
    request = told.nodes["b1"][1]
    assert request is not None and request.ended == 5.0 and request.accepted > 0


def test_who_does_not_wait_hears_that_it_is_accepted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitecommands, "LATE", 30.0)
    lab.site.lies = {
        "POST ": lambda: reply({"command": 9, "nodes": [entry("b1", state="queued", ended=None), entry("b2")]}, 202),
        "PATCH ": lambda: lines(
            {"meta": {}}, attributes("b1", success=False, pending=True, error="accepted as request 1"), attributes("b2")
        ),
    }
    told = lab.told(lines=False, seconds=0.0, wait=0.0)
    assert lab.site.questions[-1].json()["wait"] == 0 and told.nodes["b1"][0] is None
    request = told.nodes["b1"][1]
    assert request is not None and (request.ended, request.outcome) == (None, None)
    assert [number for number, *_ in lab.known.done] == ["2"]
    told = lab.told(seconds=0.0, wait=0.0)
    assert b"wait=0.000" in lab.site.questions[-1].body or b"wait=0&" in lab.site.questions[-1].body + b"&"
    assert told.began == [None] and told.record("b1")["state"] == "accepted"


ERRORS: dict[str, tuple[dict[str, Any], type[PDUDaemonError], str, str | None]] = {
    "failed": ({"error": "no answer"}, TransientError, "berlin: no answer", "failed"),
    "refused": ({"error": "b1 is locked", "request": None}, RequestError, "berlin: b1 is locked", None),
    "pending": (
        {"error": "accepted as request 1, not done after 5 s; it goes on", "pending": True},
        NotDone,
        "accepted as request berlin/1, not done after 5 s; it goes on",
        "accepted",
    ),
    "nothing": ({"success": True, "request": None}, RequestError, "the site says nothing of it", None),
    "not as it should be": ({"success": 1, "error": "odd\x1b"}, TransientError, "berlin: odd\\x1b", "failed"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_a_line_says(lab: Lab, case: str) -> None:
    said, kind, text, state = ERRORS[case]
    wrong = attributes("b1", **{"success": False, **said})
    lab.site.lies = {"PATCH ": lambda: lines({"meta": {"command": 9}}, wrong, attributes("b2"))}
    told = lab.told()
    error = told.error("b1")
    assert type(error) is kind and str(error) == text
    if state is None:
        assert told.nodes["b1"][1] is None
    else:
        assert told.record("b1") == {"id": "berlin/1", "state": state, "ended": told.record("b1")["ended"]}
        assert (told.record("b1")["ended"] is None) == (state == "accepted")
    assert told.nodes["b2"][0] is None and [number for number, *_ in lab.known.done] == ["2"]


ENTRIES: dict[str, tuple[dict[str, Any], str, type[PDUDaemonError], str]] = {
    "failed": ({"state": "failed", "reason": "no answer"}, "device-failed", TransientError, "berlin: no answer"),
    "with others": ({"state": "failed", "reason": "no answer"}, "not-done", TransientError, "berlin: no answer"),
    "alone": ({"state": "failed", "reason": "no answer"}, "", TransientError, "berlin: no answer"),
    "refused": ({"request": None, "reason": "too busy"}, "busy", Busy, "berlin: too busy"),
    "not known": ({"request": None, "reason": "no such node"}, "bad-field", RequestError, "berlin: no such node"),
    "of no kind": ({"request": None, "reason": "odd"}, "", RequestError, "berlin: odd"),
    "of another": ({"request": None, "reason": "odd"}, "moon", DeviceError, "berlin: odd"),
    "not ended": ({"state": "done", "ended": None, "reason": "odd"}, "not-done", NotDone, "berlin: odd"),
    "goes on": ({"state": "running", "ended": None, "reason": "it goes on"}, "not-done", NotDone, "berlin: it goes on"),
}


@pytest.mark.parametrize("case", ENTRIES)
def test_what_an_entry_says(lab: Lab, case: str) -> None:
    said, kind, error, text = ENTRIES[case]
    answer = {"type": f"urn:pdudaemon:{kind}", "command": 9, "nodes": [entry("b1", **said), entry("b2")]}
    lab.site.lies = {"POST ": lambda: reply(answer, 502, "application/problem+json")}
    told = lab.told(lines=False)
    assert type(told.error("b1")) is error and str(told.error("b1")) == text
    assert (told.nodes["b1"][1] is None) == (said.get("request", 1) is None)
    assert told.nodes["b2"][0] is None and [number for number, *_ in lab.known.done] == ["2"]


def test_what_was_accepted_before_we_asked_is_nothing_new(lab: Lab) -> None:
    """Its outlets may have been switched by others since."""
    lab.site.lies = {"POST ": lambda: reply({"command": 9, "nodes": [entry("b1"), entry("b2")]}, 200)}
    told = lab.told(lines=False)
    request = told.nodes["b1"][1]
    assert lab.known.done == [] and request is not None and request.accepted == 0.0


@pytest.mark.parametrize("by_lines", [True, False])
def test_after_an_answer_that_was_cut_it_is_asked_for_again_by_its_key(lab: Lab, by_lines: bool) -> None:
    """What was told stays told, and the rest is."""
    whole = lines({"meta": {"command": 9}}, attributes("b1"), attributes("b2"))
    other = reply({"command": 9, "nodes": [entry("b1"), entry("b2")]})
    lab.site.lies = {
        "PATCH ": in_turn(*(cut(whole) for _ in range(4)), whole),
        "POST ": in_turn(*(cut(other) for _ in range(3)), reply(b"oops", 502, "text/html"), other),
    }
    told = lab.told(lines=by_lines)
    assert [question.headers["idempotency-key"] for question in lab.site.questions] == ["a-key"] * 5
    assert told.began == ["9"] and [error for error, _ in told.nodes.values()] == [None, None]
    assert lab.known.done, "that the answer was asked for twice makes it no older"


def test_a_site_that_ails_is_given_a_pause(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitecommands, "PAUSES", (0.0, 0.2))
    asked: list[float] = []

    def answer() -> Iterator[bytes]:
        asked.append(time.monotonic())
        yield from (cut(lines(attributes("b1")), 5) if len(asked) < 3 else [lines(attributes("b1"), attributes("b2"))])

    lab.site.lies = {"PATCH ": answer}
    lab.told()
    assert len(asked) == 3 and asked[2] - asked[1] > 0.19


def test_the_time_for_the_site_becomes_less(lab: Lab) -> None:
    whole = reply({"command": 9, "nodes": [entry("b1"), entry("b2")]})
    lab.site.lies = {"POST ": in_turn(late(0.3), whole)}
    lab.told(lines=False, seconds=30.0, wait=30.0)
    assert len(lab.known.done) == 2, "it is no older for having been asked for twice"
    first, second = (question.json()["wait"] for question in lab.site.questions)
    assert 0 < first <= 30.0 and 0 < second < first - 0.25


def late(seconds: float) -> Iterator[bytes]:
    """End the connection after some seconds."""
    time.sleep(seconds)
    yield b"HTTP/1.1 200 OK\r\n"
    raise ConnectionError


def nobody() -> str:
    """Return the URL of a port at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("by_lines", [True, False])
def test_a_site_that_cannot_be_reached_has_got_nothing(lab: Lab, by_lines: bool) -> None:
    lab.known = Known(nobody())
    told = lab.told(lines=by_lines)
    error = told.error("b1")
    assert type(error) is SiteUnreachable and told.error("b2") is error and told.began == [None]
    assert str(error).startswith("berlin cannot be asked: no connection to ") and "refused" in str(error)
    assert [request for _, request in told.nodes.values()] == [None, None]


@pytest.mark.parametrize("by_lines", [True, False])
def test_what_a_site_refuses_is_told_of_all(lab: Lab, by_lines: bool) -> None:
    lab.site.lies = {word: lambda: problem("conflict", "b1 waits", 409) for word in ("PATCH ", "POST ")}
    told = lab.told(lines=by_lines)
    assert len(lab.site.questions) == 1 and told.began == [None]
    assert str(told.error("b1")) == str(told.error("b2")) == "berlin: b1 waits"


@pytest.mark.parametrize(
    ("by_lines", "answer"),
    [
        (True, reply({"data": []})),
        (True, reply(b"", 503, sitecommands.LINES)),
        (False, reply([1])),
        (False, reply({"nodes": 5})),
    ],
)
def test_what_is_no_answer_is_told_of_all(lab: Lab, by_lines: bool, answer: bytes) -> None:
    lab.site.lies = {word: lambda: answer for word in ("PATCH ", "POST ")}
    told = lab.told(lines=by_lines)
    assert str(told.error("b1")) == f"berlin cannot be asked: it answers {answer[9:12].decode()}"
    assert told.error("b2") is told.error("b1") and len(lab.site.questions) == 1


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda: lines(), "the site says nothing of it"),
        (lambda: lines({"meta": 5}), "what it says is not understood"),
        (lambda: lines([]), "what it says is not understood"),
        (lambda: cut(lines(attributes("b1"), {"x": "y" * 100})), "the connection was closed before"),
        (lambda: slowly(lines(attributes("b1")), 0.1), "it does not answer"),
    ],
)
def test_whether_it_was_accepted_is_not_made_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any], why: str
) -> None:
    hangs = why == "it does not answer"
    monkeypatch.setattr(sitecommands, "PAUSES", (0.0, 0.01, 60.0))  # for which there is no time
    lab.site.lies = {"PATCH ": answer}
    told = lab.told(seconds=2.0 if hangs else 30.0)
    error = told.error("b2")
    assert type(error) is Unanswered and told.began == [None]
    assert str(error).startswith(f"it is not known whether berlin has accepted this: {why}")
    assert str(error).endswith("; asked for again with the key a-key, it is not done twice")
    assert lab.known.doubts == (1 if hangs else 0) and len(lab.site.questions) == (1 if hangs else 3)


def test_of_what_was_accepted_it_is_told_that_it_is_not_known_what_became_of_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitecommands, "PAUSES", (0.0, 60.0))
    rest = (attributes("b1"), {"x": "y" * 100})
    lab.site.lies = {"PATCH ": in_turn(*(cut(lines({"meta": {"command": each}}, *rest)) for each in (9, None)))}
    told = lab.told()
    error = told.error("b2")
    assert type(error) is NotDone and told.began == ["9"] and told.nodes["b1"][0] is None
    assert str(error).startswith("accepted as command berlin/9, and it is not known what became of it: the connection")


@pytest.mark.parametrize(
    ("first", "kind", "text"),
    [
        (b"", Unanswered, "it is not known whether berlin has accepted this: this daemon stops, or has let go of it"),
        (
            b'{"meta": {"command": 9}}\n',
            Stopping,
            "accepted as command berlin/9; this daemon stops, or has let go of berlin, where it goes on",
        ),
    ],
)
def test_when_the_daemon_stops_all_hear_so(lab: Lab, first: bytes, kind: type[PDUDaemonError], text: str) -> None:
    def answer() -> Iterator[bytes]:
        yield reply(b"", content_type="application/x-ndjson", Content_Length="") + first
        yield b'{"id": "b1", "attributes": {"success": true, "request": 1}}\n'
        while True:
            yield from slowly(b"\n", 0.05)

    async def stopped() -> None:
        arrived = asyncio.Event()
        command, heard = lab.command(tell=lambda _: arrived.set())
        task = asyncio.create_task(command.carry_out())
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        error = heard.error("b2")
        assert type(error) is kind and str(error) == text and heard.nodes["b1"][0] is None
        assert heard.began == (["9"] if first else [None])

    lab.site.lies = {"PATCH ": answer}
    asyncio.run(stopped())


@pytest.mark.usefixtures("meant")
def test_what_goes_wrong_here_is_told(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    def tell(name: str) -> None:
        if name == "b1":
            raise RuntimeError("odd")

    lab.site.lies = {"PATCH ": lambda: lines({"meta": {}}, attributes("b1"), attributes("b2"))}
    told = lab.told(tell=tell)
    error = told.error("b2")
    assert type(error) is Unanswered and str(error) == "internal error with berlin: see the log of the daemon"
    assert "berlin: a command was lost" in caplog.text and "RuntimeError: odd" in caplog.text


def test_what_the_site_says_of_others_is_nobodys(lab: Lab) -> None:
    many = [attributes("b1"), attributes("x7"), attributes("b1", success=False), attributes("b2")]
    lab.site.lies = {"PATCH ": lambda: lines({"meta": {"command": 9}}, *many)}
    told = lab.told()
    assert [error for error, _ in told.nodes.values()] == [None, None] and len(lab.known.done) == 2

# SPDX-License-Identifier: MIT
"""The stream of events over HTTP: what is told, to whom, and where it goes on."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable

import pytest

from tests.support.process import Daemon
from tests.support.tokens import SECRET, good
from tests.support.watching import Watching

PDUS = {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}}
NODES = {
    "board1": {"hostname": "a", "port": 1},
    "board2": {"hostname": "a", "port": 2},
    "twin": {"feeds": [{"hostname": "a", "port": 3}, {"hostname": "b", "port": 3}]},
}


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Daemon:
    return daemon(PDUS, nodes=NODES)


@pytest.mark.parametrize("sse", [True, False])
def test_a_request_is_told_from_its_beginning_to_its_end(lab: Daemon, sse: bool) -> None:
    with Watching(lab, sse=sse) as watching:
        assert watching.response.headers["Content-Type"] == ("text/event-stream" if sse else "application/x-ndjson")
        lab.power("on", "a", 1)
        ended = watching.until("ended")
        wanted = {
            "request": 1,
            "action": "on",
            "outlets": ["a:1"],
            "nodes": ["board1"],
            "state": "done",
            "reason": None,
        }
        assert wanted.items() <= ended.items() and ended["client"].startswith("127.0.0.1:")
        assert [kind for kind in watching.kinds if kind not in ("outlet", "pdu")] == [
            "accepted",
            "begun",
            "tried",
            "ended",
        ]
        numbers = [event["id"] for event in watching.events]
        assert numbers == sorted(numbers) and abs(ended["time"] - time.time()) < 60


@pytest.mark.parametrize(
    "query, seen",
    [
        ("?node=board1", {1}),
        ("?node=board[1-2]", {1, 2}),
        ("?node=twin", {3}),
        ("?pdu=b", {3, 4}),
        ("?pdu=a,b", {1, 2, 3, 4}),
        ("?pdu=none", set()),
        ("?kind=ended", {1, 2, 3, 4}),
        ("?kind=ended&pdu=b", {3, 4}),
        ("?kind=outlet,reload", set()),
    ],
)
def test_one_may_watch_some_of_it(lab: Daemon, query: str, seen: set[int]) -> None:
    with Watching(lab, query) as watching, Watching(lab) as everything:
        for where in ("hostname=a&port=1", "hostname=a&port=2", "alias=twin", "hostname=b&port=4"):
            assert lab.http(f"/power/control/on?{where}").status == 200
        everything.until(lambda event: event["kind"] == "ended" and event["request"] == 4)
        lab.stop()
        everything.rest()
        watching.rest()
        assert {event["request"] for event in watching.events if "request" in event} == seen
        mine = [event for event in watching.events if event["kind"] != "end"]
        assert mine == [event for event in everything.events if event in mine]
        if "kind" in query:
            assert {event["kind"] for event in mine} <= {*query.partition("kind=")[2].partition("&")[0].split(",")}


def test_a_lost_connection_goes_on_where_it_ended(lab: Daemon) -> None:
    with Watching(lab) as watching:
        lab.power("on", "a", 1)
        last = watching.until("accepted")["id"]
    lab.power("off", "a", 2)
    for query, headers in (
        (f"?after={last}", {}),
        ("", {"Last_Event_ID": str(last)}),
        ("?after=7", {"Last_Event_ID": str(last)}),
    ):
        with Watching(lab, query, **headers) as again:
            again.until(lambda event: event["kind"] == "ended" and event["request"] == 2)
            assert "gap" not in again.kinds and again.events[0]["id"] == last + 1
            assert [event["request"] for event in again.events if event["kind"] == "ended"] == [1, 2]


@pytest.mark.parametrize("position", ["5", "999999999999999999", "a-word-of-another-server"])
def test_what_cannot_be_told_any_more_is_told_to_be_missing(lab: Daemon, position: str) -> None:
    lab.power("on", "a", 1)
    with Watching(lab, sse=True, Last_Event_ID=position) as watching:
        gap = watching.until("gap")
        watching.until("ended")  # and what is still known follows
        assert watching.events[0] == gap and gap["id"] < watching.events[1]["id"]
    with Watching(lab, f"?after={gap['id']}") as again:
        again.until("ended")
        assert "gap" not in again.kinds


def test_a_restart_is_a_gap_and_a_stop_an_end(lab: Daemon) -> None:
    with Watching(lab, sse=True) as watching:
        lab.power("on", "a", 1)
        watching.until("ended")
        assert lab.stop() == 0
        end = watching.rest()[-1]
    assert (end["kind"], end["reason"]) == ("end", "the daemon is stopping")
    lab.start()
    with Watching(lab, f"?after={end['id']}") as again:
        assert again.until("gap")["kind"] == "gap" and again.events[0]["kind"] == "gap"


def test_a_reload_is_told_to_everybody(lab: Daemon) -> None:
    with Watching(lab, "?node=board1") as watching:
        lab.settings["nodes"]["board1"] = {"hostname": "b", "port": 7}  # type: ignore[index]
        lab.configure(lab.settings)
        assert lab.process is not None
        lab.process.send_signal(signal.SIGHUP)
        watching.until("reload")
        lab.power("on", "a", 1)
        lab.power("on", "b", 7)
        assert watching.until("ended")["request"] == 2  # its new outlet


def test_who_is_of_http_1_0_is_told_to_the_end_of_the_connection(lab: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", lab.port), timeout=60) as client:
        client.sendall(b"GET /api/v1/events HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n")
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(4096)
        lab.power("on", "a", 1)
        lab.stop()
        while more := client.recv(4096):
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head and b"Connection: close" in head
    kinds = [json.loads(line)["kind"] for line in body.splitlines()]
    assert "ended" in kinds and kinds[-1] == "end"


@pytest.mark.parametrize(
    ("words", "accept", "first"),
    [
        ("?after=0", "text/event-stream", b"retry: 3000\nid: 0\n\n"),
        ("?after=7", "text/event-stream", b"retry: 3000\nid: 7\n\n"),
        ("?after=7", "application/x-ndjson", b""),
        ("", "text/event-stream", b""),
    ],
)
def test_a_stream_begins_with_where_it_goes_on(lab: Daemon, words: str, accept: str, first: bytes) -> None:
    """If that is known: of another server's words it is not."""
    for connection in ("keep-alive", "close"):
        asked = [
            f"GET /api/v1/events{words} HTTP/1.1",
            f"Accept: {accept}",
            f"Connection: {connection}",
        ]
        asked += [] if words else ["Last-Event-ID: a-word-of-another-server"]
        with (
            socket.create_connection(("127.0.0.1", lab.port), timeout=60) as client,
            client.makefile("rb") as stream,
        ):
            client.sendall("\r\n".join([*asked, "", ""]).encode())
            head = [*iter(stream.readline, b"\r\n")]
            assert (b"Connection: close\r\n" in head) is (connection == "close")
            told = stream.read(int(stream.readline(), 16))
        assert told == first if first else b'"kind":"gap"' in told


def test_only_the_head_may_be_asked_for(lab: Daemon) -> None:
    reply = lab.http("/api/v1/events", "HEAD")
    assert (reply.status, reply.text, reply.headers["Content-Type"]) == (200, "", "text/event-stream")


@pytest.mark.parametrize(
    "query, why",
    [
        ("nodes=board1", "unknown parameter 'nodes'; did you mean 'node'?"),
        ("node=board[", "node: "),
        ("kind=done", "kind: 'done' is none of accepted, waiting, begun,"),
        ("after=x", "after: 'x' is not the number of an event"),
    ],
)
def test_what_cannot_be_meant_is_refused(lab: Daemon, query: str, why: str) -> None:
    reply = lab.http(f"/api/v1/events?{query}")
    assert reply.status == 400 and why in reply.json["detail"]


def test_who_may_not_see_an_outlet_hears_nothing_of_it(daemon: Callable[..., Daemon]) -> None:
    started = daemon(PDUS, nodes=NODES, secret=SECRET, start=False)
    started.settings["roles"] = {"users": {"pdus": ["b"], "may": ["status"]}}
    started.configure(started.settings)
    started.start()
    started.token = good(sub="root")
    mine = f"Bearer {good(sub='ann', roles=['users'])}"
    with Watching(started, Authorization=mine) as watching, Watching(started) as everything:
        for where in ("hostname=a&port=1", "alias=twin", "hostname=b&port=4"):
            assert started.http(f"/power/control/on?{where}").status == 200
        assert watching.until("ended")["request"] == 3
        everything.until(lambda event: event["kind"] == "ended" and event["request"] == 3)
        assert "a:" not in json.dumps(watching.events) and "twin" not in json.dumps(watching.events)
        assert {event["request"] for event in everything.events if event["kind"] == "ended"} == {1, 2, 3}
    started.token = "none"
    assert started.http("/api/v1/events").status == 401

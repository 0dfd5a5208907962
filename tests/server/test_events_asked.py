# SPDX-License-Identifier: MIT
"""How a stream of events begins, over a pair of sockets: in which form, behind which event, and of what.

Whole streams of a daemon are in `test_events`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.errors import Busy
from pdudaemon.server.client import Client
from pdudaemon.server.events import stream
from pdudaemon.server.http import HTTPExchange
from pdudaemon.server.rights import EVERYTHING
from pdudaemon.server.watcher import ALL, Form, Wanted, Watcher
from tests.support.pair import Pair, asked

LAST = 4711


class Lab:
    """Takes who watches; ``busy`` is why it does not."""

    def __init__(self, folder: Path) -> None:
        words = {
            "pdus": {"a": {"driver": "dummy"}},
            "nodes": {f"n{number}": {"hostname": "a", "port": number} for number in (1, 2)},
        }
        (folder / "conf").write_text(json.dumps(words))
        self.events = SimpleNamespace(last=LAST)
        self.dispatcher = SimpleNamespace(events=self.events, config=reader.load(str(folder / "conf")))
        self.watchers = self
        self.busy = ""
        self.added: list[Watcher] = []
        self.stack = ExitStack()
        self.asked: list[tuple[Any, ...]] = []

    def add(self, watcher: Watcher) -> None:
        if self.busy:
            raise Busy(self.busy)
        self.added.append(watcher)

    def watch(
        self, *headers: str, first: str = "GET /api/v1/events HTTP/1.1", **words: str
    ) -> tuple[Pair, HTTPExchange]:
        pair, exchange = self.stack.enter_context(asked(self, first, *headers))
        pair.connection.listener = SimpleNamespace(permit=lambda *shown: self.asked.append(shown))  # type: ignore[assignment]
        exchange.rights, exchange.words = EVERYTHING, words
        exchange.give(lambda: stream(exchange, ""))
        return pair, exchange


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    one = Lab(tmp_path)
    yield one
    one.stack.close()


def heard(pair: Pair) -> tuple[str, str]:
    """Return the head and the beginning of the body."""
    head, _, body = pair.client.recv(10_000).decode().partition("\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    ("version", "accept", "form", "kind"),
    [
        ("1.1", "", Form(True, True), "text/event-stream"),
        ("1.1", "text/event-stream", Form(True, True), "text/event-stream"),
        ("1.1", "application/x-ndjson", Form(False, True), "application/x-ndjson"),
        ("1.0", "application/x-ndjson", Form(False, False), "application/x-ndjson"),
        ("1.0", "*/*", Form(True, False), "text/event-stream"),
    ],
)
def test_it_comes_in_the_form_that_is_asked_for(lab: Lab, version: str, accept: str, form: Form, kind: str) -> None:
    headers = [f"Accept: {accept}"] if accept else []
    pair, exchange = lab.watch(*headers, first=f"GET /api/v1/events HTTP/{version}")
    head, body = heard(pair)
    assert head.startswith("HTTP/1.1 200 OK\r\n") and f"Content-Type: {kind}\r\n" in head
    assert "X-Accel-Buffering: no\r\n" in head and ("Transfer-Encoding: chunked\r\n" in head) is form.chunked
    (watcher,) = lab.added
    assert (watcher.form, watcher.position, watcher.wanted) == (form, LAST, ALL)
    assert watcher.client is exchange.client and watcher.connection is pair.connection
    retry = f"retry: 3000\nid: {LAST}\n\n"
    assert body == ("" if not form.sse else f"{len(retry):x}\r\n{retry}\r\n" if form.chunked else retry)
    assert pair.connection.deadline == float("inf") and not pair.connection.closing


@pytest.mark.parametrize(
    ("header", "after", "position"),
    [
        ("", "", LAST),
        ("", "17", 17),
        ("", "0", 0),
        ("18", "", 18),
        ("18", "17", 18),
        (" 18 ", "17", 18),
        ("", "9" * 18, int("9" * 18)),
        ("nonsense", "", -1),
        ("9" * 19, "", -1),
        ("-5", "17", -1),
    ],
)
def test_it_goes_on_behind_the_event_that_was_seen_last(lab: Lab, header: str, after: str, position: int) -> None:
    headers = [f"Last-Event-ID: {header}"] if header else []
    pair, _ = lab.watch(*headers, **({"after": after} if after else {}))
    (watcher,) = lab.added
    assert watcher.position == position
    retry = f"retry: 3000\nid: {position}\n\n"
    assert heard(pair)[1] == (f"{len(retry):x}\r\n{retry}\r\n" if position >= 0 else "")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ({}, ALL),
        ({"node": "n1"}, Wanted(nodes=frozenset({"n1"}))),
        ({"node": "n[1-2]"}, Wanted(nodes=frozenset({"n1", "n2"}))),
        ({"node": ""}, Wanted(nodes=frozenset())),
        ({"pdu": "a,b"}, Wanted(pdus=frozenset({"a", "b"}))),
        ({"pdu": ""}, Wanted(pdus=frozenset())),
        ({"kind": "outlet,pdu"}, Wanted(kinds=frozenset({"outlet", "pdu"}))),
        ({"kind": ""}, ALL),
    ],
)
def test_it_is_of_what_is_wanted(lab: Lab, words: dict[str, str], wanted: Wanted) -> None:
    lab.watch(**words)
    assert lab.added[0].wanted == wanted


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"after": "x" * 30}, f"after: '{'x' * 20}' is not the number of an event"),
        ({"after": "-1"}, "after: '-1' is not the number of an event"),
        ({"after": "9" * 19}, f"after: '{'9' * 19}' is not the number of an event"),
        ({"kind": "outlets"}, "kind: 'outlets' is none of accepted, waiting, begun, tried, ended, outlet, pdu, reload"),
        ({"node": "@none"}, "node: there is no group 'none'"),
        ({"pdu": "a[3-1]"}, "pdu: 'a[3-1]': the range 3-1 runs downwards"),
    ],
)
def test_what_is_refused(lab: Lab, words: dict[str, str], why: str) -> None:
    pair, _ = lab.watch(**words)
    status, text = pair.hears()
    assert status == 400 and json.loads(text)["detail"].startswith(why) and not lab.added


def test_who_asks_for_the_head_has_that_alone(lab: Lab) -> None:
    pair, exchange = lab.watch(first="HEAD /api/v1/events HTTP/1.1")
    head, body = heard(pair)
    assert "Content-Type: text/event-stream" in head and not body and not lab.added
    assert pair.connection.exchange is None and exchange is not None


def test_where_nobody_can_watch_the_stream_ends_with_why(lab: Lab) -> None:
    lab.busy = "the daemon is stopping"
    pair, _ = lab.watch("Accept: application/x-ndjson")
    head, body = heard(pair)
    assert head.startswith("HTTP/1.1 200 ") and "the daemon is stopping" in body and body.endswith("\r\n0\r\n\r\n")
    assert pair.connection.closing


def test_whether_he_may_is_asked_again_by_what_he_has_shown(lab: Lab) -> None:
    _, exchange = lab.watch("Authorization: Bearer ann")
    exchange.client = Client("elsewhere", 1)
    lab.added[0].permitted()
    assert lab.asked == [(lab.added[0].client, "Bearer ann", None)]
    lab.watch()
    lab.added[1].permitted()
    assert lab.asked[1][1] == ""

# SPDX-License-Identifier: MIT
"""How events are spelled, and which of them somebody wants; whole streams are in `test_watchers`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.engine.events import Event
from pdudaemon.power import Outlet
from pdudaemon.server.client import Client
from pdudaemon.server.watcher import ALL, About, Form, Wanted, Watcher, spelled
from tests.support.pair import connected


def test_forms() -> None:
    content = spelled({"id": 7, "kind": "outlet"})
    assert Form(sse=False, chunked=False).one(7, content) == b'{"id":7,"kind":"outlet"}\n'
    sse = Form(sse=True, chunked=True)
    assert sse.one(7, content) == b'id: 7\ndata: {"id":7,"kind":"outlet"}\n\n'
    assert (sse.heartbeat, sse.end) == (b"3\r\n:\n\n\r\n", b"0\r\n\r\n")
    assert (Form(sse=False, chunked=False).heartbeat, Form(sse=False, chunked=False).end) == (b"\n", b"")


@pytest.mark.parametrize(
    ("wanted", "kind", "holds"),
    [
        (ALL, "outlet", True),
        (Wanted(pdus=frozenset({"a"})), "outlet", True),
        (Wanted(pdus=frozenset({"b"})), "outlet", False),
        (Wanted(nodes=frozenset({"n1", "n9"})), "outlet", True),
        (Wanted(nodes=frozenset({"n9"})), "outlet", False),
        (Wanted(kinds=frozenset({"pdu"})), "outlet", False),
        (Wanted(kinds=frozenset({"outlet"}), pdus=frozenset({"b"})), "outlet", False),
        (Wanted(nodes=frozenset({"n9"})), "reload", True),
        (Wanted(kinds=frozenset({"pdu"})), "reload", False),
    ],
)
def test_who_wants_what(wanted: Wanted, kind: str, holds: bool) -> None:
    event = Event(1, 0.0, kind, outlets=(Outlet("a", "1"),))
    assert wanted.holds(event, About(frozenset({"a"}), frozenset({"n1"}))) is holds


@pytest.mark.parametrize(
    ("event", "pdus", "nodes"),
    [
        (Event(1, 0.0, "outlet", outlets=(Outlet("a", "1"),)), {"a"}, {"n1", "twin"}),
        (Event(1, 0.0, "ended", outlets=(Outlet("a", "1"), Outlet("b", "7"))), {"a", "b"}, {"n1", "twin"}),
        (Event(1, 0.0, "accepted", outlets=(Outlet("b", "2"),), names=("gone",)), {"b"}, {"gone", "twin"}),
        (Event(1, 0.0, "pdu", pdu="a"), {"a"}, {"n1", "n2", "twin"}),
        (Event(1, 0.0, "pdu", pdu="b"), {"b"}, {"twin"}),
        (Event(1, 0.0, "reload"), set(), set()),
    ],
)
def test_what_an_event_is_about(tmp_path: Path, event: Event, pdus: set[str], nodes: set[str]) -> None:
    feeds = [{"hostname": "a", "port": 1}, {"hostname": "b", "port": 2}]
    whole = {
        "pdus": {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}},
        "nodes": {"n1": feeds[0], "n2": {"hostname": "a", "port": 2}, "twin": {"feeds": feeds}},
    }
    (tmp_path / "conf").write_text(json.dumps(whole))
    about = About.of(event, reader.load(str(tmp_path / "conf")))
    assert about.pdus == pdus and about.nodes == nodes


def test_who_is_told_that_it_is_over_is_told_where_to_go_on() -> None:
    speech: Any = SimpleNamespace()
    for form, told in (
        (Form(sse=True, chunked=True), b"id: 7\ndata: "),
        (Form(sse=False, chunked=True), b""),
        (Form(sse=False, chunked=False), b""),
    ):
        with connected(lambda _: speech) as (connection, client, _):
            watcher = Watcher(connection, Client("a", 1), form, ALL, 7, list)
            assert (
                watcher.wanted is ALL
                and watcher.permitted is list
                and watcher.stuck is None
                and abs(watcher.heard - time.monotonic()) < 60
                and not watcher.gone
            )
            watcher.end("enough")
            assert watcher.gone and connection.closing
            connection.close()
            said = client.makefile("rb").read()
        event = json.loads(said[said.index(b"{") : said.rindex(b"}") + 1])
        assert abs(event.pop("time") - time.time()) < 60
        assert event == {"id": 7, "kind": "end", "reason": "enough"}
        assert said.endswith(b"0\r\n\r\n") is form.chunked and told in said


@pytest.mark.parametrize("how", ["ended", "closing", "closed"])
def test_who_has_gone(how: str) -> None:
    speech: Any = SimpleNamespace()
    with connected(lambda _: speech) as (connection, _, _):
        watcher = Watcher(connection, Client("a", 1), Form(True, True), ALL, 7, lambda: None)
        if how == "closed":
            connection.close()
        else:
            setattr(connection, how, True)
        assert watcher.gone

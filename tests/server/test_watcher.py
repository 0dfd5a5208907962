# SPDX-License-Identifier: MIT
"""How events are spelled, and which of them somebody wants; whole streams are in `test_watchers`."""

from __future__ import annotations

import pytest

from pdudaemon.engine.events import Event
from pdudaemon.power import Outlet
from pdudaemon.server.watcher import ALL, About, Form, Wanted, spelled


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

# SPDX-License-Identifier: MIT
"""`Dispatcher`: what it says of itself, and what of its workers' is not done any more once it has let go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pdudaemon.engine import dispatcher
from pdudaemon.power import Action
from tests.support.process import eventually
from tests.support.rack import Rack, awaited, owing, submitted


def test_every_pdu_is_told_and_where_the_store_is(rack: Callable[..., Rack]) -> None:
    one = rack("a", "b")
    assert [each["name"] for each in one.dispatcher.every_pdu()] == ["a", "b"]
    assert one.dispatcher.store == (str(one.store), True)


def test_what_is_owed_is_not_done_by_a_daemon_that_has_let_go(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one does it: this one can note nothing any more."""
    monkeypatch.setattr(dispatcher, "LEAVE_GRACE", 0.0)
    one = rack("a")
    reboot = owing(one, "a")
    one.refusing.clear()
    one.hold("a", "2")
    one.dispatcher.hurry(reboot)  # so that it stands behind that
    runner = one.dispatcher._fleet.runners["a"]
    (owed,) = one.stop()
    assert "a port 1 is to be switched on" in owed
    one.let_go("a")
    assert runner.join(30)
    assert one.seen["a"] == "fo", "that of port 2"
    one.start()
    eventually(lambda: one.state(reboot.id) == "done")
    assert awaited(one.dispatcher, submitted(one.dispatcher, Action.OFF, one.target("a")), 30)

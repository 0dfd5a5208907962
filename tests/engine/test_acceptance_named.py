# SPDX-License-Identifier: MIT
"""What is locked by its name on the device is not switched, however it is spelled; nor before the names are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pdudaemon.errors import Busy, Locked
from pdudaemon.power import Action, Outlet
from tests.support.meters import Meters, until
from tests.support.rack import awaited, submitted


@pytest.fixture
def rack(racks: Callable[..., Meters]) -> Meters:
    """A PDU whose outlet ``router`` is locked."""
    one = racks(a={"refresh": 0})
    config = replace(one.dispatcher.config, locked={Outlet("a", "name:router"): "mine"}, device_names={})
    one.dispatcher.reload(config)
    until(lambda: one.known("a").read)
    return one


@pytest.mark.parametrize("port", ["1", "name:router"])
def test_a_lock_by_name_holds_for_the_port(rack: Meters, port: str) -> None:
    with pytest.raises(Locked, match="mine"):
        submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", port))
    other = submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    assert awaited(rack.dispatcher, other, 30) and rack.seen["a"] == "f"


def test_before_it_is_known_what_is_locked_nothing_is_switched_and_the_names_are_read(rack: Meters) -> None:
    rack.clock.pass_by(7200)
    reads = rack.reads["a"]
    with pytest.raises(Busy, match="have not been read lately"):
        submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    until(lambda: rack.reads["a"] > reads and not rack.dispatcher.surveys._pending)
    other = submitted(rack.dispatcher, Action.OFF, rack.dispatcher.config.target("a", "2"))
    assert awaited(rack.dispatcher, other, 30) and rack.seen["a"] == "f"

# SPDX-License-Identifier: MIT
"""The deadline of an action, and the pauses that are made by it."""

from __future__ import annotations

import math
import threading
import time

import pytest

from pdudaemon.drivers.dummy import Dummy
from pdudaemon.errors import DeviceTimeout, TransientError
from pdudaemon.transports.deadline import SILENCE, Deadline


def test_a_pause_ends_by_itself_or_at_the_deadline() -> None:
    begun = time.monotonic()
    Deadline(60).pause(0.01)
    deadline = Deadline(0.05)
    deadline.pause(math.inf)
    assert time.monotonic() - begun < 30
    with pytest.raises(DeviceTimeout, match=r"no answer within 0\.05 s"):
        deadline.pause(0)


def test_a_pause_ends_when_the_daemon_stops() -> None:
    stopping = threading.Event()
    deadline = Deadline(60, stopping)
    ended: list[str] = []

    def act() -> None:
        try:
            deadline.within(50).pause(40)
        except TransientError as error:
            ended.append(str(error))

    thread = threading.Thread(target=act)
    thread.start()
    stopping.set()
    thread.join(30)
    assert ended == ["interrupted, since the daemon stops"]
    with pytest.raises(TransientError):
        deadline.pause(0)


def test_a_driver_that_waits_ends_when_the_daemon_stops() -> None:
    pdu = Dummy("pdu", {"driver": "dummy", "slow": 50})
    stopping = threading.Event()
    stopping.set()
    pdu.deadline = Deadline(60, stopping)
    begun = time.monotonic()
    with pytest.raises(TransientError, match="the daemon stops"):
        pdu.handle("on", 1)
    assert time.monotonic() - begun < 30


def test_the_sooner_of_two() -> None:
    whole = Deadline(10)
    assert whole.within(20) is whole
    assert whole.within(5).seconds == 5 and whole.within(5).when < whole.when


def test_who_gives_way_waits_in_spells_until_somebody_else_wants_the_device() -> None:
    wanted = threading.Event()
    deadline = Deadline(60, wanted, gives_way=True)
    assert deadline.spell() <= SILENCE and deadline.within(1).spell() <= 1
    assert deadline.goes_on() and deadline.within(50).goes_on()
    wanted.set()
    assert not deadline.goes_on() and not deadline.within(50).goes_on()
    assert not Deadline(0, gives_way=True).goes_on()


def test_who_does_not_give_way_waits_in_one_spell() -> None:
    deadline = Deadline(60)
    assert deadline.spell() > 50 and not deadline.goes_on()

# SPDX-License-Identifier: MIT
"""`Queries`: questions for a status wait in the PDU's queue, and whoever asked is told once, whatever becomes of them."""

from __future__ import annotations

import queue
from collections.abc import Callable

import pytest

from pdudaemon.drivers.driver import PDUDriver
from pdudaemon.engine.queries import Answer, Look, Query
from pdudaemon.errors import Busy, DeviceTimeout, PDUDaemonError
from pdudaemon.power import Outlet, Reading, State
from tests.support.process import eventually
from tests.support.rack import Rack

GONE = DeviceTimeout("gone")


class Asked:
    """Somebody who asked for an outlet; ``told`` is all that he heard."""

    def __init__(self, rack: Rack, pdu: str, port: str = "1") -> None:
        self.told: list[Answer] = []
        self.look = Look([Outlet(pdu, port)], self.told.append)
        rack.dispatcher.ask([self.look])


@pytest.mark.parametrize(("names", "others"), [({"left"}, True), (None, False)])
def test_who_asked_the_pdus_that_do_not_answer_is_told_and_nobody_else(
    rack: Callable[..., Rack], names: set[str] | None, others: bool
) -> None:
    one = rack("left", "right")
    one.hold("left")
    one.hold("right")
    left, right = Asked(one, "left"), Asked(one, "right")
    with one.dispatcher._lock:
        one.dispatcher._queries.refuse(GONE, names)
    assert left.told == [GONE] and right.told == ([] if others else [GONE])
    again = Asked(one, "left")  # which is another question
    one.let_go("right")
    one.let_go("left")
    eventually(lambda: again.told)
    assert isinstance(again.told[0], Reading) and again.told[0].state is State.ON
    if others:
        eventually(lambda: right.told)
        assert isinstance(right.told[0], Reading)
    eventually(lambda: not one.dispatcher._queries.queued)
    assert len(left.told) == len(right.told) == 1


def test_a_question_takes_no_thread_of_its_own() -> None:
    assert (Query.order, Query.lengthy) == ("status", False)


def test_those_who_ask_the_same_before_it_is_put_share_the_answer(rack: Callable[..., Rack]) -> None:
    one = rack("left")
    one.hold("left")
    asked = [Asked(one, "left") for _ in range(3)]
    assert one.dispatcher._queries.queued == {"left": 1}
    one.let_go("left")
    eventually(lambda: all(each.told for each in asked))
    assert asked[0].told == asked[1].told == asked[2].told


def test_there_is_room_for_so_many_and_who_gives_up_keeps_his_place(rack: Callable[..., Rack]) -> None:
    one = rack("left", max_queue=2)
    one.hold("left")
    asked = [Asked(one, "left", port) for port in ("1", "2", "3")]
    assert [len(each.told) for each in asked] == [0, 0, 1] and isinstance(asked[2].told[0], Busy)
    one.dispatcher.give_up([asked[0].look], 3)
    assert str(asked[0].told[0]) == "left: no answer within 3 s"
    assert str(Asked(one, "left", "4").told[0]) == "left: its queue is full: 2 questions for a status"
    one.let_go("left")
    eventually(lambda: asked[1].told)
    assert len(asked[0].told) == 1


def test_a_pdu_that_is_gone_is_said_to_be(rack: Callable[..., Rack]) -> None:
    one = rack("left", "right")
    target = one.dispatcher.config.target("right", "1")
    del one.pdus["right"]
    one.dispatcher.reload(one.config())
    with pytest.raises(PDUDaemonError, match="right is not configured any more"):
        one.dispatcher.look(target, 5)


def test_who_has_a_thread_waits_with_it(rack: Callable[..., Rack]) -> None:
    one = rack("left", "right")
    target = one.target("left", "right")
    assert one.dispatcher.look(target).state is State.UNKNOWN
    one.hold("left")
    one.seen["right"] = "o"
    told: queue.SimpleQueue[Reading] = queue.SimpleQueue()
    told.put(one.dispatcher.look(target, 3))
    found = told.get()
    assert found.state is State.ON and "left: no answer within 3 s" not in str(found.state)
    assert found.mixed.endswith("no answer within 3 s; right port 1 is on")


def test_what_nobody_waits_for_any_more_is_not_asked(
    rack: Callable[..., Rack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rack("left")
    one.hold("left")
    gone, stays = Asked(one, "left", "2"), Asked(one, "left", "3")
    one.dispatcher.give_up([gone.look], 3)
    asked: list[str] = []
    driver = one.dispatcher.config.pdus["left"].driver
    assert driver is not None
    original = driver.port_status

    def port_status(switch: PDUDriver, port: object) -> State:
        asked.append(str(port))
        return original(switch, port)

    monkeypatch.setattr(driver, "port_status", port_status)
    one.let_go("left")
    eventually(lambda: stays.told)
    eventually(lambda: not one.dispatcher._queries.queued)
    assert asked == ["3"] and len(gone.told) == 1

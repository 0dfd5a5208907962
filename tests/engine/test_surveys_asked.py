# SPDX-License-Identifier: MIT
"""`Surveys`: who asks for a reading is told of it, once, whatever comes between."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pdudaemon.config.nodes import Node
from pdudaemon.engine import surveys
from pdudaemon.engine.outlets import KnownPDU
from pdudaemon.engine.queries import Look
from pdudaemon.errors import Busy, DeviceTimeout, PDUDaemonError, TransientError
from pdudaemon.power import Action, Outlet, Request
from tests.support.meters import Meters, until
from tests.support.rack import awaited, submitted


@pytest.fixture
def rack(racks: Callable[..., Meters]) -> Meters:
    return racks(a={}, b={})


class Heard(list[PDUDaemonError | None]):
    """What one who asked was told."""

    def ask(self, rack: Meters, name: str = "a") -> Heard:
        rack.dispatcher.surveys.ask(name, self.append)
        return self


def test_those_who_ask_before_it_is_read_share_a_reading(rack: Meters) -> None:
    rack.hold("a")
    first, second = Heard().ask(rack), Heard().ask(rack)
    assert not first and not second
    rack.let_go("a")
    until(lambda: first == second == [None])
    assert rack.reads["a"] == 1


def test_who_asks_while_it_is_read_has_it_read_anew_and_both_are_told_though_something_is_switched(
    rack: Meters,
) -> None:
    rack.gate("a")
    first = Heard().ask(rack)
    assert rack.reading["a"].wait(30)
    second = Heard().ask(rack)
    rack.gates["a"].set()
    until(lambda: first == second == [None])
    assert rack.reads["a"] == 2
    rack.gate("a")
    first = Heard().ask(rack)
    assert rack.reading["a"].wait(30)
    second = Heard().ask(rack)
    assert awaited(rack.dispatcher, submitted(rack.dispatcher, Action.OFF, rack.target("a")), 30)
    assert not first and not second
    rack.gates["a"].set()
    until(lambda: first == second == [None])


def test_who_asks_while_a_reading_waits_for_what_has_cut_it_short_shares_it(rack: Meters) -> None:
    rack.gate("a")
    first = Heard().ask(rack)
    assert rack.reading["a"].wait(30)
    rack.held["a"] = threading.Event()
    rack.begun["a"].clear()
    off = submitted(rack.dispatcher, Action.OFF, rack.target("a"))
    assert rack.begun["a"].wait(30)
    second = Heard().ask(rack)
    rack.gates["a"].set()
    rack.let_go("a")
    until(lambda: first == second == [None])
    assert awaited(rack.dispatcher, off, 30) and rack.reads["a"] == 2


def test_who_was_told_that_there_will_be_none_is_not_told_again(rack: Meters, caplog: pytest.LogCaptureFixture) -> None:
    rack.gate("a")
    heard, other = Heard().ask(rack), Heard().ask(rack, "b")
    assert rack.reading["a"].wait(30)
    until(lambda: other == [None])
    with rack.dispatcher._lock:
        rack.dispatcher.surveys.refuse(Busy("not now"), ["a"])
    until(lambda: heard)
    until(lambda: not rack.dispatcher.surveys._reading)
    rack.gates["a"].set()
    again = Heard().ask(rack)
    until(lambda: again == [None])
    until(lambda: not rack.dispatcher.surveys._pending and not rack.dispatcher.surveys._reading)
    assert [str(error) for error in heard] == ["not now"] and not caplog.messages


def test_who_has_a_thread_to_wait_with_reads_several(rack: Meters) -> None:
    rack.dispatcher.surveys.read(["a", "b"], 30.0)
    assert rack.reads == {"a": 1, "b": 1}
    rack.refuse["b"] = TransientError("no answer")
    with pytest.raises(TransientError, match="b: no answer"):
        rack.dispatcher.surveys.read(["a", "b"], 30.0)
    rack.gate("a")
    with pytest.raises(DeviceTimeout, match=r"a: not read within 0\.05 s"):
        rack.dispatcher.surveys.read(["a"], 0.05)
    with pytest.raises(DeviceTimeout, match="a, b: not read within 0 s"):
        rack.dispatcher.surveys.read(["b", "a"], 0.0)


def test_a_poll_ends_with_its_configuration(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"poll": 1}, b={})
    until(lambda: rack.reads["a"])
    del rack.pdus["a"]["poll"]
    rack.dispatcher.reload(rack.config())
    until(lambda: not rack.dispatcher.surveys._pending)
    before = rack.reads["a"]
    time.sleep(1.3)
    assert rack.reads["a"] == before and not rack.dispatcher.surveys._polls


def test_names_that_have_to_be_read_before_they_can_be_resolved(rack: Meters) -> None:
    surveys, config = rack.dispatcher.surveys, rack.dispatcher.config
    called, plain = config.target("a", "name:router"), config.target("b", "1")
    assert surveys.unread([called, plain]) == {"a"} and surveys.unread([plain]) == set()
    told: queue.SimpleQueue[PDUDaemonError | None] = queue.SimpleQueue()
    surveys.ask("a", told.put)
    assert told.get(timeout=60) is None and surveys.unread([called]) == set()


def test_who_switches_by_a_name_has_it_read_though_nobody_may_look(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"refresh": 0})
    called = rack.dispatcher.config.target("a", "name:router")
    with pytest.raises(Busy, match="have not been read yet"):
        rack.dispatcher.surveys.resolved(called, rack.dispatcher.config)
    until(lambda: rack.known("a").read)
    found = rack.dispatcher.surveys.resolved(called, rack.dispatcher.config)
    assert [outlet.port for outlet in found.outlets] == ["1"]


def test_names_that_a_configuration_spells_are_read_when_it_is_taken_over(racks: Callable[..., Meters]) -> None:
    """And for each outlet of a PDU that has a lock by a name it is asked whether they are known."""
    rack = racks(a={"refresh": 0}, b={"refresh": 0})
    named = Outlet("a", "name:router")
    config = replace(rack.dispatcher.config, nodes={"n": Node("n", (named,))}, locked={named: "mine"}, device_names={})
    assert config.named_pdus == config.named_locks == {"a"}
    rack.dispatcher.reload(config)
    config = rack.dispatcher.config
    surveys, plain = rack.dispatcher.surveys, [config.target(name, "2") for name in ("a", "b")]
    if not rack.dispatcher.inventory.knows_names("a"):
        assert surveys.unread(plain) <= {"a"}
    until(lambda: rack.known("a").read and not rack.reads["b"])
    reads = rack.reads["a"]
    rack.dispatcher.reload(replace(config))
    until(lambda: not surveys._pending)
    assert rack.reads["a"] == reads
    assert surveys.unread([*plain, config.node("n")]) == set()
    rack.clock.pass_by(7200)
    assert surveys.unread(plain) == {"a"}
    assert surveys.resolved(plain[0], config, switching=False) == plain[0]
    with pytest.raises(Busy, match="have not been read lately"):
        surveys.resolved(plain[0], config)


def test_who_asks_for_one_that_did_not_answer_waits_as_long_as_for_any_other(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"timeout": 60})
    rack.refuse["a"] = TransientError("unplugged")
    rack.look("a")
    rack.clock.pass_by(400)
    places = {**rack.dispatcher.surveys._places}
    rack.hold("a")
    rack.dispatcher.surveys.look(["a"])
    assert rack.dispatcher.surveys._pending["a"].deadline(60).seconds == 10
    heard = Heard().ask(rack)
    assert rack.dispatcher.surveys._pending["a"].deadline(60).seconds == 60
    rack.let_go("a")
    until(lambda: heard)
    assert str(heard[0]) == "a: unplugged"
    assert str(rack.ask("a")) == "a: unplugged" and rack.reads["a"] == 3, "the one that was not wanted any more is none"
    until(lambda: not rack.dispatcher.surveys._pending)
    assert rack.dispatcher.surveys._places == places


class Once(dict[str, BaseException]):
    """What is refused once."""

    def __getitem__(self, name: str) -> BaseException:
        return self.pop(name)


def test_who_asked_meanwhile_is_told_at_once_that_it_does_not_answer(rack: Meters) -> None:
    rack.refuse = Once(a=TransientError("unplugged"))
    rack.gate("a")
    first = Heard().ask(rack)
    assert rack.reading["a"].wait(30)
    second = Heard().ask(rack)
    rack.gates["a"].set()
    until(lambda: first and second)
    assert [str(each) for each in (*first, *second)] == ["a: unplugged"] * 2


def test_who_asks_for_one_that_has_yet_to_get_a_place_has_it_read_once(rack: Meters) -> None:
    surveys = rack.dispatcher.surveys
    surveys._places[False] = 1
    rack.gate("a")
    surveys.look(["a", "b"])
    assert rack.reading["a"].wait(30) and not rack.reads["b"]
    rack.hold("b")
    heard = Heard().ask(rack, "b")
    rack.gates["a"].set()
    until(lambda: not surveys._reading)
    rack.let_go("b")
    until(lambda: heard == [None] and not surveys._pending)
    assert rack.reads == {"a": 1, "b": 1}


def test_what_is_stuck_is_not_even_put_in_its_queue(rack: Meters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdudaemon.engine.dispatcher.STUCK_GRACE", 0.1)
    rack.pdus["a"]["timeout"] = 0.1
    rack.dispatcher.reload(rack.config())
    rack.hold("a")
    until(lambda: rack.dispatcher.snapshot()[0]["state"] == "stuck")
    rack.dispatcher.surveys.look(["a"])
    assert not rack.dispatcher.surveys._pending


def test_what_goes_while_somebody_looks_is_not_read(rack: Meters) -> None:
    def names() -> Iterator[str]:
        yield "a"
        del rack.pdus["a"]
        rack.dispatcher.reload(rack.config())

    rack.dispatcher.surveys.look(names())
    assert not rack.dispatcher.surveys._pending and not rack.reads


def test_a_second_is_an_interval_as_well(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"refresh": 1})
    rack.look("a")
    assert rack.reads["a"] == 1


def test_what_is_polled_and_does_not_answer_is_polled_less_often(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"poll": 3600})
    surveys = rack.dispatcher.surveys

    def polled() -> int:
        """Have the time of the next poll have come; return how often it has been read."""
        with rack.dispatcher._lock:
            surveys._poll("a")
        until(lambda: not surveys._pending)
        return rack.reads["a"]

    until(lambda: rack.known("a").read and not surveys._pending)
    assert polled() == 2, "whenever it is to be, as it answers"
    rack.refuse["a"] = TransientError("unplugged")
    assert polled() == 3 and polled() == 3
    rack.clock.pass_by(3601)
    assert polled() == 4
    del rack.refuse["a"]
    rack.clock.pass_by(3601)
    assert polled() == 5 and polled() == 6


def test_what_goes_while_it_waits_for_a_place_is_not_read_and_holds_up_nobody(racks: Callable[..., Meters]) -> None:
    """Whether it has gone by then, or has yet to end what it does."""
    rack = racks(a={}, b={}, c={}, d={})
    surveys = rack.dispatcher.surveys
    surveys._places[False] = 1
    rack.gate("a")
    rack.hold("c")
    surveys.look(["a", "b", "c", "d"])
    assert rack.reading["a"].wait(30)
    del rack.pdus["b"], rack.pdus["c"]
    rack.dispatcher.reload(rack.config())
    rack.gates["a"].set()
    until(lambda: rack.known("d").read and not surveys._pending)
    rack.let_go("c")
    until(lambda: "c" not in rack.dispatcher._fleet.runners)
    assert rack.reads == {"a": 1, "d": 1}


def test_who_asks_for_one_that_goes_is_told(rack: Meters) -> None:
    """Of a status and of a reading that wait behind another question."""
    rack.held["a"] = threading.Event()
    rack.begun["a"].clear()
    answers: queue.SimpleQueue[object] = queue.SimpleQueue()
    for port in "12":
        rack.dispatcher.ask([Look((Outlet("a", port),), answers.put)])
        until(lambda: rack.dispatcher._acting)
        if port == "1":
            heard = Heard().ask(rack)
    del rack.pdus["a"]
    rack.dispatcher.reload(rack.config())
    rack.let_go("a")
    until(lambda: heard)
    assert str(heard[0]) == "a is not configured any more"
    assert answers.get(timeout=60) and answers.get(timeout=60)


def test_who_asks_for_one_that_has_yet_to_end_what_it_does_before_it_goes_is_told(rack: Meters) -> None:
    rack.hold("a")
    del rack.pdus["a"]
    rack.dispatcher.reload(rack.config())
    with pytest.raises(Busy, match=r"^a is not configured any more$"):
        Heard().ask(rack)
    rack.let_go("a")


def test_a_pdu_at_a_site_is_not_read_by_this_daemon(rack: Meters) -> None:
    rack.dispatcher.inventory.elsewhere = {"berlin/p1": KnownPDU({})}
    rack.look("berlin/p1", "a")
    assert rack.reads == {"a": 1}


def test_who_looks_when_the_daemon_stops_has_nothing_read(rack: Meters) -> None:
    rack.hold("b")
    stopping = threading.Thread(target=lambda: rack.dispatcher.close(60))
    rack._running = False
    stopping.start()
    until(lambda: rack.dispatcher._fleet.closing)
    rack.dispatcher.surveys.look(["a"])
    assert not rack.dispatcher.surveys._pending
    rack.let_go("b")
    stopping.join(60)
    assert not rack.reads


def test_what_waits_when_the_daemon_begins_to_stop_is_not_begun(rack: Meters) -> None:
    rack.hold("a")
    rack.dispatcher.surveys.look(["a"])
    with rack.dispatcher._lock:
        rack.dispatcher._fleet.closing = True
    rack.let_go("a")
    until(lambda: not rack.dispatcher._acting and not rack.dispatcher._fleet.runners["a"].waiting)
    assert not rack.reads


def test_a_stop_waits_for_what_acts_and_not_for_what_is_read(rack: Meters) -> None:
    surveys = rack.dispatcher.surveys
    assert not surveys.others(())
    rack.gate("a")
    surveys.look(["a"])
    assert rack.reading["a"].wait(30)
    assert surveys.others({*rack.dispatcher._acting}) is False
    rack.hold("b")
    assert surveys.others({*rack.dispatcher._acting}) is True
    rack.let_go("b")
    rack.gates["a"].set()
    until(lambda: not surveys._reading and not rack.dispatcher._acting)


def test_a_poll_has_the_interval_of_the_configuration_from_its_change_on(racks: Callable[..., Meters]) -> None:
    rack = racks(a={"poll": 3600})
    until(lambda: rack.known("a").read)
    rack.pdus["a"]["poll"] = 0.05
    rack.dispatcher.reload(rack.config())
    until(lambda: rack.reads["a"] > 3)


def test_who_asks_for_one_that_goes_while_it_is_read_is_told(rack: Meters) -> None:
    rack.gate("a")
    heard = Heard().ask(rack)
    assert rack.reading["a"].wait(30)
    del rack.pdus["a"]
    rack.dispatcher.reload(rack.config())
    rack.gates["a"].set()
    until(lambda: heard)
    until(lambda: not rack.dispatcher.surveys._pending and not rack.dispatcher.surveys._reading)
    assert len(heard) == 1


NEVER = float("-inf")


@pytest.mark.parametrize(
    ("interval", "failures", "switched", "after"),
    [
        (30.0, 0, NEVER, 30.0),
        (30.0, 0, 99.0, 30.0),
        (30.0, 0, 100.0, 30.0),
        (30.0, 0, 101.0, 5.0),
        (2.0, 0, 101.0, 2.0),
        (30.0, 1, NEVER, 30.0),
        (30.0, 1, 101.0, 30.0),
        (30.0, 2, NEVER, 60.0),
        (30.0, 3, NEVER, 120.0),
        (30.0, 4, NEVER, 240.0),
        (30.0, 5, NEVER, 300.0),
        (30.0, 5000, NEVER, 300.0),
        (600.0, 5, NEVER, 600.0),
    ],
)
def test_how_long_after_one_reading_the_next_is_due(
    interval: float, failures: int, switched: float, after: float
) -> None:
    known = KnownPDU({})
    assert surveys._is_due(known, interval, 0.0) is True, "it was never read"
    known.tried, known.failures, known.switched = 100.0, failures, switched
    assert surveys._is_due(known, interval, 100.0 + after - 0.5) is False
    assert surveys._is_due(known, interval, 100.0 + after) is True


def test_what_was_read_whole_is_told_though_something_is_to_be_switched_by_then(rack: Meters) -> None:
    class Meanwhile(dict[str, BaseException]):
        """Has something be switched while a device says who it is."""

        def __contains__(self, name: object) -> bool:
            offs.append(submitted(rack.dispatcher, Action.OFF, rack.target("a")))
            until(lambda: all(survey.hurry.is_set() for survey in rack.dispatcher.surveys._reading.values()))
            return False

    offs: list[Request] = []
    rack.secretive = Meanwhile()
    heard = Heard().ask(rack)
    until(lambda: heard == [None])
    assert awaited(rack.dispatcher, offs[0], 30) and rack.reads["a"] == len(offs) == 1
    assert rack.known("a").identity is not None

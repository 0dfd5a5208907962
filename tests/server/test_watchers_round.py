# SPDX-License-Identifier: MIT
"""`Watchers` round by round, by a clock that stands: who is written to, who is ended, and how long the thread rests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pdudaemon.config import reader
from pdudaemon.engine import events
from pdudaemon.engine.clock import Clock
from pdudaemon.engine.events import Events
from pdudaemon.errors import Denied
from pdudaemon.server import watcher as watching
from pdudaemon.server import watchers as module
from pdudaemon.server.client import Client
from pdudaemon.server.rights import EVERYTHING, Rights, RoleRights
from pdudaemon.server.watcher import ALL, Form, Wanted, Watcher
from pdudaemon.server.watchers import GATHER, HEARTBEAT, KEPT, LONGEST_REST, MOST, REST, TICK, Watchers
from tests.support.pair import TIMEOUT, Pair, connected

NOW = 1000.0
LINES = Form(sse=False, chunked=False)
SSE = Form(sse=True, chunked=False)


class Hour:
    """A clock that stands at ``now``."""

    def __init__(self) -> None:
        self.now = NOW

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 5.0


class Bell:
    """An event that nobody waits for: how long somebody would have is noted, and ``then`` is called."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.waits: list[float | None] = []
        self.rung = 0
        self._then = then
        self._set = False

    def wait(self, seconds: float | None = None) -> None:
        self.waits.append(seconds)
        self._then()

    def set(self) -> None:
        self.rung += 1
        self._set = True

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set


class Lab:
    def __init__(self, folder: Path, hour: Hour) -> None:
        words = {
            "pdus": {"a": {"driver": "dummy"}, "b": {"driver": "dummy"}},
            "roles": {"r": {"pdus": "a", "may": ["on"]}, "s": {"pdus": "b", "may": ["on"]}},
        }
        (folder / "conf").write_text(json.dumps(words))
        self._conf = str(folder / "conf")
        self.hour = hour
        self.events = Events(Clock())
        self.dispatcher: Any = SimpleNamespace(events=self.events, config=reader.load(self._conf))
        self.asked: list[Client] = []
        self.watchers = Watchers(self.dispatcher, self._rights)
        self.watchers._wake = Bell()  # type: ignore[assignment]
        self.stack = ExitStack()

    def _rights(self, client: Client) -> Rights:
        self.asked.append(client)
        return EVERYTHING if client.roles is None else RoleRights(self.dispatcher.config, client.roles)

    def watch(
        self,
        *roles: str,
        form: Form = LINES,
        wanted: Wanted = ALL,
        permitted: Callable[[], object] = lambda: None,
    ) -> tuple[Pair, Watcher]:
        speech: Any = SimpleNamespace()
        pair = self.stack.enter_context(connected(lambda _: speech))
        one = Watcher(pair.connection, Client("a", 1, "", roles or None), form, wanted, self.events.last, permitted)
        self.watchers._watchers.append(one)
        return pair, one

    def round(self, seconds: float = 0.0) -> None:
        """Take a round some seconds later."""
        self.hour.now += seconds
        self.watchers._round()

    def reload(self) -> None:
        self.dispatcher.config = reader.load(self._conf)

    def happens(self, reason: str = "", pdu: str = "a") -> None:
        self.events.pdu(pdu, "ready", reason, None)

    @property
    def woken(self) -> int:
        bell: Any = self.watchers._wake
        return int(bell.rung)


def received(pair: Pair) -> bytes:
    pair.client.setblocking(False)
    found = b""
    try:
        while more := pair.client.recv(1 << 20):
            found += more
    except BlockingIOError:
        pass
    return found


def told(pair: Pair) -> list[Any]:
    return [json.loads(line).get("reason") for line in received(pair).splitlines() if line]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    hour = Hour()
    monkeypatch.setattr(module, "time", hour)
    monkeypatch.setattr(watching, "time", hour)
    one = Lab(tmp_path, hour)
    one.round()  # which takes in the configuration
    yield one
    one.stack.close()


# Who reads too slowly.


def test_who_does_not_read_is_passed_over_and_gets_it_all_later(lab: Lab) -> None:
    pair, one = lab.watch()
    pair.connection.unsent.append(b"x")
    lab.happens("first")
    lab.round(5)
    assert not received(pair) and one.stuck == NOW + 5
    lab.round(7)
    assert one.stuck == NOW + 5, "it counts from the beginning"
    pair.connection.unsent.clear()
    lab.happens("second")
    lab.round(1)
    assert told(pair) == ["first", "second"] and one.stuck is None
    pair.connection.unsent.append(b"x")
    lab.round(TIMEOUT)
    assert one.stuck == lab.hour.now, "and anew once he has read"
    pair.connection.unsent.clear()


def test_who_has_not_read_for_so_long_is_ended(lab: Lab) -> None:
    pair, one = lab.watch()
    other, _ = lab.watch()
    pair.connection.unsent.append(b"x")
    lab.round()
    lab.round(TIMEOUT)
    assert not pair.connection.closing
    lab.happens("on")
    lab.round(1.25)
    pair.connection.unsent.popleft()
    (said,) = pair.connection.unsent
    assert json.loads(said) == {
        "id": one.position,
        "time": 5.0,
        "kind": "end",
        "reason": f"too slow: not read for {TIMEOUT + 1:.0f} s; go on behind this id",
    }
    assert pair.connection.closing and told(other) == ["on"]
    lab.round()
    assert len(lab.watchers._watchers) == 1


# Who hears nothing.


def test_who_hears_nothing_hears_that_now_and_then(lab: Lab) -> None:
    pair, one = lab.watch(form=SSE)
    lab.round(HEARTBEAT)
    assert not received(pair)
    lab.round(0.5)
    assert received(pair) == b":\n\n" and one.heard == lab.hour.now
    lab.round(HEARTBEAT)
    lab.happens()
    lab.round(1)
    assert received(pair).count(b":\n\n") == 0, "an event is as good"
    lab.round(HEARTBEAT)
    assert not received(pair)
    lab.round(0.5)
    assert received(pair) == b":\n\n"


def test_who_hears_something_hears_no_more_than_that(lab: Lab) -> None:
    pair, _ = lab.watch(form=SSE)
    lab.happens()
    lab.round(HEARTBEAT + 1)
    assert received(pair).startswith(b"id: ") and not received(pair)


# Who may watch.


def test_whether_he_may_is_asked_now_and_then_and_after_a_reload(lab: Lab) -> None:
    asked: list[float] = []
    lab.watch(permitted=lambda: asked.append(lab.hour.now))
    lab.round(HEARTBEAT)
    assert not asked
    lab.round(0.5)
    lab.round(HEARTBEAT)
    assert asked == [NOW + HEARTBEAT + 0.5]
    lab.round(0.5)
    assert len(asked) == 2
    lab.reload()
    lab.round()
    lab.round()
    assert len(asked) == 3


def test_who_may_not_any_more_is_told_nothing_but_that(lab: Lab) -> None:
    def denied() -> None:
        raise Denied(401, "it has been revoked")

    pair, _ = lab.watch(permitted=denied)
    other, _ = lab.watch()
    lab.happens("secret")
    lab.round(HEARTBEAT + 1)
    assert told(pair) == ["it has been revoked"] and pair.connection.closing and told(other) == ["secret"]


# What is put into words, and for whom.


def test_what_is_the_same_for_several_is_made_once(lab: Lab) -> None:
    pairs = [lab.watch()[0] for _ in range(3)]
    lab.happens("on")
    lab.asked.clear()
    lab.round()
    assert [told(each) for each in pairs] == [["on"]] * 3 and len(lab.asked) == 1
    for words in ({"form": SSE}, {"wanted": Wanted(kinds=frozenset({"pdu"}))}):
        lab.watch(**words)  # type: ignore[arg-type]
    lab.watch("r")
    lab.asked.clear()
    lab.round()
    assert len(lab.asked) == 4, "others have theirs"
    lab.happens("more")
    for each in pairs[:1]:
        each.connection.unsent.append(b"x")
    lab.round()
    pairs[0].connection.unsent.clear()
    lab.asked.clear()
    lab.round()
    assert len(lab.asked) == 5 and told(pairs[0]) == ["more"], "one that is behind as well"


def test_an_event_is_put_into_words_once_for_all_who_may_see_as_much(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    worded: list[int] = []

    def record(event: Any, config: Any, now: float) -> dict[str, Any]:
        worded.append(event.id)
        assert now == 5.0
        return events.record(event, config, now)

    monkeypatch.setattr(module, "record", record)
    for form in (LINES, SSE):
        for roles in ((), ("r",), ("s",)):
            lab.watch(*roles, form=form)
    lab.happens("on")
    lab.round()
    assert worded == [lab.events.last] * 2, "all that see everything, and those who have a role that sees it"
    assert [*lab.watchers._words] == [(lab.events.last, None), (lab.events.last, ("r",))]
    lab.reload()
    lab.round()
    assert not lab.watchers._words


def test_so_many_words_are_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT > MOST
    monkeypatch.setattr(module, "KEPT", 3)
    pair, _ = lab.watch()
    for number in range(5):
        lab.happens(str(number))
    lab.round()
    assert told(pair) == ["0", "1", "2", "3", "4"]
    last = lab.events.last
    assert [*lab.watchers._words] == [(last - 2, None), (last - 1, None), (last, None)]


def test_what_an_event_is_about_is_found_once_a_round(lab: Lab) -> None:
    pairs = [lab.watch(wanted=Wanted(pdus=frozenset({name})))[0] for name in ("a", "b")]
    everything, _ = lab.watch()
    lab.happens("of a")
    lab.round()
    assert [told(each) for each in (*pairs, everything)] == [["of a"], [], ["of a"]]
    assert [*lab.watchers._about] == [lab.events.last]
    lab.happens("of b", "b")
    lab.round()
    assert [told(each) for each in (*pairs, everything)] == [[], ["of b"], ["of b"]]
    assert [*lab.watchers._about] == [lab.events.last]
    lab.round()
    assert not lab.watchers._about


# How much at a time.


@pytest.mark.parametrize("behind", [False, True])
def test_who_is_far_behind_gets_so_much_at_a_time_and_the_next_round_comes_at_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    pair, _ = lab.watch()
    for number in range(5 if behind else 2):
        lab.happens(str(number))
    lab.watch()
    lab.round()
    assert len(told(pair)) == (3 if behind else 2) and lab.woken == behind
    lab.round()
    assert told(pair) == (["3", "4"] if behind else []) and lab.woken == behind


def test_what_is_gone_from_the_ring_is_told_of(lab: Lab) -> None:
    pair, one = lab.watch()
    one.position = 3
    lab.round()
    (gap,) = [json.loads(line) for line in received(pair).splitlines()]
    assert (gap["kind"], gap["id"]) == ("gap", lab.events.last) and one.position == lab.events.last
    lab.happens("one")
    one.position = 3
    lab.round()
    said = [json.loads(line) for line in received(pair).splitlines()]
    assert [(each["kind"], each["id"]) for each in said] == [("gap", lab.events.last - 1), ("pdu", lab.events.last)]
    assert said[0]["reason"] == "some events are gone, or the daemon was started anew: look anew"
    assert one.position == lab.events.last
    lab.round()
    assert not received(pair)


# Who has gone.


def test_who_has_gone_is_forgotten_and_his_connection_ended(lab: Lab) -> None:
    pair, one = lab.watch()
    other, two = lab.watch()
    third, _ = lab.watch()
    pair.connection.exchange = SimpleNamespace(late=None)  # type: ignore[assignment]
    pair.connection.ended = other.connection.ended = True
    lab.happens("on")
    lab.round()
    assert pair.connection.closing and not other.connection.closing and told(third) == ["on"]
    assert pair.connection.exchange is None and not received(pair) and not received(other)
    assert one not in lab.watchers._watchers and two not in lab.watchers._watchers and len(lab.watchers._watchers) == 1


def test_who_has_gone_is_not_told_of_the_end(lab: Lab) -> None:
    pair, _ = lab.watch()
    other, _ = lab.watch()
    other.connection.ended = True
    lab.watchers._end_all("over")
    assert told(pair) == ["over"] and not received(other) and not lab.watchers._watchers


# The thread.


class Ending(Bell):
    """Is set once it has been asked so often."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self._left = rounds

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_it_waits_for_somebody_gathers_and_rests_so_many_times_what_a_round_took(lab: Lab) -> None:
    took = iter((0.0, 0.1, 1.0))

    def permitted() -> None:
        lab.hour.now += next(took)

    def ask() -> None:
        for each in lab.watchers._watchers:
            each.checked = float("-inf")

    bell = lab.watchers._wake = Bell(ask)  # type: ignore[assignment]
    closing = lab.watchers._closing = Ending(3)  # type: ignore[assignment]
    pair, _ = lab.watch(permitted=permitted)
    lab.events.reload()
    lab.watchers._run()
    assert bell.waits == [TICK] * 3
    assert closing.waits[0::2] == [GATHER] * 3
    assert closing.waits[1::2] == [0.0, pytest.approx(REST * 0.1), LONGEST_REST]
    assert told(pair)[-1] == "the daemon is stopping" and pair.connection.closing and not lab.events._watches


def test_where_nobody_watches_it_waits_for_somebody(lab: Lab) -> None:
    bell = lab.watchers._wake = Bell()  # type: ignore[assignment]
    lab.watchers._closing = Ending(2)  # type: ignore[assignment]
    lab.watchers._run()
    assert bell.waits == [None, None] and not lab.events._watches


def test_it_watches_the_events_as_long_as_somebody_watches(lab: Lab) -> None:
    seen: list[tuple[int, bool, int]] = []

    def happens() -> None:
        seen.append((len(lab.events._watches), bell.is_set(), bell.rung))
        lab.happens()
        if len(seen) == 3:
            pair.connection.ended = True

    bell = Bell(happens)
    lab.watchers._wake = bell  # type: ignore[assignment]
    lab.watchers._closing = Ending(4)  # type: ignore[assignment]
    pair, _ = lab.watch()
    lab.watchers._run()
    assert [each[0] for each in seen] == [0, 1, 1, 0] and not lab.events._watches
    assert [each[2] for each in seen] == [0, 0, 1, 2], "each that happens rings, though nobody reads them there"
    assert not any(each[1] for each in seen), "it has come by then"


def test_what_has_happened_by_the_end_is_told(lab: Lab) -> None:
    lab.watchers._closing = Ending(0)  # type: ignore[assignment]
    pair, _ = lab.watch()
    lab.happens("last")
    lab.watchers._run()
    assert told(pair) == ["last", "the daemon is stopping"]


def test_to_add_and_to_close_wake_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread))
    lab.watch()
    (one,) = lab.watchers._watchers
    lab.watchers._watchers.clear()
    lab.watchers.add(one)
    lab.watchers.add(one)
    assert lab.woken == 2 and lab.watchers._watchers == [one, one] and len(started) == 1
    joined: list[float] = []
    alive = [True, False]
    lab.watchers._thread = SimpleNamespace(join=joined.append, is_alive=alive.pop)  # type: ignore[assignment]
    assert lab.watchers.close() is True and lab.watchers.close() is False
    assert lab.woken == 4 and lab.watchers._closing.is_set() and joined == [module.GRACE] * 2

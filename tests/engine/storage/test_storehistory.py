# SPDX-License-Identifier: MIT
"""What is forgotten: of what has ended the oldest, as many as there is no room for, and never the newest."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from pdudaemon.engine.storage import storehistory, storeschema, storesearch
from pdudaemon.engine.storage.store import ADD_COMMAND, command_values, upsert, values
from pdudaemon.power import Action, Command
from tests.support.stores import asked, end


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(storeschema.fresh())
        one.row_factory = sqlite3.Row
        yield one


def add(
    database: sqlite3.Connection, number: int, ended: float | None, command: int | None = None, key: str = ""
) -> None:
    """Add a request that ended then, or goes on."""
    request = asked("on")
    request.key = key
    if ended is not None:
        end(request)
        request.ended = ended
    database.execute(upsert(1), values(request, request, number, command))


def forget(database: sqlite3.Connection, history: int, before: float, batch: int) -> int:
    """Forget a batch as who has not looked before."""
    return storehistory.History().forget(database, history, before, batch)


def left(database: sqlite3.Connection, table: str = "request") -> list[int]:
    return [number for (number,) in database.execute(f"SELECT id FROM {table} ORDER BY id")]


def test_as_many_as_history_says_stay_besides_the_newest(database: sqlite3.Connection) -> None:
    for number in range(1, 11):
        add(database, number, 100.0)
    assert forget(database, 4, 0.0, 100) == 5 and left(database) == [6, 7, 8, 9, 10]
    assert forget(database, 4, 0.0, 100) == 0 and left(database) == [6, 7, 8, 9, 10]
    assert forget(database, 0, 0.0, 100) == 4 and left(database) == [10]
    assert forget(database, 0, 0.0, 100) == 0 and not database.in_transaction


def test_a_batch_at_a_time_the_oldest_first(database: sqlite3.Connection) -> None:
    for number in range(1, 11):
        add(database, number, 100.0)
    assert [forget(database, 3, 0.0, 4) for _ in range(3)] == [4, 2, 0]
    assert left(database) == [7, 8, 9, 10]


def test_what_has_not_ended_is_never_forgotten_and_counts_for_none(database: sqlite3.Connection) -> None:
    for number in range(1, 11):
        add(database, number, None if number % 2 else 100.0)
    assert forget(database, 4, 0.0, 2) == 2 and left(database) == [1, 3, *range(5, 11)]
    assert forget(database, 0, 0.0, 100) == 2 and left(database) == [1, 3, 5, 7, 9, 10]


def test_what_is_too_old_goes_though_there_were_room(database: sqlite3.Connection) -> None:
    for number in range(1, 6):
        add(database, number, float(number))
    assert forget(database, 100, 3.0, 100) == 2 and left(database) == [3, 4, 5]
    assert forget(database, 100, 9.0, 100) == 2 and left(database) == [5], "the newest stays"
    for number in range(6, 11):
        add(database, number, 20.0)
    assert forget(database, 2, 9.0, 100) == 3 and left(database) == [8, 9, 10], "beyond the number as well"


def test_what_is_forgotten_is_not_found_any_more(database: sqlite3.Connection) -> None:
    for number in range(1, 5):
        add(database, number, 100.0)
    while storesearch.enter(database):
        pass
    (before,) = database.execute("SELECT count(*) FROM mention").fetchone()
    assert forget(database, 1, 0.0, 100) == 2
    (after,) = database.execute("SELECT count(*) FROM mention").fetchone()
    assert after * 2 == before


def test_what_cannot_be_forgotten_leaves_all_as_it_was(database: sqlite3.Connection) -> None:
    for number in range(1, 5):
        add(database, number, 100.0)
    database.execute("CREATE TRIGGER no BEFORE DELETE ON request WHEN old.id = 2 BEGIN SELECT RAISE(FAIL, 'no'); END")
    with pytest.raises(sqlite3.Error, match="no"):
        forget(database, 0, 0.0, 100)
    assert left(database) == [1, 2, 3, 4] and not database.in_transaction


def test_a_command_goes_with_the_last_of_its_requests_unless_it_is_the_newest(database: sqlite3.Connection) -> None:
    for number in (1, 2):
        values = command_values(Command(Action.ON, "", 0.0, ("n",)), number)
        database.execute(ADD_COMMAND, values)
    for number, command in ((1, 1), (2, 1), (3, 2), (4, None)):
        add(database, number, 100.0, command)
    assert forget(database, 2, 0.0, 100) == 1 and left(database, "command") == [1, 2]
    assert forget(database, 1, 0.0, 100) == 1 and left(database, "command") == [2]
    assert forget(database, 0, 0.0, 100) == 1 and left(database, "command") == [2]


def test_an_empty_store_has_nothing_to_forget(database: sqlite3.Connection) -> None:
    assert forget(database, 0, 0.0, 100) == forget(database, 5, 9.0, 100) == 0


def test_what_may_be_asked_for_again_by_its_key_is_remembered_for_a_while(database: sqlite3.Connection) -> None:
    now = time.time()
    add(database, 1, now - storehistory.KEYED + 60, key="one")
    add(database, 2, now - storehistory.KEYED - 1, key="two")
    database.execute(upsert(1), values(asked("on"), asked("on"), 8, None))
    for number in (3, 4):
        add(database, number, now - 60, command=7)
    for number in (5, 6, 7):
        add(database, number, now - 60)
    assert forget(database, 0, 0.0, 2) == 2 and forget(database, 0, 0.0, 2) == 2
    assert forget(database, 0, 0.0, 100) == 0 and left(database) == [1, 3, 4, 8]


def test_what_stays_is_passed_over_once_and_looked_at_again_after_a_while(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storehistory, "LOOKED_AT", 3)
    monkeypatch.setattr(storehistory, "REST", 1e9)
    for number in range(1, 11):
        add(database, number, None if number <= 7 else 100.0)
    one = storehistory.History()
    found = [(one.forget(database, 0, 0.0, 100), one.more) for _ in range(4)]
    assert found == [(0, True), (0, True), (2, True), (0, False)] and left(database) == [*range(1, 8), 10]
    add(database, 1, 100.0)
    add(database, 11, 100.0)
    assert one.forget(database, 0, 0.0, 100) == 1 and left(database) == [*range(1, 8), 11], "the first is passed over"
    monkeypatch.setattr(storehistory, "REST", 0.0)
    assert one.forget(database, 0, 0.0, 100) == 1 and left(database) == [*range(2, 8), 11]


def test_what_could_not_be_deleted_is_tried_again(database: sqlite3.Connection) -> None:
    for number in range(1, 5):
        add(database, number, 100.0)
    database.execute("CREATE TRIGGER no BEFORE DELETE ON request BEGIN SELECT RAISE(FAIL, 'no'); END")
    one = storehistory.History()
    with pytest.raises(sqlite3.Error, match="no"):
        one.forget(database, 0, 0.0, 100)
    database.execute("DROP TRIGGER no")
    assert one.forget(database, 0, 0.0, 100) == 3


def test_of_age_what_is_too_young_ends_the_look(database: sqlite3.Connection) -> None:
    for number, ended in enumerate((None, 1.0, 9.0, 1.0, 9.0), 1):
        add(database, number, ended)
    one = storehistory.History()
    assert one.forget(database, 100, 3.0, 100) == 1 and not one.more and left(database) == [1, 3, 4, 5]


class Time:
    """The clocks of a machine on which each look takes a second of the processor."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._spent = 500.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        self._spent += 1.0
        return self._spent

    def time(self) -> float:
        return 1e9


def test_what_stays_is_looked_at_again_after_fifty_times_as_long_as_it_took(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Time()
    monkeypatch.setattr(storehistory, "time", clocks)
    monkeypatch.setattr(storehistory, "LOOKED_AT", 3)
    for number in range(1, 8):
        add(database, number, None)
    add(database, 8, 100.0)
    one = storehistory.History()
    assert [(one.forget(database, 0, 0.0, 100), one.more) for _ in range(3)] == [(0, True), (0, True), (0, False)]
    add(database, 1, 100.0)
    clocks.now += 3 * storehistory.REST
    assert one.forget(database, 0, 0.0, 100) == 0, "it took three seconds to pass them over"
    clocks.now += 1.0
    assert one.forget(database, 0, 0.0, 100) == 1 and left(database) == [*range(2, 9)]


def test_where_nothing_stays_all_is_looked_at_each_time(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Time()
    monkeypatch.setattr(storehistory, "time", clocks)
    for number in range(1, 6):
        add(database, number, 100.0)
    one = storehistory.History()
    assert one.forget(database, 0, 0.0, 100) == 4
    clocks.now += 1.0
    add(database, 2, 100.0)
    assert one.forget(database, 0, 0.0, 100) == 1 and left(database) == [5]


def test_whether_there_is_more_is_known(database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storehistory, "LOOKED_AT", 3)
    for number in range(1, 8):
        add(database, number, 100.0)
    one = storehistory.History()
    assert one.forget(database, 100, 0.0, 100) == 0 and not one.more, "there is room for all"
    assert one.forget(database, 0, 0.0, 2) == 2 and one.more
    assert one.forget(database, 0, 0.0, 100) == 3 and one.more
    assert one.forget(database, 0, 0.0, 100) == 1 and not one.more

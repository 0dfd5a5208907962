# SPDX-License-Identifier: MIT
"""What a store does for itself, told by what it writes and when: rows, looks at its files, and what it leaves to the upkeep."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.config.options import DaemonOptions
from pdudaemon.engine.storage import store as storemodule
from pdudaemon.engine.storage import storeschema, storesearch, storestart, storeupkeep
from pdudaemon.engine.storage.store import CHUNK, MEMORY, Store, command_values, values
from pdudaemon.errors import StoreError, TransientError
from pdudaemon.power import Action, Asked, Command, Outcome, Outlet, Phase, Request, Soft, State
from tests.support.stores import ACCEPTED, asked, end

A, B = Outlet("a", "1"), Outlet("b", "2")


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(MEMORY)
    yield made
    made.close()


@pytest.fixture
def wrote(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """What the upkeep is told: about how many pages were written, and whether they are to be seen to soon."""
    told: list[tuple[int, bool]] = []
    monkeypatch.setattr(store._open.upkeep, "wrote", lambda pages, soon=True: told.append((pages, soon)))
    return told


@pytest.fixture
def looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When its files were looked at."""
    told: list[float] = []
    monkeypatch.setattr(store._open, "stay", lambda: told.append(time.monotonic()))
    return told


def many(number: int) -> list[Request]:
    return [asked("on", Outlet("a", str(port))) for port in range(number)]


def ended(store: Store, number: int) -> list[Request]:
    """Accept some requests that have ended."""
    requests = many(number)
    store.add_all(requests)
    for request in requests:
        store.note(end(request))
    store.flush()
    return requests


def test_it_remembers_as_much_as_the_configuration_does_by_default(store: Store) -> None:
    options = DaemonOptions()
    assert (store.history, store.history_days) == (options.history, options.history_days) == (10000, 0)
    assert store.path == MEMORY
    other = Store(MEMORY, 7, 3)
    assert (other.history, other.history_days) == (7, 3)
    other.close()


def test_a_statement_has_as_many_rows_as_the_next_of_few_sizes(store: Store) -> None:
    """A power of two, or that and a half: none repeats more than a third of itself."""
    sizes = sorted({2**n for n in range(7)} | {3 * 2**n for n in range(6)})
    said: list[str] = []
    store._open.database.set_trace_callback(said.append)
    for number in range(1, CHUNK + 1):
        said.clear()
        store.add_all(many(number))
        (statement,) = {each for each in said if each.startswith("INSERT INTO request (")}
        rows = statement.partition("VALUES (")[2].partition(" ON CONFLICT")[0].split("), (")
        assert len(rows) == next(size for size in sizes if size >= number)
    assert sizes[-1] == CHUNK


@pytest.mark.parametrize(("rows", "pages"), [(1, 2), (3, 2), (4, 3), (5, 3), (40, 12)])
def test_the_upkeep_is_told_how_much_was_written(
    store: Store, wrote: list[tuple[int, bool]], rows: int, pages: int
) -> None:
    requests = many(rows)
    store.add_all(requests)
    assert wrote == [(pages, True)]
    for request in requests:
        store.note(end(request))
    store.flush()
    assert wrote == [(pages, True)] * 2
    store.flush()
    assert len(wrote) == 2, "there was nothing to write"


def test_requests_and_commands_are_numbered_apart_and_on(store: Store) -> None:
    commands = [Command(Action.ON, "", ACCEPTED, ("n",)) for _ in range(3)]
    requests = [many(number) for number in (2, 1, 3, 1)]
    for some, command in zip(requests, [commands[0], None, *commands[1:]], strict=True):
        store.add_all(some, command)
    assert [each.id for each in commands] == [1, 2, 3]
    assert [[each.id for each in some] for some in requests] == [[1, 2], [3], [4, 5, 6], [7]]
    assert [some[0].command for some in requests] == [1, None, 2, 3]
    assert [store.record(number)["id"] for number in range(1, 8)] == [*range(1, 8)]


def test_a_command_of_which_nothing_was_accepted_is_on_record(store: Store) -> None:
    command = Command(Action.ON, "a client", ACCEPTED, ("n1",), key="k")
    store.add_all([], command)
    assert command.id == 1 and store.find_key("k") == ("command", 1)
    found = store.command(1)
    assert (found.command.client, found.command.names, found.rows) == ("a client", ("n1",), [])


def test_a_half_of_a_character_in_a_command_is_written_as_none(store: Store) -> None:
    """As in the name of a client whose token has one."""
    command = Command(Action.ON, "half \udc00", ACCEPTED, ("n1",))
    (request,) = requests = many(1)
    store.add_all(requests, command)
    assert store.command(1).command.client == "half ?" and store.command(1).command.accepted == ACCEPTED
    assert store.record(request.id)["client"] == "a client"
    (other,) = others = [asked("on", client="half \udc00")]
    store.add_all(others, Command(Action.ON, "whole", ACCEPTED, ("n1",)))
    assert store.command(2).command.client == "whole" and store.record(other.id)["client"] == "half ?"


def test_what_is_noted_while_it_is_written_stays_noted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = many(2)
    store.add_all([first, second])
    for request in (first, second):
        request.started = ACCEPTED
        store.note(request)
    write = store._write

    def meanwhile(*words: Any) -> None:
        write(*words)
        store.note(end(first))

    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", meanwhile)
        store.flush()
    assert [*store.noted] == [first.id] and store.record(first.id)["state"] == "accepted"
    store.flush()
    assert not store.noted and store.record(first.id)["state"] == "done"


# Whether it is well.


def test_what_is_too_old_is_looked_for_once_in_a_while(store: Store, wrote: list[tuple[int, bool]]) -> None:
    store.probe(thoroughly=False)
    assert wrote == [], "nothing becomes too old"
    store.history_days = 1
    store.probe(thoroughly=False)
    assert wrote == [(1, True)]
    store.probe(thoroughly=False)
    store._tidied -= storemodule.TIDY_EVERY / 2
    store.probe(thoroughly=False)
    assert len(wrote) == 1
    store._tidied -= storemodule.TIDY_EVERY / 2 + 1
    store.probe(thoroughly=False)
    store.probe(thoroughly=False)
    assert wrote == [(1, True)] * 2


def test_a_thorough_look_is_a_write_which_is_left_where_it_is(store: Store, wrote: list[tuple[int, bool]]) -> None:
    for _ in range(2):
        store.probe(thoroughly=True)
    assert wrote == [(1, False)] * 2
    store.probe(thoroughly=False)
    assert len(wrote) == 2


def test_after_a_write_that_was_refused_the_next_look_is_a_write(
    store: Store, wrote: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever look that is; and after one that was refused as well."""

    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("it is locked")

    def probe(thoroughly: bool) -> str:
        wrote.clear()
        try:
            store.probe(thoroughly=thoroughly)
        except StoreError as error:
            assert wrote == []
            return str(error)
        return str(wrote)

    with monkeypatch.context() as patched:
        patched.setattr(storeschema, "touch", refuse)
        assert probe(False) == "[]"
        assert [probe(each) for each in (True, False, True)] == [f"{MEMORY}: it is locked"] * 3
    assert [probe(False), probe(False)] == ["[(1, False)]", "[]"]
    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", refuse)
        with pytest.raises(sqlite3.OperationalError):
            store.add_all(many(1))
    assert [probe(False), probe(False)] == ["[(1, False)]", "[]"]
    with monkeypatch.context() as patched:
        patched.setattr(store, "_write", refuse)
        with pytest.raises(sqlite3.OperationalError):
            store.add_all(many(1))
    store.add_all(many(1))
    assert probe(False) == "[]", "it has taken something since"


def test_a_look_writes_what_is_noted_and_looks_at_the_files(store: Store, looks: list[float]) -> None:
    (request,) = requests = many(1)
    store.add_all(requests)
    store.note(end(request))
    before = len(looks)
    store.probe(thoroughly=False)
    assert not store.noted and store.record(1)["state"] == "done" and len(looks) > before
    looks.clear()
    store.probe(thoroughly=False)
    assert len(looks) == 1


def test_before_a_write_the_files_are_looked_at_now_and_then_and_where_there_is_trouble(
    store: Store, looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storemodule, "LOOK_EVERY", 1000.0)

    def looked(ago: float = 500.0, trouble: str = "", failed: OSError | None = None) -> bool:
        looks.clear()
        opened = store._open
        opened.looked, opened.trouble, opened.disk.failed = time.monotonic() - ago, trouble, failed
        store.add_all(many(1))
        assert len(looks) <= 1
        return bool(looks)

    assert not looked() and looked(1001.0)
    assert looked(trouble="it has gone") and looked(failed=OSError(5, "no"))
    assert looked(1001.0, "it has gone") and looked(1001.0, "it has gone", OSError(5, "no"))
    assert not looked(0.0)
    store._open.looked = time.monotonic() - 2000
    looks.clear()
    store.flush()
    assert looks == [], "there is nothing to write"
    store._open.disk.failed = None


# What is tidied.


def tidied(store: Store) -> int:
    with store._lock:
        return store._tidy()


def test_requests_are_entered_batch_by_batch(store: Store, wrote: list[tuple[int, bool]]) -> None:
    """And it is told how many have come since there was nothing left to do."""
    ended(store, storesearch.BATCH + 48)
    wrote.clear()
    assert tidied(store) == 148
    assert wrote == [(27, False)]
    assert tidied(store) == 0
    assert wrote[1:] == [(14, False)]
    assert tidied(store) == 0 and len(wrote) == 2
    ended(store, storesearch.BATCH)
    wrote.clear()
    assert tidied(store) == storesearch.BATCH and tidied(store) == 0
    assert wrote == [(27, False)]
    assert [row["id"] for row in itertools.islice(store.searches.found(storesearch.Search(), ()), 3)] == [248, 247, 246]


def test_what_is_beyond_the_history_goes_batch_by_batch(store: Store, wrote: list[tuple[int, bool]]) -> None:
    ended(store, 250)
    while tidied(store):
        pass
    wrote.clear()
    store.history = 9
    assert tidied(store) == 1, "none has come since, and there is more to do"
    assert wrote == [(27, True)]
    ended(store, 8)
    wrote.clear()
    assert tidied(store) == 8
    assert wrote == [(2 + 108 // 4, True)]
    assert tidied(store) == 0
    assert [row["id"] for row in store.rows(1000)] == [*range(258, 248, -1)]
    assert wrote[1:] == [(2 + 48 // 4, True)]


def test_what_has_ended_too_long_ago_goes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = ACCEPTED + 200000.0

        def time(self) -> float:
            return self.now

        def monotonic(self) -> float:
            return self.now

    monkeypatch.setattr(storemodule, "time", Clock())
    assert store._forgotten_before() == 0.0
    store.history_days = 2
    assert store._forgotten_before() == ACCEPTED + 200000 - 172800
    old, *_, newest = ended(store, 3)
    store.history_days = 3
    tidied(store)
    assert len(store.rows(10)) == 3
    store.history_days = 2
    tidied(store)
    assert [row["id"] for row in store.rows(10)] == [newest.id] != [old.id]


# What is written of a request.


def test_a_new_request_is_written_as_it_is() -> None:
    assert values(asked("on", A, B), asked("on", A, B), 7, None) == [
        7, "on", "a port 1 and b port 2", '[["a", "1"], ["b", "2"]]', 0.0, "a client", ACCEPTED, None, "[]", None,
        "on", '[["a", "1"], ["b", "2"]]', None, None, None, None, None, None, "", 0.0, None, "[]", "[]", None,
    ]  # fmt: skip


def test_all_that_became_of_a_request_is_written() -> None:
    outlets = A, Outlet("b", "2", given="02"), Outlet("ü", '"')
    request = asked("reboot", *outlets, names=("n1", "ü"), key="k", delay=5.0, boot="one", accepted_uptime=3.5)
    request.phase, request.remaining = Phase.ON, [*outlets[1:]]
    request.started, request.off_ended, request.off_ended_uptime, request.ended = 1.5, 2.5, 4.5, 6.5
    request.outcome, request.error = Outcome.FAILED, TransientError("refused")
    request.debts = {A}
    request.switched = {A: (State.OFF, 2.25), outlets[2]: (State.UNKNOWN, 3.0)}
    request.soft = Soft(60.0, False, {A: Asked(9.0, 8.0, "no")}, {A: "shut down"})
    row = values(request, request, 7, 3)
    soft = json.loads(str(row.pop()))
    every = '[["a", "1"], ["b", "2", "02"], ["\\u00fc", "\\""]]'
    assert row == [
        7, "reboot", request.target.name, every, 5.0, "a client", ACCEPTED, 3, '["n1", "\\u00fc"]', "k",
        "on", '[["b", "2", "02"], ["\\u00fc", "\\""]]', 1.5, 2.5, 6.5, "failed", "refused", "device-failed", "one", 3.5, 4.5,
        '[["a", "1"]]', '[["a", "1", "off", 2.25], ["\\u00fc", "\\"", "unknown", 3.0]]',
    ]  # fmt: skip
    assert soft == {
        "seconds": 60.0, "hard": False, "asked": [["a", "1", 9.0, 8.0, "no"]],
        "became": [["a", "1", "shut down"]],
    }  # fmt: skip
    request.remaining = []
    assert values(request, request, 7, 3)[11] == "[]"


def test_what_was_noted_is_written_as_it_was_then(store: Store) -> None:
    (request,) = requests = [asked("on", A, B)]
    store.add_all(requests)
    store.note(request)
    assert store.noted[1].soft is None
    request.soft = Soft(60.0)
    store.note(request)
    request.soft.became[A] = "later"
    found = store.noted[1].soft
    assert found is not None and found.seconds == 60.0 and found.became == {}


@pytest.mark.parametrize(("key", "written"), [("k", "k"), ("", None)])
def test_a_command_is_written_as_it_is(key: str, written: str | None) -> None:
    command = Command(Action.OFF, "a client", 5.0, ("n1", "ü"), key=key)
    assert command_values(command, 3) == [3, "off", "a client", 5.0, '["n1", "\\u00fc"]', written]


# The start.


@pytest.mark.parametrize("where", ["last_numbers", "told"])
def test_one_that_cannot_be_read_at_the_start_is_told_and_left_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def refuse(_: object) -> None:
        raise sqlite3.DatabaseError("odd")

    with monkeypatch.context() as patched:
        patched.setattr(storestart, where, refuse)
        with pytest.raises(StoreError, match=f"^{tmp_path}/store: odd$"):
            Store(str(tmp_path / "store"))
    Store(str(tmp_path / "store")).close()


def test_what_was_committed_is_on_the_disk_once_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"))
    synced: list[int] = []
    store.add_all(many(1))
    monkeypatch.setattr(os, "fdatasync", lambda line: synced.append(os.fstat(line).st_ino))
    assert synced == []
    store.sync()
    assert synced == [(tmp_path / "store-wal").stat().st_ino]
    found = store.request(1)
    assert (found.id, found.action, found.remaining) == (1, Action.ON, [Outlet("a", "0")])
    store.close()


def test_what_cannot_be_read_of_what_goes_on_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise sqlite3.DatabaseError("odd")

    monkeypatch.setattr(storestart, "live", refuse)
    with pytest.raises(StoreError, match=f"^{MEMORY}: odd$"):
        store.live()
    assert not store._lock.locked()


def test_what_was_told_last_and_given_last_is_known_at_the_start(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    first = Store(path)
    command = Command(Action.ON, "", ACCEPTED, ("n1",))
    (request,) = requests = [asked("off", A, B)]
    first.add_all(requests, command)
    first.switched(request, A, State.OFF, 5.5)
    assert request.switched == {A: (State.OFF, 5.5)} and first.last_told(A) == (State.OFF, 5.5)
    first.note(request)
    first.close()
    second = Store(path)
    assert second.last_told(A) == (State.OFF, 5.5) and second.last_told(B) is None
    assert second.all_told() == {A: (State.OFF, 5.5)}
    later = Command(Action.ON, "", ACCEPTED, ("n1",))
    (another,) = others = many(1)
    second.add_all(others, later)
    assert (another.id, later.id) == (2, 2)
    second.close()


def test_what_an_earlier_version_has_not_entered_is_seen_to_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(storeupkeep.Upkeep, "wrote", lambda _, pages, soon=True: told.append(pages))
    path = str(tmp_path / "store")
    first = Store(path)
    assert told == []
    ended(first, 1)
    first.close()
    told.clear()
    second = Store(path)
    assert told == [1]
    tidied(second)
    second.close()
    told.clear()
    Store(path).close()
    assert told == []

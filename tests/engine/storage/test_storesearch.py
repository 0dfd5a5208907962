# SPDX-License-Identifier: MIT
"""Requests are found by what they were about, whether or not their words have been entered yet, and forgotten."""

from __future__ import annotations

import itertools
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storefiles, storehistory, storeschema, storesearch, storeupkeep
from pdudaemon.engine.storage.store import Store, upsert, values
from pdudaemon.engine.storage.storesearch import Search, Searches
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Command, Outcome, Outlet, Request
from tests.support.process import eventually
from tests.support.stores import ACCEPTED, asked, end


def made(number: int, rng: random.Random) -> Request:
    """Return a request of some kind, accepted later than those before it, mostly."""
    pdu, port = f"pdu{rng.randrange(6)}", str(rng.randrange(4))
    outlets = [Outlet(pdu, port)] + ([Outlet(f"pdu{rng.randrange(6)}", "x y")] if number % 9 == 0 else [])
    request = asked(rng.choice(["on", "off", "reboot"]), *dict.fromkeys(outlets))
    request.client = rng.choice(["10.0.0.1:1000", "[fe80::1]:5", "10.0.0.2:7 (ann)", "odd"])
    request.names = ("board" + port,) if number % 3 == 0 else ()
    request.accepted = ACCEPTED + number * 10 - (5000 if number % 50 == 0 else 0)  # the clock was set back, once
    if number % 7:
        end(request, request.accepted + 1)
        request.outcome = rng.choice([Outcome.DONE, Outcome.FAILED, Outcome.GIVEN_UP])
    return request


@pytest.fixture(scope="module", params=["entered", "not entered", "half of them"])
def filled(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return a store with 1,500 requests of all kinds, the words of which have been entered or not."""
    path = tmp_path_factory.mktemp("filled") / "store"
    with closing(storefiles.connected(str(path))) as db:
        db.execute("PRAGMA synchronous=OFF")
        storeschema.prepare(db, "store")
        rng = random.Random(14)
        db.execute("BEGIN")
        for number in range(1, 1501):
            each = made(number, rng)
            db.execute(upsert(1), values(each, each, number, None))
        db.execute("COMMIT")
        batches = {"entered": 10_000, "not entered": 0, "half of them": 7}[request.param]
        for _ in itertools.takewhile(lambda _: storesearch.enter(db), range(batches)):
            pass
    return path


@pytest.fixture
def database(tmp_path: Path, filled: Path) -> Iterator[sqlite3.Connection]:
    """Yield a store such as that, of the test's own."""
    for each in filled.parent.iterdir():
        shutil.copy(each, tmp_path)
    with closing(storefiles.connected(str(tmp_path / "store"))) as db:
        yield db


SEARCHES = {
    "all": Search(),
    "PDU": Search(((storesearch.pdu("pdu3"),),)),
    "PDUs": Search(((storesearch.pdu("pdu3"), storesearch.pdu("pdu4"), storesearch.pdu("none")),)),
    "outlet": Search(((storesearch.outlet("pdu1", "x y"),),)),
    "node": Search(((storesearch.node("board2"),),)),
    "nobody": Search(((storesearch.node("board9"),),)),
    "address": Search(((storesearch.client("fe80::1"),),)),
    "name": Search(((storesearch.client("ann"),),)),
    "no address": Search(((storesearch.client("odd"),),)),
    "action": Search(((storesearch.action("reboot"),),)),
    "PDU and action": Search(((storesearch.pdu("pdu0"),), (storesearch.action("off"),))),
    "failed": Search(states=frozenset({"failed"})),
    "not done": Search(states=frozenset({"failed", "given up", "running"})),
    "done": Search(states=frozenset({"done"})),
    "running": Search(states=frozenset({"running"})),
    "failed of a client": Search(((storesearch.client("ann"),),), frozenset({"failed"})),
    "failed of a PDU": Search(((storesearch.pdu("pdu2"),),), frozenset({"failed"})),
    "failed or running of a PDU": Search(((storesearch.pdu("pdu2"),),), frozenset({"failed", "running"})),
    "done or running": Search(states=frozenset({"done", "running"})),
    "running of a PDU": Search(((storesearch.pdu("pdu2"),),), frozenset({"queued"})),
    "since": Search(since=ACCEPTED + 9000),
    "until": Search(until=ACCEPTED + 2000),
    "between": Search(((storesearch.pdu("pdu2"),),), since=ACCEPTED + 3000, until=ACCEPTED + 9000),
    "before": Search(before=700),
    "before, of a PDU": Search(((storesearch.pdu("pdu5"),),), before=200),
    "running, before one that is": Search(states=frozenset({"running"}), before=700),
    "no such client": Search(((storesearch.client("eve"),),)),
    "client, a state that there is not": Search(((storesearch.client("ann"),),), frozenset({"cancelled"})),
    "failed, of who has no name": Search(((storesearch.client(""),),), frozenset({"failed"})),
    "never": Search(since=ACCEPTED * 1e6),
}
WANTED: dict[str, list[int]] = {}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_what_a_look_at_every_row_finds(database: sqlite3.Connection, name: str) -> None:
    search = SEARCHES[name]
    if name not in WANTED:  # the requests of all stores are the same
        rows = database.execute("SELECT * FROM request ORDER BY id DESC").fetchall()
        WANTED[name] = [row["id"] for row in rows if row["id"] < (search.before or 10_000) and search.matches(row)]
    wanted = WANTED[name]
    assert wanted or name in (
        "nobody",
        "never",
        "no such client",
        "client, a state that there is not",
        "failed, of who has no name",
    )
    searches = Searches("store")
    searches.share(database, threading.Lock())
    live = [row["id"] for row in database.execute("SELECT id FROM request WHERE ended IS NULL ORDER BY id DESC")]
    assert [row["id"] for row in searches.found(search, live)] == wanted


def test_what_is_forgotten_is_found_no_more_and_leaves_nothing(database: sqlite3.Connection) -> None:
    while storesearch.enter(database):
        pass
    while storehistory.History().forget(database, 100, 0.0, 64):
        pass
    mentioned = {row[0] for row in database.execute("SELECT request FROM mention")}
    there = {row[0] for row in database.execute("SELECT id FROM request")}
    assert mentioned == there and len([number for number in there if number >= 1400]) == 101
    assert database.execute("SELECT max(last) FROM span").fetchone()[0] == 1500


@pytest.mark.parametrize(
    "column, value", [("all_outlets", "[["), ("names", "{"), ("client", "\ud800"), ("accepted", "")]
)
def test_a_row_that_makes_no_sense_hinders_nobody(database: sqlite3.Connection, column: str, value: str) -> None:
    database.execute(f"UPDATE request SET {column} = ? WHERE id = 1499", (value.encode("utf-8", "surrogatepass"),))
    database.text_factory = lambda raw: raw.decode(errors="replace")
    while storesearch.enter(database):
        pass
    searches = Searches("store")
    searches.share(database, threading.Lock())
    assert len([*searches.found(Search(), ())]) == 1500
    dated = [row["id"] for row in searches.found(Search(since=ACCEPTED + 14975), ())]
    assert dated == ([1498] if column == "accepted" else [1499, 1498])


@pytest.mark.parametrize("filled", ["entered"], indirect=True)
@pytest.mark.parametrize(
    "name, most",
    [
        ("nobody", 200),
        ("no such client", 200),
        ("client, a state that there is not", 200),
        ("running of a PDU", 200),
        ("until", 7000),
        ("since", 3000),
        ("never", 200),
        ("before", 3000),
        ("outlet", 2000),
        ("failed", 3000),
        ("failed of a PDU", 5000),
        ("PDU and action", 6000),
    ],
)
def test_only_some_rows_are_looked_at(database: sqlite3.Connection, name: str, most: int) -> None:
    """The newest that is found, and that there is none, is known after so many steps of SQLite."""
    searches = Searches("store")
    searches.share(database, threading.Lock())
    steps = itertools.count()
    database.set_progress_handler(lambda: next(steps) < 0, 10)
    next(iter(searches.found(SEARCHES[name], ())), None)
    assert next(steps) * 10 < most


@pytest.mark.parametrize("filled", ["entered"], indirect=True)
@pytest.mark.parametrize(
    "search",
    [
        Search(((storesearch.pdu("pdu0"),), (storesearch.client("eve"),))),
        Search(((storesearch.pdu("pdu0"),), (storesearch.node("board9"),))),
        Search(((storesearch.client("eve"),), (storesearch.action("on"),)), frozenset({"done", "failed"})),
        Search(((storesearch.pdu("pdu0"),),), frozenset({"cancelled", "failed"}), until=ACCEPTED - 1e6),
    ],
)
def test_no_row_is_fetched_that_is_not_looked_for(database: sqlite3.Connection, search: Search) -> None:
    fetched: list[sqlite3.Row] = []

    def noted(cursor: sqlite3.Cursor, row: tuple[object, ...]) -> sqlite3.Row:
        fetched.append(sqlite3.Row(cursor, row))
        return fetched[-1]

    database.row_factory = noted
    searches = Searches("store")
    searches.share(database, threading.Lock())
    assert [*searches.found(search, ())] == []
    assert [each for each in fetched if "id" in each.keys()] == []  # noqa: SIM118


@pytest.mark.parametrize(
    "target, names, nodes",
    [
        ("board7", (), ["board7"]),
        ("board7 (a port 1 and b port 2)", (), ["board7"]),
        ("a port 1", (), []),
        ("a port 1", ("board1", "board2"), ["board1", "board2"]),
    ],
)
def test_which_nodes_a_request_named(target: str, names: tuple[str, ...], nodes: list[str]) -> None:
    assert [*storesearch.nodes_of(names, target)] == nodes


def test_what_cannot_be_entered_leaves_no_transaction_open(database: sqlite3.Connection) -> None:
    row = asked("on")
    database.execute(upsert(1), values(row, row, 1501, None))
    database.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON mention BEGIN SELECT raise(ABORT, 'full'); END")
    with pytest.raises(sqlite3.Error, match="full"):
        storesearch.enter(database)
    database.execute("DROP TRIGGER full")
    assert not database.in_transaction and storesearch.enter(database)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(storeupkeep, "IDLE", 0.05)
    store = Store(str(tmp_path / "store"))
    yield store
    store.close()


def entered(path: str) -> int:
    """Return the number up to which the words of a store have been entered."""
    with closing(storefiles.connected(path)) as db:
        return int(db.execute("SELECT ifnull(max(last), 0) FROM span").fetchone()[0])


def test_the_thread_of_the_store_enters_what_was_accepted(store: Store) -> None:
    store.add_all([asked("on", Outlet("a", str(port))) for port in range(300)])
    eventually(lambda: entered(store.path) == 300)
    found = [row["id"] for row in store.searches.found(Search(((storesearch.outlet("a", "7"),),)), ())]
    assert found == [8]


def test_a_store_of_version_3_can_be_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storeupkeep, "IDLE", 0.05)
    path = str(tmp_path / "store")
    store = Store(path)
    store.add_all([end(asked("on", Outlet("a", str(port)))) for port in range(100)])
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE mention; DROP TABLE span; DROP INDEX request_not_done;")
        db.executescript("ALTER TABLE request DROP COLUMN soft; PRAGMA user_version=3;")
    store = Store(path)
    assert [row["id"] for row in store.searches.found(Search(((storesearch.outlet("a", "7"),),)), ())] == [8]
    eventually(lambda: entered(path) == 100)  # without a write
    store.close()


def test_what_is_older_than_some_days_is_forgotten_though_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storeupkeep, "IDLE", 0.05)
    store = Store(str(tmp_path / "store"), history_days=3)
    day, now = 86400.0, time.time()
    requests = [end(asked("on"), now - days * day) for days in (9, 4, 3.1, 2.9, 1)]
    owing = asked("reboot", accepted=now - 90 * day)  # has not ended, whatever its age
    store.add_all([owing, *requests], Command(Action.ON, "", now, ("a",)))
    eventually(lambda: [row["id"] for row in store.rows(10)] == [6, 5, 1])
    store.history_days = 2
    store.probe(thoroughly=False)
    eventually(lambda: [row["id"] for row in store.rows(10)] == [6, 1])
    store.history_days = 0
    store.close()


def test_a_store_that_is_closed_says_so(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    store.close()
    with pytest.raises(StoreError, match="not open"):
        [*store.searches.found(Search(), ())]


@pytest.mark.parametrize("name", ["running", "not done", "all", "PDU"])
def test_what_is_looked_through_in_many_parts_is_in_order(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(storesearch, "CHUNK", 20)
    test_a_search_finds_what_a_look_at_every_row_finds(database, name)


@pytest.mark.parametrize(("when", "found"), [(4.9, False), (5.0, True), (6.9, True), (7.0, False)])
def test_a_time_begins_with_its_first_moment_and_ends_before_its_last(when: float, found: bool) -> None:
    assert Search(since=5.0, until=7.0).matches({"accepted": when, "ended": None}) is found


def test_which_states_are_looked_for() -> None:
    some = Search(states=frozenset({"failed", "running"}))
    assert [some.stands(state) for state in ("failed", "running", "queued", "done")] == [True, True, False, False]
    assert Search().stands("queued") and some.outcomes == ["failed"] and some.unended
    assert not Search(states=frozenset({"failed"})).unended
    assert Search().outcomes == sorted(each.value for each in Outcome)


def test_whether_words_are_behind(tmp_path: Path) -> None:
    with closing(storefiles.connected(str(tmp_path / "store"))) as db:
        storeschema.prepare(db, "store")
        assert not storesearch.behind(db)
        one = asked("on")
        db.execute(upsert(1), values(one, one, 1, None))
        assert storesearch.behind(db) and storesearch.enter(db) == 1
        assert not storesearch.behind(db) and storesearch.enter(db) == 0


def test_of_when_what_is_forgotten_was_accepted_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storesearch, "LONGEST_SPAN", 10)
    monkeypatch.setattr(storesearch, "BATCH", 10)
    with closing(storefiles.connected(str(tmp_path / "store"))) as db:
        storeschema.prepare(db, "store")
        for number in range(1, 101):
            one = end(asked("on"))
            db.execute(upsert(1), values(one, one, number, None))
        while storesearch.enter(db):
            pass
        assert db.execute("SELECT count(*) FROM span").fetchone()[0] == 10
        while storehistory.History().forget(db, 25, 0.0, 64):
            pass
        assert [*db.execute("SELECT min(first), max(last), count(*) FROM span").fetchone()] == [71, 100, 3]


def test_where_none_says_when_it_was_accepted_all_are_entered() -> None:
    with closing(storefiles.connected(storefiles.MEMORY)) as db:
        storeschema.prepare(db, "store")
        for number in (1, 2):
            one = asked("on")
            db.execute(upsert(1), values(one, one, number, None))
        db.execute("UPDATE request SET accepted = 'soon'")
        assert storesearch.enter(db) == 2 and not storesearch.behind(db)
        assert [tuple(row) for row in db.execute("SELECT * FROM span")] == [(1, 2, 0.0, 0.0)]

# SPDX-License-Identifier: MIT
"""Stores of earlier versions, and of later ones."""

from __future__ import annotations

import gc
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storeschema
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storesearch import Search, node
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Asked, Command, Outlet, Soft, State
from tests.support.process import eventually
from tests.support.rack import Rack
from tests.support.stores import ACCEPTED, asked, end

VERSION_1 = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, target TEXT NOT NULL, all_outlets TEXT NOT NULL, delay REAL NOT NULL, client TEXT NOT NULL,
    accepted REAL NOT NULL, phase TEXT NOT NULL, owed INTEGER NOT NULL,
    outlets TEXT NOT NULL, started REAL, off_ended REAL,
    ended REAL, outcome TEXT, reason TEXT);
PRAGMA user_version=1;
"""


def row(action: str, port: str, phase: str, owed: bool, ago: float, **more: object) -> dict[str, object]:
    """Return a row as version 1 wrote it."""
    outlets = json.dumps([["a", port]])
    return {
        "action": action, "target": f"a port {port}", "all_outlets": outlets, "delay": 0.0, "client": "old",
        "accepted": time.time() - ago, "phase": phase, "owed": owed, "outlets": outlets, **more,
    }  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return the path of a store of version 1, with some history and some work to do."""
    now = time.time()
    rows = [
        row("off", "2", "off", False, 9000, started=1.0, ended=now - 8999, outcome="done"),
        row("on", "3", "on", False, 9000, started=1.0, ended=now - 8999, outcome="done"),
        row("off", "3", "off", False, 9000, started=1.0, ended=now - 8998, outcome="failed", reason="x"),
        row("reboot", "4", "on", True, 9000, started=1.0, off_ended=2.0, ended=now - 8998, outcome="failed"),
        row("reboot", "1", "on", True, 7200, started=now - 7199, off_ended=now - 7198),
        row("reboot", "5", "off", True, 7200, started=now - 7199),
        row("reboot", "6", "off", True, 7200),
        row("on", "7", "on", True, 7200),
        row("off", "8", "off", False, 10),
        row("off", "9", "off", False, 9000, ended=now - 8999, outcome="expired"),
    ]
    path = tmp_path / "store"
    with sqlite3.connect(path) as db:
        db.executescript(VERSION_1)
        for each in rows:
            names = ", ".join(each)
            db.execute(f"INSERT INTO request ({names}) VALUES ({', '.join('?' * len(each))})", [*each.values()])
    db.close()
    return path


def test_a_store_of_version_1_loses_nothing(old: Path, tmp_path: Path) -> None:
    store = Store(str(old))
    assert [request.id for request in store.live() if request.must_switch_on] == [5, 6, 8]
    found = [store.last_told(Outlet("a", port)) for port in "12345679"]
    assert [each and each[0] for each in found] == [
        State.OFF, State.OFF, State.UNKNOWN, State.ON, None, None, None, None,
    ]  # fmt: skip
    store.close()
    rack = Rack(tmp_path, {"a": {}})
    eventually(lambda: len(rack.dispatcher._lanes.live) == 0)
    assert [rack.state(number) for number in (5, 6, 7, 8, 9)] == ["done", "done", "expired", "done", "done"]
    assert sorted(rack.seen["a"]) == ["f", "o", "o", "o"]
    rack.restart()
    assert rack.dispatcher.records(100)[-1]["state"] == "done"
    rack.stop()


def test_what_all_hangs_on_is_in_the_database_itself(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        storeschema.prepare(database, str(path))
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as alone:
            assert alone.execute("SELECT count(*) FROM request").fetchone() == (0,)


def test_one_that_cannot_be_written_is_told_before_anything_is_to_be(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "store", isolation_level=None)) as database:
        storeschema.prepare(database, "store")
        database.execute("PRAGMA query_only=1")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            storeschema.prepare(database, "store")


def test_a_store_that_cannot_be_made_a_new_one_stays_as_it_is(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(old) as db:
        before = [*db.execute("SELECT * FROM request")]
    db.close()
    with monkeypatch.context() as patched:
        patched.setattr("pdudaemon.engine.storage.storeschema._told_by", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Store(str(old))
    gc.collect()  # closes what was open when it failed
    db = sqlite3.connect(old)
    assert [*db.execute("SELECT * FROM request")] == before
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()


VERSION_2 = """
CREATE TABLE request (
    id INTEGER PRIMARY KEY,
    action TEXT NOT NULL, target TEXT NOT NULL, all_outlets TEXT NOT NULL, delay REAL NOT NULL, client TEXT NOT NULL,
    accepted REAL NOT NULL, phase TEXT NOT NULL,
    outlets TEXT NOT NULL, started REAL, off_ended REAL,
    ended REAL, outcome TEXT, reason TEXT,
    boot TEXT NOT NULL DEFAULT '', accepted_uptime REAL NOT NULL DEFAULT 0, off_ended_uptime REAL,
    debts TEXT NOT NULL DEFAULT '[]', switched TEXT NOT NULL DEFAULT '[]');
CREATE TABLE told (
    pdu TEXT NOT NULL, port TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL, PRIMARY KEY (pdu, port));
CREATE TRIGGER request_told AFTER UPDATE OF switched ON request WHEN new.switched <> old.switched BEGIN
    INSERT OR REPLACE INTO told
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'),
           json_extract(value, '$[2]'), json_extract(value, '$[3]')
    FROM json_each(new.switched) WHERE value NOT IN (SELECT value FROM json_each(old.switched));
END;
INSERT INTO request (action, target, all_outlets, delay, client, accepted, phase, outlets, started, debts)
VALUES ('reboot', 'a port 1', '[["a", "1"]]', 5.0, 'old', 1000.0, 'off', '[["a", "1"]]', 1001.0, '[["a", "1"]]');
INSERT INTO told VALUES ('a', '1', 'off', 1000.0);
PRAGMA user_version=2;
"""


def test_a_store_of_version_2_loses_nothing_and_learns_of_commands(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_2)
    for turn in range(2):
        store = Store(str(path))
        (request,) = store.live()
        assert (request.id, request.debts, request.command, request.names, request.key) == (
            1, {Outlet("a", "1")}, None, (), "",
        )  # fmt: skip
        assert store.last_told(Outlet("a", "1")) == (State.OFF, 1000.0)
        command = Command(Action.ON, "", ACCEPTED, ("n1",), key=f"c{turn}")
        store.add_all([end(asked("on", Outlet("b", "1"), key=f"k{turn}"))], command)
        assert store.find_key(f"c{turn}") == ("command", command.id)
        store.close()
    store = Store(str(path))
    (request,) = store.live()
    request.remaining.clear()
    store.switched(request, Outlet("a", "1"), State.ON, 2000.0)
    store.note(end(request))
    store.close()
    with closing(Store(str(path))) as store:
        assert store.last_told(Outlet("a", "1")) == (State.ON, 2000.0)


def test_one_that_cannot_be_made_a_new_one_is_as_before_though_nobody_closes_it(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storeschema, "_told_by", lambda _: 1 / 0)
    with closing(sqlite3.connect(old, isolation_level=None)) as database:
        database.row_factory = sqlite3.Row
        with pytest.raises(ZeroDivisionError):
            storeschema.prepare(database, str(old))
        assert not database.in_transaction and database.execute("PRAGMA user_version").fetchone()[0] == 1
        assert database.execute("SELECT owed FROM request").fetchone() is not None


def test_a_store_of_version_3_has_commands_and_can_be_searched_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "store"
    command = Command(Action.ON, "", ACCEPTED, ("n1",), key="c")
    with closing(Store(str(path))) as store:
        store.add_all([asked("off", key="k"), end(asked("on", names=("n1",)))], command)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "ALTER TABLE request DROP COLUMN soft; DROP TABLE mention; DROP TABLE span; DROP INDEX request_not_done;"
            "PRAGMA user_version=3;"
        )
    with closing(Store(str(path))) as store:
        assert [request.id for request in store.live()] == [1]
        assert (store.find_key("k"), store.find_key("c")) == (("request", 1), ("command", 1))
        assert [row["id"] for row in store.searches.found(Search(words=((node("n1"),),)), [1])] == [2]
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (5,)


def test_who_has_other_tables_has_another_version() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(storeschema.fresh())
        assert database.execute("PRAGMA user_version").fetchone() == (5,)
        columns = {
            table: [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
            for table in ("request", "told", "command", "mention", "span")
        }
    assert columns == {
        "request": [
            "id", "action", "target", "all_outlets", "delay", "client", "accepted", "phase", "outlets", "started",
            "off_ended", "ended", "outcome", "reason", "boot", "accepted_uptime", "off_ended_uptime", "debts",
            "switched", "command", "names", "key", "kind", "soft",
        ],
        "told": ["pdu", "port", "state", "time"],
        "command": ["id", "action", "client", "accepted", "names", "key"],
        "mention": ["word", "request"],
        "span": ["first", "last", "oldest", "newest"],
    }  # fmt: skip


def test_a_store_of_version_4_learns_what_is_asked_to_shut_down(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(Store(str(path))) as store:
        store.add_all([asked("off"), end(asked("on"))])
    with closing(sqlite3.connect(path)) as database:
        database.executescript("ALTER TABLE request DROP COLUMN soft; PRAGMA user_version=4;")
    with closing(Store(str(path))) as store:
        assert [(request.id, request.soft) for request in store.live()] == [(1, None)]
        soft = Soft(120.0, False, {Outlet("a", "1"): Asked(2000.0, 50.0, "why")}, {Outlet("a", "1"): "said"})
        store.add_all([asked("off", soft=soft)])
    with closing(Store(str(path))) as store:
        found = store.live()[-1].soft
        assert found is not None and vars(found) == vars(soft)
        record = store.record(3)
        assert (record["soft"], record["hard"], record["reason"]) == (120.0, False, "said")


@pytest.mark.parametrize(
    "soft",
    [
        "x", "{}", '"a"', "[1]",
        '{"seconds": -1, "hard": true, "asked": [], "became": []}',
        '{"seconds": 1, "hard": 1, "asked": [], "became": []}',
        '{"seconds": 1, "hard": true, "asked": [["a", "9", 1.0, 1.0, ""]], "became": []}',
        '{"seconds": 1, "hard": true, "asked": [["a", "1", 1.0, NaN, ""]], "became": []}',
        '{"seconds": 1, "hard": true, "asked": [], "became": [["a", "1", 5]]}',
    ],
)  # fmt: skip
def test_a_soft_off_that_makes_no_sense_is_set_aside(tmp_path: Path, soft: str) -> None:
    path = tmp_path / "store"
    with closing(Store(str(path))) as store:
        store.add_all([asked("off"), asked("off", Outlet("a", "2"))])
    with closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE request SET soft = ? WHERE id = 1", (soft,))
        database.commit()
    with closing(Store(str(path))) as store:
        assert [request.id for request in store.live()] == [2]


def test_a_migrated_store_and_a_new_one_have_their_tables_in_the_same_places(tmp_path: Path) -> None:
    """So that, where the first page of one is lost, that of a new one takes its place."""
    path = tmp_path / "store"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_2)
    Store(str(path)).close()

    def places(database: sqlite3.Connection) -> list[tuple[str, str, int]]:
        return database.execute("SELECT type, name, rootpage FROM sqlite_master ORDER BY name").fetchall()

    with closing(sqlite3.connect(path)) as migrated, closing(sqlite3.connect(":memory:")) as new:
        new.deserialize(storeschema.fresh())
        assert places(migrated) == places(new)


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    Store(str(path)).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version={storeschema.VERSION + 1}")
    with pytest.raises(StoreError, match="written by a newer pdudaemon"):
        Store(str(path))


def test_of_which_version_the_tables_are() -> None:
    fresh = [
        "PRAGMA user_version=0",
        "ALTER TABLE request DROP COLUMN soft",
        "DROP TABLE span",
        "DROP INDEX request_command; ALTER TABLE request DROP COLUMN command",
    ]
    found = []
    with closing(sqlite3.connect(":memory:")) as nothing:
        assert storeschema.version_of(nothing) == 0
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(storeschema.fresh())
        for script in fresh:
            database.executescript(script)
            found.append(storeschema.version_of(database))
        database.execute("PRAGMA user_version=6")
        found.append(storeschema.version_of(database))
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(VERSION_1)
        found.append(storeschema.version_of(database))
        database.execute("PRAGMA user_version=5")
        found.append(storeschema.version_of(database))
    assert found == [5, 4, 3, 2, 6, 1, 1]

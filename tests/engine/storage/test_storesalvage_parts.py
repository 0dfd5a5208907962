# SPDX-License-Identifier: MIT
"""What is made of a damaged image, piece by piece: its header, its rows from wherever they can be read, its outlets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storesalvage, storeschema
from pdudaemon.engine.storage.store import upsert, values
from pdudaemon.engine.storage.walfile import Frame, Log
from pdudaemon.power import Outlet
from tests.support.stores import asked, end

FRESH = storeschema.fresh()
EMPTY = Log(4096)


def image(*ports: int, many: int = 0, ended: bool = False) -> bytes:
    """Return a database of requests for some ports of the PDU ``a``, by their numbers."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(FRESH)
        for number in [*ports, *range(1, many + 1)]:
            request = asked("reboot", Outlet("a", str(number)), client="x" * 200)
            if ended:
                end(request)
            one.execute(upsert(1), values(request, request, number, None))
        return one.serialize()


def rows(whole: bytes) -> list[int]:
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(whole)
        assert one.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [number for (number,) in one.execute("SELECT id FROM request ORDER BY id")]


def words(change: dict[int, bytes], whole: bytes = FRESH) -> bytearray:
    """Return a database some bytes of whose header are others."""
    found = bytearray(whole)
    for start, data in change.items():
        found[start : start + len(data)] = data
    return found


@pytest.mark.parametrize(
    "change",
    [
        {0: b"\0" * 16},
        {16: b"\x03\x01"},
        {18: b"\x02\x02"},
        {20: b"\x07"},
        {21: b"\x09\x09\x09"},
        {28: b"\0\0\0\x01"},
        {28: b"\xff\xff\xff\xff"},
        {44: b"\0\0\0\x05"},
        {44: b"\x01\0\0\0"},
        {56: b"\0\0\0\x04"},
        {56: b"\x01\0\0\0"},
        {60: b"\0\0\x03\xe9"},
        {60: b"\x01\0\0\0"},
        {92: b"\x12\x34\x56\x78"},
    ],
)
def test_a_header_is_put_right(change: dict[int, bytes]) -> None:
    whole = words({18: b"\x01\x01"})
    storesalvage.mend_header(whole, FRESH)
    found = words(change)
    storesalvage.mend_header(found, FRESH)
    assert found == whole and rows(bytes(found)) == []


@pytest.mark.parametrize(
    "kept",
    [{16: b"\x10\x00"}, {44: b"\0\0\0\x04"}, {44: b"\0\0\0\x01"}, {56: b"\0\0\0\x03"}, {60: b"\0\0\x03\xe8"}],
)
def test_what_may_be_in_a_header_stays(kept: dict[int, bytes]) -> None:
    found = words(kept)
    storesalvage.mend_header(found, FRESH)
    for start, data in kept.items():
        assert found[start : start + len(data)] == data
    assert found[92:96] == found[24:28]


@pytest.mark.parametrize("size", [0, 50, 99, 100, 4096])
def test_what_was_cut_off_has_its_size_again(size: int) -> None:
    found = bytearray(FRESH[:size])
    storesalvage.mend_header(found, FRESH)
    assert len(found) == (len(FRESH) if size >= 32 else 100)
    assert found.startswith(storesalvage.MAGIC)


def test_a_size_that_cannot_be_is_not_believed() -> None:
    found = words({28: b"\x7f\xff\xff\xff"})
    storesalvage.mend_header(found, FRESH)
    assert len(found) == len(FRESH) and int.from_bytes(found[28:32]) == len(FRESH) // 4096
    for missing in (storesalvage.MOST_MISSING, storesalvage.MOST_MISSING + 4096):
        found = words({28: ((len(FRESH) + missing) // 4096).to_bytes(4)})
        storesalvage.mend_header(found, FRESH)
        assert len(found) == len(FRESH)
    large = words({16: b"\0\x01"}, bytes(3 * 65536))
    storesalvage.mend_header(large, FRESH)
    assert int.from_bytes(large[28:32]) == 3


def test_outlets_are_found_in_whatever_it_is() -> None:
    text = b'\x00\xff["a", "1"], ["B\\u00fc", "x \\" y"]\x07["c", 3] ["d"] [["e", "5", "05"]] ["bad\\q", "1"] ["f","6"]'
    assert [*storesalvage.mentioned(text)] == ["a port 1", 'Bü port x " y', "e port 5"]


def test_what_sqlite_finds() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(image(many=50))
        assert storesalvage.quick_check(one) == "" and storesalvage.has_requests(one)
    spoiled = bytearray(image(many=50))
    root = next(page for page in range(0, len(spoiled), 4096) if spoiled[page] == 5)
    spoiled[root + 3 : root + 30] = b"\xa5" * 27
    storesalvage.mend_header(spoiled, FRESH)
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(bytes(spoiled))
        found = storesalvage.quick_check(one)
        assert found and "\n" not in found
    with closing(sqlite3.connect(":memory:")) as one:
        assert not storesalvage.has_requests(one) and storesalvage.quick_check(one) == ""


def leaves(whole: bytes) -> list[int]:
    """Return where the pages with rows of the requests begin."""
    return [
        place for place in range(4096, len(whole), 4096) if whole[place] == 13 and b'[["a", "' in whole[place:][:4096]
    ]


@pytest.mark.parametrize("which", ["first", "middle", "last", "both ends"])
def test_rows_of_the_other_pages_are_saved(which: str) -> None:
    whole = image(many=120)
    every = leaves(whole)
    assert len(every) > 6
    chosen = {"first": every[:1], "middle": every[3:4], "last": every[-1:], "both ends": [every[0], every[-1]]}[which]
    spoiled = bytearray(whole)
    for place in chosen:
        spoiled[place : place + 4096] = b"\xa5" * 4096
    lost = {*storesalvage.mentioned(whole)} - {*storesalvage.mentioned(bytes(spoiled))}
    saved, named = storesalvage.best(bytes(spoiled), EMPTY)
    assert {f"a port {number}" for number in range(1, 121)} - {f"a port {number}" for number in rows(saved)} == lost
    assert named == set(), "of what is not there any more nobody knows"


def without_a_way(whole: bytes, size: int = 4096) -> bytes:
    """Return a database whose rows are all there, but not the page that says where the requests are."""
    found = bytearray(whole)
    root = next(page for page in range(size, len(found), size) if found[page] == 5)
    found[root : root + size] = b"\xa5" * size
    return bytes(found)


def test_rows_to_which_there_is_no_way_are_saved() -> None:
    saved, named = storesalvage.best(without_a_way(image(many=120)), EMPTY)
    assert len(rows(saved)) >= 110 and {*range(1, 121)} - {*rows(saved)} == {
        int(each.rpartition(" ")[2]) for each in named
    }


@pytest.mark.parametrize("size", [8192, 65536])
def test_rows_to_which_there_is_no_way_are_saved_from_pages_of_any_size(tmp_path: Path, size: int) -> None:
    many = 120 * max(1, size // 4096)
    (tmp_path / "store").write_bytes(image(many=many))
    with closing(sqlite3.connect(tmp_path / "store", isolation_level=None)) as one:
        one.executescript(f"PRAGMA journal_mode=DELETE; PRAGMA page_size={size}; VACUUM")
    saved, named = storesalvage.best(without_a_way((tmp_path / "store").read_bytes(), size), EMPTY)
    assert len(rows(saved)) > many * 0.9 and len(rows(saved)) + len(named) == many


def test_a_row_to_which_there_is_no_way_and_that_makes_no_sense_is_named() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(image(many=120))
        one.execute("UPDATE request SET all_outlets = '[[' WHERE id = 60")
        saved, named = storesalvage.best(without_a_way(one.serialize()), EMPTY)
    assert 60 not in rows(saved) and "a port 60" in named


def test_a_database_of_another_kind_is_no_store_though_it_is_whole() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.executescript('CREATE TABLE t (n); INSERT INTO t VALUES (\'[["a", "1"]]\')')
        saved, named = storesalvage.best(one.serialize(), EMPTY)
    assert (rows(saved), named) == ([], {"a port 1"})


def test_where_nothing_can_be_saved_all_is_named() -> None:
    saved, named = storesalvage.best(b"\0" * 5000 + b'["a", "1"] ["b", "2"]', EMPTY)
    assert (rows(saved), named) == ([], {"a port 1", "b port 2"})
    saved, named = storesalvage.best(b"", EMPTY)
    assert (rows(saved), named) == ([], set())


def test_the_first_page_may_be_made_anew() -> None:
    whole = bytearray(image(many=30))
    whole[:4096] = b"\xa5" * 4096
    saved, named = storesalvage.best(bytes(whole), EMPTY)
    assert rows(saved) == [*range(1, 31)] and named == set()


def log(*frames: Frame) -> Log:
    return Log(4096, [*frames], readable=0)


def frame(number: int, whole: bytes, place: int, good: bool, pages: int | None = None) -> Frame:
    count = len(whole) // 4096 if pages is None else pages
    return Frame(number, place // 4096 + 1, count, whole[place : place + 4096], good)


def test_what_a_damaged_frame_has_and_the_database_has_not_is_named() -> None:
    before, after = image(many=3), image(many=4)
    (place,) = leaves(after)
    damaged = log(frame(1, after, place, False))
    saved, named = storesalvage.best(before, damaged)
    assert rows(saved) in ([1, 2, 3], [1, 2, 3, 4]) and named <= {"a port 4"}
    torn = after[: place + 100] + b"\xa5" * 100 + after[place + 200 :]
    saved, named = storesalvage.best(before, log(frame(1, torn, place, False)))
    assert rows(saved) == [1, 2, 3] and named == {"a port 4"}


def test_what_the_log_has_is_there() -> None:
    before, after = image(many=3), image(many=4)
    places = [place for place in range(0, len(after), 4096) if before[place:][:4096] != after[place:][:4096]]
    frames = [frame(number, after, place, True) for number, place in enumerate(places, 1)]
    whole = log(*frames)
    assert whole.whole == len(frames)
    assert rows(storesalvage.best(before, whole)[0]) == [1, 2, 3, 4] and storesalvage.best(before, whole)[1] == set()


@pytest.fixture
def table() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        yield one


def test_rows_are_read_one_by_one_where_they_cannot_be_in_order(table: sqlite3.Connection) -> None:
    table.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x)")
    table.executemany("INSERT INTO t VALUES (?, ?)", [(number, number * 2) for number in (1, 5, 70, 3000)])
    assert [*storesalvage._rows(table, "t")] == [(1, 2), (5, 10), (70, 140), (3000, 6000)]
    assert storesalvage._readable(table, "t") == 1
    table.execute("CREATE TABLE w (n TEXT PRIMARY KEY, x) WITHOUT ROWID")
    table.executemany("INSERT INTO w VALUES (?, ?)", [("a", 1), ("b", 2)])
    assert [*storesalvage._rows(table, "w")] == [("a", 1), ("b", 2)] and [*storesalvage._rows(table, "none")] == []
    table.execute("DELETE FROM t")
    assert storesalvage._readable(table, "t") is None and [*storesalvage._rows(table, "t")] == []


def spoiled(whole: bytes, *places: int) -> bytes:
    found = bytearray(whole)
    for place in places:
        found[place : place + 4096] = b"\xa5" * 4096
    storesalvage.mend_header(found, FRESH)
    return bytes(found)


@pytest.mark.parametrize("which", [[0], [3], [-1], [0, -1], [0, 3], [3, -1], [2, 4], [0, 1, -2, -1]])
def test_each_row_that_can_be_read_is_read_once(which: list[int]) -> None:
    whole = image(many=120)
    every = leaves(whole)
    damaged = spoiled(whole, *(every[each] for each in which))
    lost = {*storesalvage.mentioned(whole)} - {*storesalvage.mentioned(damaged)}
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(damaged)
        found = [row[0] for row in storesalvage._rows(one, "request")]
        assert one.execute("SELECT 1").fetchone() == (1,)
    assert len(found) == len({*found}) and {f"a port {number}" for number in {*range(1, 121)} - {*found}} == lost


def test_rows_whose_numbers_begin_late_are_found() -> None:
    whole = image(*range(1000, 1120))
    every = leaves(whole)
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(spoiled(whole, every[0], every[-1]))
        found = [row[0] for row in storesalvage._rows(one, "request")]
    assert len(found) == len({*found}) > 80


def test_of_a_table_neither_end_of_which_can_be_read_those_around_one_that_can_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storesalvage, "MOST_GAPS", 160)  # 80 before it, 80 behind it
    whole = image(*range(2049, 2169))
    every = leaves(whole)
    damaged = spoiled(whole, every[0], every[-1])
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(damaged)
        found = [row[0] for row in storesalvage._rows(one, "request")]
    assert {f"a port {number}" for number in found} == {*storesalvage.mentioned(damaged)} and len(found) > 80


@pytest.mark.parametrize("column, value", [("name", "x'41'"), ("name", "NULL"), ("sql", "x'41'")])
def test_a_table_whose_name_or_definition_is_no_text_hinders_no_other(column: str, value: str) -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(image(many=120))
        one.execute("PRAGMA writable_schema=ON")
        one.execute(f"UPDATE sqlite_master SET {column} = {value} WHERE name = 'span'")
        whole = one.serialize()
    saved, _ = storesalvage.best(spoiled(whole, leaves(whole)[3]), EMPTY)
    assert len(rows(saved)) > 100


def test_what_is_saved_is_searched_anew() -> None:
    """Words may be of rows that are not there any more, and rows may have none."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(image(1, 2, 3))
        one.execute("INSERT INTO mention VALUES ('pa', 1), ('pa', 9)")
        one.execute("INSERT INTO span VALUES (1, 9, 5.0, 6.0)")
        saved = storesalvage._salvaged(one, one.serialize())
    assert rows(saved) == [1, 2, 3]
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(saved)
        assert [one.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("mention", "span")] == [(0,)] * 2


def test_what_is_saved_is_a_store_of_its_version_and_text_is_text() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(image(many=120))
        one.execute("UPDATE request SET client = CAST(x'41FF' AS TEXT) WHERE id = 60")
        whole = one.serialize()
    saved, _ = storesalvage.best(spoiled(whole, leaves(whole)[0]), EMPTY)
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(saved)
        assert one.execute("PRAGMA user_version").fetchone() == (storeschema.VERSION,)
        assert one.execute("SELECT client FROM request WHERE id = 60").fetchone() == ("A\ufffd",)
        assert one.execute("SELECT count(*) FROM sqlite_master WHERE type = 'index'").fetchone()[0] > 3


def test_a_damaged_frame_may_be_all_that_there_is_of_a_page() -> None:
    whole = image(many=30)
    place = leaves(whole)[1]
    frames = log(frame(1, whole, place, False, pages=0), frame(2, whole, 0, True))
    saved, _ = storesalvage.best(spoiled(whole, place), frames)
    assert rows(saved) == [*range(1, 31)]


@pytest.mark.parametrize("size", [512, 1024, 2048, 8192, 16384, 32768])
def test_a_page_may_have_another_size(size: int) -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.execute(f"PRAGMA page_size={size}")
        one.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (7);")
        whole = bytearray(one.serialize())
    storesalvage.mend_header(whole, FRESH)
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(bytes(whole))
        assert one.execute("SELECT n FROM t").fetchone() == (7,)
        assert one.execute("PRAGMA page_size").fetchone() == (size,)


def test_tables_that_make_no_sense_are_told() -> None:
    damaged = bytearray(image(many=3))
    damaged[200:3000] = b"\xa5" * 2800
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(bytes(damaged))
        assert storesalvage.quick_check(one)


def test_tables_whose_names_are_no_text_are_told() -> None:
    """Which SQLite cites as it says what is wrong with them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as one:
        one.deserialize(image(many=3))
        change = "UPDATE sqlite_master SET name = CAST(x'ff41' AS TEXT), sql = 'CREATE TABLE (' WHERE name = 'span'"
        one.execute("PRAGMA writable_schema=1")
        one.execute(change)
        damaged = one.serialize()
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(damaged)
        assert storesalvage.quick_check(one) == "its tables have no names"


def test_after_a_look_that_took_too_long_others_take_as_long_as_they_take() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(image(many=2000))
        with pytest.raises(TimeoutError):
            storesalvage.quick_check(one, -1.0)
        count = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) SELECT count(*) FROM n"
        assert one.execute(count).fetchone() == (100_000,)


def test_what_is_no_damage_is_no_finding_but_an_error() -> None:
    with closing(sqlite3.connect(":memory:")) as one:
        one.deserialize(bytes(words({44: b"\0\0\0\x09"}, image(many=3))))
        with pytest.raises(sqlite3.Error, match="unsupported file format"):
            storesalvage.quick_check(one)

# SPDX-License-Identifier: MIT
"""Logs of SQLite, written here by the description of their format, whole and damaged, and one that SQLite wrote."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from pdudaemon.engine.storage import walfile
from pdudaemon.engine.storage.walfile import Log

SIZE = 512
FRAME = 24 + SIZE
EMPTY = bytes(SIZE)


def checksum(data: bytes, before: tuple[int, int], order: str) -> tuple[int, int]:
    one, two = before
    for start in range(0, len(data), 8):
        first, second = struct.unpack(f"{order}II", data[start : start + 8])
        one = (one + first + two) % 2**32
        two = (two + second + one) % 2**32
    return one, two


class Written(NamedTuple):
    """A frame to be written: the page that it is, the size of the database behind it, what the page is full of."""

    page: int
    pages: int = 0
    fill: bytes = b"x"


def written(
    *frames: Written,
    magic: int = 0x377F0682,
    salts: tuple[int, int] = (7, 8),
    size: int = SIZE,
    given: int | None = None,
) -> bytes:
    order = ">" if magic & 1 else "<"
    head = struct.pack(">IIIIII", magic, 3007000, size if given is None else given, 0, *salts)
    sums = checksum(head, (0, 0), order)
    data = head + struct.pack(">II", *sums)
    for frame in frames:
        begin, page = struct.pack(">II", frame.page, frame.pages), frame.fill * size
        sums = checksum(begin + page, sums, order)
        data += begin + struct.pack(">IIII", *salts, *sums) + page
    return data


def spoiled(data: bytes, *places: int) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0x10
    return bytes(changed)


def place(number: int, within: int) -> int:
    """Return where some byte of a frame is, counted from 1."""
    return 32 + (number - 1) * FRAME + within


FRAMES = (Written(1, 0, b"a"), Written(2, 2, b"b"), Written(3, 0, b"c"), Written(1, 3, b"d"), Written(2, 3, b"e"))
WHOLE = written(*FRAMES)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "store-wal"


def read(log: Path, data: bytes, size: int = SIZE) -> Log:
    log.write_bytes(data)
    return walfile.read(log, size)


def good(found: Log) -> str:
    return "".join("g" if frame.good else "b" for frame in found.frames)


@pytest.mark.parametrize("data", [None, b"", WHOLE[:31]])
def test_a_log_without_a_header_is_empty(log: Path, data: bytes | None) -> None:
    found = walfile.read(log, 4096) if data is None else read(log, data, 4096)
    assert (found.page_size, found.frames, found.whole, found.lost, found.trouble()) == (4096, [], 0, [], "")
    assert found.applied(b"x" * 4096, 0) == b"x" * 4096


@pytest.mark.parametrize("magic", [0x377F0682, 0x377F0683])
def test_a_log_that_is_as_it_should_be(log: Path, magic: int) -> None:
    found = read(log, written(*FRAMES, magic=magic), 4096)
    assert (found.page_size, found.readable, found.whole, found.header_good) == (SIZE, 5, 5, True)
    assert good(found) == "ggggg" and found.lost == [] and found.trouble() == ""
    assert [(each.number, each.page, each.pages, each.image[:1]) for each in found.frames] == [
        (number, frame.page, frame.pages, frame.fill) for number, frame in enumerate(FRAMES, 1)
    ]
    assert found.applied(b"", 5) == b"d" * SIZE + b"e" * SIZE + b"c" * SIZE
    assert found.applied(b"x" * 9 * SIZE, 5) == b"d" * SIZE + b"e" * SIZE + b"c" * SIZE
    assert found.applied(b"x" * SIZE, 3) == b"a" * SIZE + b"b" * SIZE, "a transaction is whole or is none"
    assert found.applied(b"xy", 1) == b"xy"


def test_a_log_with_nothing_in_it(log: Path) -> None:
    found = read(log, written())
    assert (found.header_good, found.whole, found.trouble()) == (True, 0, "")


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("within", [0, 5, 30, FRAME - 1])
def test_a_damaged_frame_is_known_and_those_behind_it_are_read(log: Path, number: int, within: int) -> None:
    found = read(log, spoiled(WHOLE, place(number, within)))
    assert good(found) == "".join("b" if each == number else "g" for each in range(1, 6))
    assert found.readable == number - 1 and found.whole == (4 if number == 5 else 5)
    if number == 5:
        assert found.trouble() == "frame 5 of its log, behind all that can be read, is cut off or damaged"
    else:
        assert found.trouble() == f"frame {number} of 5 of its log is damaged"


@pytest.mark.parametrize("number", range(1, 5))
def test_a_frame_whose_check_sum_is_damaged_is_good_by_what_follows(log: Path, number: int) -> None:
    found = read(log, spoiled(WHOLE, place(number, 17)))
    assert good(found) == "ggggg" and (found.readable, found.whole) == (number - 1, 5)
    assert found.lost == [] and found.trouble() == f"frame {number} of 5 of its log is damaged"


@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("within", [9, 11, 13])
def test_a_frame_whose_salt_is_damaged_is_good(log: Path, number: int, within: int) -> None:
    found = read(log, spoiled(written(*FRAMES, salts=(0x117, 8)), place(number, within)))
    assert good(found) == "ggggg" and (found.readable, found.whole) == (number - 1, 5)


def test_what_is_lost_is_what_no_later_frame_has(log: Path) -> None:
    def lost(*numbers: int) -> list[int]:
        found = read(log, spoiled(WHOLE, *(place(number, 40) for number in numbers)))
        return [each.number for each in found.lost]

    assert [lost(number) for number in range(1, 6)] == [[], [], [3], [4], [5]]
    assert read(log, written(*FRAMES[:3])).lost == [], "it was not committed"
    assert lost(1, 4) == [1, 4] and lost(2, 5) == [2, 5] and lost(1, 3, 5) == [3, 5]


def test_what_is_applied_of_a_damaged_log(log: Path) -> None:
    found = read(log, spoiled(WHOLE, place(3, 40)))
    before = b"x" * 3 * SIZE
    kept = found.applied(before, found.whole)
    assert kept == b"d" * SIZE + b"e" * SIZE + b"x" * SIZE
    with_damaged = found.applied(before, found.whole, damaged=True)
    assert with_damaged[: 2 * SIZE] == kept[: 2 * SIZE] and with_damaged[2 * SIZE :].count(b"c") == SIZE - 1
    assert found.applied(before, found.readable) == b"a" * SIZE + b"b" * SIZE


def test_a_page_that_there_cannot_be_is_not_applied(log: Path) -> None:
    for frame in (Written(2**31, 0, b"z"), Written(0, 0, b"z")):
        data = written(*FRAMES[:2], frame, *FRAMES[3:])
        found = read(log, spoiled(data, place(3, 40)))
        assert found.applied(b"", found.whole, damaged=True) == b"d" * SIZE + b"e" * SIZE + EMPTY
    found = read(log, spoiled(written(*FRAMES[:2], Written(6, 0, b"z"), *FRAMES[3:]), place(3, 40)))
    assert len(found.applied(bytes(SIZE), found.whole, damaged=True)) == 3 * SIZE


def test_damaged_pages_are_applied_that_there_may_be(log: Path) -> None:
    found = read(log, spoiled(written(Written(1, 0, b"a"), Written(2, 0, b"b"), Written(3, 3, b"c")), place(1, 40)))
    assert found.applied(b"", 3, damaged=True).count(b"a") == SIZE - 1
    found = read(log, spoiled(written(Written(2, 0, b"a"), Written(1, 2, b"b")), place(1, 40)))
    assert found.applied(b"", 2, damaged=True).count(b"a") == SIZE - 1
    found = read(log, spoiled(WHOLE, place(5, 40)))
    assert found.applied(b"", 5, damaged=True) == b"d" * SIZE + b"b" * SIZE + b"c" * SIZE, "it may not be the end"


def test_pages_come_in_any_order_and_a_database_may_be_larger_than_they(log: Path) -> None:
    found = read(log, written(Written(3, 0, b"c"), Written(1, 4, b"a")))
    assert found.applied(b"", 2) == b"a" * SIZE + EMPTY + b"c" * SIZE + EMPTY


def test_a_frame_for_page_0_is_none(log: Path) -> None:
    assert good(read(log, written(Written(0, 1), Written(1, 1)))) == "bg"


def test_a_header_whose_check_sum_is_right_may_be_none(log: Path) -> None:
    found = read(log, written(*FRAMES, magic=0x377F0680))
    assert not found.header_good and found.trouble() == "the header of its log is damaged"
    found = read(log, written(*FRAMES, given=0))
    assert (found.header_good, found.page_size, found.whole) == (True, SIZE, 5)


def test_a_header_and_a_frame_that_are_damaged(log: Path) -> None:
    found = read(log, spoiled(WHOLE, 24, place(1, 9), place(1, 40)))
    assert good(found) == "bgggg" and found.whole == 5


@pytest.mark.parametrize("at", [0, 3, 9, 17, 24, 31])
@pytest.mark.parametrize("magic", [0x377F0682, 0x377F0683])
def test_behind_a_damaged_header_all_is_read(log: Path, at: int, magic: int) -> None:
    found = read(log, spoiled(written(*FRAMES, magic=magic), at))
    assert (found.header_good, found.page_size, found.readable) == (False, SIZE, 0)
    assert good(found)[1:] == "gggg" and found.whole == 5
    assert found.trouble() == "the header of its log is damaged"


def test_with_a_damaged_header_the_page_size_is_that_of_the_database(log: Path) -> None:
    found = read(log, spoiled(WHOLE, 10), 1024)
    assert found.page_size == 1024 and found.whole == 0
    assert found.trouble() == "its log cannot be read: the header is damaged"
    assert read(log, spoiled(written(size=1024), 4), 512).trouble() == "its log cannot be read: the header is damaged"


def test_a_log_that_was_cut_ends_before_the_cut(log: Path) -> None:
    for less in (1, 100, FRAME - 1):
        found = read(log, WHOLE[:-less])
        assert good(found) == "gggg" and found.trouble() == "" and found.whole == 4
    found = read(log, WHOLE[:-FRAME] + WHOLE[-FRAME:][: FRAME - 4] + b"\x00")
    assert good(found) == "gggg"


@pytest.mark.parametrize("ahead", [1, 2, 1000])
def test_what_is_left_over_from_before_is_of_no_account(log: Path, ahead: int) -> None:
    former = written(*FRAMES, salts=(7, 99))
    now = written(*FRAMES[:2], salts=((7 + ahead) % 2**32, 8))
    found = read(log, now + former[len(now) :])
    assert good(found) == "gg" and found.trouble() == "" and found.whole == found.readable == 2
    begun = now[:32]
    found = read(log, begun + former[len(begun) :])
    assert found.frames == [] and found.trouble() == ""
    found = read(log, spoiled(now, place(2, 40)) + former[len(now) :])
    assert (
        good(found) == "gb"
        and found.trouble() == "frame 1 of its log, behind all that can be read, is cut off or damaged"
    )


def test_the_salt_begins_anew_behind_the_greatest_number(log: Path) -> None:
    former, now = written(*FRAMES, salts=(2**32 - 1, 9)), written(*FRAMES[:2], salts=(0, 8))
    assert good(read(log, now + former[len(now) :])) == "gg"


def test_a_salt_that_no_former_log_had_is_damage(log: Path) -> None:
    strange, now = written(*FRAMES, salts=(9, 8)), written(*FRAMES[:2])
    found = read(log, now + strange[len(now) :])
    assert good(found)[:3] == "ggb" and len(found.frames) == 5 and "frame 3 of its log" in found.trouble()
    strange = written(*FRAMES, salts=((7 - walfile.MOST_GENERATIONS) % 2**32, 8))
    assert good(read(log, now + strange[len(now) :]))[:3] == "ggb"
    strange = written(*FRAMES, salts=((8 - walfile.MOST_GENERATIONS) % 2**32, 8))
    assert good(read(log, now + strange[len(now) :])) == "gg"


def test_the_log_of_sqlite_itself(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE t (n)")
        for number in range(200):
            database.execute("INSERT INTO t VALUES (?)", (f"{number:05}" * 20,))
        image, copy = path.read_bytes(), tmp_path / "store-wal"
        shutil.copy(f"{path}-wal", copy)
    found = walfile.read(copy, 4096)
    assert found.whole == found.readable == len(found.frames) > 200 and found.trouble() == ""
    (tmp_path / "two").write_bytes(found.applied(image, found.whole))
    with closing(sqlite3.connect(f"file:{tmp_path / 'two'}?immutable=1", uri=True)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*), max(n) FROM t").fetchone() == (200, "00199" * 20)

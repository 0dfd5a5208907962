# SPDX-License-Identifier: MIT
"""A store that is not whole: damaged while no daemon ran, or taken away under one. What can be read is read, the rest said."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pdudaemon.engine.storage import walfile
from pdudaemon.engine.storage.store import Store
from pdudaemon.errors import StoreError
from tests.support.plugins import recorded
from tests.support.process import Daemon, eventually
from tests.support.sampling import some
from tests.support.stores import begun, closed, kept, ports, reboot, said, spoil, wal

BOARDS = 20
FRAME = walfile.FRAME_HEADER + 4096


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a daemon that was killed with reboots under way, the last half of them still in its log alone."""
    folder = tmp_path_factory.mktemp("killed")
    store = Store(str(folder / "first"))
    for port in range(1, BOARDS + 1):
        begun(store, port)
    for suffix in ("", "-wal"):
        shutil.copy(folder / f"first{suffix}", folder / f"store{suffix}")
    store.close()
    return folder / "store"


@pytest.fixture
def copy(killed: Path, tmp_path: Path) -> Callable[[], Path]:
    """Return a function that copies these files to a folder of their own."""
    numbers = itertools.count()

    def made() -> Path:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{killed}{suffix}", folder / f"store{suffix}")
        return folder / "store"

    return made


def test_what_is_whole_is_left_alone(copy: Callable[[], Path], caplog: pytest.LogCaptureFixture) -> None:
    path = copy()
    assert ports(path) == [*range(1, BOARDS + 1)]
    assert not said(caplog) and not kept(path)


def test_a_bad_byte_at_each_frame_of_the_log(
    killed: Path, copy: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """All behind it is read; what the last frame held, and no later one has, is named."""
    frames = (wal(killed).stat().st_size - walfile.HEADER) // FRAME
    within = [number * FRAME + each for number in range(frames) for each in (2, 9, 17, 4000)]
    for place in [
        0,
        9,
        17,
        25,
        31,
        *(walfile.HEADER + each for each in some(within, 5)),
    ]:  # one in most frames, each time another
        path = copy()
        before = wal(path).read_bytes()
        spoil(wal(path), place)
        damaged = wal(path).read_bytes()
        found, text = ports(path), said(caplog)
        assert "the store is damaged: " in text and "MAY BE OFF" in text, (place, text)
        saved, saved_wal = kept(path)
        assert str(saved) in text and saved_wal.read_bytes() == damaged != before
        lost = {*range(1, BOARDS + 1)} - {*found}
        assert lost <= {BOARDS}, (place, lost)
        for port in lost:
            assert f"pdu port {port}" in text
        assert ports(path) == found and not said(caplog)


def test_a_bad_byte_behind_which_there_is_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only one board is lost, and named."""
    store = Store(str(tmp_path / "first"))
    for port in range(1, BOARDS + 1):
        store.add_all([reboot(port)])
    path = tmp_path / "store"
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"first{suffix}", f"{path}{suffix}")
    store.close()
    spoil(wal(path), wal(path).stat().st_size - 104)
    assert ports(path) == [*range(1, BOARDS)]
    assert f"THESE BOARDS MAY BE OFF: pdu port {BOARDS}" in said(caplog).splitlines()[1]


def test_several_bad_frames(copy: Callable[[], Path], caplog: pytest.LogCaptureFixture) -> None:
    path = copy()
    spoil(wal(path), *(walfile.HEADER + number * FRAME + 3000 for number in range(0, 30, 3)))
    assert ports(path) == [*range(1, BOARDS + 1)]
    assert "frame 1 of 41 of its log is damaged" in said(caplog)


def test_a_log_that_was_cut_off_as_it_was_written_is_no_damage(
    killed: Path, copy: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    size = wal(killed).stat().st_size
    for less in (1, 4095, 4096, 4100, FRAME - 1):
        path = copy()
        os.truncate(wal(path), size - less)
        assert ports(path) == [*range(1, BOARDS + 1)] and not said(caplog)


def test_what_is_left_over_in_the_log_from_before_is_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(str(tmp_path / "first"))
    header = wal(tmp_path / "first").read_bytes()[: walfile.HEADER]
    given = itertools.count(1)
    for _ in range(300):
        begun(store, next(given))
    eventually(lambda: wal(tmp_path / "first").read_bytes()[: walfile.HEADER] != header)  # when nothing is written
    begun(store, next(given))
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"first{suffix}", tmp_path / f"store{suffix}")
    store.close()
    found = walfile.read(tmp_path / "store-wal", 4096)
    assert 0 < len(found.frames) < ((tmp_path / "store-wal").stat().st_size - walfile.HEADER) // FRAME
    assert ports(tmp_path / "store") == [*range(1, next(given))] and not said(caplog)
    assert not kept(tmp_path / "store")


@pytest.mark.parametrize("seed", some(range(40), 4))
def test_random_garbage_anywhere_never_keeps_the_daemon_down(
    copy: Callable[[], Path], caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """Nor does it make up a request that was none, without a word."""
    chance = random.Random(seed)
    path = copy()
    for file in (path, wal(path)):
        if file == path:
            with closing(sqlite3.connect(path)) as whole:  # so that there is something in the database itself
                whole.execute("CREATE TABLE pdu_queue (id INTEGER PRIMARY KEY, hostname TEXT)")
        if chance.random() < 0.7 and file.exists():
            data = bytearray(file.read_bytes())
            for _ in range(chance.choice([1, 20, 4000])):
                length = chance.choice([1, 8])
                start = chance.randrange(len(data) - length)
                data[start : start + length] = chance.randbytes(length)
            file.write_bytes(data)
    found = ports(path)
    if found != [*range(1, BOARDS + 1)]:
        assert "MAY BE OFF" in said(caplog)
    assert ports(path) == found


@pytest.fixture(name="closed")
def _closed(tmp_path: Path) -> Path:
    return closed(tmp_path, BOARDS)


def test_a_database_that_is_gone_beside_its_log(copy: Callable[[], Path], caplog: pytest.LogCaptureFixture) -> None:
    path = copy()
    path.unlink()
    assert len(ports(path)) == BOARDS
    assert "it is empty, and its log is not" in said(caplog) and kept(path)


def test_garbage_in_place_of_a_store(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "store"
    garbage = random.Random(1).randbytes(20000)
    path.write_bytes(garbage)
    assert ports(path) == []
    (saved,) = kept(path)
    assert saved.read_bytes() == garbage and str(saved) in said(caplog)


def test_a_text_is_somebody_elses_file(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for text in ('{"pdus": {}}', "Füße\n" * 3000):
        path.write_text(text)
        with pytest.raises(StoreError, match="file is not a database"):
            Store(str(path))
        assert path.read_text() == text and not kept(path)


@pytest.mark.parametrize(
    "change",
    [
        "action='onn'", "action='status'", "action='on'", "phase='of'", "outlets='[[\"pdu\"'", "outlets='[[\"pdu\", 3]]'", "all_outlets='[[\"pdu\", 7]]'",
        "outlets='[[\"pdu\", \"99\"]]'", "all_outlets='[]'", "all_outlets='{}'", "delay='soon'", "delay=9e999", "delay=-1",
        "accepted=x'00'", "started='x'", "target=x'ff00'", "target=CAST(x'ff41' AS TEXT)", "outcome='perhaps', ended=5",
        "ended=5", "outcome='done'", "debts='[[\"pdu\", \"99\"]]'", "switched='[[\"pdu\"]]'",
        "switched='[[\"pdu\", \"7\", \"of\", 5]]'", "boot=x'00'", "outlets='" + "[" * 100000 + "'",
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_kept_aside(closed: Path, change: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(closed)) as database:
        database.executescript("DROP TRIGGER request_told; DROP TRIGGER request_told_one;")
        database.execute(f"UPDATE request SET {change} WHERE id = 8")
        database.commit()
    assert ports(closed) == [port for port in range(BOARDS) if port != 7]
    text = said(caplog)
    assert "request 8 makes no sense" in text and "MAY BE OFF" in text
    with closing(sqlite3.connect(closed)) as database:
        ((reason, row),) = database.execute("SELECT reason, row FROM set_aside").fetchall()
    assert reason and json.loads(row)["id"] == 8
    assert ports(closed) and not said(caplog)


@pytest.mark.parametrize(
    "change",
    [
        "accepted_uptime=-5000.0, off_ended_uptime=-1.5",  # both before the machine was started last
        "outcome='failed', debts=all_outlets",  # it only pays a debt any more
        "outcome='superseded'",
    ],
)
def test_a_row_that_is_rare_but_makes_sense_is_taken_up(
    closed: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(closed)) as database:
        database.execute(f"UPDATE request SET {change} WHERE id = 8")
        database.commit()
    assert ports(closed) == [*range(BOARDS)]
    assert "makes no sense" not in said(caplog)


def test_boards_come_on_after_a_bad_byte_in_the_log(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {"takes": 0.01}})
    for port in range(1, BOARDS + 1):
        assert started.power("reboot", "pdu", port, delay=600, wait=0).status == 200
    eventually(lambda: [*plugin.by_outlet().values()] == ["f"] * BOARDS)
    started.kill()
    spoil(wal(started.db), walfile.HEADER + 3000)
    told = started.run("--unfinished")
    assert len(told.stdout.splitlines()) == BOARDS and "the store is damaged" in told.stderr
    text = started.db.read_bytes()
    assert text.startswith(b"SQLite")
    started.start()
    live = [each for each in started.http("/api/v1/requests").json if each["ended"] is None]
    assert len(live) == BOARDS

# SPDX-License-Identifier: MIT
"""A store that is not whole: damaged while no daemon ran, or taken away under one. What can be read is read, the rest said."""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pdudaemon.engine import walfile
from pdudaemon.engine.store import Store
from pdudaemon.errors import StoreError
from pdudaemon.power import Action, Outlet, Phase, Request, Target
from tests.support.plugins import recorded
from tests.support.process import ROOT, Daemon, eventually

BOARDS = 20
FRAME = walfile.FRAME_HEADER + 4096


def reboot(port: int) -> Request:
    """Return a reboot that waits for its turn."""
    outlet = Outlet("pdu", str(port))
    target = Target(str(outlet), (outlet,))
    return Request(Action.REBOOT, target, 5.0, "a client", 1000.0, Phase.OFF, outlets=[outlet])


def begun(store: Store, port: int) -> Request:
    """Accept a reboot, and begin it."""
    request = reboot(port)
    request.id = store.add(request)
    request.started, request.debts = 1001.0, {*request.outlets}
    store.progress(request)
    return request


def ports(path: Path) -> list[int]:
    """Open a store as the daemon does, and return the ports of the requests that go on."""
    store = Store(str(path))
    found = sorted(int(request.outlets[0].port) for request in store.live())
    store.close()
    return found


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


def spoil(path: Path, *offsets: int) -> None:
    """Change bytes of a file."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 0x15]))


def wal(path: Path) -> Path:
    return Path(f"{path}-wal")


def kept(path: Path) -> list[Path]:
    return sorted(each for each in path.parent.iterdir() if ".damaged-" in each.name)


def said(caplog: pytest.LogCaptureFixture) -> str:
    text = "\n".join(record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL)
    caplog.clear()
    return text


def test_what_is_whole_is_left_alone(copy: Callable[[], Path], caplog: pytest.LogCaptureFixture) -> None:
    path = copy()
    assert ports(path) == [*range(1, BOARDS + 1)]
    assert not said(caplog) and not kept(path)


def test_a_bad_byte_at_each_frame_of_the_log(
    killed: Path, copy: Callable[[], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """All behind it is read; what the last frame held, and no later one has, is named."""
    frames = (wal(killed).stat().st_size - walfile.HEADER) // FRAME
    places = [
        0,
        9,
        17,
        25,
        31,
        *(walfile.HEADER + number * FRAME + each for number in range(frames) for each in (2, 9, 17, 4000)),
    ]
    for place in places:
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
        store.add(reboot(port))
    path = tmp_path / "store"
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"first{suffix}", f"{path}{suffix}")
    store.close()
    spoil(wal(path), wal(path).stat().st_size - 100)
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

    def begins_anew() -> bool:
        begun(store, next(given))
        return wal(tmp_path / "first").read_bytes()[: walfile.HEADER] != header

    for _ in range(300):
        begins_anew()
    eventually(begins_anew)  # the checkpoint is behind our back
    for suffix in ("", "-wal"):
        shutil.copy(tmp_path / f"first{suffix}", tmp_path / f"store{suffix}")
    store.close()
    found = walfile.read(tmp_path / "store-wal", 4096)
    assert 0 < len(found.frames) < ((tmp_path / "store-wal").stat().st_size - walfile.HEADER) // FRAME
    assert ports(tmp_path / "store") == [*range(1, next(given))] and not said(caplog)
    assert not kept(tmp_path / "store")


@pytest.mark.parametrize("seed", range(40))
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


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A store of 400 requests, all of them in the database itself."""
    path = tmp_path / "store"
    store = Store(str(path))
    for port in range(400):
        begun(store, port)
    store.close()
    assert not wal(path).exists()
    return path


@pytest.mark.parametrize("page", range(1, 12))
def test_a_damaged_page_of_the_database(closed: Path, page: int, caplog: pytest.LogCaptureFixture) -> None:
    """The rows of the other pages are there, and those of this one are named."""
    with closed.open("r+b") as file:
        file.seek((page - 1) * 4096 + (100 if page == 1 else 0))
        file.write(b"\xa5" * 1000)
    found, text = ports(closed), said(caplog)
    lost = {*range(400)} - {*found}
    assert "the store is damaged" in text and len(lost) < 60 and len(kept(closed)) == 1
    for port in sorted(lost)[:3]:
        assert f"pdu port {port}" in text or " more" in text
    with closing(sqlite3.connect(closed)) as whole:
        assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("offset", [0, 15, 16, 17, 18, 19, 20, 21, 28, 31, 44, 47, 56, 59])
def test_a_bad_byte_in_the_header_of_the_database(closed: Path, offset: int) -> None:
    spoil(closed, offset)
    assert ports(closed) == [*range(400)]


@pytest.mark.parametrize("size", [0, 1, 99, 512, 4096, 4097, 20000])
def test_a_database_that_was_cut(closed: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    os.truncate(closed, size)
    found, text = ports(closed), said(caplog)
    assert len(found) < 400
    assert size == 0 or ("the store is damaged" in text and kept(closed))
    assert ports(closed) == found


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
        "action='onn'", "action='status'", "action='on'", "phase='of'", "outlets='[[\"pdu\"'", "outlets='[[\"pdu\", 3]]'",
        "outlets='[[\"pdu\", \"99\"]]'", "all_outlets='[]'", "all_outlets='{}'", "delay='soon'", "delay=9e999", "delay=-1",
        "accepted=x'00'", "started='x'", "target=x'ff00'", "target=CAST(x'ff41' AS TEXT)", "outcome='perhaps', ended=5",
        "ended=5", "outcome='done'", "debts='[[\"pdu\", \"99\"]]'", "switched='[[\"pdu\"]]'",
        "switched='[[\"pdu\", \"7\", \"of\", 5]]'", "boot=x'00'", "outlets='" + "[" * 100000 + "'",
    ],
)  # fmt: skip
def test_a_row_that_makes_no_sense_is_kept_aside(closed: Path, change: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(closed)) as database:
        database.execute("DROP TRIGGER request_told")
        database.execute(f"UPDATE request SET {change} WHERE id = 8")
        database.commit()
    assert ports(closed) == [port for port in range(400) if port != 7]
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
    assert ports(closed) == [*range(400)]
    assert "makes no sense" not in said(caplog)


# Under the running daemon.


def removed(path: Path) -> None:
    path.unlink()


def removed_with_its_log(path: Path) -> None:
    path.unlink()
    wal(path).unlink()


def log_removed(path: Path) -> None:
    wal(path).unlink()


def replaced(path: Path) -> None:
    path.rename(f"{path}.old")
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE other (a)")


def restored_from_a_backup(path: Path) -> None:
    other = Path(f"{path}.backup")
    store = Store(str(other))
    store.add(reboot(77))
    store.close()
    other.replace(path)
    wal(path).write_bytes(b"")


def folder_removed(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize(
    "done", [removed, removed_with_its_log, log_removed, replaced, restored_from_a_backup, folder_removed]
)
def test_a_store_that_was_taken_away_is_written_anew(
    tmp_path: Path, done: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "folder" / "store"
    store = Store(str(path))
    for port in range(1, 6):
        begun(store, port)
    done(path)
    begun(store, 6)  # may not see it yet
    store.probe(thoroughly=False)
    store.sync()
    text = said(caplog)
    assert "under the running daemon" in text and "nothing is lost" in text
    with pytest.raises(StoreError, match="in use by another"):
        Store(str(path))
    begun(store, 7)
    for suffix in ("", "-wal"):  # as a kill leaves it
        shutil.copy(f"{path}{suffix}", tmp_path / f"left{suffix}")
    assert ports(tmp_path / "left") == [*range(1, 8)]
    done(path)
    store.close()  # sees it as well
    assert "under the running daemon" in said(caplog)
    assert ports(path) == [*range(1, 8)]
    if done is replaced:
        aside = [each for each in path.parent.iterdir() if re.search(r"\.replaced-[0-9-]+$", each.name)]
        assert len(aside) == 2
        for each in aside:
            with closing(sqlite3.connect(each)) as other:
                assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("other",)]


def test_a_store_that_is_written_to_notices_by_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    ports_of = itertools.count(1)
    path.unlink()
    eventually(lambda: begun(store, next(ports_of)) and path.exists())
    begun(store, next(ports_of))
    assert "was removed" in said(caplog)
    store.close()
    assert ports(path) == [*range(1, next(ports_of))]


def test_a_store_that_cannot_be_written_anew_accepts_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "folder" / "store"
    store = Store(str(path))
    begun(store, 1)
    shutil.rmtree(path.parent)
    path.parent.write_text("no folder")
    with pytest.raises(StoreError, match="was removed"):
        store.probe(thoroughly=False)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"was removed .* cannot be written anew"):
            store.add(reboot(2))
        with pytest.raises(StoreError):
            store.probe(thoroughly=False)
    path.parent.unlink()
    assert len(said(caplog).splitlines()) == 1
    store.probe(thoroughly=False)
    store.close()
    assert ports(path) == [1]


def test_another_daemons_store_is_left_to_it(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    path.rename(tmp_path / "away")
    other = Store(str(path))
    begun(other, 5)
    with pytest.raises(StoreError, match="was replaced, and the store cannot be written anew"):
        store.probe(thoroughly=False)
    with pytest.raises(StoreError, match="was replaced, and the store cannot be written anew"):
        store.add(reboot(1))
    begun(other, 6)
    other.close()
    store.close()
    assert 5 in ports(path) or ports(next(tmp_path.glob("store.replaced-*[0-9]"))) == [5, 6]


def test_a_database_that_is_cut_under_the_daemon(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "other"))
    begun(store, 1)
    os.truncate(tmp_path / "other", 0)
    begun(store, 2)
    store.probe(thoroughly=False)
    store.close()
    assert ports(tmp_path / "other") == [1, 2]


def test_the_daemon_notices_without_being_asked_for_anything(daemon: Callable[..., Daemon]) -> None:
    started, plugin = recorded(daemon, {"pdu": {}})
    assert started.power("reboot", "pdu", 1, delay=5, wait=0).status == 200
    eventually(lambda: plugin.by_outlet().get(("pdu", "1")) == "f")
    started.db.unlink()
    assert started.http("/healthz").status == 200 and started.db.exists()
    assert "was removed" in started.log_text()
    started.kill()
    started.start()
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "fo")


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


def test_nothing_is_accepted_while_it_is_gone(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    started.db = started.folder / "state" / "store.db"
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    shutil.rmtree(started.db.parent)
    started.db.parent.write_text("in the way")
    health = started.http("/healthz")
    assert health.status == 503 and "cannot be written anew" in health.text
    refused = started.power("on", "pdu", 2)
    assert refused.status == 503 and "cannot be written anew" in refused.text
    started.db.parent.unlink()
    assert started.http("/healthz").text == "ok\n" and started.power("on", "pdu", 2).status == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where mounting is allowed; else a folder in which a process may write that much."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    yield folder
    if done.returncode == 0:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_at_a_start_is_told_as_such(small_disk: Path, tmp_path: Path) -> None:
    """Whatever of the store is there already."""
    conf = tmp_path / "conf"
    conf.write_text('{"daemon": {"port": 0}, "pdus": {"pdu": {"driver": "dummy"}}}')
    path = small_disk / "store"
    command = [sys.executable, "-m", "pdudaemon", f"--conf={conf}", f"--dbfile={path}"]
    limit: Callable[[], None] | None = None
    cause = "No space left on device"
    if not os.path.ismount(small_disk):
        cause, limit = "File too large", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def refused() -> str:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit, timeout=60)
        assert done.returncode == os.EX_TEMPFAIL and "Traceback" not in done.stderr, done
        return done.stderr

    def fill() -> None:
        """Leave no room at all."""
        with (small_disk / f"filler{time.monotonic_ns()}").open("wb", buffering=0) as file, suppress(OSError):
            while os.path.ismount(small_disk):
                file.write(bytes(4096))

    store = Store(str(path))
    begun(store, 1)
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", tmp_path / f"left{suffix}")
    store.close()
    fill()
    clean = refused()
    shutil.copy(tmp_path / "left-wal", f"{path}-wal") if limit else None
    path.unlink()
    fill()
    new = refused()
    free = r"\d+ bytes and \d+ files are free on /" if limit else rf"0 bytes and \d+ files are free on {small_disk}"
    for text in (clean, new):
        assert re.search(rf"{path}: {cause}: {free}", text), text

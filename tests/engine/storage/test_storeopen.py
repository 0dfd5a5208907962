# SPDX-License-Identifier: MIT
"""The files of a store that is open: taken away, replaced or cut under the running daemon; and a disk that is full."""

from __future__ import annotations

import errno
import itertools
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storefiles, storeopen
from pdudaemon.engine.storage.store import Store
from pdudaemon.engine.storage.storeopen import OpenStore
from pdudaemon.errors import StoreError
from tests.support.plugins import recorded
from tests.support.process import ROOT, Daemon, descriptors, eventually, full_disk
from tests.support.stores import begun, ports, reboot, said, wal


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
    store.add_all([reboot(77)])
    store.close()
    other.replace(path)
    wal(path).write_bytes(b"")


def folder_removed(path: Path) -> None:
    shutil.rmtree(path.parent)


@pytest.mark.parametrize(
    "done", [removed, removed_with_its_log, log_removed, replaced, restored_from_a_backup, folder_removed]
)
def test_a_store_that_was_taken_away_is_written_anew(
    tmp_path: Path, done: Callable[[Path], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storefiles, "LEFT", 0.1)  # this process does not see itself use it
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
    assert ("what was there is kept as" in text) is (done in (replaced, restored_from_a_backup))
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


def test_a_log_that_has_come_to_the_place_of_ours_is_kept_though_there_is_no_store_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    begun(store, 1)
    path.unlink()
    wal(path).unlink()
    wal(path).write_text("another")
    store.probe(thoroughly=False)
    store.close()
    (aside,) = tmp_path.glob("store.replaced-*-wal")
    assert aside.read_text() == "another" and ports(path) == [1]


def test_after_a_write_that_was_refused_whether_the_store_is_well_is_found_out_by_another(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    store.probe(thoroughly=False)
    with full_disk():
        with pytest.raises(StoreError, match="File too large"):
            store.add_all([reboot(1)])
        for _ in range(2):
            with pytest.raises(StoreError, match="File too large"):
                store.probe(thoroughly=False)
    store.probe(thoroughly=False)
    begun(store, 2)
    store.close()
    assert ports(tmp_path / "store") == [2]


def test_new_files_that_could_not_be_locked_are_opened_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    begun(store, 1)
    path.unlink()

    def refuse(path: str) -> int:
        raise StoreError(f"{path}: in use")

    with monkeypatch.context() as patched:
        patched.setattr(storefiles, "locked", refuse)
        for _ in range(2):
            with pytest.raises(StoreError, match="in use"):
                store.probe(thoroughly=False)
    store.probe(thoroughly=False)
    begun(store, 2)
    store.close()
    assert ports(path) == [1, 2]


def test_what_cannot_be_written_at_the_end_is_told(tmp_path: Path) -> None:
    store = OpenStore(str(tmp_path / "store"), threading.Lock(), lambda: 0)

    def fail() -> None:
        raise sqlite3.OperationalError("it is locked")

    with pytest.raises(StoreError, match=f"^{tmp_path}/store: it is locked$"):
        store.close(fail)
    assert not [link for _, link in descriptors() if link.startswith(str(tmp_path))]


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
            store.add_all([reboot(2)])
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
        store.add_all([reboot(1)])
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
    eventually(lambda: started.http("/api/v1/requests/1").json["switched"])  # a kill before that has it done again
    started.db.unlink()
    assert started.http("/healthz").status == 200 and started.db.exists()
    eventually(lambda: "was removed" in started.log_text())
    started.kill()
    started.start()
    eventually(lambda: plugin.by_outlet()["pdu", "1"] == "fo")


def test_nothing_is_accepted_while_it_is_gone(daemon: Callable[..., Daemon]) -> None:
    started = daemon({"pdu": {"driver": "dummy"}}, start=False)
    started.db = started.folder / "state" / "store.db"
    started.start()
    assert started.power("on", "pdu", 1).status == 200
    assert started.process is not None
    started.process.send_signal(signal.SIGSTOP)  # it would write it anew in between
    shutil.rmtree(started.db.parent)
    started.db.parent.write_text("in the way")
    started.process.send_signal(signal.SIGCONT)
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
    done = subprocess.run(["sh", "-c", 'mount -t tmpfs -o size=1m tmpfs "$0"', folder], capture_output=True)
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


class Disk:
    """One that does not take what it is given, as long as it ``fails``; ``asked`` is how often it was to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = True
        self.asked = 0
        for name in ("fdatasync", "fsync"):
            monkeypatch.setattr(os, name, self._call(getattr(os, name)))

    def _call(self, original: Callable[[int], None]) -> Callable[[int], None]:
        def call(descriptor: int) -> None:
            self.asked += 1
            if self.fails:
                raise OSError(errno.EIO, "Input/output error")
            original(descriptor)

        return call


def test_what_the_disk_has_not_taken_is_written_into_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel takes it for written then: there would be a hole in the log, whatever is on the disk behind it."""
    path = tmp_path / "store"
    store = Store(str(path))
    begun(store, 1)
    before = path.stat().st_ino
    disk = Disk(monkeypatch)
    with pytest.raises(StoreError, match="Input/output error"):
        store.sync()
    disk.fails = False
    store.sync()
    assert path.stat().st_ino != before and disk.asked >= 3  # the new file, its folder, and its log
    text = said(caplog)
    assert "was not put on the disk (Input/output error)" in text and "nothing is lost" in text
    begun(store, 2)
    store.close()
    assert ports(path) == [1, 2]


def test_while_the_disk_takes_nothing_nothing_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store"
    store = Store(str(path))
    noted = begun(store, 1)
    disk = Disk(monkeypatch)
    with pytest.raises(StoreError):
        store.sync()
    for _ in range(5):
        for refused in (lambda: store.add_all([reboot(2)]), store.sync, lambda: store.probe(thoroughly=False)):
            with pytest.raises(StoreError, match=r"was not put on the disk .*, and the store cannot be written anew"):
                refused()
    assert disk.asked < 5  # it is not written anew for each
    assert len(said(caplog).splitlines()) == 1
    store.note(noted)
    store.close()  # with all that it knows, which this process leaves to the kernel
    disk.fails = False
    assert ports(path) == [1]


def test_what_is_overwritten_under_the_daemon_is_told_in_one_line(tmp_path: Path) -> None:
    """Then not even what the daemon has open can be read any more, but for what is in the log yet."""
    path = tmp_path / "store"
    store = Store(str(path))
    store.add_all([reboot(port) for port in range(500)])
    store.close()
    store = Store(str(path))
    path.write_bytes(b"hello" * (path.stat().st_size // 6))
    with pytest.raises(StoreError, match="was cut short, and the store cannot be written anew: ") as raised:
        store.probe(thoroughly=False)
    assert str(raised.value).isprintable(), raised.value
    with pytest.raises(StoreError):
        store.close()


def test_what_is_written_anew_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[int, int] = {}
    umask = os.umask(0)
    monkeypatch.setattr(os, "fsync", lambda each: synced.update({os.fstat(each).st_ino: os.fstat(each).st_size}))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as source:
        source.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (7);")
        new = storeopen.written_anew(source, str(tmp_path / "folder" / "store"))
    os.umask(umask)
    assert [each.stat().st_mode & 0o7777 for each in (new.parent, new)] == [0o750, 0o640]
    seen = new.stat()
    assert synced[seen.st_ino] == seen.st_size
    with closing(sqlite3.connect(new)) as copy:
        assert copy.execute("SELECT n FROM t").fetchall() == [(7,)]

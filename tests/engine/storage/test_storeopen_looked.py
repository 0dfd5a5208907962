# SPDX-License-Identifier: MIT
"""`OpenStore` in the test's own thread: what it has open, what it finds when it looks, and what it says then."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pdudaemon.engine.storage import storecheck, storefiles, storeopen, storeschema
from pdudaemon.engine.storage.store import upsert, values
from pdudaemon.engine.storage.storeopen import OpenStore
from pdudaemon.errors import StoreError
from tests.support.stores import asked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[[], OpenStore]]:
    made: list[OpenStore] = []

    def opened() -> OpenStore:
        made.append(OpenStore(str(path), threading.Lock(), lambda: 0))
        return made[-1]

    yield opened
    for each in made:
        each.close(lambda: None)


@pytest.fixture
def store(make: Callable[[], OpenStore]) -> OpenStore:
    return make()


def descriptors(path: Path) -> list[str]:
    """Return which of its files this process has open, each as often as it has."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{each}"))
        except FileNotFoundError:
            continue
    return sorted(each for each in found if each.startswith(str(path)))


def well(store: OpenStore) -> bool:
    """Whether all of it can be used."""
    request = asked("on")
    with store._lock:
        store.database.execute(upsert(1), values(request, request, len(store.records.rows(9)) + 1, None))
    return bool(store.records.rows(1)) and store.upkeep._passed() > 0


def test_it_has_a_connection_for_each_who_uses_it_and_nothing_twice(store: OpenStore, path: Path) -> None:
    files = descriptors(path)
    assert files.count(str(path)) == 6 and files.count(f"{path}-wal") == 6  # five connections, and one each of ours
    for each in (store.database, store.records._database, store.searches._database, store.upkeep._database):
        assert each is not None and each.execute("PRAGMA cache_size").fetchone()[0] == -512
    database = store.database
    assert [database.execute(f"PRAGMA {each}").fetchone()[0] for each in ("journal_mode", "wal_autocheckpoint")] == [
        "wal", 0,
    ]  # fmt: skip
    assert database.execute("PRAGMA synchronous").fetchone()[0] == 1
    for reader in (store.records, store.searches):
        assert reader._database is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._database.execute("DELETE FROM request")


@pytest.mark.parametrize("done", ["removed", "log removed", "disk"])
def test_what_is_written_anew_has_the_same_descriptors_which_no_command_inherits(
    store: OpenStore, path: Path, done: str
) -> None:
    """Somebody may be about to have the log put on the disk by them; and the lock must not go meanwhile."""
    assert well(store)
    before = descriptors(path)
    old = path.stat().st_ino
    lines = store._wal, store._file
    if done == "removed":
        path.unlink()
    elif done == "log removed":
        Path(f"{path}-wal").unlink()
    else:
        store.disk.failed = OSError(errno.EIO, "Input/output error")
    with store._lock:
        store.stay()
    assert (store._wal, store._file) == lines and descriptors(path) == before and path.stat().st_ino != old
    for line, name in zip(lines, (f"{path}-wal", str(path)), strict=True):
        assert line is not None and not os.get_inheritable(line) and os.path.samestat(os.fstat(line), Path(name).stat())
    assert store.disk.failed is None and store.trouble == "" and not store._shut and well(store)


@pytest.mark.parametrize(
    ("done", "trouble"),
    [
        (lambda path: path.unlink(), r"{path} was removed \(No such file or directory\)"),
        (lambda path: Path(f"{path}-wal").unlink(), r"{path}-wal was removed \(No such file or directory\)"),
        (lambda path: path.write_bytes(b""), "{path} was cut short"),
        (lambda path: path.rename(f"{path}.old") and path.touch(), "{path} was replaced"),
    ],
)
@pytest.mark.parametrize("failed", [True, False])
def test_what_has_become_of_it_is_told_once(
    store: OpenStore,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    done: Callable[[Path], object],
    trouble: str,
    failed: bool,
) -> None:
    """Whatever the disk has failed to do besides."""
    done(path)
    if failed:
        store.disk.failed = OSError(errno.EIO, "Input/output error")
    trouble = trouble.format(path=path)

    def refuse(*_: object) -> Path:
        raise OSError(errno.ENOTDIR, "Not a directory")

    with monkeypatch.context() as patched:
        patched.setattr(storeopen, "written_anew", refuse)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"^{trouble}, and the store cannot be written anew: Not a directory"):
                store.stay()
    assert len(caplog.messages) == 1 and store.trouble
    assert caplog.messages[0].endswith(" under the running daemon: the store is written anew")
    store.stay()
    assert store.trouble == "" and "nothing is lost" in caplog.messages[1] and well(store)


def test_a_log_that_was_left_is_not_that_of_what_is_written_anew(
    store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, kept, shut_all = Path(f"{path}-wal"), Path(f"{path}.kept"), store._shut_all

    def leave() -> None:
        shut_all()
        log.write_text("left")
        kept.hardlink_to(log)

    path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(store, "_shut_all", leave)
        store.stay()
    assert kept.read_text() == "left" and not log.samefile(kept) and well(store)


def test_a_disk_that_has_failed_is_tried_again_after_a_while(store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    now, tries = [500.0], []
    monkeypatch.setattr(storeopen, "time", type("Time", (), {"monotonic": lambda: now[0]}))
    store.disk.failed = OSError(errno.EIO, "Input/output error")

    def refuse(*_: object) -> Path:
        tries.append(now[0])
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(storeopen, "written_anew", refuse)
        for at in (500.0, 500.5, 500.0 + storeopen.ANEW_EVERY, 502.5):
            now[0] = at
            with pytest.raises(StoreError, match=r"store-wal was not put on the disk \(Input/output error\), and the"):
                store.stay()
            assert store.looked == at
    assert tries == [500.0, 501.0, 502.5]
    now[0] = 600.0
    store.stay()
    assert store.disk.failed is None


def test_what_is_in_memory_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storecheck, "made_whole", lambda _: 1 / 0)  # whatever file has such a name
    store = OpenStore(storefiles.MEMORY, threading.Lock(), lambda: 0)
    assert store._file is None is store._wal and store.looked == 0.0
    store.disk.failed = OSError(errno.EIO, "Input/output error")
    store.stay()
    assert store.looked > 0.0 and store.trouble == ""
    monkeypatch.setattr(os, "fdatasync", lambda _: 1 / 0)
    store.sync()
    assert store.records._database is store.searches._database is store.database
    assert store.records._lock is store.searches._lock is store._lock
    store.disk.failed = None
    store.close(lambda: None)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        store.database.execute("SELECT 1")


def test_a_store_that_was_mended_is_another_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OpenStore(str(path), threading.Lock(), lambda: 0).close(lambda: None)
    old = path.stat().st_ino

    def mended(name: str) -> bool:
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        return True

    assert descriptors(path) == []
    with monkeypatch.context() as patched:
        patched.setattr(storecheck, "made_whole", mended)
        store = OpenStore(str(path), threading.Lock(), lambda: 0)
    assert store._file is not None and os.fstat(store._file).st_ino == path.stat().st_ino
    assert len(descriptors(path)) == 12 and path.stat().st_ino != old
    store.close(lambda: None)
    assert descriptors(path) == []


@pytest.mark.parametrize("error", [StoreError("odd"), sqlite3.DatabaseError("odd"), OSError(5, "Input/output error")])
def test_one_that_cannot_be_opened_is_left_to_others(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(storeschema, "prepare", refuse)
        with pytest.raises(StoreError) as raised:
            OpenStore(str(path), threading.Lock(), lambda: 0)
    assert str(raised.value) == (
        "odd" if isinstance(error, StoreError) else f"{path}: {getattr(error, 'strerror', None) or error}"
    )
    OpenStore(str(path), threading.Lock(), lambda: 0).close(lambda: None)


def test_rows_that_make_no_sense_are_set_aside_at_the_start(
    make: Callable[[], OpenStore], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, str]] = []
    monkeypatch.setattr(storecheck, "set_aside", lambda *words: seen.append(words))
    store = make()
    assert seen == [(store.database, str(path))]


def test_the_folder_of_a_new_store_is_put_on_the_disk(
    make: Callable[[], OpenStore], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut may take away a store with all that was to be on the disk."""
    synced: list[str] = []
    monkeypatch.setattr(storefiles, "sync_folder", synced.append)
    store = make()
    assert synced == [str(path)]
    path.unlink()
    store.stay()
    assert synced == [str(path)] * 2


# The disk.


def test_what_is_to_be_on_the_disk_is_that_of_the_log(
    store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda line: synced.append(os.fstat(line).st_ino))
    store.sync()
    assert synced == [Path(f"{path}-wal").stat().st_ino]


def test_what_the_disk_does_not_take_is_told_and_written_anew_the_next_time(
    store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    old = path.stat().st_ino
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        with pytest.raises(StoreError, match=f"^{path}: Input/output error"):
            store.sync()
    assert path.stat().st_ino == old
    store.sync()
    assert path.stat().st_ino != old and store.disk.failed is None and not store._lock.locked()


# The end.


def test_the_end_writes_the_last_and_closes_all(path: Path) -> None:
    store = OpenStore(str(path), threading.Lock(), lambda: 0)
    seen: list[bool] = []
    store.close(lambda: seen.append(store._lock.locked()))
    assert seen == [True] and descriptors(path) == [] and not store._lock.locked()


def test_an_upkeep_that_does_not_end_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = OpenStore(str(path), threading.Lock(), lambda: 0)
    seen: list[float] = []
    monkeypatch.setattr(store.upkeep, "close", lambda seconds: seen.append(seconds))
    with pytest.raises(StoreError, match=f"^{path}: not closed: the disk does not answer$"):
        store.close(lambda: seen.append(-1.0))
    assert seen == [storeopen.CLOSE_GRACE]
    store._shut_all()


@pytest.mark.parametrize("failed", [True, False])
def test_what_cannot_be_written_anew_at_the_end_is_written_where_it_is_if_the_disk_has_failed(
    path: Path, monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    store = OpenStore(str(path), threading.Lock(), lambda: 0)
    seen: list[object] = []

    def refuse() -> None:
        raise StoreError("gone")

    monkeypatch.setattr(store, "stay", refuse)
    if failed:
        store.disk.failed = OSError(errno.EIO, "Input/output error")
        store.close(lambda: seen.append(store.disk.failed))
        assert seen == [None]
    else:
        with pytest.raises(StoreError, match="gone"):
            store.close(lambda: seen.append(1))
        assert seen == []
        store._shut_all()


# What is written anew, and what lies in its place.


def test_what_an_earlier_try_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    source = sqlite3.connect(":memory:")
    source.execute("CREATE TABLE t (n)")
    (tmp_path / "store.anew").write_text("left")
    new = storeopen.written_anew(source, str(tmp_path / "store"))
    assert new == tmp_path / "store.anew" and sqlite3.connect(new).execute("SELECT * FROM t").fetchall() == []


def test_what_is_not_whole_is_not_put_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Damaged:
        def backup(self, target: sqlite3.Connection) -> None:
            target.execute("PRAGMA ignore_check_constraints=ON")
            target.execute("CREATE TABLE u (n CHECK (n > 0))")
            target.execute("INSERT INTO u VALUES (-1)")
            target.commit()
            target.execute("PRAGMA ignore_check_constraints=OFF")

    with pytest.raises(sqlite3.DatabaseError, match=r"^CHECK constraint failed in u$"):
        storeopen.written_anew(Damaged(), str(tmp_path / "store"))  # type: ignore[arg-type]


def test_what_lies_there_is_put_aside_unless_it_is_ours(path: Path) -> None:
    names = [str(path), f"{path}-wal", f"{path}-shm"]
    for name in names:
        Path(name).write_text(name)
    ours = storeopen._present(str(path))
    assert ours[names[0]].size == len(names[0]) and ours[names[1]].size == 0
    assert storeopen._gone(ours) == ""
    aside = storeopen._cleared(str(path), ours)
    assert Path(f"{aside}-shm").read_text() == names[2] and path.exists() and Path(names[1]).exists()
    assert storeopen._cleared(str(path), ours) == ""
    Path(names[1]).unlink()
    Path(names[2]).write_text("shm")
    aside = storeopen._cleared(str(path), ours)
    assert Path(f"{aside}-shm").read_text() == "shm", "though there is no log"
    path.rename(f"{path}.away")
    path.write_text("another")
    Path(names[1]).write_text("its log")
    aside = storeopen._cleared(str(path), ours)
    assert (Path(aside).read_text(), Path(f"{aside}-wal").read_text()) == ("another", "its log")
    assert not path.exists() and not Path(names[1]).exists() and storeopen._cleared(str(path), {}) == ""


def test_what_has_grown_has_not_gone(path: Path) -> None:
    for name in (path, Path(f"{path}-wal")):
        name.write_bytes(bytes(100))
    ours = storeopen._present(str(path))
    path.write_bytes(bytes(101))
    Path(f"{path}-wal").write_bytes(b"")
    assert storeopen._gone(ours) == ""
    os.truncate(path, 99)
    assert storeopen._gone(ours) == f"{path} was cut short"

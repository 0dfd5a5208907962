# SPDX-License-Identifier: MIT
"""`Upkeep` where the test plays its thread: when that is begun and woken, what a turn does, and how the log is pinned."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pdudaemon.engine.storage import storeschema, storeupkeep
from pdudaemon.engine.storage.storeupkeep import Upkeep
from pdudaemon.errors import StoreError

Step = Callable[[], object]


class Wake:
    """An event that the test sets: each wait takes the next of the ``steps``, and notes for how long it would be."""

    def __init__(self, *steps: Step) -> None:
        self.steps = [*steps]
        self.waits: list[float | None] = []
        self.is_on = False

    def wait(self, seconds: float | None = None) -> bool:
        self.waits.append(seconds)
        self.steps.pop(0)()
        return self.is_on

    def set(self) -> None:
        self.is_on = True

    def clear(self) -> None:
        self.is_on = False

    def is_set(self) -> bool:
        return self.is_on


class Lab:
    """An upkeep of a real database in a log, whose thread is not begun: ``begun``. ``did`` is what it did, in order."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.did: list[str] = []
        self.begun: list[Any] = []
        self.refuses = False
        self.lock = threading.Lock()
        self.behind: list[int] = []
        self._patch = monkeypatch
        self.writer = self.connected()
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.writer.execute("PRAGMA wal_autocheckpoint=0")
        self.writer.execute("CREATE TABLE request (n)")
        self.upkeep = Upkeep(str(path), self.lock, lambda: self.note("before"), self._forget)
        lab = self

        class Thread(threading.Thread):
            def start(self) -> None:
                if lab.refuses:
                    raise RuntimeError("can't start new thread")
                lab.begun.append((self.name, self.daemon))

        monkeypatch.setattr(storeupkeep, "threading", type("Threading", (), {"Thread": Thread}))
        monkeypatch.setattr(storeupkeep, "MUCH", 10)
        monkeypatch.setattr(storeupkeep, "LONGEST", 100)

    def connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def use(self) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        both = self.connected(), self.connected()
        self.upkeep.use(*both)
        return both

    def note(self, what: str) -> None:
        self.did.append(f"{what} locked" if self.lock.locked() else what)

    def _forget(self) -> int:
        self.note("forget")
        return self.behind.pop(0) if self.behind else 0

    def replace(self, **calls: Callable[..., object]) -> None:
        for name, call in calls.items():
            self._patch.setattr(self.upkeep, f"_{name}", call)

    def write(self, rows: int = 1) -> None:
        self.writer.executemany("INSERT INTO request VALUES (?)", [(n,) for n in range(rows)])

    def close(self) -> None:
        self.upkeep.use()
        self.writer.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    made = Lab(tmp_path / "store", monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("woken", "before", "pages", "soon", "due"),
    [
        (False, 0, 1, True, True),
        (False, 0, 1, False, False),
        (False, 0, 9, False, False),
        (False, 0, 10, False, True),
        (False, 4, 6, False, True),
        (False, 0, 11, False, True),
        (True, 0, 9, True, False),
        (True, 9, 1, True, True),
        (True, 0, 10, False, True),
        (True, 0, 11, False, True),
        (True, 10, 1, True, False),
        (True, 11, 1, True, False),
    ],
)
def test_it_is_woken_once_and_once_more_when_it_is_much(
    lab: Lab, woken: bool, before: int, pages: int, soon: bool, due: bool
) -> None:
    lab.use()
    lab.upkeep._woken, lab.upkeep._written = woken, before
    lab.upkeep.wrote(pages, soon)
    assert lab.upkeep._written == before + pages and lab.upkeep._wake.is_set() is due
    assert lab.begun == [("store", True)] * due and lab.upkeep._woken is (woken or due)


def test_what_was_written_is_to_be_seen_to_soon_unless_that_is_said(lab: Lab) -> None:
    lab.use()
    lab.upkeep.wrote(9, soon=False)
    assert lab.begun == [], "nothing was written before"
    lab.upkeep._written = 0
    lab.upkeep.wrote(1)
    assert lab.begun == [("store", True)]


def test_one_thread_is_enough(lab: Lab) -> None:
    lab.use()
    lab.upkeep.wrote(1)
    lab.upkeep._woken = False
    lab.upkeep._wake.clear()
    lab.upkeep.wrote(1)
    assert len(lab.begun) == 1 and lab.upkeep._wake.is_set()


def test_without_files_or_at_the_end_no_thread_is_begun(lab: Lab) -> None:
    lab.upkeep.wrote(1)
    lab.use()
    lab.upkeep._closing.set()
    lab.upkeep.wrote(1)
    assert lab.begun == [] and not lab.upkeep._wake.is_set() and lab.upkeep._written == 2


def test_a_thread_that_is_not_to_be_had_is_told_of_once(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.use()
    lab.refuses = True
    for _ in range(2):
        lab.upkeep.wrote(1)
    assert caplog.messages == [f"{lab.path}: no thread for checkpoints: can't start new thread"]
    assert not lab.upkeep._woken and not lab.upkeep._wake.is_set()
    lab.refuses = False
    lab.upkeep.wrote(1)
    assert lab.begun == [("store", True)]


# The thread.


def run(lab: Lab, *steps: Step) -> list[float | None]:
    """Play the thread; at the end of the steps it is told to end. Return for how long it would have waited."""
    upkeep: Any = lab.upkeep
    upkeep._wake = wake = Wake(*steps, upkeep._closing.set)
    wake.set()
    lab.replace(turn=lambda: lab.note(f"turn, woken {wake.is_on}"))
    upkeep._run()
    assert wake.steps == []
    return wake.waits


def writing(lab: Lab, pages: int) -> Step:
    return lambda: setattr(lab.upkeep, "_written", lab.upkeep._written + pages)


def nothing() -> None:
    pass


def test_a_turn_comes_when_nothing_has_been_written_for_a_while(lab: Lab) -> None:
    idle = storeupkeep.IDLE
    assert run(lab, writing(lab, 1), writing(lab, 1), writing(lab, 1), nothing) == [None, idle, idle, idle, None]
    assert lab.did == ["turn, woken False"]


@pytest.mark.parametrize(("pages", "waits"), [(9, 1), (10, 0), (11, 0)])
def test_or_when_it_is_much(lab: Lab, pages: int, waits: int) -> None:
    assert run(lab, writing(lab, pages), *[nothing] * waits) == [None, *[storeupkeep.IDLE] * waits, None]
    assert lab.did == ["turn, woken False"]


def test_what_has_become_much_while_it_waits_is_seen_to(lab: Lab) -> None:
    assert run(lab, writing(lab, 1), writing(lab, 9)) == [None, storeupkeep.IDLE, None]
    assert lab.did == ["turn, woken False"]


@pytest.mark.parametrize("steps", [0, 1])
def test_at_the_end_there_is_no_turn(lab: Lab, steps: int) -> None:
    assert run(lab, *[writing(lab, 1)] * steps) == [None, storeupkeep.IDLE][: steps + 1]
    assert lab.did == []


def test_at_the_end_there_is_no_turn_though_it_is_much(lab: Lab) -> None:
    upkeep: Any = lab.upkeep
    upkeep._written = 50
    assert run(lab) == [None] and lab.did == []


@pytest.mark.parametrize(("alive", "seconds"), [(True, 0.01), (False, 60)])
def test_the_end_waits_for_the_thread(lab: Lab, alive: bool, seconds: float) -> None:
    assert lab.upkeep.close(0) is True and lab.upkeep._closing.is_set() and lab.upkeep._wake.is_set()
    go = threading.Event()
    lab.upkeep._thread = thread = threading.Thread(target=go.wait)
    thread.start()
    if not alive:
        go.set()
    assert lab.upkeep.close(seconds) is (not alive)
    go.set()
    thread.join(60)


# A turn.


def test_a_turn_is_a_checkpoint_and_then_what_is_too_old(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.replace(checkpoint=lambda: lab.note("checkpoint"), forget_all=lambda: lab.note("forget"))
    lab.upkeep._turn()
    assert lab.did == ["checkpoint", "forget"] and caplog.messages == []


@pytest.mark.parametrize("error", [sqlite3.OperationalError("it is locked"), StoreError("it is locked")])
def test_what_a_turn_cannot_do_is_told_once_until_it_could(
    lab: Lab, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail() -> None:
        raise error

    lab.replace(checkpoint=fail, forget_all=nothing)
    told = f"{lab.path}: the log of the store cannot be taken over: it is locked"
    for _ in range(2):
        lab.upkeep._turn()
    assert caplog.messages == [told] and caplog.records[0].levelname == "ERROR"
    lab.replace(checkpoint=nothing)
    lab.upkeep._turn()
    lab.replace(checkpoint=fail)
    lab.upkeep._turn()
    assert caplog.messages == [told] * 2


@pytest.mark.parametrize(
    ("written", "pages", "meanwhile", "expected"),
    [
        (9, 5, 0, ["before locked", "hold True locked", "passed", "anew"]),
        (9, 1, 0, ["before locked", "hold True locked", "passed", "anew"]),
        (9, 0, 0, ["before locked", "hold True locked", "passed"]),
        (9, 5, 1, ["before locked", "hold True locked", "passed"]),
        (10, 5, 0, ["before locked", "hold True locked", "passed"]),
        (9, 100, 1, ["before locked", "hold True locked", "passed"]),
        (10, 101, 1, ["before locked", "hold True locked", "passed", "passed", "anew locked"]),
        (9, 101, 0, ["before locked", "hold True locked", "passed", "passed", "anew locked"]),
    ],
)
def test_the_log_is_begun_anew_if_nothing_comes_meanwhile_or_it_is_too_long(
    lab: Lab, written: int, pages: int, meanwhile: int, expected: list[str]
) -> None:
    lab.upkeep._written, lab.upkeep._woken = written, True

    def passed() -> int:
        assert lab.upkeep._woken is False
        lab.upkeep._written += meanwhile
        lab.note("passed")
        return pages

    lab.replace(passed=passed, begin_anew=lambda: lab.note("anew"), hold=lambda pinned: lab.note(f"hold {pinned}"))
    lab.upkeep._checkpoint()
    assert lab.did == expected and lab.upkeep._written == meanwhile * expected.count("passed")
    assert not lab.lock.locked()


def test_what_is_too_old_goes_batch_by_batch_until_there_is_no_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is taken over in between where that has become long."""
    upkeep: Any = lab.upkeep
    far = storeupkeep.FAR_BEHIND
    took = iter([0.0, 0.25, 1.0, 1.5, 2.0, 2.125, 3.0, 3.0625, 4.0, 4.25, 5.0, 5.5])
    monkeypatch.setattr(storeupkeep, "time", type("Time", (), {"thread_time": lambda: next(took)}))
    lab.behind = [5, far - 1, far, 5, 5, 0]
    waits: list[float] = []

    class Closing:
        pages = iter([0, 1, 1, 1, 0, 1])  # that others write meanwhile

        def wait(self, seconds: float) -> bool:
            waits.append(seconds)
            upkeep._written += next(self.pages)
            return False

    upkeep._closing = Closing()
    upkeep._written = 6
    upkeep._forget_all()
    assert lab.did == ["forget locked"] * 6
    assert waits == [
        storeupkeep.PAUSE, storeupkeep.PAUSE, 0.5 / storeupkeep.SHARE, storeupkeep.PAUSE, 0.0625 / storeupkeep.SHARE,
        storeupkeep.PAUSE,
    ]  # fmt: skip
    assert not lab.lock.locked()


@pytest.mark.parametrize(("written", "checkpoints"), [(9, 0), (10, 1), (11, 1)])
def test_what_is_forgotten_is_taken_over_once_it_is_much(lab: Lab, written: int, checkpoints: int) -> None:
    upkeep: Any = lab.upkeep
    upkeep._closing = Wake(lambda: setattr(upkeep, "_written", written), nothing)
    lab.behind = [1]
    lab.replace(checkpoint=lambda: lab.note("checkpoint"))
    upkeep._forget_all()
    assert lab.did == ["forget locked", *["checkpoint"] * checkpoints, "forget locked"]


def test_at_the_end_nothing_is_forgotten(lab: Lab) -> None:
    lab.upkeep._closing.set()
    lab.upkeep._forget_all()
    assert lab.did == []


def test_the_log_is_begun_anew_by_a_write_that_changes_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    database, _ = lab.use()
    lab.replace(passed=lambda: lab.note("passed"), hold=lambda pinned: lab.note(f"hold {pinned}"))

    def touch(touched: sqlite3.Connection) -> None:
        assert touched is database and lab.upkeep._using.locked()
        lab.note("touch")

    monkeypatch.setattr(storeschema, "touch", touch)
    lab.upkeep._begin_anew()
    assert lab.did == ["hold False", "passed", "touch", "hold True"] and not lab.upkeep._using.locked()
    lab.did.clear()
    lab.upkeep.use()
    lab.upkeep._begin_anew()
    assert lab.did == ["hold False", "passed", "hold True"]


# The connections.


def test_what_is_in_the_log_is_taken_over(lab: Lab) -> None:
    assert lab.upkeep._passed() == 0
    lab.use()
    lab.write()
    pages = lab.upkeep._passed()
    assert pages == (Path(f"{lab.path}-wal").stat().st_size - 32) // (24 + 4096) > 0
    copy = lab.path.with_name("copy")
    copy.write_bytes(lab.path.read_bytes())
    found = sqlite3.connect(copy)
    assert found.execute("SELECT count(*) FROM request").fetchone() == (1,)
    found.close()


def begins_anew(lab: Lab) -> bool:
    """Whether the next write begins the log anew."""
    log = Path(f"{lab.path}-wal")
    before = log.read_bytes()[:32]
    lab.write()
    return log.read_bytes()[:32] != before


def test_a_log_that_is_held_is_not_begun_anew(lab: Lab) -> None:
    lab.upkeep._hold(True)  # there is none
    _, pin = lab.use()
    lab.write()
    for _ in range(2):  # also anew
        lab.upkeep._hold(True)
        assert pin.in_transaction
        lab.upkeep._passed()
        assert not begins_anew(lab)
    lab.upkeep._hold(False)
    assert not pin.in_transaction
    lab.upkeep._passed()
    assert begins_anew(lab)
    lab.upkeep._hold(False)
    assert not pin.in_transaction


def test_a_log_is_begun_anew_where_it_is_asked_for(lab: Lab) -> None:
    _, pin = lab.use()
    lab.write()
    lab.upkeep._hold(True)
    log = Path(f"{lab.path}-wal")
    before = log.read_bytes()[:32]
    lab.upkeep._begin_anew()
    assert log.read_bytes()[:32] != before and pin.in_transaction


def test_others_take_the_place_of_connections_which_are_closed(lab: Lab) -> None:
    before = lab.use()
    after = lab.use()
    assert (lab.upkeep._database, lab.upkeep._pin) == after
    lab.upkeep.use()
    assert (lab.upkeep._database, lab.upkeep._pin) == (None, None)
    for each in (*before, *after):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            each.execute("SELECT 1")

# SPDX-License-Identifier: MIT
"""A run by several workers: ``pytest --workers 8``, or ``--workers 8 --more-workers 8``.

The tests are collected once, which takes longer than most files of them; the workers are forks of that process, and take
tests one by one. A worker stays with a file as long as there is any of it left, so that what is started for a whole file
is started once; where no file is left that nobody is at, it helps with the one that has most left for each worker.
First come tests with the mark ``long``, each for itself, then those with ``one_at_a_time(name)``: of these, one runs at
any time. Last come those of drivers.

Tests wait more than they work: as long as processors are idle, one worker after the other is added, up to so many more.
On a machine that has enough to do, where each would only make the others later, none is.

A worker that dies is a failed test, and another takes its place. When the first process ends, they all do.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import selectors
import sys
import threading
import time
import traceback
import warnings
from collections import deque
from collections.abc import Iterable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import pytest

LAST = "tests/drivers/"  # many that are quick and need nothing for their whole file: in the end everybody can help with them
LOOK = 0.25  # seconds between two looks at the processors
IDLE = 0.15  # of their time: enough for one more


class Schedule:
    """What is to be run yet: numbers of tests, in queues by what they have in common."""

    def __init__(self, queues: Iterable[str], alone: Iterable[str]) -> None:
        """Take the name of the queue of each test, in order; of those named ``alone``, one worker has tests at a time."""
        self._waiting: dict[str, deque[int]] = {}
        self._queues = list(queues)
        self._alone = set(alone)
        self._workers: dict[int, str] = {}
        for number, queue in enumerate(self._queues):
            self._waiting.setdefault(queue, deque()).append(number)

    def next(self, worker: int) -> int | None:
        """Return the next test for a worker, or None."""
        if not self._waiting.get(self._workers.get(worker, "")):
            self._workers.pop(worker, None)
            busy = list(self._workers.values())
            free = [name for name in self._waiting if not (name in self._alone and name in busy)]
            if not free:
                return None
            # Of equals, it is the first.
            self._workers[worker] = max(free, key=lambda name: _share(len(self._waiting[name]), busy.count(name)))
        queue = self._workers[worker]
        number = self._waiting[queue].popleft()
        if not self._waiting[queue]:
            del self._waiting[queue]
        return number

    @property
    def left(self) -> bool:
        """Whether anything is."""
        return bool(self._waiting)

    def lost(self, worker: int, numbers: Iterable[int]) -> None:
        """Take back what a worker has not begun that is no more."""
        self._workers.pop(worker, None)
        for number in reversed(list(numbers)):
            self._waiting.setdefault(self._queues[number], deque()).appendleft(number)


def _share(left: int, workers: int) -> tuple[bool, float]:
    return not workers, left / workers if workers else 0


class Processors:
    """Those of the machine, as ``/proc/stat`` tells what they did: user, nice, system, idle, waiting for disks, ..."""

    def __init__(self, told: Path = Path("/proc/stat")) -> None:
        self._path = told
        self._before = self._ticks()

    def _ticks(self) -> list[int]:
        return [int(word) for word in self._path.read_text().splitlines()[0].split()[1:9]]

    def idle(self) -> float:
        """Return what share of their time since the last look they had nothing to do."""
        before, self._before = self._before, self._ticks()
        spent = [now - then for now, then in zip(self._before, before, strict=True)]
        return sum(spent[3:5]) / (sum(spent) or 1)


class Worker:
    """A forked process, as the first one sees it."""

    def __init__(self, number: int, session: pytest.Session, others: Iterable[Worker]) -> None:
        self.number = number
        self.given: deque[int] = deque()  # tests: the one that it runs, and the one after that
        self.over = False
        self.connection, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            for each in (self, *others):
                each.connection.close()
            _work(session, theirs, number)
        theirs.close()

    def give(self, number: int | None) -> None:
        """Hand it a test, or say that there is none left for it."""
        self.over = number is None
        if number is not None:
            self.given.append(number)
        with contextlib.suppress(BrokenPipeError):  # which is found out when it is listened to
            self.connection.send(number)

    def end(self) -> int:
        """Wait for its end; return the exit code, or minus the signal."""
        self.connection.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("workers").addoption("--workers", type=int, default=0, help="number of processes that run tests")
    more = "number of processes that are added to them, one after the other, while processors are idle"
    parser.getgroup("workers").addoption("--more-workers", type=int, default=0, help=more)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Have the tests run by workers, and tell of them as if they had been run here."""
    count = min(session.config.getoption("workers"), len(session.items))
    if count < 2 or session.testsfailed or session.config.getoption("collectonly"):
        return None
    assert threading.active_count() == 1, f"a file begins threads when it is collected: {threading.enumerate()}"
    gc.freeze()  # what is there now is shared with the workers for longer
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    _locate(session.items)
    schedule = _schedule(session.items)
    most = count + session.config.getoption("more_workers")
    processors, looked = Processors(), time.monotonic()
    workers: dict[Connection, Worker] = {}
    selector = selectors.PollSelector()  # of which the workers have nothing

    def begin(number: int) -> None:
        worker = Worker(number, session, list(workers.values()))
        workers[worker.connection] = worker
        selector.register(worker.connection, selectors.EVENT_READ, worker)
        worker.give(schedule.next(number))
        if not worker.over:
            worker.give(schedule.next(number))

    try:
        for number in range(count):
            begin(number)
        while workers:
            if count < most and time.monotonic() - looked > LOOK:
                looked = time.monotonic()
                if processors.idle() > IDLE and schedule.left:
                    begin(count)
                    count += 1
            for key, _ in selector.select(LOOK):
                worker = key.data
                try:
                    reports, warned = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    selector.unregister(worker.connection)
                    del workers[worker.connection]
                    code = worker.end()
                    if worker.given:
                        _tell(session, worker.given[0], [_death(session.items[worker.given.popleft()], code)], [])
                        schedule.lost(worker.number, worker.given)
                        begin(worker.number)
                else:
                    _tell(session, worker.given.popleft(), reports, warned)
                    if not worker.over:
                        worker.give(schedule.next(worker.number))
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
                if session.shouldstop:
                    raise session.Interrupted(session.shouldstop)
    finally:
        for worker in workers.values():
            worker.end()
    return True


def _schedule(items: list[pytest.Item]) -> Schedule:
    long, alone, files = [], [], []
    for number, item in enumerate(items):
        together = item.get_closest_marker("one_at_a_time")
        name = f"one at a time: {together.args[0]}" if together else item.nodeid.partition("::")[0]
        if item.get_closest_marker("long"):
            long.append((number, name if together else f"long: {item.nodeid}"))
        else:
            (alone if together else files).append((number, name))
    files.sort(key=lambda each: each[1].startswith(LAST))
    order = [*long, *alone, *files]
    items[:] = [items[number] for number, _ in order]
    return Schedule((name for _, name in order), (name for _, name in order if name.startswith("one at a time: ")))


def _locate(items: list[pytest.Item]) -> None:
    """Find out once for all where the cases of a function stand, which else takes a tenth of what pytest does for each."""
    found: dict[tuple[Path, str], tuple[str, int | None]] = {}
    for item in items:
        if type(item) is pytest.Function and type(item.parent) is pytest.Module:
            if (where := (item.path, item.originalname)) not in found:
                found[where] = item.location[:2]
            else:
                vars(item)["location"] = (*found[where], item.name)


def _tell(session: pytest.Session, number: int, reports: list[Any], warned: list[tuple[Any, ...]]) -> None:
    """Tell pytest of a test that has been run."""
    item, hook = session.items[number], session.config.hook
    for message, category, file, line in warned:
        warning = warnings.WarningMessage(message, category, file, line)
        told = {"warning_message": warning, "when": "runtest", "nodeid": item.nodeid, "location": None}
        hook.pytest_warning_recorded.call_historic(kwargs=told)
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for data in reports:
        report = hook.pytest_report_from_serializable(config=session.config, data=data)
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)


def _death(item: pytest.Item, code: int) -> Any:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", f"its worker died: {how}", "call")
    return item.config.hook.pytest_report_to_serializable(config=item.config, report=report)


class _Notes:
    """What pytest says of a test, in a worker: of what goes well only that it does, unless more is to be shown."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        options = config.option
        self._all = bool(options.durations or options.xmlpath or {*"PA"} & {*options.reportchars})
        self.reports: list[Any] = []
        self.warned: list[tuple[Any, ...]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and not self._all:
            if report.when != "call":
                return
            report.sections = []
        self.reports.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        told = warning_message
        self.warned.append((str(told.message), told.category, told.filename, told.lineno))


def _work(session: pytest.Session, connection: Connection, number: int) -> NoReturn:
    """Be a worker: run what is handed over, until nothing is."""
    code = 1
    try:
        atexit._clear()  # type: ignore[attr-defined]  # what the first process has to do at its end
        _part(session.config, number)
        notes = _Notes(session.config)
        session.config.pluginmanager.register(notes)
        try:
            item = connection.recv()
            while item is not None:
                following = connection.recv()
                nextitem = None if following is None else session.items[following]
                session.config.hook.pytest_runtest_protocol(item=session.items[item], nextitem=nextitem)
                connection.send((notes.reports, notes.warned))
                notes.reports, notes.warned = [], []
                item = following
        finally:
            session._setupstate.teardown_exact(None)  # type: ignore[attr-defined]
        code = 0
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the first process is no more, or wants no more
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # type: ignore[attr-defined]
        os._exit(code)


def _part(config: pytest.Config, number: int) -> None:
    """Have what the first process has too, and must not be shared: terminal, captured output, folder for files."""
    plugins = config.pluginmanager
    plugins.unregister(name="terminalreporter")
    capture: Any = plugins.getplugin("capturemanager")
    capture.stop_global_capturing()
    capture.start_global_capturing()
    capture.suspend_global_capture()
    factory = config._tmp_path_factory  # type: ignore[attr-defined]
    factory._basetemp = factory.getbasetemp() / f"worker{number}"
    factory._basetemp.mkdir(mode=0o700, exist_ok=True)

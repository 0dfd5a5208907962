# SPDX-License-Identifier: MIT
"""``python -m tests.mutation.trials``: try mutants in forks of one process, which has all tests collected.

It is a pytest that forks in place of running its tests. The first fork runs them all as they are, and notes how long
each takes and which functions it reaches, in this process and in daemons that it starts; then there is a fork for each
mutant, which runs the tests that reach it, the quickest first, until one fails. What such tests let pass of a function
that has been called before them, as modules are imported and tests are collected, is tried by importing it as well.

The job comes as JSON on the standard input, see `Job`; what becomes of each mutant goes to a descriptor, as a line.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import IO, NamedTuple

import pytest

from tests.mutation.mutants import mutants
from tests.mutation.patch import Codes, Place, changed, functions, outer_functions, put

LONG = 3.0  # seconds that a test may take longer than five times what it takes
PATIENCE = (1, 3)  # times that, at first and if it takes longer, since that may be others' load
TOO_LONG = "(takes too long)"
WHOLE_RUN = 3600.0
NOT_PUT = "not put"
CHOSEN = "not long and not real_program"  # which has no mutant

_OPEN, _WRITE, _CLOSE = os.open, os.write, os.close  # in the place of which a test may put others


class Job(NamedTuple):
    """The numbers of the mutants of each file, the tests, and for how many seconds' worth of them each mutant is tried.

    ``pause`` is the path of a file: while it is there, no mutant is begun. ``results`` is a descriptor, for file, number
    and what has killed it: the name of a test, "" if nothing has, null for one that can only be tried by importing it.
    """

    files: dict[str, list[int]]
    tests: list[str]
    seconds: float
    results: int
    pause: str = ""


class Ended(NamedTuple):
    """How a fork ended: the tests that failed, or did not end; what each test took."""

    failed: list[str]
    took: dict[str, float]
    printed: str

    @property
    def killer(self) -> str:
        """The first test that failed."""
        return self.failed[0] if self.failed else ""


class Reached:
    """Notes, in all processes, which test reaches which function of some files. Each name is written once a process."""

    def __init__(self, folder: Path, files: dict[str, dict[CodeType, Place]]) -> None:
        self._path = folder / "reached"
        self._places = {str(Path(file).resolve()): (file, _by_name(codes)) for file, codes in files.items()}
        self._seen: set[tuple[str, str, Place]] = set()
        self._tester = 0
        self.by_daemons: set[str] = set()  # the tests that reach something so
        self.early: set[tuple[str, Place]] = set()  # what is called before the tests are run

    def begin(self) -> None:
        """Note what is called from now on, here and in forks."""
        self._tester = os.getpid()
        threading.setprofile(self._called)
        sys.setprofile(self._called)

    def end(self) -> None:
        """Note no more; what has been called by now is early."""
        threading.setprofile(None)
        sys.setprofile(None)
        self.early = {(file, place) for _, file, place in self._seen}

    def _called(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code.co_filename not in self._places:
            return
        file, places = self._places[code.co_filename]
        place = places.get((code.co_qualname, code.co_firstlineno))
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        if place is None or (test, file, place) in self._seen:
            return
        descriptor = _OPEN(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        line = [test, file, place, os.getpid() != self._tester]
        with contextlib.suppress(OSError):  # while a test has the disk take nothing
            _WRITE(descriptor, json.dumps(line).encode() + b"\n")
            self._seen.add((test, file, place))
        _CLOSE(descriptor)

    def found(self, tests: list[str]) -> dict[tuple[str, Place], set[str]]:
        """Return which tests reach each function. What is reached before a test's call may serve those after it."""
        result: dict[tuple[str, Place], set[str]] = defaultdict(set)
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for test, file, place, by_daemon in map(json.loads, lines):
            name, _, phase = test.rpartition(" ")
            whole = name.partition("::")[0]
            served = [name] if phase == "(call)" else [each for each in tests if each.startswith(f"{whole}::")]
            result[file, tuple(place)].update(served)
            if by_daemon:
                self.by_daemons.update(served)
        return result


def _by_name(codes: dict[CodeType, Place]) -> dict[Place, Place]:
    return {(code.co_qualname, code.co_firstlineno): place for code, place in codes.items()}


class Trials:
    """The plugin of pytest."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._job = job
        self._folder = folder
        self._codes = {file: compile(Path(file).read_text(), file, "exec") for file in job.files}
        self.reached = Reached(folder, {file: outer_functions(code) for file, code in self._codes.items()})
        self._report: IO[str] | None = None  # of a fork

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Fork, outside of what other plugins do around the tests."""
        self.reached.end()
        if session.testsfailed or not session.items:
            sys.exit("some tests cannot be collected")
        if not self._is_trial(session):
            session.items.clear()
        return (yield)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell(begun=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tell(test=report.nodeid, took=report.duration, failed=report.failed, last=report.when == "teardown")

    def _tell(self, **words: object) -> None:
        if self._report is not None:
            self._report.write(json.dumps(words) + "\n")
            self._report.flush()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self._report is not None:
            os._exit(exitstatus)

    def _is_trial(self, session: pytest.Session) -> bool:
        """Make all forks; return True in those."""
        items = {item.nodeid: item for item in session.items}
        reached = self.reached
        modules = {file: sys.modules[file.removesuffix(".py").replace("/", ".")] for file in self._job.files}
        found = functions(modules.values())
        gc.freeze()  # so that forks share it

        def begin() -> None:
            session.config.option.maxfail = 0
            reached.begin()

        as_it_is = self._forked(begin, lambda _: WHOLE_RUN, True, all_of_it=True)
        if as_it_is is None:
            return True
        for name in dict.fromkeys(as_it_is.failed):  # the others can judge
            print(f"{name}: left out, since it fails as it is", file=sys.stderr)
            items.pop(name, None)
        if not items:
            print(as_it_is.printed, file=sys.stderr)
            session.testsfailed = 1
            return False
        tests = reached.found([*items])
        killers: dict[str, int] = defaultdict(int)
        for file, numbers in self._job.files.items():
            every = [*mutants(Path(file).read_text())]
            for number in numbers:
                while self._job.pause and os.path.exists(self._job.pause):
                    time.sleep(1)
                one = changed(self._codes[file], compile(every[number].source, file, "exec"))
                killer = None
                if one is not None:
                    place, codes = one
                    names = self._chosen(tests[file, place] & items.keys(), as_it_is.took, killers, file)
                    session.items[:] = [items[name] for name in names]
                    mutate = partial(self._mutate, found, modules[file].__name__, codes)
                    by_daemon = not reached.by_daemons.isdisjoint(names)
                    for times in PATIENCE:
                        ended = self._forked(mutate, partial(_bound, as_it_is.took, times), by_daemon)
                        if ended is None:
                            return True
                        if not ended.killer.endswith(TOO_LONG):
                            break
                    killers[ended.killer] += 1
                    killer = ended.killer
                    if killer == NOT_PUT or (not killer and (file, place) in reached.early):
                        killer = None
                os.write(self._job.results, json.dumps([file, number, killer]).encode() + b"\n")
        return False

    def _chosen(self, reach: set[str], took: dict[str, float], killers: dict[str, int], file: str) -> list[str]:
        """Return the tests for a mutant, of which all of its own are: those first that killed most others, then the quick."""
        own = re.compile(rf"\btest_{Path(file).stem}(_\w+)?\.py::")
        left = self._job.seconds
        found = []
        for name in sorted(reach, key=lambda name: took[name] / (1 + killers[name]) / (2 if own.search(name) else 1)):
            left -= took[name]
            if left >= 0 or own.search(name):
                found.append(name)
        return found

    def _mutate(self, found: dict[tuple[str, Place], list[FunctionType]], module: str, codes: Codes) -> None:
        if not put(found, module, codes):
            self._tell(test=NOT_PUT, took=0, failed=True, last=True)
            os._exit(1)

    def _forked(
        self, prepare: Callable[[], None], bound: Callable[[str], float], daemons: bool, all_of_it: bool = False
    ) -> Ended | None:
        """Fork, and return how that ends, once a test has failed or takes too long. None: this is the fork.

        ``daemons``: those that tests start are to have what it has. ``all_of_it``: whatever fails, all tests are run.
        """
        printed = self._folder / "printed"
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.close(ours)
            self._report = os.fdopen(theirs, "w")
            output = os.open(printed, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(output, 1)
            os.dup2(output, 2)
            prepare()
            if daemons:
                _have_daemons_forked()
            return None
        os.close(theirs)
        failed, took = list[str](), dict[str, float]()
        try:
            with os.fdopen(ours) as report:
                _follow(report, took, failed, bound, all_of_it)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return Ended(failed, took, printed.read_text(errors="replace") if failed else "")


def _bound(took: dict[str, float], times: int, test: str) -> float:
    return times * (5 * took.get(test, 0.0) + LONG)


def _follow(
    report: IO[str], took: dict[str, float], failed: list[str], bound: Callable[[str], float], all_of_it: bool
) -> None:
    """Read what a fork tells, until a test fails or does not end in time, or ``all_of_it``."""
    test, until = "", time.monotonic() + WHOLE_RUN
    data = b""
    while True:
        if not select.select([report], [], [], max(0.0, until - time.monotonic()))[0]:
            failed.append(f"{test} {TOO_LONG}")
            return
        more = os.read(report.fileno(), 1 << 16)
        if not more:
            failed += [f"{test} (ends it all)"] if test else []
            return
        *lines, data = (data + more).split(b"\n")
        for words in map(json.loads, lines):
            if "begun" in words:
                test = words["begun"]
                until = time.monotonic() + bound(test)
                continue
            took[words["test"]] = took.get(words["test"], 0.0) + words["took"]
            if words["failed"]:
                failed.append(words["test"])
                if not all_of_it:
                    return
            if words["last"]:
                test = ""


def _have_daemons_forked() -> None:
    """Have the daemons that tests start be forks of this process, so that they have what it has."""
    process = sys.modules.get("tests.support.process")
    if process is not None:
        process.PDUDAEMON.serve_from_here(os.environ)


def main() -> None:
    """Do the job on the standard input."""
    job = Job(**json.load(sys.stdin))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # as daemons have it
    sys.path.insert(0, os.getcwd())
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(job, Path(folder))
        trials.reached.begin()
        for file in job.files:
            importlib.import_module(file.removesuffix(".py").replace("/", "."))
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module("pdudaemon.cli")
        options = ["-q", "-x", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", f"--basetemp={folder}/tests"]
        sys.exit(pytest.main([*options, "-m", CHOSEN, *job.tests], plugins=[trials]))


if __name__ == "__main__":
    main()

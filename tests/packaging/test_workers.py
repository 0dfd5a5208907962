# SPDX-License-Identifier: MIT
"""Workers tell what one process would: every test once, files together, what fails, what dies, and what may not meet."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import ROOT
from tests.support.workers import Processors, Schedule

FILE = """
import os, signal, sys, time, warnings
import pytest

@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    with open(os.environ["NOTES"], "a") as notes:
        print("begin", __name__, file=notes)
    yield tmp_path_factory.mktemp("file")
    with open(os.environ["NOTES"], "a") as notes:
        print("end", __name__, file=notes)

@pytest.mark.parametrize("number", range(20))
def test_good(number, begun, tmp_path):
    print("said by", number)
    (begun / f"{number}").touch(exist_ok=False)
    (tmp_path / "own").touch(exist_ok=False)
"""
ALONE = """
import os, pytest

@pytest.mark.one_at_a_time("door")
@pytest.mark.parametrize("number", range(20))
def test_alone(number):
    os.mkdir(os.environ["NOTES"] + ".door")
    os.rmdir(os.environ["NOTES"] + ".door")
"""


class Suite:
    """A suite of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  long: x\n  one_at_a_time: x\n")

    def run(self, *words: str, **files: str) -> tuple[int, str]:
        """Return the exit code and what pytest says."""
        for name, source in files.items():
            (self.folder / f"test_{name}.py").write_text(source)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.support.workers",
            "-p",
            "no:cacheprovider",
            "-q",
            *words,
        ]
        environment = {"PATH": "/usr/bin:/bin", "NOTES": str(self.notes), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        assert not done.stderr
        return done.returncode, done.stdout


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def test_every_test_is_run_once_and_what_a_file_needs_is_begun_once_for_each_worker_at_it(suite: Suite) -> None:
    code, said = suite.run("--workers=3", f"--basetemp={suite.folder / 'own'}", a=FILE, b=FILE, c=FILE)
    assert code == 0 and "60 passed" in said
    notes = suite.notes.read_text().split("\n")
    assert len(notes) % 2 and all(
        notes.count(f"begin test_{name}") == notes.count(f"end test_{name}") for name in "abc"
    )
    assert len(list(suite.folder.glob("own/worker[012]/file[0-9]/*"))) == 60


def test_one_of_a_name_at_a_time(suite: Suite) -> None:
    code, said = suite.run("--workers=4", a=ALONE, b=ALONE, c=FILE)
    assert code == 0 and "60 passed" in said


def test_what_fails_is_shown_with_what_it_said_and_a_warning_once(suite: Suite) -> None:
    wrong = FILE + "def test_bad():\n  print('heard', 7)\n  warnings.warn('thin ice')\n  assert [1, 2] == [1, 3]\n"
    code, said = suite.run("--workers=3", a=wrong, b=FILE)
    assert code == 1 and "1 failed, 40 passed, 1 warning" in said
    assert "heard 7" in said and "At index 1 diff: 2 != 3" in said and "UserWarning: thin ice" in said
    assert "said by" not in said


def test_one_who_dies_is_a_failed_test_and_the_rest_is_run(suite: Suite) -> None:
    deadly = "import os, signal\ndef test_deadly():\n  os.kill(os.getpid(), signal.SIGKILL)\n"
    code, said = suite.run("--workers=2", a=deadly + FILE, b=FILE)
    assert code == 1 and "1 failed, 40 passed" in said
    assert re.search(r"FAILED test_a.py::test_deadly - its worker died: signal 9", said)


def test_an_end_at_the_first_failure_ends_what_was_begun(suite: Suite) -> None:
    code, said = suite.run("--workers=2", "-x", a="def test_bad():\n  assert False\n" + FILE, b=FILE)
    assert code == 1 and "1 failed" in said and "stopping after 1 failures" in said
    notes = suite.notes.read_text()
    assert notes.count("begin") == notes.count("end")


def test_a_worker_stays_with_its_file_then_takes_one_of_nobody_then_helps_where_most_is_left() -> None:
    schedule = Schedule("aaabbbbbc", alone="")
    assert [schedule.next(1), schedule.next(2)] == [0, 3]
    assert [schedule.next(1), schedule.next(1)] == [1, 2]
    assert [schedule.next(1), schedule.next(1)] == [8, 4]
    schedule.lost(1, [4])
    assert [schedule.next(2) for _ in range(5)] == [4, 5, 6, 7, None]


def test_the_next_of_a_queue_for_one_waits_for_the_last() -> None:
    schedule = Schedule("aab", alone="a")
    assert [schedule.next(1), schedule.next(2), schedule.next(2)] == [0, 2, None]
    assert schedule.next(1) == 1


def test_workers_are_added_where_processors_are_idle(tmp_path: Path) -> None:
    told = tmp_path / "stat"
    told.write_text("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n")
    processors = Processors(told)
    for ticks, idle in (("190 0 50 810 50 0 0 0", 0.1), ("200 10 60 870 60 0 0 0", 0.7), ("200 10 60 870 60 0 0 0", 0)):
        told.write_text(f"cpu  {ticks} 0 0\n")
        assert processors.idle() == idle


def test_those_that_are_added_run_tests_as_well(suite: Suite) -> None:
    """However many there are in the end, which the machine decides."""
    waits = "import time\n" + FILE.replace("    print(", "    time.sleep(0.2); print(")
    code, said = suite.run("--workers=2", "--more-workers=3", f"--basetemp={suite.folder / 'own'}", a=waits, b=waits)
    assert code == 0 and "40 passed" in said
    assert len(list(suite.folder.glob("own/worker[01234]/file[0-9]/*"))) == 40

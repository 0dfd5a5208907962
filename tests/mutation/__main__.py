# SPDX-License-Identifier: MIT
"""``python -m tests.mutation FILE...`` (``make mutation FILES=...``): name the changes of a source that no test notices.

Each mutant of a file is put into a copy of the tree, and the file's tests are run against it until one fails: by
default those of the same name, ``tests/engine/test_lanes.py`` for ``pdudaemon/engine/lanes.py``, else those of its
folder. A mutant under which they take much longer than without is noticed as well.

A survivor is a missing test, or changes no behaviour; one of those is explained in ``explained.txt``. The end is 1 if
some are not, or if an explanation has had its day.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parent.parent.parent
EXPLAINED = Path(__file__).parent / "explained.txt"
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")


class Tried(NamedTuple):
    """A mutant of a file, and whether the tests let it pass."""

    file: str
    mutant: Mutant
    survived: bool

    @property
    def name(self) -> str:
        return f"{self.file}: {self.mutant.name}"


class Copy:
    """A copy of a tree in which tests are run."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.folder = folder / "tree"
        shutil.copytree(tree, self.folder, ignore=LEFT_OUT, symlinks=True)
        # What is compiled goes by time in whole seconds and by size, hence a time of its own for each mutant.
        self._now = int(time.time()) - 100_000
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "bytecode"), "PYTHONPATH": ""}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def put(self, file: str, source: str) -> None:
        """Write a source."""
        path = self.folder / file
        path.write_text(source)
        self._now += 1
        os.utime(path, (self._now, self._now))

    def failure(self, tests: list[str], seconds: float) -> str:
        """Run tests until one fails; return what they print then, or that they took longer than so many seconds."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"not done within {seconds:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return printed.decode() if process.returncode else ""


def own_tests(tree: Path, file: str) -> list[str]:
    """Return the tests that are to notice a change of a file."""
    folder, name = Path(file).parts[1:-1], Path(file).stem
    own = Path("tests", *folder, f"test_{name}.py")
    return [str(own if (tree / own).exists() else own.parent)]


def tried(tree: Path, file: str, tests: list[str], jobs: int = 2, sample: int = 0, seed: int = 0) -> list[Tried]:
    """Try all mutants of a file, or a sample of so many, ``jobs`` at a time. Raises: SystemExit if tests fail without."""
    source = (tree / file).read_text()
    waiting = [*enumerate(mutants(source))]
    if sample:
        waiting = random.Random(seed).sample(waiting, min(sample, len(waiting)))
    results: dict[int, Tried] = {}
    with tempfile.TemporaryDirectory() as folder:
        copies = [Copy(tree, Path(folder) / str(number)) for number in range(jobs)]
        begun = time.monotonic()
        if printed := copies[0].failure(tests, 3600):
            sys.exit(f"{printed}{' '.join(tests)}: fails as it is")
        bound = 3 * (time.monotonic() - begun) * jobs + 30
        left = iter(waiting)  # of all threads

        def work(copy: Copy) -> None:
            for number, mutant in left:
                copy.put(file, mutant.source)
                results[number] = Tried(file, mutant, not copy.failure(tests, bound))

        threads = [threading.Thread(target=work, args=(copy,)) for copy in copies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [results[number] for number in sorted(results)]


def explanations(path: Path) -> dict[str, str]:
    """Return the names of mutants that change no behaviour, and why: a name a line, above it the reason."""
    found: dict[str, str] = {}
    why: list[str] = []
    for line in path.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            why = [*why, line.lstrip("# ")] if line.startswith("#") else []
        else:
            found[line] = " ".join(why)
    return found


def report(results: list[Tried], explained: dict[str, str], whole: bool) -> int:
    """Print what survived; return 1 if some of it is not explained, or if an explanation is of no use any more."""
    survivors = {each.name: each for each in results if each.survived}
    for name, each in survivors.items():
        if name not in explained:
            print(f"{each.file}:{each.mutant.line}: survives: {name}")
    names = {each.name for each in results}
    files = {each.file for each in results}
    old = [
        name
        for name in explained
        if name not in survivors and (name in names or (whole and name.partition(": ")[0] in files))
    ]
    for name in old:
        print(f"explained, but does not survive: {name}")
    known = len(survivors.keys() & explained.keys())
    killed = len(results) - len(survivors)
    print(f"{len(results)} mutants: {killed} killed, {known} explained, {len(survivors) - known} survive", end="")
    print(f" ({100 * killed / max(1, len(results) - known):.1f} % of those that change behaviour)")
    return 1 if old or len(survivors) > known else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Name changes that no test notices.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a source file, from the top of the tree")
    parser.add_argument("--tests", nargs="+", default=[], help="what is to notice (default: the tests of each file)")
    parser.add_argument("--jobs", type=int, default=2, help="how many are tried at a time (default: 2)")
    parser.add_argument("--sample", type=int, default=0, help="try so many of each file, by chance (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which chance (default: 0)")
    given = parser.parse_args()
    results: list[Tried] = []
    for file in given.files:
        results += tried(ROOT, file, given.tests or own_tests(ROOT, file), given.jobs, given.sample, given.seed)
    return report(results, explanations(EXPLAINED), whole=not given.sample)


if __name__ == "__main__":
    sys.exit(main())

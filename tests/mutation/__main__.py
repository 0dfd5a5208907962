# SPDX-License-Identifier: MIT
"""``python -m tests.mutation FILE...`` (``make mutation FILES=...``): name the changes of a source that no test notices.

Each mutant of a file is put into a process that has the tests collected, and those that reach it are run until one
fails (see `tests.mutation.trials`); one that changes what runs at the import goes into a copy of the tree. The tests
are, by default, those of the same name, ``tests/engine/test_lanes.py`` for ``pdudaemon/engine/lanes.py``, else those of
its folder. A mutant under which they take much longer than without is noticed as well.

A survivor is a missing test, or changes no behaviour; one of those is explained in ``explained.txt``. The end is 1 if
fewer are noticed than are to be, or if an explanation has had its day.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.trials import CHOSEN

ROOT = Path(__file__).parent.parent.parent
EXPLAINED = Path(__file__).parent / "explained.txt"
PAUSE = "MUTATION_PAUSE"
"""Environment: the path of a file; while it is there, no mutant is begun."""
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist")


class Tried(NamedTuple):
    """A mutant of a file, and what has killed it: the name of a test; empty: the tests let it pass."""

    file: str
    mutant: Mutant
    killer: str

    @property
    def survived(self) -> bool:
        return not self.killer

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
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", CHOSEN, *tests]
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
    """Return the tests that are to notice a change of a file: ``test_NAME.py``, and ``test_NAME_aspect.py``."""
    folder, name = Path("tests", *Path(file).parts[1:-1]), Path(file).stem
    own = [*(tree / folder).glob(f"test_{name}.py"), *sorted((tree / folder).glob(f"test_{name}_*.py"))]
    return [str(each.relative_to(tree)) for each in own] or [str(folder)]


def tried(
    tree: Path,
    files: Sequence[str],
    tests: list[str],
    sample: int = 0,
    seed: int = 0,
    seconds: float = 20.0,
    only: Collection[str] = (),
) -> Iterator[Tried]:
    """Try all mutants of some files, or those of some names, or a sample of so many of each.

    Each is tried by tests that take so many seconds.

    Raises: SystemExit if tests fail as it is.
    """
    every = {file: [*mutants((tree / file).read_text())] for file in files}
    numbers = {file: [*range(len(every[file]))] for file in files}
    for file in files:
        if only:
            numbers[file] = [number for number in numbers[file] if f"{file}: {every[file][number].name}" in only]
        if sample:
            chosen = random.Random(f"{seed} {file}").sample(numbers[file], min(sample, len(numbers[file])))
            numbers[file] = sorted(chosen)
    read, write = os.pipe()
    job = {"files": numbers, "tests": tests, "seconds": seconds, "results": write, "pause": os.environ.get(PAUSE, "")}
    command = [sys.executable, "-m", "tests.mutation.trials"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    left: list[tuple[str, Mutant]] = []
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[write]
    ) as process:
        os.close(write)
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
        with os.fdopen(read) as results:
            for line in results:
                file, number, killer = json.loads(line)
                if killer is None:
                    left.append((file, every[file][number]))
                else:
                    yield Tried(file, every[file][number], killer)
    if process.returncode:
        sys.exit(process.returncode)
    if left:
        yield from _imported(tree, left, tests)


def _imported(tree: Path, left: list[tuple[str, Mutant]], given: list[str]) -> Iterator[Tried]:
    """Try mutants one after the other in a copy of the tree, each by those tests that are its file's, if any are."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(tree, Path(folder))
        bounds: dict[str, float] = {}
        for file, mutant in left:
            source = (tree / file).read_text()
            tests = [test for test in own_tests(tree, file) if test in given] or given
            if file not in bounds:
                begun = time.monotonic()
                if printed := copy.failure(tests, 3600):
                    sys.exit(f"{printed}{' '.join(tests)}: fails as it is")
                bounds[file] = 3 * (time.monotonic() - begun) + 30
            copy.put(file, mutant.source)
            killer = f"{tests[0]} (in a copy)" if copy.failure(tests, bounds[file]) else ""
            copy.put(file, source)
            yield Tried(file, mutant, killer)


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


def report(results: list[Tried], explained: dict[str, str], whole: bool, least: float = 100.0) -> int:
    """Print what survived; return 1 if fewer than ``least`` per cent are noticed, or an explanation is of no use."""
    survivors = {each.name: each for each in results if each.survived}
    for name, each in survivors.items():
        if name not in explained:
            print(f"{each.file}:{each.mutant.line}: survives: {name}")
    names = {each.name for each in results}
    files = dict.fromkeys(each.file for each in results)
    old = [
        name
        for name in explained
        if name not in survivors and (name in names or (whole and name.partition(": ")[0] in files))
    ]
    for name in old:
        print(f"explained, but does not survive: {name}")
    if len(files) > 1:
        for file in files:
            print(f"{file}: {_figures([each for each in results if each.file == file], explained)[0]}")
    figures, share = _figures(results, explained)
    print(figures)
    return 1 if old or share < least else 0


def _figures(results: list[Tried], explained: dict[str, str]) -> tuple[str, float]:
    """Return how many mutants were killed, for people, and how many per cent of those that change behaviour."""
    known = sum(each.survived and each.name in explained for each in results)
    killed = sum(not each.survived for each in results)
    left = len(results) - known
    share = 100 * killed / left if left else 100.0
    figures = f"{len(results)} mutants: {killed} killed, {known} explained, {left - killed} survive"
    return f"{figures} ({share:.1f} % of those that change behaviour)", share


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="Name changes that no test notices.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a source file, from the top of the tree")
    parser.add_argument("--tests", nargs="+", default=[], help="what is to notice (default: the tests of each file)")
    parser.add_argument("--sample", type=int, default=0, help="try so many of each file, by chance (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which chance (default: 0)")
    parser.add_argument("--only", metavar="PATH", help="try those that a file names, one a line")
    parser.add_argument("--seconds", type=float, default=20.0, help="how much of the tests for each (default: 20)")
    parser.add_argument("--least", type=float, default=100.0, help="per cent that are to be noticed (default: 100)")
    given = parser.parse_args()
    tests = given.tests or [*dict.fromkeys(test for file in given.files for test in own_tests(ROOT, file))]
    results: list[Tried] = []
    only = Path(given.only).read_text().splitlines() if given.only else []
    for each in tried(ROOT, given.files, tests, given.sample, given.seed, given.seconds, only):
        results.append(each)
        print(f"{each.name}: {f'killed by {each.killer}' if each.killer else 'survives'}", file=sys.stderr, flush=True)
    return report(results, explanations(EXPLAINED), not (given.sample or only), given.least)


if __name__ == "__main__":
    sys.exit(main())

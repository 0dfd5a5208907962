# SPDX-License-Identifier: MIT
"""The mutation tester: what it changes, and what it says of tests that notice all but one of the changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.__main__ import Tried, explanations, own_tests, report, tried
from tests.mutation.mutants import Mutant, mutants

SOURCE = """\
def big(number, most=7):
    \"\"\"Say whether a number is big.\"\"\"
    if number < 0:
        raise ValueError(f"{number + 1} is too small")
    return number > most and "ü" != number
"""
PART = """\
from threading import Lock

MOST = 7

def big(number):
    return number > MOST

def waits():
    lock = Lock()
    lock.acquire()
    lock.release()
    lock.acquire()
    return lock.locked()

def above(limit):
    most = limit + 1
    def is_above(number):
        return number > most
    return is_above

BIG = above(MOST)
"""
TEST = """\
from module.part import BIG, big, waits

def test_big():
    assert big(8) is True and big(0) is False

def test_waits():
    assert waits()

def test_above():
    assert [BIG(number) for number in (8, 9)] == [False, True]
"""


def test_one_thing_is_changed_at_a_time() -> None:
    made = {each.name: each for each in mutants(SOURCE)}
    returned = "big: return number > most and 'ü' != number"
    assert [*made] == [
        "big: 7 -> 8",
        "big: number < 0 -> not number < 0",
        "big: if number < 0: number < 0 -> number <= 0",
        "big: if number < 0: 0 -> 1",
        "big: raise ValueError(f'{number + 1} is too small') -> pass",
        "big: return number > most and 'ü' != number -> return None",
        f"{returned}: number > most and 'ü' != number -> number > most or 'ü' != number",
        f"{returned}: number > most and 'ü' != number -> 'ü' != number",
        f"{returned}: number > most and 'ü' != number -> number > most",
        f"{returned}: number > most -> number >= most",
        f"{returned}: 'ü' != number -> 'ü' == number",
    ]
    assert {each.line for each in made.values()} == {1, 3, 4, 5}
    changed = made[f"{returned}: 'ü' != number -> 'ü' == number"].source
    assert changed == SOURCE.replace('"ü" != number', "('ü' == number)")


def test_every_mutant_can_be_compiled() -> None:
    """In particular those of lines that go on, of nested conditions and of statements with blocks."""
    source = (
        "while a or not (b and\n    c):\n    x = [1 if n else 2 for n in y if n > 1\n        if z]; x[0] += 1; break\n"
    )
    made = [*mutants(source)]
    assert len(made) == len({each.name for each in made}) == 19
    for each in made:
        compile(each.source, each.name, "exec")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one module and its tests, which are run for real."""
    for folder in ("module", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "module" / "part.py").write_text(PART)
    (tmp_path / "tests" / "test_part.py").write_text(TEST)
    (tmp_path / "tests" / "test_wrong.py").write_text("def test_wrong():\n    assert False")
    return tmp_path


def test_the_tests_of_a_module_are_those_of_its_name_and_of_its_aspects(tree: Path) -> None:
    for name in ("part_loud", "part_dim", "parts"):
        (tree / "tests" / f"test_{name}.py").write_text("")
    found = own_tests(tree, "module/part.py")
    assert found == [f"tests/test_{name}.py" for name in ("part", "part_dim", "part_loud")]


@pytest.mark.long
def test_what_no_test_notices_survives(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tests = own_tests(tree, "module/part.py")
    assert tests == ["tests/test_part.py"] and own_tests(tree, "module/other.py") == ["tests"]
    big, waits, above = (f"tests/test_part.py::test_{name}" for name in ("big", "waits", "above"))
    found = {each.mutant.name: each.killer for each in tried(tree, ["module/part.py"], tests, seconds=0.0)}
    assert found == {
        "(module): MOST = 7: 7 -> 8": "tests/test_part.py (in a copy)",
        "big: return number > MOST -> return None": big,
        "big: return number > MOST: number > MOST -> number >= MOST": "",
        "waits: lock.acquire() -> pass": waits,
        "waits: lock.release() -> pass": f"{waits} (takes too long)",
        "waits: lock.acquire() -> pass #2": waits,
        "waits: return lock.locked() -> return None": waits,
        "above: most = limit + 1: limit + 1 -> limit - 1": "tests/test_part.py (in a copy)",
        "above: most = limit + 1: 1 -> 2": "tests/test_part.py (in a copy)",
        "above.is_above: return number > most -> return None": "tests/test_part.py (in a copy)",
        "above.is_above: return number > most: number > most -> number >= most": above,
        "above: return is_above -> return None": "tests/test_part.py (in a copy)",
    }
    one = ["module/part.py: waits: return lock.locked() -> return None"]
    assert [each.name for each in tried(tree, ["module/part.py"], tests, only=one)] == one
    assert (tree / "module" / "part.py").read_text() == PART
    with pytest.raises(SystemExit):
        [*tried(tree, ["module/part.py"], ["tests/test_wrong.py"])]
    assert "tests/test_wrong.py::test_wrong: left out, since it fails as it is" in capfd.readouterr().err


def test_what_is_explained_is_none_of_the_missing_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "explained.txt"
    path.write_text("# head\n\n# nobody sees\n# the name\na.py: f: 1 -> 2\na.py: gone: 1 -> 2\n\nb.py: g: x -> y\n")
    explained = explanations(path)
    assert explained == {
        "a.py: f: 1 -> 2": "nobody sees the name",
        "a.py: gone: 1 -> 2": "nobody sees the name",
        "b.py: g: x -> y": "",
    }
    known = Tried("a.py", Mutant("f: 1 -> 2", 3, ""), "")
    killed = Tried("a.py", Mutant("f: 3 -> 4", 4, ""), "test")
    missed = Tried("a.py", Mutant("f: 5 -> 6", 5, ""), "")
    other = Tried("c.py", Mutant("f: 5 -> 6", 5, ""), "test")
    assert report([known, killed], explained, whole=False) == 0
    assert (
        capsys.readouterr().out
        == "2 mutants: 1 killed, 1 explained, 0 survive (100.0 % of those that change behaviour)\n"
    )
    assert report([known, killed, missed], explained, whole=True) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.py:5: survives: a.py: f: 5 -> 6",
        "explained, but does not survive: a.py: gone: 1 -> 2",
        "3 mutants: 1 killed, 1 explained, 1 survive (50.0 % of those that change behaviour)",
    ]
    assert report([known, killed, missed, other], explained, whole=False, least=67) == 1
    assert report([known, killed, missed, other], explained, whole=False, least=66) == 0
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "a.py: 3 mutants: 1 killed, 1 explained, 1 survive (50.0 % of those that change behaviour)",
        "c.py: 1 mutants: 1 killed, 0 explained, 0 survive (100.0 % of those that change behaviour)",
        "4 mutants: 2 killed, 1 explained, 1 survive (66.7 % of those that change behaviour)",
    ]

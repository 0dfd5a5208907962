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
def big(number):
    return number > 7
"""
TEST = """\
from module.part import big

def test_big():
    assert big(8) is True and big(0) is False
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
    """A tree with one module and its test, which are run for real."""
    for folder in ("module", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "module" / "part.py").write_text(PART)
    (tmp_path / "tests" / "test_part.py").write_text(TEST)
    (tmp_path / "tests" / "test_wrong.py").write_text("assert False")
    return tmp_path


def test_what_no_test_notices_survives(tree: Path) -> None:
    tests = own_tests(tree, "module/part.py")
    assert tests == ["tests/test_part.py"] and own_tests(tree, "module/other.py") == ["tests"]
    results = tried(tree, "module/part.py", tests)
    assert [(each.mutant.name, each.survived) for each in results] == [
        ("big: return number > 7 -> return None", False),
        ("big: return number > 7: number > 7 -> number >= 7", True),
        ("big: return number > 7: 7 -> 8", False),
    ]
    assert (tree / "module" / "part.py").read_text() == PART
    with pytest.raises(SystemExit, match="fails as it is"):
        tried(tree, "module/part.py", ["tests/test_wrong.py"])


def test_what_is_explained_is_none_of_the_missing_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "explained.txt"
    path.write_text("# head\n\n# nobody sees\n# the name\na.py: f: 1 -> 2\na.py: gone: 1 -> 2\n\nb.py: g: x -> y\n")
    explained = explanations(path)
    assert explained == {
        "a.py: f: 1 -> 2": "nobody sees the name",
        "a.py: gone: 1 -> 2": "nobody sees the name",
        "b.py: g: x -> y": "",
    }
    known = Tried("a.py", Mutant("f: 1 -> 2", 3, ""), True)
    killed = Tried("a.py", Mutant("f: 3 -> 4", 4, ""), False)
    missed = Tried("a.py", Mutant("f: 5 -> 6", 5, ""), True)
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

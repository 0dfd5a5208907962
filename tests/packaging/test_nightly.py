# SPDX-License-Identifier: MIT
"""What runs by night runs at all: its report, its inputs, and a little of each part that needs no time."""

from __future__ import annotations

import logging
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pdudaemon.transports import lockfile
from tests.nightly import __main__ as nightly
from tests.nightly import hostile, pythons, soak
from tests.nightly.mutations import Mutations
from tests.support import growth
from tests.support.plugins import in_order, language
from tests.support.process import eventually


def test_a_part_that_fails_is_told_with_how_to_repeat_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "FOLDER", tmp_path)
    ended = [
        nightly.run("well", "echo '* cuts: 7'; echo else", 60),
        nightly.run(
            "broken", r"echo '1 passed, 2 failed in 3 s'; echo 'try 1 of 5 failed'; printf '\140\140\140'; exit 3", 60
        ),
        nightly.run("elsewhere", f"exit {nightly.LEFT_OUT}", 60),
    ]
    assert [each.result for each in ended] == ["passed", "FAILED", "left out"]
    text = nightly.report(ended, 7, {**nightly.SIZES, "SOAK": "60"})
    assert "seed 7" in text and "1 of 3 parts have failed: broken." in text
    assert re.search(r"\| well \| passed \| \d+ s \| cuts: 7 \|", text) and "s | 1 passed, 2 failed in 3 s |" in text
    again = "make nightly PARTS=broken SEED=7 SOAK=60"
    assert f"`{tmp_path}/broken.log`" in text and f"Once more: `{again}`, which is `{ended[1].command}`" in text
    assert (tmp_path / "broken.log").exists() and text.count("```") == 2


def test_a_part_that_hangs_is_ended_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "FOLDER", tmp_path)
    (tmp_path / "part.py").write_text("import time\nprint('begun', flush=True)\nwhile not None: time.sleep(99)")
    hangs = nightly.run("hangs", f"{sys.executable} -S {tmp_path}/part.py; true", 5)
    monkeypatch.setattr(nightly, "LAST_WORDS", 1.0)
    deaf = nightly.run("deaf", f"trap '' INT; sleep 99 & echo $! >{tmp_path}/pid; wait", 3)
    assert [(each.result, each.failed) for each in (hangs, deaf)] == [("HANGS", True)] * 2
    assert "begun" in hangs.printed and "KeyboardInterrupt" in hangs.printed
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: (left := lockfile.process(pid)) is None or left.dead)
    text = nightly.report([hangs, deaf], 7, nightly.SIZES)
    assert "2 of 2 parts have failed: hangs, deaf." in text and "## hangs hangs: ended after " in text


def test_parts_have_the_sizes_of_the_environment() -> None:
    found = nightly.parts({**nightly.SIZES, "KILLS": "17", "CUTS": "18", "HOSTILE": "19", "SOAK": "20"}, 5)
    for name, words in (
        ("kills", "KILLS=17"),
        ("cuts", "CUTS=18"),
        ("hostile", "--count 19"),
        ("soak", "--seconds 20"),
    ):
        assert words in found[name] and "5" in found[name]


def test_what_is_a_sample_by_day_is_whole_by_night() -> None:
    found = nightly.parts(nightly.SIZES, 5)["cases"]
    assert found.startswith("EVERY_CASE=1 ") and "tests/drivers/test_contract.py" in found
    words = "from tests.support import sampling; print(sampling.some(range(9), 4))"
    for value, wanted in (("", "[0, 4, 8]"), ("1", str([*range(9)]))):
        ran = subprocess.run(
            [sys.executable, "-c", words], env={"EVERY_CASE": value}, cwd=nightly.ROOT, capture_output=True
        )
        assert ran.stdout.decode().strip() == wanted


def test_an_interpreter_is_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pythons.HERE in pythons.named()
    program = tmp_path / f"python{pythons.HERE}"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    program.symlink_to(sys.executable)
    assert pythons.here(pythons.HERE) == str(program) and not pythons.here("3.99")
    program.unlink()
    program.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")  # as pyenv has them
    program.chmod(0o755)
    of_pyenv = tmp_path / "pyenv" / "versions" / f"{pythons.HERE}.7" / "bin" / program.name
    of_pyenv.parent.mkdir(parents=True)
    of_pyenv.symlink_to(sys.executable)
    assert pythons.here(pythons.HERE) == str(of_pyenv)


def test_mutation_comes_to_every_module_each_night() -> None:
    command = nightly.parts({**nightly.SIZES, "MUTANTS": "21", "NOTICED": "22"}, 23)["mutation"]
    assert "--sample 21 --seed 23 --least 22 " in command
    files = command.partition(" -- ")[2].split()
    assert len(files) > 80 and {"pdudaemon/engine/lanes.py", "pdudaemon/server/messages.py"} < {*files}


def test_a_seed_repeats_what_is_hostile() -> None:
    one, other = (Mutations(random.Random(3), [b"abc"]) for _ in range(2))
    value = {"a": [1, {"b": "c"}]}
    for _ in range(300):
        made = one.of(b"pdu01 1 on\n")
        assert made == other.of(b"pdu01 1 on\n")
        assert one.of_json(value) == other.of_json(value)
    assert value == {"a": [1, {"b": "c"}]}


def test_what_grows_is_told() -> None:
    before = growth.Size(50.0, 5, 20)
    assert not growth.grown(before, growth.Size(50.0 + growth.MEMORY, 5 + growth.THREADS, 20 + growth.DESCRIPTORS))
    for now in (growth.Size(100.0, 5, 20), growth.Size(50.0, 50, 20), growth.Size(50.0, 5, 200)):
        assert "grew by more than" in growth.grown(before, now)


@pytest.mark.parametrize("way", ["conf", "conf.d", "groups", "topology", "tokens", "store", "text", "http", "json"])
def test_hostile_inputs(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    share = hostile.WAYS[way][1]
    assert hostile.tried(way, 20 * share, 1) == 0, capsys.readouterr().out


def test_order_is_judged_as_by_the_pattern() -> None:
    chance = random.Random(1)
    for _ in range(3000):
        actions = [chance.choice(["on", "off", "reboot"]) for _ in range(chance.randrange(6))]
        asked = [(action, chance.random() < 0.5) for action in actions]
        seen = "".join(chance.choice("fo") for _ in range(chance.randrange(8)))
        assert in_order(asked, seen) == (language(asked).fullmatch(seen) is not None), (asked, seen)


@pytest.mark.long
def test_some_seconds_of_a_soak(tmp_path: Path) -> None:
    assert soak.soaked(tmp_path, 4, 1) == []


def test_properties_of_parsers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("hypothesis", reason="hypothesis is not installed (make .venv/fuzz)")
    from tests.nightly import fuzz

    monkeypatch.setattr(logging, "disable", lambda _: None)  # for good, as it would be
    monkeypatch.setattr(sys, "argv", ["fuzz", "--examples", "30"])
    assert fuzz.main() == 0, capsys.readouterr().out

# SPDX-License-Identifier: MIT
"""pduclient asks a front as it asks any daemon; what it is shown has the names of sites in front."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.client import Ran, client
from tests.support.fronts import Front
from tests.support.process import Daemon, eventually


@pytest.fixture
def lab(daemon: Callable[..., Daemon]) -> Iterator[Front]:
    made = Front(daemon)
    made.add(
        "berlin", {"slow": {"driver": "dummy", "slow": 2}}, nodes={"s[1-3]": {"hostname": "slow", "port": "[1-3]"}}
    )
    made.add("munich")
    made.begin({"own": {"driver": "dummy"}}, nodes={"mine": {"hostname": "own", "port": 1}})
    yield made
    made.close()


def test_it_speaks_of_sites(lab: Front) -> None:
    def run(*words: str) -> Ran:
        return client(*words, f"--url=http://127.0.0.1:{lab.front.port}")

    ran = run("on", "berlin/board[1-2],mine", "@munich/rack1", "--fold")
    assert (ran.code, ran.err) == (0, "") and ran.out == "starting: berlin/board[1-2],mine,munich/board[1-2]\n"
    assert run("status", "berlin/board[1-3]").out == "berlin/board1 On \nberlin/board2 On \nberlin/board3 Off\n"
    assert "munich/board4" in run("list").out.split()
    everything = run("status", "-x", "berlin/s[1-3]")
    assert everything.code == 0 and len(everything.out.splitlines()) == 9
    assert run("show", "berlin/board1").out.startswith("berlin/board1: on")
    assert [line.split()[0] for line in run("pdus").out.splitlines()[1:]] == [
        "own",
        "berlin/p1",
        "berlin/slow",
        "munich/p1",
    ]
    history = run("history").out
    assert "berlin/1" in history and "munich/1" in history
    off = json.loads(run("off", "berlin/board1", "-y", "--json").out)
    assert off["nodes"][0]["request"] == "berlin/3"


def test_a_command_at_several_sites_is_cancelled(lab: Front) -> None:
    def run(*words: str) -> Ran:
        return client(*words, f"--url=http://127.0.0.1:{lab.front.port}")

    number = run("on", "berlin/s[1-3]", "munich/board1", "--no-wait").out.strip()
    assert number == "berlin/1,munich/1"
    gone = run("cancel", number)
    assert "berlin/s3     Cancelled" in gone.out, gone.out + gone.err
    for wrong in ("berlin/../1", "berlin/", "berlin/1;2"):
        assert run("cancel", wrong).code == 2


def test_it_says_what_is_not_known(lab: Front) -> None:
    def run(*words: str) -> Ran:
        return client(*words, f"--url=http://127.0.0.1:{lab.front.port}")

    assert run("on", "munich/board1", "berlin/board1").code == 0
    lab.sites["munich"].stop()
    eventually(lambda: not lab.site("munich")["reachable"])
    ran = run("status", "munich/board1", "berlin/board1")
    assert ran.code == 1 and ran.out == "munich/board1 Unknown\nberlin/board1 On     \n"
    assert "munich/board1: munich cannot be asked: " in ran.err
    assert "nothing is known of what cannot be reached: munich" in run("history").err
    assert "unreachable" in run("pdus").out

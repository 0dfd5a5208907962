# SPDX-License-Identifier: MIT
"""Every command of pduclient at a front: what is at a site is as what is here, and that a site is away is said."""

from __future__ import annotations

import re
import select
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.client import CLIENT, NOWHERE, PROGRAM, Ran, client
from tests.support.fronts import Front, front_of_berlin
from tests.support.process import Daemon, eventually

METER = {"driver": "dummy", "outlets": 2, "names": {"1": "router"}, "watts": {"1": 12.5}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front_of_berlin(tmp_path_factory, {"meter": METER}) as made:
        yield made


COMMANDS = {
    "list": (["list"], "berlin/board1"),
    "list groups": (["list", "--groups"], "berlin/rack1"),
    "status": (["status", "berlin/board[1-2]"], "berlin/board2"),
    "status -x": (["status", "-x", "berlin/board[1-2],mine"], "berlin/board3"),
    "status group": (["status", "-g", "every"], "mine"),
    "on": (["on", "-y", "berlin/board[1-2]"], "berlin/board2 Starting"),
    "off": (["off", "-y", "@berlin/rack1"], "berlin/board1 Stopping"),
    "restart": (["restart", "-y", "berlin/board1", "--timeout", "60"], "berlin/board1 Restarting"),
    "no wait": (["on", "-y", "berlin/board1", "--no-wait"], "berlin/"),
    "cancel": (["cancel", "berlin/1"], "berlin/board1 Done"),
    "pdus": (["pdus"], "berlin/meter"),
    "outlets": (["outlets", "berlin/meter"], "router"),
    "outlets fresh": (["outlets", "berlin/meter", "--fresh"], "12.5"),
    "show": (["show", "berlin/board1"], "berlin/board1: "),
    "show fresh": (["show", "berlin/board1", "--fresh"], "berlin/board1: "),
    "history": (["history"], "berlin/1"),
    "history of a node": (["history", "berlin/board1"], "berlin/board1 "),
    "history of a group": (["history", "@berlin/rack1", "--json"], '"id": "berlin/'),
}
LEGACY = ["--command=on", "--hostname=berlin/p1", "--port=1"], ["--command=status", "--alias=berlin/board1"]


def run(front: Daemon, *words: str) -> Ran:
    return client(*words, f"--url=http://127.0.0.1:{front.port}")


@pytest.mark.parametrize("name", COMMANDS)
def test_pduclient_speaks_of_sites_as_of_what_is_here(lab: Front, name: str) -> None:
    if name != "off":
        assert lab.front.power("on", "berlin/meter", 1).status == 200
    words, wanted = COMMANDS[name]
    ran = run(lab.front, *words)
    assert (ran.code, ran.err) == (0, "") and wanted in ran.out, ran


def test_old_ways_of_pduclient_and_watch(lab: Front) -> None:
    place = f"--daemon=127.0.0.1:{lab.front.port}"
    for words in LEGACY:
        for http in ([], ["--http"]):
            ran = client(place, *words, *http)
            assert ran.code == 0 and ran.err == "", ran
    words = [*PROGRAM, "watch", "berlin/board1", f"--url=http://127.0.0.1:{lab.front.port}"]
    with subprocess.Popen(words, env=NOWHERE, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None

        def lines() -> Iterator[str]:
            """Yield what is told, and have something to tell until that is so."""
            while select.select([watching.stdout], [], [], 0.5)[0] or lab.front.power("on", "berlin/p1", 1).text:
                if select.select([watching.stdout], [], [], 0)[0]:
                    yield watching.stdout.readline()

        assert "berlin/board1" in next(lines())
        watching.kill()


def test_every_command_is_tried() -> None:
    text = CLIENT.read_text()
    every = set(re.findall(r'^    "(\w+)": Command\(', text, re.MULTILINE))
    assert every == {words[0] for words, _ in COMMANDS.values()} | {"watch"}


@pytest.fixture(scope="module")
def away(lab: Front) -> Iterator[Front]:
    """The same front, whose site has gone."""
    lab.sites["berlin"].stop()
    eventually(lambda: not lab.site("berlin")["reachable"])
    yield lab


@pytest.mark.parametrize("name", COMMANDS)
def test_pduclient_says_that_a_site_is_away(away: Front, name: str) -> None:
    words, _ = COMMANDS[name]
    ran = run(away.front, *words)
    said = ran.out + ran.err
    assert "Traceback" not in said and "internal" not in said
    if words[0] in ("on", "off", "restart", "cancel", "status"):
        assert ran.code == (2 if name == "cancel" else 1) and "berlin cannot be asked: " in ran.err, ran
    elif words[0] == "history":
        assert "cannot be reached: berlin" in ran.err, ran
    elif words[0] in ("pdus", "outlets", "show"):
        assert "unknown" in said or "unreachable" in said or "cannot be asked" in said, ran
